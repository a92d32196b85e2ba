"""Sums of what is where, by dataset, site and owner: kept, so that nobody adds up block replicas to answer a question
(docs/decisions/0022-usage-is-kept.md).

Triggers note each change of a block replica, and of a block's size, in the transaction that makes it: rows are only
inserted, so that nobody waits for anybody. ``fold`` takes the notes into the sums, one at a time. Who reads ``USAGE``
sees the sums and what the notes not yet folded mean: as of one moment, the same as a recount.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import date

from sqlalchemy import Connection, text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.database.within import Within

log = logging.getLogger(__name__)

NOBODY = 0
"""The owner of what nobody owns, in ``usage_now``."""
FOLDING = "usage"
FIGURES = ("num_blocks", "num_complete", "size_bytes", "projected_bytes")
_SUMS = ", ".join(f"sum({name})::bigint" for name in FIGURES)

# What a note means is worked out from the state now: as it was before is now less what the notes say. A block's size
# and the groups that own it can so be changed by two transactions at once without either knowing of the other.
# OFFSET 0: by the primary keys, block by block. The planner, left to itself, reads all blocks for some thousand notes.
# The CAST: of another type than in the sums, a condition on the group would not reach their index.
_MOVED = """
    WITH changed AS (
        SELECT block_id, dataset_id, site_id, group_id, sum(num_blocks)::bigint AS num_blocks,
               sum(num_complete)::bigint AS num_complete, sum(size_bytes)::bigint AS size_bytes
        FROM usage_changes GROUP BY block_id, dataset_id, site_id, group_id),
    resized AS (
        SELECT block_id, sum(size_bytes)::bigint AS size_bytes FROM usage_block_changes GROUP BY block_id),
    touched AS (
        SELECT named.block_id, coalesce(block.size_bytes, 0) AS size_now,
               coalesce(block.size_bytes, 0) - coalesce(resized.size_bytes, 0) AS size_before
        FROM (SELECT block_id FROM changed UNION SELECT block_id FROM resized) AS named
        LEFT JOIN LATERAL (
            SELECT size_bytes FROM blocks AS stored WHERE stored.id = named.block_id OFFSET 0) AS block ON true
        LEFT JOIN resized ON resized.block_id = named.block_id),
    moved AS (
        SELECT block_id, dataset_id, site_id, group_id, sum(num_now)::bigint AS num_now,
               sum(num_now - num_blocks)::bigint AS num_before, sum(num_complete)::bigint AS num_complete,
               sum(size_bytes)::bigint AS size_bytes
        FROM (SELECT block_id, dataset_id, site_id, group_id, 0 AS num_now, num_blocks, num_complete, size_bytes
              FROM changed
              UNION ALL
              SELECT touched.block_id, replica.dataset_id, replica.site_id, replica.group_id, 1, 0, 0, 0
              FROM touched CROSS JOIN LATERAL (
                  SELECT dataset_id, site_id, coalesce(group_id, CAST(0 AS smallint)) AS group_id
                  FROM block_replicas AS stored
                  WHERE stored.block_id = touched.block_id OFFSET 0) AS replica) AS parts
        GROUP BY block_id, dataset_id, site_id, group_id)
    SELECT moved.block_id, moved.dataset_id, moved.site_id, moved.group_id, moved.num_now, moved.num_before,
           moved.num_complete, moved.size_bytes, touched.size_now, touched.size_before
    FROM moved JOIN touched ON touched.block_id = moved.block_id"""
"""What the notes mean, by block replica: how many there are (0 or 1) and were, what else is different, and the block's
size now and before."""


def _by_replica(moved: str) -> str:
    return f"""
        SELECT dataset_id, site_id, group_id, sum(num_now - num_before)::bigint AS num_blocks,
               sum(num_complete)::bigint AS num_complete, sum(size_bytes)::bigint AS size_bytes,
               sum(num_now * size_now - num_before * size_before)::bigint AS projected_bytes
        FROM {moved} AS moved GROUP BY dataset_id, site_id, group_id"""


def _by_group(moved: str) -> str:
    return f"""
        SELECT group_id, sum(is_now - was_before)::bigint AS num_blocks,
               sum(is_now * size_now - was_before * size_before)::bigint AS size_bytes
        FROM (SELECT group_id, block_id, size_now, size_before, least(sum(num_now), 1) AS is_now,
                     least(sum(num_before), 1) AS was_before
              FROM {moved} AS moved WHERE group_id <> {NOBODY}
              GROUP BY group_id, block_id, size_now, size_before) AS owned
        GROUP BY group_id"""


USAGE = f"""(
    SELECT dataset_id, site_id, group_id, {", ".join(FIGURES)} FROM usage_now
    UNION ALL {_by_replica(f"({_MOVED})")})"""
"""(dataset_id, site_id, group_id (0: nobody), num_blocks, num_complete, size_bytes (on disk), projected_bytes (once all
has come)): to be summed up, since of one key there can be two rows."""

PLACES = f"""(
    SELECT site_id, group_id, {", ".join(FIGURES)} FROM usage_places
    UNION ALL SELECT site_id, group_id, {", ".join(FIGURES)} FROM ({_by_replica(f"({_MOVED})")}) AS noted)"""
"""The same by site and owner alone: a thousand rows, where ``USAGE`` has as many as there are replicas of datasets."""

UNIQUE = f"""(
    SELECT group_id, sum(num_blocks)::bigint AS num_blocks, sum(size_bytes)::bigint AS size_bytes FROM (
        SELECT group_id, num_blocks, size_bytes FROM usage_unique
        UNION ALL {_by_group(f"({_MOVED})")}) AS parts GROUP BY group_id)"""
"""(group_id, num_blocks, size_bytes): what a group owns somewhere, each block once, at its full size."""

_RECOUNTED = """
    SELECT replica.dataset_id, replica.site_id, coalesce(replica.group_id, 0) AS group_id, count(*) AS num_blocks,
           count(*) FILTER (WHERE replica.is_complete) AS num_complete,
           sum(replica.size_bytes)::bigint AS size_bytes, sum(block.size_bytes)::bigint AS projected_bytes
    FROM block_replicas AS replica JOIN blocks AS block ON block.id = replica.block_id
    GROUP BY replica.dataset_id, replica.site_id, coalesce(replica.group_id, 0)"""

_UNIQUE_RECOUNTED = """
    SELECT owned.group_id, count(*) AS num_blocks, sum(block.size_bytes)::bigint AS size_bytes
    FROM (SELECT DISTINCT group_id, block_id FROM block_replicas WHERE group_id IS NOT NULL) AS owned
    JOIN blocks AS block ON block.id = owned.block_id GROUP BY owned.group_id"""

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_FORGET = ("DELETE FROM usage_changes", "DELETE FROM usage_block_changes")
_MAKE_MOVED = f"CREATE TEMPORARY TABLE moved_replicas ON COMMIT DROP AS {_MOVED}"

_ADD = f"""
    INSERT INTO usage_now AS usage (dataset_id, site_id, group_id, {", ".join(FIGURES)})
    {_by_replica("moved_replicas")} ORDER BY 1, 2, 3
    ON CONFLICT (dataset_id, site_id, group_id) DO UPDATE
    SET {", ".join(f"{name} = usage.{name} + excluded.{name}" for name in FIGURES)}"""
_ADD_PLACES = f"""
    INSERT INTO usage_places AS usage (site_id, group_id, {", ".join(FIGURES)})
    SELECT site_id, group_id, {_SUMS} FROM ({_by_replica("moved_replicas")}) AS moved
    GROUP BY site_id, group_id ORDER BY 1, 2
    ON CONFLICT (site_id, group_id) DO UPDATE
    SET {", ".join(f"{name} = usage.{name} + excluded.{name}" for name in FIGURES)}"""
_ADD_UNIQUE = f"""
    INSERT INTO usage_unique AS usage (group_id, num_blocks, size_bytes) {_by_group("moved_replicas")}
    ON CONFLICT (group_id) DO UPDATE
    SET num_blocks = usage.num_blocks + excluded.num_blocks, size_bytes = usage.size_bytes + excluded.size_bytes"""
_DROP_EMPTY = """
    DELETE FROM usage_now AS usage USING moved_replicas AS moved
    WHERE usage.dataset_id = moved.dataset_id AND usage.site_id = moved.site_id AND usage.group_id = moved.group_id
      AND usage.num_blocks = 0 AND usage.size_bytes = 0 AND usage.projected_bytes = 0 AND usage.num_complete = 0"""

_REPLACE = (
    "DELETE FROM usage_now",
    "DELETE FROM usage_places",
    "DELETE FROM usage_unique",
    f"INSERT INTO usage_now (dataset_id, site_id, group_id, {', '.join(FIGURES)}) {_RECOUNTED}",
    f"""INSERT INTO usage_places (site_id, group_id, {", ".join(FIGURES)})
        SELECT site_id, group_id, {_SUMS} FROM usage_now GROUP BY site_id, group_id""",
    f"INSERT INTO usage_unique (group_id, num_blocks, size_bytes) {_UNIQUE_RECOUNTED}",
)


def tier(dataset: str) -> str:
    """The last part of a dataset's name, ``AOD`` of ``/A/B-v1/AOD``: what kind of data it has."""
    return f"substring({dataset}.name FROM '[^/]*$')"


