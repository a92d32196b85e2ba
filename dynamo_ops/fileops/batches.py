"""Queued copy wishes → FTS jobs: taken fairly, given a source, cut into batches, recorded before any submit."""

from __future__ import annotations

from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.fileops.fts.identity import FtsIdentity
from dynamo_ops.fileops.fts.job import choose_sid
from dynamo_ops.fileops.hold import OPEN_DELETIONS, OPEN_TRANSFERS
from dynamo_ops.fileops.limits import DEFAULT_TRANSFER_LIMITS, TransferLimits
from dynamo_ops.fileops.rows import read_rows
from dynamo_ops.fileops.sources import CANDIDATES, CANDIDATES_SQL, LOADS, LOADS_SQL, choose_sources, unreachable
from dynamo_ops.fileops.states import QUEUED_SUBSCRIPTIONS, sql_list
from dynamo_ops.inventory.database import Database, insert_frame

WISHES = {
    "subscription_id": pl.Int64,
    "site_id": pl.Int64,
    "size_bytes": pl.Int64,
    "num_attempts": pl.Int64,
    "created_at": pl.Datetime("us", "UTC"),
}

# Oldest first at each destination, destinations in turn; nothing that is still being copied there or deleted there.
QUEUE_SQL = f"""
    CREATE TEMPORARY TABLE queue ON COMMIT DROP AS
    WITH taken AS (
      SELECT q.*, row_number() OVER (PARTITION BY q.site_id ORDER BY q.created_at, q.subscription_id) AS turn
      FROM (SELECT d.id, greatest(0, :per_site - count(b.site_id)) AS room
            FROM sites d LEFT JOIN busy b ON b.site_id = d.id AND b.is_transfer
            WHERE d.status = 'ready' GROUP BY d.id) d
      CROSS JOIN LATERAL (
        SELECT s.id AS subscription_id, s.file_id, s.site_id, s.num_attempts, s.created_at FROM subscriptions s
        WHERE s.action = 'copy' AND s.site_id = d.id AND s.state IN ({sql_list(QUEUED_SUBSCRIPTIONS)})
          AND (s.num_attempts = 0 OR s.updated_at <= now() - interval '1 second'
               * least(:backoff * power(2, least(s.num_attempts - 1, 20)), :max_backoff))
          AND NOT EXISTS (SELECT FROM busy b WHERE b.file_id = s.file_id AND b.site_id = s.site_id)
        ORDER BY s.created_at, s.id LIMIT least(d.room, :per_cycle) FOR UPDATE OF s SKIP LOCKED) q)
    SELECT * FROM taken ORDER BY turn, created_at, subscription_id LIMIT :per_cycle
"""


def plan_batches(db: Database, identity: FtsIdentity, limits: TransferLimits = DEFAULT_TRANSFER_LIMITS) -> list[int]:
    """Take queued copy wishes and record the jobs to submit for them, one transaction. Returns the new batches' ids.

    Run again after a kill it takes up what is still queued; batches recorded before are found by ``recover``.
    """
    with db.begin() as connection:
        wishes = _take(connection, limits)
        if wishes.is_empty():
            return []
        candidates = read_rows(connection, CANDIDATES_SQL, CANDIDATES, {"protocols": list(limits.protocols)})
        loads = read_rows(connection, LOADS_SQL, LOADS)
        _refuse(connection, unreachable(candidates))
        chosen = choose_sources(candidates, loads, wishes.select("subscription_id", "num_attempts"))
        transfers = make_batches(wishes.join(chosen, on="subscription_id"), limits.files_per_job)
        return _record(connection, transfers, identity)


