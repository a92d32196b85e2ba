"""Batches that no server gets: their files are held for a person, or queued again."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.states import LIVE_TRANSFERS, BatchState, HoldReason, SubscriptionState, TransferState
from dynamo_ops.inventory.subscription.blame import Blame


def hold_files(db: Database, reasons: Mapping[int, str]) -> None:
    """These transfers (id → why) will never be made as they are; their subscriptions wait for a person."""
    with db.begin() as connection:
        params = {"ids": list(reasons), "reasons": list(reasons.values())}
        given = "unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[])) AS x (id, reason)"
        connection.execute(
            text(f"""
            UPDATE transfers t SET state = '{TransferState.FAILED}', is_recoverable = false, blame = '{Blame.NOBODY}',
              reason = x.reason, finished_at = now()
            FROM {given} WHERE t.id = x.id"""),
            params,
        )
        connection.execute(
            text(f"""
            UPDATE subscriptions s
            SET state = '{SubscriptionState.HELD}', hold_reason = '{HoldReason.REFUSED}',
              last_error = x.reason, updated_at = now()
            FROM {given} JOIN transfers t ON t.id = x.id WHERE s.id = t.subscription_id
              AND s.state = '{SubscriptionState.INBATCH}'"""),
            params,
        )


def close_batch(db: Database, batch_id: int, reason: str) -> None:
    """A batch that was never submitted is cancelled; subscriptions still in it are queued again. What was never sent is
    no attempt that counts against them."""
    with db.begin() as connection:
        connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.RETRY}', last_error = :reason, updated_at = now(),
              num_excused = num_excused + 1
            FROM transfers t
            WHERE t.batch_id = :id AND s.id = t.subscription_id AND s.state = '{SubscriptionState.INBATCH}'"""),
            {"id": batch_id, "reason": reason},
        )
        connection.execute(
            text(f"""
            UPDATE transfers SET state = '{TransferState.CANCELLED}', reason = :reason, finished_at = now()
            WHERE batch_id = :id AND state = '{TransferState.PLANNED}'"""),
            {"id": batch_id, "reason": reason},
        )
        connection.execute(
            text(f"""
            UPDATE transfer_batches SET state = '{BatchState.CANCELLED}', finished_at = now()
            WHERE id = :id AND state = '{BatchState.PLANNED}'"""),
            {"id": batch_id},
        )


def hold_batch(db: Database, batch_id: int, reason: str) -> None:
    """All that is left of a batch."""
    with db.begin() as connection:
        transfer_ids = connection.execute(
            text(f"SELECT id FROM transfers WHERE batch_id = :id AND state IN {LIVE_TRANSFERS}"), {"id": batch_id}
        ).scalars()
        reasons = dict.fromkeys(transfer_ids, reason)
    hold_files(db, reasons)
    close_batch(db, batch_id, reason)
