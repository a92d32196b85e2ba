"""From staged accesses and jobs to days: a day of a source is replaced as a whole, so that it can be pulled again.

What the inventory does not know yet is kept by name (``unknown_use``) and looked at again by every later aggregation:
so it makes no difference whether a dataset comes into the inventory before its accesses or after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from sqlalchemy import Connection, text

from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.staging import staged_pull

SHOWN = 5

Kind = Literal["accesses", "demand"]


@dataclass(frozen=True)
class DaySummary:
    """What a day of a source came to: rows kept, what they sum up to, staged rows of things that nobody knows (yet).

    ``number``: accesses, or jobs. Some of the unknown names are given.
    """

    num_rows: int
    number: int
    num_unknown: int
    unknown_names: list[str]
    unknown_sites: list[str]


def replace_day(db: Database, run_key: str, day: date, source: str, kind: Kind = "accesses") -> DaySummary:
    """Make what (run_key, source) staged of ``day`` the use of that day, in one transaction.

    A pull without rows is a day without use: the gate is asked before whether that can be. Raises InventoryError if
    there was no pull.
    """
    key: dict[str, Any] = {"run_key": run_key, "source": source, "day": day, "kind": kind}
    with db.begin() as connection:
        _lock(connection)
        pull = staged_pull(connection, run_key, source, kind)
        for statement in _CLEAR[kind]:
            connection.execute(text(statement), key)
        connection.execute(text(_RESOLVE[kind]), key)
        num_rows, number = connection.execute(text(_INSERT[kind]), key).one()
        unknown = connection.execute(text(_KEEP_UNKNOWN), key).one()
        connection.execute(text(_NOTE_DAY), {**key, "fingerprint": pull.fingerprint})
        names, sites = (_unknown(connection, what) for what in ("coalesce(dataset, lfn)", "site"))
        connection.execute(text("DROP TABLE told_use"))
    return DaySummary(num_rows, number, unknown.num_rows, names, sites)


def resolve_unknown(db: Database) -> int:
    """Count use that was kept by name for the datasets and sites that are known by now; returns the number of rows."""
    with db.begin() as connection:
        _lock(connection)
        return sum(connection.execute(text(statement)).rowcount for statement in _RESOLVE_UNKNOWN)


def prune_unknown(db: Database, keep_days: int) -> int:
    """Forget use kept by name that is older than ``keep_days`` before the newest aggregated day; returns how many rows.

    Measured by the days, not by the clock: a backfill must not depend on when it is made.
    """
    with db.begin() as connection:
        return connection.execute(text(_PRUNE), {"keep_days": keep_days}).rowcount


def _lock(connection: Connection) -> None:
    """One day at a time: what two of them find unknown must be counted once."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('dynamo_ops.popularity.aggregate'))"))


def _unknown(connection: Connection, name: str) -> list[str]:
    known = "site_id" if name == "site" else "dataset_id"
    sql = f"SELECT DISTINCT {name} FROM told_use WHERE {known} IS NULL AND {name} IS NOT NULL ORDER BY 1 LIMIT {SHOWN}"
    return list(connection.execute(text(sql)).scalars())


_CLEAR = {
    "accesses": (
        "DELETE FROM accesses_daily WHERE day = :day AND source = :source",
        "DELETE FROM unknown_use WHERE day = :day AND source = :source AND kind = :kind",
    ),
    "demand": (
        "DELETE FROM demand_daily WHERE day = :day AND source = :source",
        "DELETE FROM unknown_use WHERE day = :day AND source = :source AND kind = :kind",
    ),
}

_FILE = "files AS f ON md5(f.lfn)::uuid = md5(t.lfn)::uuid LEFT JOIN blocks AS b ON b.id = f.block_id"

