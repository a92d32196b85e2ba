"""Deletions, one function a task: recover_deletions → plan_deletions → execute_batch → clean_directories.

FTS deletes nothing any more (FTS_CONTRACT §8): each site's storage protocol does. A batch belongs to one site; outcomes
are recorded and applied to the inventory in chunks, so that a killed task loses at most one chunk's record, and a
repeated DELETE of what is gone is a success.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.errors import InventoryError
from dynamo_ops.fileops import replicas
from dynamo_ops.fileops.alone import alone
from dynamo_ops.fileops.hold import OPEN_TRANSFERS
from dynamo_ops.fileops.limits import DEFAULT_DELETION_LIMITS, DeletionLimits
from dynamo_ops.fileops.sites import WRITABLE
from dynamo_ops.fileops.states import (
    DELETION_MOVES,
    DELETION_OUTCOMES,
    QUEUED_SUBSCRIPTIONS,
    SUBSCRIPTION_MOVES,
    DeletionObservation,
    DeletionState,
    SubscriptionEvent,
    SubscriptionState,
    sql_list,
)
from dynamo_ops.fileops.storage import DeletionOutcome, Storage
from dynamo_ops.fileops.storage.registry import SiteStorage
from dynamo_ops.inventory.database import Database, insert_frame

# Oldest first at each ready site. A file waits while FTS may be writing it there, or reading it from there, and while
# it is the last source of a copy that is wished for elsewhere.
LAST_SOURCE = """(EXISTS (
    SELECT FROM subscriptions c WHERE c.file_id = s.file_id AND c.site_id <> s.site_id
      AND c.action = 'copy' AND (c.state IN ('new', 'inbatch', 'retry')
        OR c.state = 'held' AND c.hold_reason IN ('site_unavailable', 'operator')))
  AND NOT EXISTS (
    SELECT FROM files f JOIN block_replicas r ON r.block_id = f.block_id AND r.site_id <> s.site_id
    WHERE f.id = s.file_id AND (r.is_complete OR EXISTS (SELECT FROM block_replica_files p
            WHERE p.block_id = r.block_id AND p.site_id = r.site_id AND p.file_id = f.id))
      AND NOT EXISTS (SELECT FROM subscriptions g WHERE g.file_id = f.id AND g.site_id = r.site_id
            AND g.action = 'delete' AND g.state IN ('new', 'inbatch', 'retry', 'held'))))"""
QUEUE_SQL = f"""
    CREATE TEMPORARY TABLE queue ON COMMIT DROP AS
    WITH taken AS (
      SELECT q.*, row_number() OVER (PARTITION BY q.site_id ORDER BY q.created_at, q.subscription_id) AS turn
      FROM sites d CROSS JOIN LATERAL (
        SELECT s.id AS subscription_id, s.file_id, s.site_id, s.created_at FROM subscriptions s
        WHERE s.action = 'delete' AND s.site_id = d.id AND s.state IN ({sql_list(QUEUED_SUBSCRIPTIONS)})
          AND (s.num_attempts = 0 OR s.updated_at <= now() - interval '1 second'
               * least(:backoff * power(2, least(s.num_attempts - 1, 20)), :max_backoff))
          AND NOT EXISTS (SELECT FROM busy b WHERE b.file_id = s.file_id AND b.site_id = s.site_id)
          AND NOT {LAST_SOURCE}
        ORDER BY s.created_at, s.id LIMIT :per_site FOR UPDATE OF s SKIP LOCKED) q
      WHERE d.id IN {WRITABLE})
    SELECT * FROM taken ORDER BY turn, created_at, subscription_id LIMIT :per_cycle
