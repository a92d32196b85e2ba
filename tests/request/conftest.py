"""Fixtures of the tests of requests."""

from __future__ import annotations

import pytest

from dynamo_ops.database.connection import Database
from tests.request.stock import Stock


@pytest.fixture
def asked(database: Database) -> Stock:
    """An inventory to ask of; see ``Stock``."""
    return Stock(database)
