"""What is in an executor's hands at this moment, as SQL: copies that may be written, deletions not yet answered."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.states import (
    LIVE_TRANSFERS,
    OPEN_BATCHES,
    Backend,
    BatchState,
    DeletionState,
    TransferState,
)
from dynamo_ops.pause.pause import Pause, PauseKind

OPEN_DELETIONS = f"""(SELECT w.file_id, w.site_id FROM deletion_batches b JOIN deletions d ON d.batch_id = b.id
    JOIN subscriptions w ON w.id = d.subscription_id WHERE b.state = '{BatchState.PLANNED}'
      AND d.state = '{DeletionState.PLANNED}')"""
"""Deletions handed out and not yet answered, whether or not they are still subscribed."""

OPEN_TRANSFERS = f"""(SELECT w.file_id, w.site_id, t.source_site_id, t.other_source_site_ids
    FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id JOIN subscriptions w ON w.id = t.subscription_id
    WHERE b.state IN {OPEN_BATCHES} AND t.state IN {LIVE_TRANSFERS})"""
"""Copies that FTS may be making at this moment, whether or not they are still subscribed."""


_AT_FTS = f"""
    SELECT count(*), count(DISTINCT batch.id), coalesce(sum(file.size_bytes), 0)::bigint
    FROM transfer_batches AS batch JOIN transfers AS copy ON copy.batch_id = batch.id
    JOIN subscriptions AS subscription ON subscription.id = copy.subscription_id
    JOIN files AS file ON file.id = subscription.file_id
    WHERE batch.state = '{BatchState.SUBMITTED}' AND batch.backend = '{Backend.FTS}'
      AND copy.state IN {LIVE_TRANSFERS}"""


def at_fts(db: Database) -> dict[str, int]:
    """What FTS was given and has not ended, as far as is known: num_files, num_jobs, size_bytes."""
    with db.begin() as connection:
        num_files, num_jobs, size_bytes = connection.execute(text(_AT_FTS)).one()
    return {"num_files": num_files, "num_jobs": num_jobs, "size_bytes": size_bytes}


def stopped(db: Database, pause: Pause) -> dict[str, Any]:
    """A pause, plainly, and ``at_fts``: what FTS goes on with all the same; None where no copies stand still."""
    return {**asdict(pause), "at_fts": at_fts(db) if pause.kind in (None, PauseKind.TRANSFERS) else None}


def is_archiving(transfer: str) -> str:
    """SQL: this row of ``transfers`` has arrived at a tape site, and is not on tape yet.

    A mark on an active transfer and no state of its own: whoever asks what is under way, or whether a copy is there,
    has it right without knowing of tapes.
    """
    return f"({transfer}.state = '{TransferState.ACTIVE}' AND {transfer}.finished_at IS NOT NULL)"
