"""From staged accesses and jobs to days: a day of a source is replaced as a whole, so that it can be pulled again.

What the inventory does not know yet is kept by name (``unknown_use``) and looked at again by every later aggregation:
so it makes no difference whether a dataset comes into the inventory before its accesses or after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.inventory.staging.pull import staged_pull

SHOWN = 5


@dataclass(frozen=True)
class DaySummary:
    """What a day of a source came to: rows kept, what they sum up to, staged rows of things that nobody knows (yet).

    ``number``: accesses, or jobs. Some of the unknown names are given. ``is_outdated``: the day is from an answer that
    was asked for later, and was left as it is.
    """

    num_rows: int
    number: int
    num_unknown: int
    unknown_names: list[str]
    unknown_sites: list[str]
    is_outdated: bool = False


@span("popularity.replace_day")
def replace_day(db: Database, run_key: str, day: date, source: str, kind: str = PullKind.ACCESSES) -> DaySummary:
    """Make what (run_key, source) staged of ``day`` the use of that day, in one transaction.

    Two runs may pull the same day at once (a late day and its backfill): the answer that was asked for last stays.
    A pull without rows is a day without use: the gate is asked before whether that can be. Raises InventoryError if
    there was no pull.
    """
    key: dict[str, Any] = {"run_key": run_key, "source": source, "day": day, "kind": kind}
    with db.begin() as connection:
        hold(connection, Lock.DAYS)
        hold(connection, Lock.INVENTORY, shared=True)
        pull = staged_pull(connection, run_key, source, kind)
        key |= {"fingerprint": pull.fingerprint, "asked_at": pull.asked_at}
        if connection.execute(text(_NEWER), key).scalar_one():
            return DaySummary(0, 0, 0, [], [], is_outdated=True)
        if connection.execute(text(_FOLDED), key).scalar_one():
            raise InventoryError(
                f"the use of {day} of {source!r} is older than keep.accesses_days, and was folded into sums: it cannot"
                " be pulled anew",
                source=source,
                day=day,
            )
        for statement in _CLEAR[kind]:
            connection.execute(text(statement), key)
        for statement in _RESOLVE[kind]:
            connection.execute(text(statement), key)
        num_rows, number = connection.execute(text(_INSERT[kind]), key).one()
        unknown = connection.execute(text(_KEEP_UNKNOWN), key).one()
        connection.execute(text(_NOTE_DAY), key)
        names, sites = (_unknown(connection, column) for column in ("coalesce(dataset, lfn)", "site"))
        connection.execute(text("DROP TABLE told_use"))
    return DaySummary(num_rows, number, unknown.num_rows, names, sites)


@span("popularity.resolve_unknown")
def resolve_unknown(db: Database) -> int:
    """Count use that was kept by name for what is known by now; returns how many rows of days that changed.

    Of files and sites only those are looked at that are newer than the last look: most of what is unknown is somebody
    else's for ever.
    """
    with db.begin() as connection:
        hold(connection, Lock.DAYS)
        hold(connection, Lock.INVENTORY, shared=True)
        seen = connection.execute(text("SELECT file_id, site_id FROM use_resolved")).one_or_none()
        key = {"file_id": seen.file_id if seen else 0, "site_id": seen.site_id if seen else 0}
        resolved = sum(connection.execute(text(statement), key).rowcount for statement in _RESOLVE_UNKNOWN)
        connection.execute(text(_NOTE_RESOLVED))
    return resolved


def prune_unknown(db: Database, keep_days: int) -> int:
    """Forget use kept by name that is older than ``keep_days`` before the newest aggregated day; returns how many rows.

    Measured by the days, not by the clock: a backfill must not depend on when it is made.
    """
    with db.begin() as connection:
        return connection.execute(text(_PRUNE), {"keep_days": keep_days}).rowcount


def _unknown(connection: Connection, name: str) -> list[str]:
    key = "site_id" if name == "site" else "dataset_id"
    sql = f"SELECT DISTINCT {name} FROM told_use WHERE {key} IS NULL AND {name} IS NOT NULL ORDER BY 1 LIMIT {SHOWN}"
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

_FILE = "files AS f ON md5(f.lfn)::uuid = md5(t.lfn)::uuid"

# Names come many times over, so they are looked up once each, with statistics: a few names must not make PostgreSQL
# read all files. ``site_id`` -1: jobs have no site.
_RESOLVE = {
    "accesses": (
        "SET LOCAL random_page_cost = 1.1",
        """
        CREATE TEMPORARY TABLE told_sums ON COMMIT DROP AS
        SELECT dataset, lfn, site, sum(num_accesses)::bigint AS number FROM staged_accesses
        WHERE run_key = :run_key AND source = :source AND day = :day GROUP BY 1, 2, 3""",
        "CREATE TEMPORARY TABLE told_files ON COMMIT DROP AS SELECT DISTINCT lfn FROM told_sums WHERE lfn IS NOT NULL",
        "ANALYZE told_sums, told_files",
        f"""
        CREATE TEMPORARY TABLE known_files ON COMMIT DROP AS
        SELECT t.lfn, b.dataset_id FROM told_files AS t JOIN {_FILE} JOIN blocks AS b ON b.id = f.block_id""",
        """
        CREATE TEMPORARY TABLE told_use ON COMMIT DROP AS
        SELECT t.dataset, t.lfn, t.site, t.number, coalesce(d.id, f.dataset_id) AS dataset_id, s.id AS site_id
        FROM told_sums AS t LEFT JOIN datasets AS d ON d.name = t.dataset LEFT JOIN known_files AS f ON f.lfn = t.lfn
        LEFT JOIN sites AS s ON s.name = t.site""",
        "DROP TABLE told_sums, told_files, known_files",
    ),
    "demand": (
        """
        CREATE TEMPORARY TABLE told_use ON COMMIT DROP AS
        SELECT t.dataset, NULL::text AS lfn, NULL::text AS site, t.number, d.id AS dataset_id, -1 AS site_id
        FROM (SELECT dataset, sum(num_jobs)::bigint AS number FROM staged_demand
              WHERE run_key = :run_key AND source = :source AND day = :day GROUP BY 1) AS t
        LEFT JOIN datasets AS d ON d.name = t.dataset""",
    ),
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

_NEWER = """
    SELECT EXISTS (SELECT FROM aggregated_days
                   WHERE day = :day AND source = :source AND kind = :kind AND asked_at > :asked_at)"""

_FOLDED = """
    SELECT EXISTS (SELECT FROM aggregated_days
                   WHERE day = :day AND source = :source AND kind = :kind AND is_folded IS NOT NULL)"""

_NOTE_DAY = """
    INSERT INTO aggregated_days AS old (day, source, kind, num_told, most_told, fingerprint, asked_at, aggregated_at)
    SELECT :day, :source, :kind, told, told, :fingerprint, :asked_at, now()
    FROM (SELECT coalesce(sum(number), 0)::bigint AS told FROM told_use) AS t
    ON CONFLICT (day, source, kind) DO UPDATE
    SET num_told = excluded.num_told, most_told = greatest(old.most_told, excluded.num_told),
        fingerprint = excluded.fingerprint, asked_at = excluded.asked_at, aggregated_at = now()"""

_COUNT_KNOWN = """
    WITH known AS (
        DELETE FROM unknown_use AS u USING ({known}) AS k WHERE u.id = k.id
        RETURNING u.day, u.source, k.dataset_id, k.site_id, u.number)
    INSERT INTO accesses_daily AS old (day, source, dataset_id, site_id, num_accesses)
    SELECT day, source, dataset_id, site_id, sum(number)::bigint FROM known GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, source, dataset_id, site_id) DO UPDATE
    SET num_accesses = old.num_accesses + excluded.num_accesses"""

_BY_FILE = f"""
    SELECT t.id, b.dataset_id, s.id AS site_id FROM unknown_use AS t JOIN {_FILE} JOIN blocks AS b ON b.id = f.block_id
    JOIN sites AS s ON s.name = t.site WHERE t.kind = '{PullKind.ACCESSES}' AND t.lfn IS NOT NULL"""

_RESOLVE_UNKNOWN = (
    _COUNT_KNOWN.format(
        known=f"""
        SELECT t.id, d.id AS dataset_id, s.id AS site_id FROM unknown_use AS t JOIN datasets AS d ON d.name = t.dataset
        JOIN sites AS s ON s.name = t.site WHERE t.kind = '{PullKind.ACCESSES}'"""
    ),
    _COUNT_KNOWN.format(known=f"{_BY_FILE} AND f.id > :file_id"),
    _COUNT_KNOWN.format(known=f"{_BY_FILE} AND s.id > :site_id"),
    f"""
    WITH known AS (
        DELETE FROM unknown_use AS u USING datasets AS d
        WHERE u.kind = '{PullKind.DEMAND}' AND d.name = u.dataset
        RETURNING u.day, u.source, d.id AS dataset_id, u.number)
    INSERT INTO demand_daily AS old (day, source, dataset_id, num_jobs)
    SELECT day, source, dataset_id, sum(number)::bigint FROM known GROUP BY 1, 2, 3
    ON CONFLICT (day, source, dataset_id) DO UPDATE SET num_jobs = old.num_jobs + excluded.num_jobs""",
)

# Files get their ids under the lock of the inventory, so that none that comes later has a smaller one.
_NOTE_RESOLVED = """
    INSERT INTO use_resolved (id, file_id, site_id)
    SELECT 1, coalesce((SELECT max(id) FROM files), 0), coalesce((SELECT max(id) FROM sites), 0)
    ON CONFLICT (id) DO UPDATE SET file_id = excluded.file_id, site_id = excluded.site_id"""

_PRUNE = """
    DELETE FROM unknown_use AS u USING (SELECT max(day) AS day FROM aggregated_days) AS newest
    WHERE u.day < newest.day - CAST(:keep_days AS integer)"""
