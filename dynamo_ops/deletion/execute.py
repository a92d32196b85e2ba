"""The files of a batch are deleted at the site's storage, and the inventory follows, chunk by chunk.

FTS deletes nothing any more (FTS_CONTRACT §8): each site's storage protocol does. Outcomes are recorded and applied to
the inventory in chunks, so that a killed task loses at most one chunk's record, and a repeated DELETE of what is gone
is a success.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError, RemoteError
from dynamo_ops.base.settings import DELETION, DeletionSettings
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import alone
from dynamo_ops.deletion import claim, same_directory
from dynamo_ops.inventory.freshness import CLOCK_SKEW
from dynamo_ops.inventory.replica import files as replicas
from dynamo_ops.inventory.site.shared import DECLARED
from dynamo_ops.inventory.states import (
    DELETION_MOVES,
    DELETION_OUTCOMES,
    DONE_DELETIONS,
    SUBSCRIPTION_MOVES,
    BatchState,
    DeletionObservation,
    DeletionState,
    HoldReason,
    SubscriptionAction,
    SubscriptionEvent,
    SubscriptionState,
    sources_of,
)
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.storage.protocol import Condition, DeletionOutcome, Storage, TellsTime, delete_if, is_gone
from dynamo_ops.storage.registry import SiteStorage

log = logging.getLogger(__name__)

LOOKS_IN_VAIN = 10
"""So many looks at a storage without an answer are enough for one run."""


@dataclass(frozen=True)
class DeletionSummary:
    """One batch: files deleted, found gone already, failed for now, refused for good (held); bytes that went.

    ``num_left_out``: files that must stay after all (``claim.REASONS``); they are queued again. ``num_unsettled``:
    files whose deletion was withdrawn and of which the storage does not say whether they are gone.
    """

    batch_id: int
    site_id: int
    num_deleted: int = 0
    num_gone: int = 0
    num_failed: int = 0
    num_refused: int = 0
    bytes_deleted: int = 0
    num_replicas_removed: int = 0
    num_left_out: int = 0
    num_unsettled: int = 0


def total(summaries: Sequence[DeletionSummary]) -> DeletionSummary:
    """The sum over batches of one site, under the number of the last."""
    names = [field.name for field in fields(DeletionSummary) if field.name not in ("batch_id", "site_id")]
    sums = {name: sum(getattr(summary, name) for summary in summaries) for name in names}
    return DeletionSummary(summaries[-1].batch_id, summaries[-1].site_id, **sums)


def execute_batch(
    db: Database, batch_id: int, open_storage: SiteStorage, limits: DeletionSettings = DELETION
) -> DeletionSummary:
    """Delete the files of one batch and apply each chunk of outcomes. ``open_storage``: site id → storage.

    Each chunk is judged once more before the storage is asked (``claim``); a file whose deletion was withdrawn is left
    alone, and one that was changed there since its deletion was asked for is refused. Run again, it goes on where it
    was; while another task is at the batch it does nothing. Raises PausedError, also between two chunks; SettingsError
    when the site has no usable storage; RetryableRemoteError when what an earlier run may have begun cannot be looked
    at. Failures of single files are recorded, not raised.
    """
    site_id = _site_of(db, batch_id)
    total = DeletionSummary(batch_id, site_id)
    with alone(db, f"deletion batch {batch_id}") as lock:
        if lock is None:
            return total
        storage = open_storage(site_id)
        behind = None
        try:
            total = _add(total, _settle_withdrawn(db, limits, storage, batch_id))
            while chunk := _next_chunk(db, batch_id, limits, site_id, storage):
                total = _add(total, {"num_left_out": chunk.num_left_out})
                total = _add(total, _settle_begun(db, limits, storage, chunk.begun))
                lock.execute(text("SELECT 1"))
                behind = _behind(db, storage) if behind is None else behind
                conditions = {lfn: Condition(not_after=chunk.asked_at[lfn] - behind) for lfn in chunk.claimed}
                outcomes = delete_if(storage, conditions) if conditions else []
                total = _add(total, _record(db, limits, [(chunk.claimed[o.lfn], o) for o in outcomes]))
        finally:
            storage.close()
        _finish(db, batch_id)
    return total


def _behind(db: Database, storage: Storage) -> timedelta:
    """By how much the storage's clock is behind, where that is more than clocks differ: a file that was written anew
    since its deletion was asked for seems older by that. One that is ahead keeps files, and needs no mending here."""
    try:
        clock = storage.clock() if isinstance(storage, TellsTime) else None
    except RemoteError:
        return timedelta(0)  # what is asked next says why
    behind = db.clock() - clock if clock is not None else timedelta(0)
    return behind if behind > CLOCK_SKEW else timedelta(0)


def _next_chunk(
    db: Database, batch_id: int, limits: DeletionSettings, site_id: int, storage: Storage
) -> claim.Chunk | None:
    """What is deleted next. PausedError: a person has stopped deletions meanwhile; nothing more is claimed."""
    look(db, PauseKind.DELETIONS)
    return claim.claim_chunk(db, batch_id, limits.files_per_chunk, same_directory.objection(db, site_id, storage))


def _finish(db: Database, batch_id: int) -> None:
    """The batch is over when nothing of it is planned; what a downtime keeps from being deleted stays in it."""
    with db.begin() as connection:
        connection.execute(
            text(f"""
            UPDATE deletion_batches SET state = '{BatchState.FINISHED}', finished_at = now()
            WHERE id = :id AND state = '{BatchState.PLANNED}' AND NOT EXISTS (
              SELECT FROM deletions WHERE batch_id = :id AND state = '{DeletionState.PLANNED}')"""),
            {"id": batch_id},
        )


def _settle_withdrawn(db: Database, limits: DeletionSettings, storage: Storage, batch_id: int) -> dict[str, int]:
    """Files that may be gone though their deletion was withdrawn: the storage says which. Those of which it does not
    count as deleted still, and a later run looks again. The counts to add to the summary. RetryableRemoteError: it says
    nothing at all, and is not asked for the other batches of the site now."""
    gone: list[tuple[int, str]] = []
    there: list[tuple[int, str]] = []
    num_in_vain = 0
    withdrawn = claim.withdrawn_claims(db, batch_id)
    for lfn, deletion_id in withdrawn.items():
        try:
            (gone if is_gone(storage, lfn) else there).append((deletion_id, lfn))
        except RemoteError as error:
            num_in_vain += 1
            if num_in_vain == LOOKS_IN_VAIN:
                if not gone and not there:
                    raise
                log.warning("batch %d: of files whose deletion was withdrawn, nothing is known: %s", batch_id, error)
                break
    counts = _settle(db, limits, gone, there)
    return counts | {"num_unsettled": len(withdrawn) - len(gone) - len(there)}


def _settle_begun(db: Database, limits: DeletionSettings, storage: Storage, begun: dict[str, int]) -> dict[str, int]:
    """Files that a killed run may have deleted and that must stay: those that are gone are recorded as such, the claims
    of the others are released. The counts to add to the summary."""
    gone: list[tuple[int, str]] = []
    there: list[tuple[int, str]] = []
    for lfn, deletion_id in begun.items():
        (gone if is_gone(storage, lfn) else there).append((deletion_id, lfn))
    return _settle(db, limits, gone, there)


def _settle(
    db: Database, limits: DeletionSettings, gone: Sequence[tuple[int, str]], there: Sequence[tuple[int, str]]
) -> dict[str, int]:
    """What the storage has said of (deletion id, LFN)."""
    counts = _record(
        db, limits, [(number, DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)) for number, lfn in gone]
    )
    if there:
        claim.release(db, sorted(number for number, _ in there))
    return counts | {"num_left_out": len(there)}


def _site_of(db: Database, batch_id: int) -> int:
    with db.begin() as connection:
        site_id = connection.execute(
            text("SELECT site_id FROM deletion_batches WHERE id = :id"), {"id": batch_id}
        ).scalar()
    if site_id is None:
        raise InventoryError(f"there is no deletion batch {batch_id}", batch_id=batch_id)
    return int(site_id)


def outcome_rows(outcomes: Sequence[tuple[int, DeletionOutcome]]) -> pl.DataFrame:
    """Outcomes with the states that follow from the tables, for the deletion and for a subscription in the batch."""
    rows = []
    for deletion_id, outcome in outcomes:
        observation = outcome.observation
        subscription = SUBSCRIPTION_MOVES[SubscriptionState.INBATCH, DELETION_OUTCOMES[observation]]
        rows.append(
            (
                deletion_id,
                observation.value,
                DELETION_MOVES[DeletionState.PLANNED, observation].value,
                subscription.value,
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
            "subscription_state": pl.String,
            "reason": pl.String,
            "is_recoverable": pl.Boolean,
        },
    )


def _record(db: Database, limits: DeletionSettings, outcomes: Sequence[tuple[int, DeletionOutcome]]) -> dict[str, int]:
    """Record a chunk of outcomes and apply them, in one transaction. Returns the counts to add to the summary."""
    if not outcomes:
        return {}
    with db.begin() as connection:
        connection.execute(
            text("""
            CREATE TEMPORARY TABLE outcomes (deletion_id bigint, observation text, state text, subscription_state text,
              reason text, is_recoverable boolean) ON COMMIT DROP""")
        )
        insert_frame(connection, "outcomes", outcome_rows(outcomes))
        connection.execute(text("ANALYZE outcomes"))
        _move(connection, limits)
        # What is gone leaves the replica first, also if a copy of it was subscribed in the meantime.
        connection.execute(
            text(f"""
            CREATE TEMPORARY TABLE changed ON COMMIT DROP AS SELECT s.file_id, s.site_id
            FROM outcomes o JOIN deletions d ON d.id = o.deletion_id JOIN subscriptions s ON s.id = d.subscription_id
            WHERE o.state IN {DONE_DELETIONS}""")
        )
        _leave_partners(connection)
        change = replicas.leave(connection, is_deleted=True)
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


def _leave_partners(connection: Connection) -> None:
    """What is gone at a storage is gone for each of the sites that share it: it can only have been doomed there as well
    (``claim.HELD_BY_PARTNER``), and somebody may yet take that deletion back."""
    gone = connection.execute(
        text(f"""
        INSERT INTO changed SELECT gone.file_id, partner.other_id
        FROM changed AS gone JOIN {DECLARED} AS partner ON partner.site_id = gone.site_id""")
    ).rowcount
    if gone:
        connection.execute(
            text(f"""
            UPDATE subscriptions AS deletion SET state = '{SubscriptionState.DONE}', hold_reason = NULL,
              last_error = NULL, updated_at = now()
            FROM changed AS gone WHERE deletion.action = '{SubscriptionAction.DELETE}'
              AND deletion.file_id = gone.file_id AND deletion.site_id = gone.site_id
              AND deletion.state IN {sources_of(SubscriptionEvent.FULFILLED)}""")
        )


def _move(connection: Connection, limits: DeletionSettings) -> None:
    """Attempts and subscriptions. What was refused or unheard too often is held for a person: ``DeletionSettings``.

    CASE keeps the planner from the indexes of what is in all batches: its statistics are of a time when nothing was,
    and a chunk of 500 then took 17 s with 20,000 files in batches.
    """
    connection.execute(
        text(f"""
        UPDATE deletions d SET state = o.state, reason = o.reason, is_recoverable = o.is_recoverable,
          finished_at = now()
        FROM outcomes o WHERE d.id = o.deletion_id
          AND CASE WHEN o.state <> '{DeletionState.PLANNED}' THEN d.state = '{DeletionState.PLANNED}' END""")
    )
    connection.execute(text(_SETTLE))
    connection.execute(
        text(f"""
        UPDATE subscriptions s SET updated_at = now(), last_error = o.reason,
          state = CASE WHEN {_IS_GIVEN_UP} THEN :held ELSE o.subscription_state END,
          hold_reason = CASE WHEN {_IS_GIVEN_UP}
                             THEN CASE WHEN o.observation = :refused THEN '{HoldReason.REFUSED}'
                               ELSE '{HoldReason.ALL_FAILED}' END END
        FROM outcomes o JOIN deletions d ON d.id = o.deletion_id
        WHERE s.id = d.subscription_id AND CASE WHEN o.subscription_state = :done
          THEN s.state IN ('{SubscriptionState.INBATCH}', '{SubscriptionState.HELD}')
          ELSE s.state = '{SubscriptionState.INBATCH}' END"""),
        {
            "done": SUBSCRIPTION_MOVES[SubscriptionState.HELD, SubscriptionEvent.FULFILLED].value,
            "failed": SUBSCRIPTION_MOVES[SubscriptionState.INBATCH, SubscriptionEvent.ATTEMPT_FAILED].value,
            "held": SUBSCRIPTION_MOVES[SubscriptionState.INBATCH, SubscriptionEvent.HOLD].value,
            "refused": DeletionObservation.REFUSED.value,
            "max_refusals": limits.max_refusals,
            "max_attempts": limits.max_attempts,
        },
    )


_SETTLE = f"""
    UPDATE deletions d SET is_unsettled = false,
      reason = CASE WHEN d.state = '{DeletionState.FAILED}' AND o.state = '{DeletionState.GONE}'
                    THEN concat_ws('; ', d.reason, 'the file is gone all the same') ELSE d.reason END
    FROM outcomes o WHERE d.id = o.deletion_id AND CASE o.observation
      WHEN '{DeletionObservation.UNAVAILABLE}' THEN false
      WHEN '{DeletionObservation.REFUSED}' THEN NOT EXISTS (
        SELECT FROM deletions AS earlier WHERE earlier.subscription_id = d.subscription_id AND earlier.id <> d.id
          AND earlier.state = '{DeletionState.FAILED}' AND earlier.is_recoverable)
      ELSE true END"""
"""What the storage has answered is known. No answer settles nothing, nor does a refusal that comes after none."""

_IS_GIVEN_UP = """(o.subscription_state = :failed AND s.num_attempts >=
    CASE WHEN o.observation = :refused THEN :max_refusals ELSE :max_attempts END)"""


def _add(total: DeletionSummary, counts: dict[str, int]) -> DeletionSummary:
    return replace(total, **{name: getattr(total, name) + number for name, number in counts.items()})