"""


@dataclass(frozen=True)
class DeletionSummary:
    """One batch: files deleted, found gone already, failed for now, refused for good (held); bytes that went."""

    batch_id: int
    site_id: int
    num_deleted: int = 0
    num_gone: int = 0
    num_failed: int = 0
    num_refused: int = 0
    bytes_deleted: int = 0
    num_replicas_removed: int = 0


@dataclass(frozen=True)
class RecoverDeletionsSummary:
    """``unfinished``: batches of an earlier run still to be executed. ``num_freed``: wishes that were in no batch."""

    unfinished: list[int]
    num_freed: int


def recover_deletions(db: Database) -> RecoverDeletionsSummary:
    """Find batches that an earlier run planned and did not finish, and free wishes stuck in no batch."""
    with db.begin() as connection:
        freed = connection.execute(
            text("""
            UPDATE subscriptions s SET state = 'retry', updated_at = now()
            WHERE s.action = 'delete' AND s.state = 'inbatch' AND NOT EXISTS (
              SELECT FROM deletions d WHERE d.subscription_id = s.id AND d.state = 'planned')""")
        ).rowcount
        unfinished = connection.execute(
            text(f"SELECT id FROM deletion_batches WHERE state = 'planned' AND site_id IN {WRITABLE} ORDER BY id")
        )
        return RecoverDeletionsSummary(list(unfinished.scalars()), freed)


def plan_deletions(db: Database, limits: DeletionLimits = DEFAULT_DELETION_LIMITS) -> list[int]:
    """Take queued delete wishes into batches, each of one site. Returns the new batches' ids."""
    with db.begin() as connection:
        _take(connection, limits)
        cut = connection.execute(
            text("""
            CREATE TEMPORARY TABLE cut ON COMMIT DROP AS
            SELECT subscription_id, file_id, site_id, (row_number() OVER (PARTITION BY site_id
                   ORDER BY created_at, subscription_id) - 1) / :size AS part FROM queue"""),
            {"size": limits.files_per_batch},
        )
        if cut.rowcount == 0:
            return []
        connection.execute(
            text("""
            CREATE TEMPORARY TABLE numbered ON COMMIT DROP AS
            SELECT site_id, part, nextval(pg_get_serial_sequence('deletion_batches', 'id')) AS id
            FROM (SELECT DISTINCT part, site_id FROM cut ORDER BY part, site_id) p""")
        )
        connection.execute(text("INSERT INTO deletion_batches (id, site_id) SELECT id, site_id FROM numbered"))
        connection.execute(
            text("""
            INSERT INTO deletions (batch_id, subscription_id, size_bytes)
            SELECT n.id, c.subscription_id, f.size_bytes
            FROM cut c JOIN numbered n USING (site_id, part) JOIN files f ON f.id = c.file_id ORDER BY f.lfn""")
        )
        connection.execute(
            text("""
            UPDATE subscriptions s SET state = 'inbatch', num_attempts = s.num_attempts + 1, updated_at = now()
            FROM cut c WHERE s.id = c.subscription_id""")
        )
        return list(connection.execute(text("SELECT id FROM numbered ORDER BY id")).scalars())


def by_site(db: Database, batch_ids: Sequence[int]) -> list[list[int]]:
    """These batches, those of each site together."""
    with db.begin() as connection:
        rows = connection.execute(
            text("""
            SELECT array_agg(id ORDER BY id) FROM deletion_batches WHERE id = ANY(:ids) GROUP BY site_id
            ORDER BY min(id)"""),
            {"ids": list(batch_ids)},
        )
        return [list(row[0]) for row in rows]


def total(summaries: Sequence[DeletionSummary]) -> DeletionSummary:
    """The sum over batches of one site, under the number of the last."""
    names = [field.name for field in fields(DeletionSummary) if field.name not in ("batch_id", "site_id")]
    sums = {name: sum(getattr(summary, name) for summary in summaries) for name in names}
    return DeletionSummary(summaries[-1].batch_id, summaries[-1].site_id, **sums)


