"""What a killed run left behind, found again and put right before new work is planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.inventory.states import (
    LIVE_TRANSFERS,
    OPEN_BATCHES,
    Backend,
    BatchState,
    SubscriptionAction,
    SubscriptionState,
)
from dynamo_ops.transfer.submit import close_batch, mark_submitted


@dataclass(frozen=True)
class RecoverSummary:
    """``unsubmitted``: batch ids recorded but unknown to FTS, to be submitted now. ``num_found``: had been submitted.

    ``num_freed``: subscriptions in no live batch. ``num_cancelled_jobs``: jobs of which nothing is subscribed any more.
    """

    unsubmitted: list[int] = field(default_factory=list)
    num_found: int = 0
    num_freed: int = 0
    num_cancelled_jobs: int = 0


def recover(db: Database, client: FtsClient | None) -> RecoverSummary:
    """Find the fate of every batch recorded but not known to be submitted; free subscriptions stuck in no batch.

    First task of a transfer cycle. Another run may be submitting some of these batches at this moment: ``submit_batch``
    sees to it that one task at a time does, and FTS takes an id once. ``client``: None where there is no FTS.
    """
    with db.begin() as connection:
        planned = {
            str(job_id): batch_id
            for batch_id, job_id in connection.execute(
                text(
                    f"""SELECT id, job_id FROM transfer_batches
                        WHERE state = '{BatchState.PLANNED}' AND backend = '{Backend.FTS}' ORDER BY id"""
                )
            )
        }
    statuses = client.job_statuses(list(planned), fields=()) if client and planned else {}
    found = {planned[job_id]: job_id for job_id, status in statuses.items() if status.is_known}
    with db.begin() as connection:
        if found:
            mark_submitted(connection, found)
        freed = connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.RETRY}', updated_at = now()
            WHERE s.action = '{SubscriptionAction.COPY}' AND s.state = '{SubscriptionState.INBATCH}' AND NOT EXISTS (
              SELECT FROM transfers t WHERE t.subscription_id = s.id AND t.state IN {LIVE_TRANSFERS})""")
        ).rowcount
    unsubmitted = [batch_id for batch_id in planned.values() if batch_id not in found]
    return RecoverSummary(unsubmitted, len(found), freed, cancel_unwanted(db, client) if client else 0)


def unfinished_direct(db: Database) -> list[int]:
    """Batches of direct copies that were planned and not finished; another run may be at them, which does no harm."""
    with db.begin() as connection:
        rows = connection.execute(
            text(
                f"""SELECT id FROM transfer_batches
                    WHERE state = '{BatchState.PLANNED}' AND backend = '{Backend.DIRECT}' ORDER BY id"""
            )
        )
        return list(rows.scalars())


def abandon_direct(db: Database) -> int:
    """Close planned batches of direct copies where there are no direct copies any more; their subscriptions are queued
    again. Returns how many batches; one that a task is still at is left to it."""
    closed = 0
    for batch_id in unfinished_direct(db):
        with alone(db, f"direct batch {batch_id}") as lock:
            if lock is not None:
                close_batch(db, batch_id, "Dynamo does not copy between these sites itself any more")
                closed += 1
    return closed


def abandon_fts(db: Database) -> int:
    """Where there is no FTS any more: close the batches it never got; their subscriptions are queued again. How many.

    SettingsError while jobs are open there: nobody could say what became of their files.
    """
    with db.begin() as connection:
        rows = connection.execute(
            text(f"""
            SELECT id, state = '{BatchState.SUBMITTED}' FROM transfer_batches
            WHERE state IN {OPEN_BATCHES} AND backend = '{Backend.FTS}' ORDER BY id""")
        ).all()
    num_open = sum(is_submitted for _, is_submitted in rows)
    if num_open:
        raise SettingsError(
            f"fts.url is null, but {num_open} jobs are open at FTS: name it until they have ended "
            "(`dynamo transfers status`)",
            key="fts.url",
            reason="jobs are open",
        )
    closed = 0
    for batch_id, _ in rows:
        with alone(db, f"transfer batch {batch_id}") as lock:
            if lock is not None:
                close_batch(db, batch_id, "there is no FTS any more")
                closed += 1
    return closed


def staging_batches(db: Database, batch_ids: Sequence[int]) -> list[int]:
    """Those of these batches that read from tape."""
    with db.begin() as connection:
        rows = connection.execute(
            text("SELECT id FROM transfer_batches WHERE id = ANY(:ids) AND is_staging ORDER BY id"),
            {"ids": list(batch_ids)},
        )
        return list(rows.scalars())


def cancel_unwanted(db: Database, client: FtsClient) -> int:
    """Cancel the FTS jobs of which no file is subscribed any more. What they copied until then is observed as ever."""
    with db.begin() as connection:
        job_ids = (
            connection.execute(
                text(f"""
            SELECT b.job_id FROM transfer_batches b WHERE b.state = '{BatchState.SUBMITTED}' AND NOT EXISTS (
              SELECT FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
              WHERE t.batch_id = b.id AND s.state = '{SubscriptionState.INBATCH}' AND t.state IN {LIVE_TRANSFERS})""")
            )
            .scalars()
            .all()
        )
    return _cancel(client, job_ids)


def cancel_stuck(
    db: Database, client: FtsClient, submitted_longer_than: timedelta, staging_longer_than: timedelta
) -> int:
    """Cancel the FTS jobs that were submitted so long ago and still have not ended; returns how many were running.

    FTS gives up on what it could not start (``max_time_in_queue``) and on what no tape brings (``bring_online``), but
    not on a copy that hangs. ``staging_longer_than``: for jobs that read from tape. What such a job copied is kept,
    what it did not is tried again, in another job: both follow from the next look at it.
    """
    with db.begin() as connection:
        job_ids = (
            connection.execute(
                text(f"""
            SELECT job_id FROM transfer_batches WHERE state = '{BatchState.SUBMITTED}' AND backend = '{Backend.FTS}'
              AND submitted_at < now() - CASE WHEN is_staging THEN CAST(:staging AS interval)
                                              ELSE CAST(:copying AS interval) END ORDER BY id"""),
                {"copying": submitted_longer_than, "staging": staging_longer_than},
            )
            .scalars()
            .all()
        )
    return _cancel(client, job_ids)


def _cancel(client: FtsClient, job_ids: Sequence[UUID]) -> int:
    """Cancel these jobs. Returns how many had not ended; FTS says 304 of the others, 404 of those it does not know."""
    answers = client.cancel([str(job_id) for job_id in job_ids])
    return sum(answer.http_status == 200 for answer in answers.values())
