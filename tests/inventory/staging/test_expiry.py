"""What goes by itself: locks that are long over, rows of old pulls; never what is in force or in use."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.staging.expiry import expire
from dynamo_ops.inventory.staging.pull import STAGING_TABLES, staged_pull
from tests.inventory.factory import Inventory
from tests.inventory.told import accept, dataset, stage

LOCKS = {
    "expired long ago": ("now() - interval '367 days'", "NULL"),
    "removed long ago": ("NULL", "now() - interval '367 days'"),
    "expired": ("now() - interval '365 days'", "NULL"),
    "removed": ("now() + interval '1 h'", "now()"),
    "new": ("now() + interval '1 h'", "NULL"),
    "for ever": ("NULL", "NULL"),
}


def test_locks_go_a_year_after_they_were_over(database: Database) -> None:
    inventory = Inventory(database)
    for item, (expires, removed) in LOCKS.items():
        inventory.rows(
            f"""INSERT INTO locks (item, reason, created_by, expires_at, removed_at)
                VALUES (:i, 'why', 'ada', {expires}, {removed})""",
            i=item,
        )
    assert expire(database)["locks"] == 2
    assert [item for (item,) in inventory.rows("SELECT item FROM locks ORDER BY id")] == list(LOCKS)[2:]
    assert expire(database)["locks"] == 0


def stage_runs(
    inventory: Inventory, *runs: str, detailed: bool = False, kind: str = "metadata", hours_ago: float = 49
) -> None:
    for run in runs:
        inventory.rows(
            """INSERT INTO staged_pulls (run_key, source, kind, staged_at)
               VALUES (:r, 's', :kind, now() - make_interval(secs => 3600 * :hours_ago))""",
            r=run,
            kind=kind,
            hours_ago=hours_ago,
        )
        tables = ("staged_sites (run_key, source, site)", "staged_files (run_key, source, lfn, page)")
        values = ("'T2_' || n", "'/f' || n, 0")
        for table, row in list(zip(tables, values, strict=True))[: 1 + detailed]:
            inventory.rows(f"INSERT INTO {table} SELECT :r, 's', {row} FROM generate_series(1, 2) n", r=run)
        if detailed:
            inventory.rows("INSERT INTO staged_blocks (run_key, source, page) VALUES (:r, 's', 0)", r=run)


def kept(inventory: Inventory, table: str) -> set[str]:
    return {run for (run,) in inventory.rows(f"SELECT DISTINCT run_key FROM {table}")}


def test_staged_rows_of_the_newest_runs_stay(database: Database) -> None:
    inventory = Inventory(database)
    runs = [f"run {number}" for number in range(23)]
    stage_runs(inventory, *runs, detailed=False)
    inventory.rows("INSERT INTO staged_sites (run_key, source, site) VALUES ('nobody knows of', 's', 'T2')")
    removed = expire(database)
    assert set(removed) == {"locks", *STAGING_TABLES}
    assert (removed["staged_sites"], removed["staged_pulls"]) == (3 * 2 + 1, 3)
    assert kept(inventory, "staged_sites") == kept(inventory, "staged_pulls") == set(runs[3:])
    assert sum(expire(database).values()) == 0


def test_of_runs_with_files_fewer_stay_and_each_whole_or_not_at_all(database: Database) -> None:
    """A run whose files alone were gone would merge as if the source had lost them."""
    inventory = Inventory(database)
    for number in range(7):
        stage_runs(inventory, f"metadata {number}", detailed=True)
        stage_runs(inventory, f"sites {number}", kind="sites")
    assert expire(database)["staged_files"] == 2 * 2
    metadata = {f"metadata {number}" for number in range(2, 7)}
    for table in ("staged_files", "staged_blocks"):
        assert kept(inventory, table) == metadata
    assert kept(inventory, "staged_pulls") == metadata | {f"sites {number}" for number in range(7)}


def test_use_stays_for_two_days_and_pushes_no_metadata_out(database: Database) -> None:
    inventory = Inventory(database)
    stage_runs(inventory, "metadata", detailed=True)
    new = [f"new@{number}" for number in range(25)]
    stage_runs(inventory, *new, kind="accesses", hours_ago=47)
    stage_runs(inventory, "old accesses", kind="accesses")
    stage_runs(inventory, "old demand", kind="demand")
    assert expire(database)["staged_pulls"] == 2
    assert kept(inventory, "staged_pulls") == {"metadata", *new}


def test_what_was_staged_just_now_stays_however_much_it_is(database: Database) -> None:
    inventory = Inventory(database)
    stage_runs(inventory, *(f"run {number}" for number in range(25)), detailed=True, hours_ago=47)
    assert sum(expire(database).values()) == 0


def test_an_old_run_that_is_staged_again_is_new(database: Database) -> None:
    inventory = Inventory(database)
    stage_runs(inventory, "cleared", *(f"run {number}" for number in range(20)))
    stage(database, [dataset()], run_key="cleared", source="s")
    inventory.rows("UPDATE staged_pulls SET staged_at = now() - interval '3 days'")
    expire(database)
    assert kept(inventory, "staged_pulls") == {"cleared", *(f"run {number}" for number in range(1, 20))}


def test_what_is_being_merged_stays(database: Database) -> None:
    inventory = Inventory(database)
    stage_runs(inventory, *(f"run {number}" for number in range(23)))
    accept(database, "run 1", "s")
    with database.begin() as connection:
        staged_pull(connection, "run 1", "s", "metadata")
        assert expire(database)["staged_pulls"] == 2
    assert kept(inventory, "staged_sites") == {"run 1", *(f"run {number}" for number in range(3, 23))}
    assert expire(database)["staged_pulls"] == 1
    with database.begin() as connection, pytest.raises(InventoryError, match="pull them again"):
        staged_pull(connection, "run 1", "s", "metadata")