_RECORD_DAY = f"""
    INSERT INTO usage_daily (day, site_id, group_id, status, tier, {", ".join(FIGURES)})
    SELECT CAST(:day AS date), usage.site_id, usage.group_id, dataset.status, {tier("dataset")},
           {", ".join(f"sum(usage.{name})::bigint" for name in FIGURES)}
    FROM {USAGE} AS usage JOIN datasets AS dataset ON dataset.id = usage.dataset_id
    GROUP BY 2, 3, 4, 5 HAVING sum(usage.num_blocks) <> 0"""

_WRONG = f"""
    SELECT count(*) AS num_wrong, coalesce(sum(abs(wrong_bytes)), 0)::bigint AS wrong_bytes FROM (
        SELECT sum(size_bytes) AS wrong_bytes
        FROM (SELECT dataset_id, site_id, group_id, {", ".join(FIGURES)} FROM {USAGE} AS kept
              UNION ALL SELECT dataset_id, site_id, group_id, {", ".join(f"-{name}" for name in FIGURES)}
              FROM ({_RECOUNTED}) AS counted) AS compared
        GROUP BY dataset_id, site_id, group_id
        HAVING {" OR ".join(f"sum({name}) <> 0" for name in FIGURES)}) AS wrong"""
_WRONG_PLACES = f"""
    SELECT count(*) FROM (
        SELECT FROM (SELECT site_id, group_id, {", ".join(FIGURES)} FROM {PLACES} AS kept
                     UNION ALL SELECT site_id, group_id, {", ".join(f"-{name}" for name in FIGURES)}
                     FROM {USAGE} AS summed) AS compared
        GROUP BY site_id, group_id HAVING {" OR ".join(f"sum({name}) <> 0" for name in FIGURES)}) AS wrong"""