def _take(connection: Connection, limits: DeletionLimits) -> None:
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE busy ON COMMIT DROP AS
        SELECT file_id, site_id FROM {OPEN_TRANSFERS} t UNION SELECT file_id, source_site_id FROM {OPEN_TRANSFERS} t
        UNION SELECT file_id, unnest(other_source_site_ids) FROM {OPEN_TRANSFERS} t""")
    )
    connection.execute(text("CREATE INDEX ON busy (file_id, site_id)"))
    connection.execute(text("ANALYZE busy"))
    connection.execute(
        text(QUEUE_SQL),
        {
            "per_site": limits.files_per_site,
            "per_cycle": limits.files_per_cycle,
            "backoff": limits.backoff.total_seconds(),
            "max_backoff": limits.max_backoff.total_seconds(),
        },
    )


def execute_batch(
    db: Database, batch_id: int, open_storage: SiteStorage, limits: DeletionLimits = DEFAULT_DELETION_LIMITS
) -> DeletionSummary:
    """Delete the files of one batch and apply each chunk of outcomes. ``open_storage``: site id → storage.

    A file wished for again since the batch was planned is left alone. Run again, it goes on where it was; while another
    task is at the batch it does nothing. Raises SettingsError when the site has no usable storage, RetryableRemoteError
    when what an earlier run may have begun cannot be looked at; failures of single files are recorded, not raised.
    """
    site_id = _site_of(db, batch_id)
    total = DeletionSummary(batch_id, site_id)
    with alone(db, f"deletion batch {batch_id}") as lock:
        if lock is None:
            return total
        storage = open_storage(site_id)
        try:
            total = _add(total, _record(db, limits, _look_after(db, batch_id, limits.files_per_chunk, storage)))
            while chunk := _next_chunk(db, batch_id, limits.files_per_chunk):
                by_lfn = {row.lfn: row.deletion_id for row in chunk}
                lock.execute(text("SELECT 1"))
                outcomes = storage.delete(list(by_lfn))
                total = _add(total, _record(db, limits, [(by_lfn[o.lfn], o) for o in outcomes]))
        finally:
            storage.close()
        _finish(db, batch_id)
    return total


def _finish(db: Database, batch_id: int) -> None:
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE deletion_batches SET state = 'finished', finished_at = now()
            WHERE id = :id AND state = 'planned'"""),
            {"id": batch_id},
        )


def _look_after(db: Database, batch_id: int, size: int, storage: Storage) -> list[tuple[int, DeletionOutcome]]:
    """Outcomes of deletions that an earlier run made and could not record, whose wishes were withdrawn since.

    That run was killed in its last chunk, the first ``size`` deletions still planned. Those of them still wished for
    are made again; the others must not be, but the file may be gone all the same, and the inventory must know.
    """
    with db.begin() as connection:
        rows = connection.execute(
            text("""
            SELECT d.id, f.lfn FROM (SELECT id, subscription_id FROM deletions
              WHERE batch_id = :id AND state = 'planned' ORDER BY id LIMIT :size) d
            JOIN subscriptions s ON s.id = d.subscription_id JOIN files f ON f.id = s.file_id
            WHERE s.state <> 'inbatch' ORDER BY d.id"""),
            {"id": batch_id, "size": size},
        ).all()
    return [
        (deletion_id, DeletionOutcome(lfn, DeletionObservation.NOT_FOUND))
        for deletion_id, lfn in rows
        if storage.stat(lfn) is None
    ]


def _site_of(db: Database, batch_id: int) -> int:
    with db.begin() as connection:
        site_id = connection.execute(
            text("SELECT site_id FROM deletion_batches WHERE id = :id"), {"id": batch_id}
        ).scalar()
    if site_id is None:
        raise InventoryError(f"there is no deletion batch {batch_id}", batch_id=batch_id)
    return int(site_id)


