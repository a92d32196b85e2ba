"""From staged accesses to days: a day of a source is replaced as a whole, so that any day can be pulled again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.staging import staged_pull

SHOWN = 5


@dataclass(frozen=True)
class DaySummary:
    """What a day of a source came to. Rows of an unknown dataset or site were left out; some of the names are given."""

    num_rows: int
    num_accesses: int
    num_unknown: int
    unknown_datasets: list[str]
    unknown_sites: list[str]


def replace_day(db: Database, run_key: str, day: date, source: str) -> DaySummary:
    """Make what (run_key, source) staged of ``day`` the accesses of that day, in one transaction.

    A pull without rows is a day without accesses: the gate is asked before whether that can be. Raises InventoryError
    if there was no pull.
    """
    key = {"run_key": run_key, "source": source, "day": day}
    with db.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('dynamo_ops.popularity.aggregate'))"))
        staged_pull(connection, run_key, source, "accesses")
        connection.execute(text("DELETE FROM accesses_daily WHERE day = :day AND source = :source"), key)
        row = connection.execute(text(_INSERT_DAY), key).one()
        unknown = connection.execute(text(_COUNT_UNKNOWN), key).scalar_one()
        connection.execute(text(_NOTE_DAY), {**key, "num_accesses": row[1], "num_unknown": unknown})
        datasets = _unknown_names(connection, "dataset", "datasets", key)
        sites = _unknown_names(connection, "site", "sites", key)
    return DaySummary(row[0], row[1], unknown, datasets, sites)


def _unknown_names(connection: Connection, column: str, table: str, key: dict[str, Any]) -> list[str]:
    sql = f"""
        SELECT DISTINCT a.{column} FROM staged_accesses AS a LEFT JOIN {table} AS t ON t.name = a.{column}
        WHERE a.run_key = :run_key AND a.source = :source AND a.day = :day AND t.id IS NULL AND a.{column} IS NOT NULL
        ORDER BY 1 LIMIT {SHOWN}"""
    return list(connection.execute(text(sql), key).scalars())


_STAGED = """
    FROM staged_accesses AS a LEFT JOIN datasets AS d ON d.name = a.dataset LEFT JOIN sites AS s ON s.name = a.site
    WHERE a.run_key = :run_key AND a.source = :source AND a.day = :day"""

_INSERT_DAY = f"""
    WITH inserted AS (
        INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
        SELECT :day, :source, d.id, s.id, sum(a.num_accesses)::bigint
        {_STAGED} AND d.id IS NOT NULL AND s.id IS NOT NULL
        GROUP BY d.id, s.id
        RETURNING num_accesses)
    SELECT count(*), coalesce(sum(num_accesses), 0)::bigint FROM inserted"""

_COUNT_UNKNOWN = f"SELECT count(*) {_STAGED} AND (d.id IS NULL OR s.id IS NULL)"

_NOTE_DAY = """
    INSERT INTO aggregated_days (day, source, kind, num_told, aggregated_at)
    VALUES (:day, :source, 'accesses', :num_accesses, now())
    ON CONFLICT (day, source, kind) DO UPDATE SET num_told = excluded.num_told, aggregated_at = now()"""
