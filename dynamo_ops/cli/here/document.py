"""What documents tell the database: what there is, what is lost; and what it knows in all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.document import read_document
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.inventory.catalogue import invalidation
from dynamo_ops.inventory.catalogue import vanished as gone
from dynamo_ops.inventory.catalogue.injection import inject as injection
from dynamo_ops.inventory.replica import read
from dynamo_ops.policy.files import known_partitions
from dynamo_ops.query.record.invalidation import INVALIDATIONS, InvalidationFilter


def inject(file: str, *, dry_run: bool, by: str | None, tell: Callable[[str], None]) -> Record:
    """All of what is in a file, or nothing. ``tell`` is called with what is done next."""
    db, partitions = database(), known_partitions(settings(), datetime.now(UTC))
    tell(f"reading {file}")
    # The document is handed on without a name, so that it can go when it has been read.
    summary = injection.inject(db, read_document(file), dry_run=dry_run, partitions=partitions, by=who(by), tell=tell)
    return summary.document()


def invalidate(
    document: object, *, reason: str, by: str | None, dry_run: bool = False, expected_files: int | None = None
) -> Record:
    """What it names leaves the inventory for good."""
    return invalidation.invalidate(
        database(), document, reason=reason, by=who(by), dry_run=dry_run, expected_files=expected_files
    ).document()


def invalidated(name: str | None, *, limit: int, fields: tuple[str, ...]) -> Records:
    """What was declared invalid, newest first. ``name``: or a glob."""
    return Here(database(), INVALIDATIONS, InvalidationFilter([name] if name else [])).rows(fields, limit)


def summary() -> Record:
    """How much there is, in all and by site."""
    return read.summary(database()).document


def vanished(kind: str | None, source: str | None) -> Records:
    """What sources do not tell any more, by kind, then name."""
    return gone.vanished(database(), kind, source).to_dicts()


def vanished_document(kind: str | None, source: str | None) -> Record:
    """The same as ``invalidate`` takes it."""
    return gone.vanished_document(database(), [kind] if kind else [], [source] if source else [])