def _next_chunk(db: Database, batch_id: int, size: int) -> list[Any]:
    """Planned deletions still wished for. Those withdrawn meanwhile are dropped: no attempt was made at them, or the
    file is there all the same."""
    with db.begin() as connection:
        connection.execute(
            text("""
            DELETE FROM deletions d USING subscriptions s WHERE d.batch_id = :id AND d.state = 'planned'
              AND s.id = d.subscription_id AND s.state <> 'inbatch'"""),
            {"id": batch_id},
        )
        return list(
            connection.execute(
                text("""
            SELECT d.id AS deletion_id, f.lfn FROM deletions d JOIN subscriptions s ON s.id = d.subscription_id
            JOIN files f ON f.id = s.file_id WHERE d.batch_id = :id AND d.state = 'planned'
            ORDER BY d.id LIMIT :size"""),
                {"id": batch_id, "size": size},
            )
        )


def outcome_rows(outcomes: Sequence[tuple[int, DeletionOutcome]]) -> pl.DataFrame:
    """Outcomes with the states that follow from the tables: of the deletion, and of a wish that is in the batch."""
    rows = []
    for deletion_id, outcome in outcomes:
        observation = outcome.observation
        wish = SUBSCRIPTION_MOVES[SubscriptionState.INBATCH, DELETION_OUTCOMES[observation]]
        rows.append(
            (
                deletion_id,
                observation.value,
                DELETION_MOVES[DeletionState.PLANNED, observation].value,
                wish.value,
                outcome.reason or None,
                observation != DeletionObservation.REFUSED if outcome.reason else None,
            )
        )
    return pl.DataFrame(
        rows,
        orient="row",
        schema={
            "deletion_id": pl.Int64,
            "observation": pl.String,
            "state": pl.String,
            "wish_state": pl.String,
            "reason": pl.String,
            "is_recoverable": pl.Boolean,
        },
    )


def _record(db: Database, limits: DeletionLimits, outcomes: Sequence[tuple[int, DeletionOutcome]]) -> dict[str, int]:
    """Record a chunk of outcomes and apply them, in one transaction. Returns the counts to add to the summary."""
    if not outcomes:
        return {}
    with db.begin() as connection:
        connection.execute(
            text("""
            CREATE TEMPORARY TABLE outcomes (deletion_id bigint, observation text, state text, wish_state text,
              reason text, is_recoverable boolean) ON COMMIT DROP""")
        )
        insert_frame(connection, "outcomes", outcome_rows(outcomes))
        _move(connection, limits)
        # Truth before wish: what is gone leaves the replica, also if it was wished for again in the meantime.
        connection.execute(
            text("""
            CREATE TEMPORARY TABLE changed ON COMMIT DROP AS SELECT s.file_id, s.site_id
            FROM outcomes o JOIN deletions d ON d.id = o.deletion_id JOIN subscriptions s ON s.id = d.subscription_id
            WHERE o.state IN ('done', 'gone')""")
        )
        change = replicas.remove_files(connection)
        counts = {
            name: (number, size)
            for name, number, size in connection.execute(
                text("""
            SELECT o.observation, count(*), sum(d.size_bytes)::bigint
            FROM outcomes o JOIN deletions d ON d.id = o.deletion_id GROUP BY 1""")
            )
        }
    return {
        "num_deleted": counts.get("deleted", (0, 0))[0],
        "bytes_deleted": counts.get("deleted", (0, 0))[1],
        "num_gone": counts.get("not_found", (0, 0))[0],
        "num_failed": counts.get("unavailable", (0, 0))[0],
        "num_refused": counts.get("refused", (0, 0))[0],
        "num_replicas_removed": change.num_removed,
    }