# Names are told many times over, so they are looked up once each. ``site_id`` -1: jobs have no site.
_RESOLVE = {
    "accesses": f"""
        CREATE TEMPORARY TABLE told_use ON COMMIT DROP AS
        WITH told AS (
            SELECT dataset, lfn, site, sum(num_accesses)::bigint AS number FROM staged_accesses
            WHERE run_key = :run_key AND source = :source AND day = :day GROUP BY 1, 2, 3),
        by_file AS (
            SELECT t.lfn, b.dataset_id FROM (SELECT DISTINCT lfn FROM told WHERE lfn IS NOT NULL) AS t
            LEFT JOIN {_FILE})
        SELECT t.dataset, t.lfn, t.site, t.number, coalesce(d.id, f.dataset_id) AS dataset_id, s.id AS site_id
        FROM told AS t LEFT JOIN datasets AS d ON d.name = t.dataset LEFT JOIN by_file AS f ON f.lfn = t.lfn
        LEFT JOIN sites AS s ON s.name = t.site""",
    "demand": """
        CREATE TEMPORARY TABLE told_use ON COMMIT DROP AS
        SELECT t.dataset, NULL::text AS lfn, NULL::text AS site, t.number, d.id AS dataset_id, -1 AS site_id
        FROM (SELECT dataset, sum(num_jobs)::bigint AS number FROM staged_demand
              WHERE run_key = :run_key AND source = :source AND day = :day GROUP BY 1) AS t
        LEFT JOIN datasets AS d ON d.name = t.dataset""",
}

_INSERT = {
    "accesses": """
        WITH inserted AS (
            INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
            SELECT :day, :source, dataset_id, site_id, sum(number)::bigint FROM told_use
            WHERE dataset_id IS NOT NULL AND site_id IS NOT NULL GROUP BY 3, 4
            RETURNING num_accesses)
        SELECT count(*), coalesce(sum(num_accesses), 0)::bigint FROM inserted""",
    "demand": """
        WITH inserted AS (
            INSERT INTO demand_daily (day, source, dataset_id, num_jobs)
            SELECT :day, :source, dataset_id, number FROM told_use WHERE dataset_id IS NOT NULL
            RETURNING num_jobs)
        SELECT count(*), coalesce(sum(num_jobs), 0)::bigint FROM inserted""",
}

_KEEP_UNKNOWN = """
    WITH kept AS (
        INSERT INTO unknown_use (day, source, kind, dataset, lfn, site, number)
        SELECT :day, :source, :kind, dataset, lfn, site, number FROM told_use
        WHERE dataset_id IS NULL OR site_id IS NULL
        RETURNING 1)
    SELECT count(*) AS num_rows FROM kept"""

_NOTE_DAY = """
    INSERT INTO aggregated_days (day, source, kind, num_told, fingerprint, aggregated_at)
    SELECT :day, :source, :kind, coalesce(sum(number), 0)::bigint, :fingerprint, now() FROM told_use
    ON CONFLICT (day, source, kind) DO UPDATE
    SET num_told = excluded.num_told, fingerprint = excluded.fingerprint, aggregated_at = now()"""

_RESOLVE_UNKNOWN = (
    f"""
    WITH known AS (
        DELETE FROM unknown_use AS u USING (
            SELECT t.id, coalesce(d.id, b.dataset_id) AS dataset_id, s.id AS site_id
            FROM unknown_use AS t JOIN sites AS s ON s.name = t.site
            LEFT JOIN datasets AS d ON d.name = t.dataset LEFT JOIN {_FILE}
            WHERE t.kind = 'accesses') AS k
        WHERE u.id = k.id AND k.dataset_id IS NOT NULL
        RETURNING u.day, u.source, k.dataset_id, k.site_id, u.number)
    INSERT INTO accesses_daily AS old (day, source, dataset_id, site_id, num_accesses)
    SELECT day, source, dataset_id, site_id, sum(number)::bigint FROM known GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, source, dataset_id, site_id) DO UPDATE
    SET num_accesses = old.num_accesses + excluded.num_accesses""",
    """
    WITH known AS (
        DELETE FROM unknown_use AS u USING datasets AS d
        WHERE u.kind = 'demand' AND d.name = u.dataset
        RETURNING u.day, u.source, d.id AS dataset_id, u.number)
    INSERT INTO demand_daily AS old (day, source, dataset_id, num_jobs)
    SELECT day, source, dataset_id, sum(number)::bigint FROM known GROUP BY 1, 2, 3
    ON CONFLICT (day, source, dataset_id) DO UPDATE SET num_jobs = old.num_jobs + excluded.num_jobs""",
)

_PRUNE = """
    DELETE FROM unknown_use AS u USING (SELECT max(day) AS day FROM aggregated_days) AS newest
    WHERE u.day < newest.day - CAST(:keep_days AS integer)"""
