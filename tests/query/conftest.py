"""The inventory that lists are read of."""

from __future__ import annotations

import pytest

from dynamo_ops.database.connection import Database
from tests.query.stock import Stock, stocked


@pytest.fixture
def stock(database: Database) -> Stock:
    return stocked(database)