def make_batches(chosen: pl.DataFrame, files_per_job: int) -> pl.DataFrame:
    """Cut wishes with their sources into jobs: the rows of ``chosen`` with ``batch`` (0, 1, …) and ``file_index``.

    A job has one destination; what must be staged goes apart, by tape site. Oldest wishes come first in a job, and jobs
    are numbered by destination in turn, so that the first jobs serve every destination.
    """
    group = ["site_id", "is_tape", "tape_site_id"]
    rows = (
        chosen.with_columns(tape_site_id=pl.when("is_tape").then("source_site_id"))
        .sort(*group, "created_at", "subscription_id")
        .with_columns(position=pl.int_range(pl.len()).over(group))
        .with_columns(part=pl.col("position") // files_per_job, file_index=pl.col("position") % files_per_job)
    )
    return (
        rows.sort("part", *group, "file_index")
        .with_columns(batch=pl.struct("part", *group).rle_id().cast(pl.Int64))
        .drop("position", "part", "tape_site_id")
    )


def _take(connection: Connection, limits: TransferLimits) -> pl.DataFrame:
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE busy ON COMMIT DROP AS
        SELECT file_id, site_id, true AS is_transfer FROM {OPEN_TRANSFERS} t
        UNION ALL SELECT file_id, site_id, false FROM {OPEN_DELETIONS} d""")
    )
    connection.execute(text("CREATE INDEX ON busy (file_id, site_id)"))
    connection.execute(text("ANALYZE busy"))
    connection.execute(
        text(QUEUE_SQL),
        {
            "per_site": limits.files_to_site,
            "per_cycle": limits.files_per_cycle,
            "backoff": limits.backoff.total_seconds(),
            "max_backoff": limits.max_backoff.total_seconds(),
        },
    )
    connection.execute(text("ANALYZE queue"))
    return read_rows(
        connection,
        """
        SELECT q.subscription_id, q.site_id, f.size_bytes, q.num_attempts, q.created_at
        FROM queue q JOIN files f ON f.id = q.file_id""",
        WISHES,
    )


def _refuse(connection: Connection, subscription_ids: list[int]) -> None:
    if subscription_ids:
        connection.execute(
            text("""
            UPDATE subscriptions SET state = 'held', hold_reason = 'refused', updated_at = now(),
                last_error = 'no site that has the file shares a transfer protocol with the destination'
            WHERE id = ANY(:ids)"""),
            {"ids": subscription_ids},
        )


def _record(connection: Connection, transfers: pl.DataFrame, identity: FtsIdentity) -> list[int]:
    """Store batches, their transfers and the wishes' state. ``sid`` and job id are fixed here, before any submit."""
    jobs = [_job(rows, identity) for _, rows in transfers.group_by("batch", maintain_order=True)]
    if not jobs:
        return []
    ids = (
        connection.execute(
            text("SELECT nextval(pg_get_serial_sequence('transfer_batches', 'id')) FROM generate_series(1, :n)"),
            {"n": len(jobs)},
        )
        .scalars()
        .all()
    )
    insert_frame(connection, "transfer_batches", pl.DataFrame(jobs).with_columns(id=pl.Series(ids, dtype=pl.Int64)))
    numbered = transfers.with_columns(batch_id=pl.Series(ids, dtype=pl.Int64).gather(transfers["batch"]))
    insert_frame(
        connection,
        "transfers",
        numbered.select("batch_id", "subscription_id", "file_index", "source_site_id", "size_bytes"),
    )
    connection.execute(
        text("""
        UPDATE subscriptions s SET state = 'inbatch', num_attempts = s.num_attempts + 1, updated_at = now()
        FROM transfers t WHERE t.batch_id = ANY(:ids) AND s.id = t.subscription_id"""),
        {"ids": list(ids)},
    )
    return list(ids)


def _job(rows: pl.DataFrame, identity: FtsIdentity) -> dict[str, Any]:
    """One row of ``transfer_batches``. The age of the oldest wish tells one inventory from another at the same FTS."""
    attempts = rows.select("subscription_id", pl.col("num_attempts") + 1).iter_rows()
    sid = choose_sid(attempts, salt=str(rows["created_at"].min()))
    return {
        "sid": sid,
        "job_id": str(identity.job_id(sid)),
        "site_id": rows["site_id"][0],
        "is_staging": rows["is_tape"][0],
    }