def _move(connection: Connection, limits: DeletionLimits) -> None:
    """Attempts and wishes. Who was refused or unheard too often is held, for a person: see ``DeletionLimits``."""
    connection.execute(
        text("""
        UPDATE deletions d SET state = o.state, reason = o.reason, is_recoverable = o.is_recoverable,
          finished_at = now()
        FROM outcomes o WHERE d.id = o.deletion_id AND d.state = 'planned'""")
    )
    connection.execute(
        text(f"""
        UPDATE subscriptions s SET updated_at = now(), last_error = o.reason,
          state = CASE WHEN {_IS_GIVEN_UP} THEN :held ELSE o.wish_state END,
          hold_reason = CASE WHEN {_IS_GIVEN_UP}
                             THEN CASE WHEN o.observation = :refused THEN 'refused' ELSE 'all_failed' END END
        FROM outcomes o JOIN deletions d ON d.id = o.deletion_id
        WHERE s.id = d.subscription_id AND (s.state = 'inbatch' OR s.state = 'held' AND o.wish_state = :done)"""),
        {
            "done": SUBSCRIPTION_MOVES[SubscriptionState.HELD, SubscriptionEvent.FULFILLED].value,
            "failed": SUBSCRIPTION_MOVES[SubscriptionState.INBATCH, SubscriptionEvent.ATTEMPT_FAILED].value,
            "held": SUBSCRIPTION_MOVES[SubscriptionState.INBATCH, SubscriptionEvent.HOLD].value,
            "refused": DeletionObservation.REFUSED.value,
            "max_refusals": limits.max_refusals,
            "max_attempts": limits.max_attempts,
        },
    )


_IS_GIVEN_UP = """(o.wish_state = :failed AND s.num_attempts >=
    CASE WHEN o.observation = :refused THEN :max_refusals ELSE :max_attempts END)"""


def _add(total: DeletionSummary, counts: dict[str, int]) -> DeletionSummary:
    return DeletionSummary(
        total.batch_id, total.site_id, **{name: getattr(total, name) + number for name, number in counts.items()}
    )


def clean_directories(db: Database, batch_ids: Sequence[int], open_storage: SiteStorage) -> int:
    """Remove the directories that these batches left empty, and parents that thereby became so. Returns how many.

    Directories into which a copy is due are left, since removing one just as FTS writes into it could cost the file.
    """
    with db.begin() as connection:
        rows = connection.execute(
            text("""
            SELECT b.site_id, array_agg(DISTINCT regexp_replace(f.lfn, '/[^/]*$', ''))
            FROM deletion_batches b JOIN deletions d ON d.batch_id = b.id
            JOIN subscriptions s ON s.id = d.subscription_id
            JOIN files f ON f.id = s.file_id WHERE b.id = ANY(:ids) AND d.state IN ('done', 'gone')
            GROUP BY b.site_id ORDER BY b.site_id"""),
            {"ids": list(batch_ids)},
        ).all()
        due = {site_id: directories_due(connection, site_id) for site_id, _ in rows}
    return sum(remove_directories(open_storage, site_id, directories, due[site_id]) for site_id, directories in rows)


def directories_due(connection: Connection, site_id: int) -> set[str]:
    """LFN directories at a site into which some copy is wished or may still be written."""
    return set(
        connection.execute(
            text(f"""
        SELECT DISTINCT regexp_replace(f.lfn, '/[^/]*$', '') FROM subscriptions s JOIN files f ON f.id = s.file_id
        WHERE s.site_id = :site AND s.action = 'copy' AND s.state IN ('new', 'inbatch', 'retry', 'held')
        UNION SELECT regexp_replace(f.lfn, '/[^/]*$', '') FROM {OPEN_TRANSFERS} t JOIN files f ON f.id = t.file_id
        WHERE t.site_id = :site"""),
            {"site": site_id},
        ).scalars()
    )


def remove_directories(open_storage: SiteStorage, site_id: int, directories: Sequence[str], due: set[str]) -> int:
    """Remove those of ``directories`` that are empty at the site, but none into which a copy is due."""
    keep = with_parents(due)
    wanted = [directory for directory in directories if directory not in keep]
    if not wanted:
        return 0
    storage = open_storage(site_id)
    try:
        return storage.remove_empty_directories(wanted, keep)
    finally:
        storage.close()


def with_parents(directories: Iterable[str]) -> set[str]:
    """The directories and everything above them."""
    parents: set[str] = set()
    for directory in directories:
        parts = directory.split("/")
        parents.update("/".join(parts[:n]) for n in range(2, len(parts) + 1))
    return parents
