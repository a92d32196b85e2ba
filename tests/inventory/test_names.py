"""Names that look like one that is not known, and what else is called so."""

from __future__ import annotations

import pytest

from dynamo_ops.inventory.names import FEW, blocks_like, near_dataset, no_file
from tests.inventory.factory import Inventory

WANTED = "/Muons0150/Run2026A-v1/AOD"


@pytest.fixture
def many(inventory: Inventory) -> Inventory:
    """More datasets that begin alike than are compared."""
    inventory.rows(
        """INSERT INTO datasets (name, status, is_open, last_update_at)
           SELECT '/Muons' || lpad(n::text, 4, '0') || '/Run2026A-v1/' || tier, 'valid', false, now()
           FROM generate_series(1, :n) AS n, unnest(ARRAY['AOD', 'RAW']) AS tier""",
        n=FEW,
    )
    return inventory


@pytest.mark.parametrize(
    "slip",
    [
        "/Muns0150/Run2026A-v1/AOD",
        "/muons0150/Run2026A-v1/AOD",
        "/Muons0150/Run206A-v1/AOD",
        "/Muons0150/Run2026A-v1/AOD ",
        "/Muons0150/Run2026A-v1/A*",
        "Muons0150/Run2026A-v1/AOD",
    ],
)
def test_a_dataset_is_found_wherever_the_slip_is(many: Inventory, slip: str) -> None:
    assert WANTED in near_dataset(many.db, slip)


def test_what_looks_like_nothing_is_near_nothing(many: Inventory) -> None:
    assert near_dataset(many.db, "zzz") == ""


def test_blocks_that_look_like_one_are_those_of_its_dataset_or_else_datasets(inventory: Inventory) -> None:
    inventory.block("b1", 1)
    inventory.block("b2", 1)
    with inventory.db.begin() as connection:
        assert blocks_like(connection, "/A/B-v1/AOD#b9") == ["/A/B-v1/AOD#b1", "/A/B-v1/AOD#b2"]
        assert blocks_like(connection, "/A/B-v2/AOD#b9") == ["/A/B-v1/AOD"]


def test_what_else_an_unknown_file_is(inventory: Inventory) -> None:
    inventory.block("b1", 1)
    inventory.rows(
        """INSERT INTO invalidations (kind, name, size_bytes, num_files, reason, created_by, created_at)
           VALUES ('file', '/store/lost', 1, 1, 'lost', 'ada', '2026-03-01T12:00Z')"""
    )
    with inventory.db.begin() as connection:
        assert no_file(connection, "/A/B-v1/AOD") == " It is a dataset"
        assert no_file(connection, "/A/B-v1/AOD#b1") == " It is a block"
        assert no_file(connection, "/store/lost") == " It was declared invalid at 2026-03-01T12:00Z by ada"
        assert no_file(connection, "/store/never") == ""
