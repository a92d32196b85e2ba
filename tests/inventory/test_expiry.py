"""What goes by itself: locks that are long over, rows of old pulls; never what is in force or in use."""

from __future__ import annotations

from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.expiry import expire
from dynamo_ops.inventory.staging import STAGING_TABLES
from tests.fileops.factory import Inventory

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


def test_staged_rows_of_the_newest_runs_stay(database: Database) -> None:
    inventory = Inventory(database)
    for run in range(23):
        inventory.rows(
            "INSERT INTO staged_sites (run_key, source, site) SELECT :r, 's', 'T2_' || n FROM generate_series(1, 2) n",
            r=f"run {run}",
        )
    removed = expire(database)
    assert set(removed) == {"locks", *STAGING_TABLES}
    assert removed["staged_sites"] == 3 * 2
    kept = {run for (run,) in inventory.rows("SELECT DISTINCT run_key FROM staged_sites")}
    assert kept == {f"run {run}" for run in range(3, 23)}