_WRONG_UNIQUE = f"""
    SELECT count(*) FROM (
        SELECT FROM (SELECT group_id, num_blocks, size_bytes FROM {UNIQUE} AS kept
                     UNION ALL SELECT group_id, -num_blocks, -size_bytes
                     FROM ({_UNIQUE_RECOUNTED}) AS counted) AS compared
        GROUP BY group_id HAVING sum(num_blocks) <> 0 OR sum(size_bytes) <> 0) AS wrong"""


@dataclass(frozen=True)
class UsageCheck:
    """Sums that a recount did not confirm, and that are mended: of dataset, site and owner, of site and owner, and of
    unique data of groups. ``wrong_bytes``: by how much bytes on disk were off, in all."""

    num_wrong: int
    num_wrong_places: int
    num_wrong_groups: int
    wrong_bytes: int


@span("usage.fold")
def fold(database: Database) -> int:
    """Take what was noted into the sums. Returns how many notes that were; 0 also where another one folds just now.
    Nothing depends on it but how long a read of ``USAGE`` takes. Within a transaction of somebody else: the next one
    does it."""
    if isinstance(database, Within):
        return 0
    with alone(database, FOLDING) as mine:
        if mine is None:
            return 0
        with database.begin() as connection:
            connection.execute(text(_SNAPSHOT))
            connection.execute(text(_MAKE_MOVED))
            connection.execute(text("ANALYZE moved_replicas"))
            for statement in (_ADD, _ADD_PLACES, _ADD_UNIQUE, _DROP_EMPTY):
                connection.execute(text(statement))
            number = sum(connection.execute(text(statement)).rowcount for statement in _FORGET)
        if number:  # else the planner goes by what was there before
            database.alone_in_its_transaction("VACUUM (ANALYZE) usage_changes, usage_block_changes")
    return number


def check(database: Database) -> UsageCheck | None:
    """Compare the sums with a recount of everything, as of one moment, and replace them where one is wrong. None:
    another one folds or checks just now."""
    with alone(database, FOLDING) as mine:
        if mine is None:
            return None
        with database.begin() as connection:
            connection.execute(text(_SNAPSHOT))
            wrong = connection.execute(text(_WRONG)).one()
            num_wrong_places: int = connection.execute(text(_WRONG_PLACES)).scalar_one()
            num_wrong_groups: int = connection.execute(text(_WRONG_UNIQUE)).scalar_one()
            if wrong.num_wrong or num_wrong_places or num_wrong_groups:
                _replace(connection)
    return UsageCheck(int(wrong.num_wrong), num_wrong_places, num_wrong_groups, int(wrong.wrong_bytes))


def record_day(database: Database, day: date) -> int:
    """What is there now is what ``usage_daily`` has for that day from now on. Returns the number of its rows."""
    with database.begin() as connection:
        connection.execute(text("DELETE FROM usage_daily WHERE day = :day"), {"day": day})
        return connection.execute(text(_RECORD_DAY), {"day": day}).rowcount


def keep(database: Database, day: date) -> dict[str, int]:
    """The nightly chore: fold, check, mend, and record the day. Returns what was wrong, and how many rows the day has.
    Nothing ought to be wrong: what is, is logged as a warning."""
    fold(database)
    checked = check(database)
    if checked is not None and (checked.num_wrong or checked.num_wrong_places or checked.num_wrong_groups):
        log.warning(
            "sums of usage were wrong and are mended: %d of a dataset at a site, by %d bytes on disk; %d of a site and "
            "an owner; of %d groups",
            checked.num_wrong,
            checked.wrong_bytes,
            checked.num_wrong_places,
            checked.num_wrong_groups,
        )
    return {**(asdict(checked) if checked else {}), "num_rows_of_day": record_day(database, day)}


def prune(database: Database, *, before: date) -> int:
    """Remove the days before this one. Returns the number of rows."""
    with database.begin() as connection:
        return connection.execute(text("DELETE FROM usage_daily WHERE day < :day"), {"day": before}).rowcount


def _replace(connection: Connection) -> None:
    for statement in (*_REPLACE, *_FORGET):
        connection.execute(text(statement))
