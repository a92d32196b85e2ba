"""Who acts in the tests: people at a shell of the database, who may do anything."""

from __future__ import annotations

from typing import Any

from dynamo_ops.access.person import shell_person
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.injection import inject as injection
from dynamo_ops.inventory.catalogue.injection.inject import InjectionSummary

ADA, BOB, EVE, ROOT_USER, TESTER = map(shell_person, ("ada", "bob", "eve", "root", "test"))


def inject(db: Database, document: object, **options: Any) -> InjectionSummary:
    """As a tester."""
    return injection.inject(db, document, by=TESTER, **options)
