"""What is in an executor's hands at this moment, as SQL: copies that may be written, deletions not yet answered."""

from __future__ import annotations

from dynamo_ops.inventory.states import LIVE_TRANSFERS, OPEN_BATCHES, BatchState, DeletionState, TransferState

OPEN_DELETIONS = f"""(SELECT w.file_id, w.site_id FROM deletion_batches b JOIN deletions d ON d.batch_id = b.id
    JOIN subscriptions w ON w.id = d.subscription_id WHERE b.state = '{BatchState.PLANNED}'
      AND d.state = '{DeletionState.PLANNED}')"""
"""Deletions handed out and not yet answered, whether or not they are still subscribed."""

OPEN_TRANSFERS = f"""(SELECT w.file_id, w.site_id, t.source_site_id, t.other_source_site_ids
    FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id JOIN subscriptions w ON w.id = t.subscription_id
    WHERE b.state IN {OPEN_BATCHES} AND t.state IN {LIVE_TRANSFERS})"""
"""Copies that FTS may be making at this moment, whether or not they are still subscribed."""


def is_archiving(transfer: str) -> str:
    """SQL: this row of ``transfers`` has arrived at a tape site, and is not on tape yet.

    A mark on an active transfer and no state of its own: whoever asks what is under way, or whether a copy is there,
    has it right without knowing of tapes.
    """
    return f"({transfer}.state = '{TransferState.ACTIVE}' AND {transfer}.finished_at IS NOT NULL)"
