"""Use of things that the inventory does not know yet: kept by name, counted when they come."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from typing import Any

import polars as pl
import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.staging.pull import stage_accesses, stage_demand
from dynamo_ops.popularity.aggregate import DaySummary, prune_unknown, replace_day, resolve_unknown
from dynamo_ops.sources.usage.source import ACCESSES, DEMAND
from tests.inventory.told import accept, block, dataset, file, merge, site, sync_sites

DAY = date(2026, 2, 1)
KNOWN, LATER = "/A/B-v1/C", "/D/E-v1/F"


@pytest.fixture
def filled(database: Database) -> Database:
    sync_sites(database, site("T2_A"))
    merge(database, [dataset(KNOWN)], [block()], [file("/store/a/1"), file("/store/a/2")])
    return database


def aggregate(db: Database, *rows: tuple[str | None, str | None, str, int], day: date = DAY) -> DaySummary:
    """Rows of dataset, lfn, site, num_accesses."""
    frame = pl.DataFrame([(day, *row) for row in rows], schema=dict(ACCESSES), orient="row")
    stage_accesses(db, f"run {day}", "monit", frame)
    accept(db, f"run {day}", "monit", "accesses")
    return replace_day(db, f"run {day}", day, "monit")


def ask(db: Database, *rows: tuple[str, int], day: date = DAY) -> DaySummary:
    frame = pl.DataFrame([(day, *row) for row in rows], schema=dict(DEMAND), orient="row")
    stage_demand(db, f"run {day}", "queue", frame)
    accept(db, f"run {day}", "queue", "demand")
    return replace_day(db, f"run {day}", day, "queue", "demand")


def later(db: Database) -> None:
    sync_sites(db, site("T2_A"), site("T2_B"))
    merge(db, [dataset(LATER)], [block(of=LATER)], [file("/store/d/1", of=LATER)], run_key="later")


def use(db: Database) -> list[tuple[Any, ...]]:
    return db.frame("""
        SELECT a.day::text, d.name, s.name AS site, a.num_accesses
        FROM accesses_daily a JOIN datasets d ON d.id = a.dataset_id
        JOIN sites s ON s.id = a.site_id ORDER BY 1, 2, 3""").rows()


def demand(db: Database) -> list[tuple[Any, ...]]:
    return db.frame("""
        SELECT a.day::text, d.name, a.num_jobs FROM demand_daily a JOIN datasets d ON d.id = a.dataset_id
        ORDER BY 1, 2""").rows()


def unknown(db: Database) -> int:
    return int(db.frame("SELECT count(*) FROM unknown_use").item())


def test_accesses_of_files_are_those_of_their_dataset(filled: Database) -> None:
    summary = aggregate(
        filled,
        (None, "/store/a/1", "T2_A", 2),
        (None, "/store/a/2", "T2_A", 3),
        (KNOWN, None, "T2_A", 10),
        (None, "/store/no/such", "T2_A", 7),
    )
    assert summary == DaySummary(1, 15, 1, ["/store/no/such"], [])
    assert use(filled) == [("2026-02-01", KNOWN, "T2_A", 15)]
    assert filled.frame("SELECT num_told FROM aggregated_days").item() == 22


def test_what_comes_to_be_known_is_counted_then_and_once(filled: Database) -> None:
    aggregate(filled, (KNOWN, None, "T2_A", 1), (LATER, None, "T2_B", 2), (None, "/store/d/1", "T2_B", 3))
    ask(filled, (KNOWN, 4), (LATER, 5), ("/No/Such-v1/DATA", 6))
    assert (use(filled), demand(filled)) == ([("2026-02-01", KNOWN, "T2_A", 1)], [("2026-02-01", KNOWN, 4)])
    assert unknown(filled) == 4
    assert resolve_unknown(filled) == 0
    later(filled)
    assert resolve_unknown(filled) == 3
    for _ in range(2):
        assert use(filled) == [("2026-02-01", KNOWN, "T2_A", 1), ("2026-02-01", LATER, "T2_B", 5)]
        assert demand(filled) == [("2026-02-01", KNOWN, 4), ("2026-02-01", LATER, 5)]
        assert resolve_unknown(filled) == 0
    assert unknown(filled) == 1


def test_a_day_that_is_replaced_forgets_what_was_unknown_then(filled: Database) -> None:
    aggregate(filled, (LATER, None, "T2_A", 2), ("/X/Y-v1/Z", None, "T2_A", 9))
    aggregate(filled, (LATER, None, "T2_A", 3))
    later(filled)
    resolve_unknown(filled)
    assert use(filled) == [("2026-02-01", LATER, "T2_A", 3)]
    assert unknown(filled) == 0


@pytest.mark.parametrize("order", permutations(["first day", "second day", "metadata"]), ids=" then ".join)
def test_metadata_before_or_after_accesses_come_to_the_same(filled: Database, order: tuple[str, ...]) -> None:
    steps = {
        "first day": lambda: aggregate(filled, (LATER, None, "T2_B", 2), (None, "/store/d/1", "T2_A", 1)),
        "second day": lambda: aggregate(filled, (LATER, None, "T2_B", 5), day=date(2026, 2, 2)),
        "metadata": lambda: later(filled),
    }
    for step in order:
        steps[step]()
        resolve_unknown(filled)
    assert use(filled) == [
        ("2026-02-01", LATER, "T2_A", 1),
        ("2026-02-01", LATER, "T2_B", 2),
        ("2026-02-02", LATER, "T2_B", 5),
    ]


def test_unknown_use_is_forgotten_by_the_days_and_not_by_the_clock(filled: Database) -> None:
    for number in (1, 10):
        aggregate(filled, (LATER, None, "T2_A", number), day=date(2026, 2, number))
    assert prune_unknown(filled, 9) == 0
    assert prune_unknown(filled, 8) == 1
    assert filled.frame("SELECT number FROM unknown_use").item() == 10
