"""What goes by itself when its time is over: locks that have long been over, rows that old pulls left behind."""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import USE_KINDS
from dynamo_ops.inventory.staging.pull import STAGING_TABLES

RUNS_KEPT = 20
DAYS_KEPT = 2
"""At least: a run that is on its way must not lose what it staged, however many others there are.

At most where use (accesses, demand) was staged: each day of each run is a pull of its own, of millions of rows.
"""
DETAILED_RUNS_KEPT = 5
"""Of the runs kept, how many with blocks and files: a run of a large installation can stage millions of them."""


def expire(database: Database) -> dict[str, int]:
    """Remove them; returns the number of rows by table. What was staged in the last two days stays. Of what is older,
    use (accesses, demand) goes; of the others the newest 20 runs stay, to be looked at, and of those that staged blocks
    and files the newest 5. A run loses all its rows or none; one that is just being merged loses none.

    A lock that expired or was removed has no effect from that moment on; its row stays for a year, to be seen.
    """
    with database.begin() as connection:
        removed = connection.execute(
            text("DELETE FROM locks WHERE least(removed_at, expires_at) <= now() - interval '366 days'")
        ).rowcount
    counts = {"locks": removed}
    with database.begin() as connection:
        # one view of all tables: what is staged meanwhile stays, whole; where it replaces, one of the two tries again
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        old = {"old": _not_in_use(connection, _old_runs(connection))}
        for table in STAGING_TABLES:
            counts[table] = connection.execute(text(f"DELETE FROM {table} WHERE run_key = ANY(:old)"), old).rowcount
    return counts


def _old_runs(connection: Connection) -> list[str]:
    """The runs whose rows may go, oldest first; one without a note of its pull is older than all others."""
    runs = " UNION ".join(f"SELECT run_key FROM ({_distinct_runs(table)}) AS {table}" for table in STAGING_TABLES)
    return list(
        connection.execute(
            text(f"""
            SELECT run_key FROM (
                SELECT run_key, is_recent, is_use, rank() OVER newest AS place,
                       count(*) FILTER (WHERE is_detailed) OVER newest AS detailed_place, is_detailed, at
                FROM (SELECT run_key, coalesce((SELECT max(p.id) FROM staged_pulls AS p
                                                WHERE p.run_key = r.run_key), 0) AS at,
                             EXISTS (SELECT FROM staged_pulls AS p WHERE p.run_key = r.run_key
                                     AND p.staged_at > now() - make_interval(days => :days_kept)) AS is_recent,
                             EXISTS (SELECT FROM staged_pulls AS p WHERE p.run_key = r.run_key
                                     AND p.kind IN {USE_KINDS}) AS is_use,
                             EXISTS (SELECT FROM staged_blocks AS b WHERE b.run_key = r.run_key) AS is_detailed
                      FROM ({runs}) AS r) AS dated
                WINDOW newest AS (PARTITION BY is_use ORDER BY at DESC, run_key DESC)) AS placed
            WHERE NOT is_recent AND (is_use OR place > :kept OR is_detailed AND detailed_place > :detailed_kept)
            ORDER BY at, run_key"""),
            {"kept": RUNS_KEPT, "detailed_kept": DETAILED_RUNS_KEPT, "days_kept": DAYS_KEPT},
        ).scalars()
    )


def _not_in_use(connection: Connection, runs: list[str]) -> list[str]:
    """Those of which nothing is being merged (``staged_pull`` holds it then), nor will be before the rows are gone."""
    sql = "SELECT id FROM staged_pulls WHERE run_key = ANY(:runs) ORDER BY id FOR UPDATE SKIP LOCKED"
    free = {"runs": runs, "free": list(connection.execute(text(sql), {"runs": runs}).scalars())}
    sql = "SELECT run_key FROM staged_pulls WHERE run_key = ANY(:runs) AND id <> ALL(CAST(:free AS bigint[]))"
    in_use = set(connection.execute(text(sql), free).scalars())
    return [run for run in runs if run not in in_use]


def _distinct_runs(table: str) -> str:
    """The runs that have rows in ``table``, from one to the next by its index: there may be millions of rows a run."""
    return f"""
        WITH RECURSIVE runs AS (
            (SELECT run_key FROM {table} ORDER BY run_key LIMIT 1)
            UNION ALL
            SELECT (SELECT n.run_key FROM {table} AS n WHERE n.run_key > runs.run_key ORDER BY n.run_key LIMIT 1)
            FROM runs WHERE run_key IS NOT NULL)
        SELECT run_key FROM runs WHERE run_key IS NOT NULL"""
