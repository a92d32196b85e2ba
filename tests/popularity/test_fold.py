"""Old accesses are folded into sums; what policies ask for is the same before, after, and wherever a kill came."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.popularity import fold
from dynamo_ops.popularity.aggregate import replace_day
from dynamo_ops.popularity.fold import fold_old
from dynamo_ops.popularity.ranks import UsageProducer
from tests.inventory.factory import Inventory

NEWEST = date(2026, 3, 10)
KEEP_DAYS = 400
OLD = [date(2024, 12, 30), date(2024, 12, 31), date(2025, 1, 2), date(2025, 1, 31)]
KEPT = [date(2025, 2, 1), date(2025, 2, 3), NEWEST]


@pytest.fixture
def used(inventory: Inventory) -> Database:
    """Two datasets at two sites, read on some days; one once only."""
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    inventory.block("b1", contents={"/store/b1": b"data"})
    inventory.replica("b1", "T2_A")
    inventory.rows("INSERT INTO datasets (name, status, is_open, last_update_at) VALUES ('/X', 'valid', false, now())")
    datasets = [row[0] for row in inventory.rows("SELECT id FROM datasets ORDER BY id")]
    for n, day in enumerate([*OLD, *KEPT], start=1):
        for dataset in datasets[: 1 + (day not in OLD[1:])]:
            for site in inventory.site_ids.values():
                inventory.rows(
                    "INSERT INTO accesses_daily VALUES (:day, 'logs', :dataset, :site, :n)",
                    day=day,
                    dataset=dataset,
                    site=site,
                    n=n * site,
                )
        inventory.rows("INSERT INTO demand_daily VALUES (:day, 'jobs', :dataset, 1)", day=day, dataset=datasets[0])
        inventory.rows(
            """INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
               VALUES (:day, 'logs', 'accesses', 1, 1, now())""",
            day=day,
        )
    return inventory.db


def produced(database: Database) -> dict[str, Any]:
    with database.snapshot() as snapshot:
        values = UsageProducer().produce(snapshot)
    return {name: frame.sort(pl.all()).rows() for name, frame in values.values.items()}


def days(database: Database, table: str = "accesses_daily") -> list[date]:
    return database.frame(f"SELECT DISTINCT day FROM {table} ORDER BY day")["day"].to_list()


def test_whole_months_are_folded_and_nothing_that_is_asked_changes(used: Database) -> None:
    before = produced(used)
    assert fold_old(used, KEEP_DAYS) == len(OLD)
    assert produced(used) == before
    assert days(used) == [OLD[0], OLD[-1], *KEPT]  # of the dataset that was read once, and of the other
    assert days(used, "demand_daily") == KEPT
    assert fold_old(used, KEEP_DAYS) == 0


def test_a_kill_on_the_way_is_made_good(used: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = produced(used)
    monkeypatch.setattr(fold, "DATASETS_PER_CHUNK", 1)
    monkeypatch.setattr(fold, "_INSERT", "SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        fold_old(used, KEEP_DAYS)
    assert produced(used) == before
    monkeypatch.undo()
    assert fold_old(used, KEEP_DAYS) == len(OLD)
    assert produced(used) == before


def test_a_folded_day_is_not_pulled_anew(used: Database) -> None:
    fold_old(used, KEEP_DAYS)
    with used.begin() as connection:
        connection.execute(
            text("""INSERT INTO staged_pulls (id, run_key, source, kind, accepted_id)
                    VALUES (7, 'again', 'logs', 'accesses', 7)""")
        )
    before = produced(used)
    with pytest.raises(InventoryError, match=r"2025-01-02 of 'logs' is older than keep.accesses_days"):
        replace_day(used, "again", OLD[2], "logs")
    assert produced(used) == before


def test_without_a_day_there_is_nothing_to_fold(database: Database) -> None:
    assert fold_old(database, KEEP_DAYS) == 0
