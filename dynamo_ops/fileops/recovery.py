"""What a killed run left behind, found again and put right before new work is planned."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import text

from dynamo_ops.fileops.fts.client import FtsClient
from dynamo_ops.fileops.states import LIVE_TRANSFERS, sql_list
from dynamo_ops.fileops.submit import mark_submitted
from dynamo_ops.inventory.database import Database


@dataclass(frozen=True)
class RecoverSummary:
    """``unsubmitted``: batch ids recorded but unknown to FTS, to be submitted now. ``num_found``: had been submitted.

    ``num_freed``: wishes that were in no live batch. ``num_cancelled_jobs``: jobs that nobody wishes any more.
    """

    unsubmitted: list[int] = field(default_factory=list)
    num_found: int = 0
    num_freed: int = 0
    num_cancelled_jobs: int = 0


def recover(db: Database, client: FtsClient) -> RecoverSummary:
    """Find the fate of every batch that was recorded but not known to be submitted; free wishes stuck in no batch.

    First task of a transfer cycle; no other task of transfers may be running.
    """
    with db.begin() as connection:
        planned = {
            str(job_id): batch_id
            for batch_id, job_id in connection.execute(
                text("SELECT id, job_id FROM transfer_batches WHERE state = 'planned' ORDER BY id")
            )
        }
    statuses = client.job_statuses(list(planned), fields=()) if planned else {}
    found = {planned[job_id]: job_id for job_id, status in statuses.items() if status.is_known}
    with db.begin() as connection:
        if found:
            mark_submitted(connection, found)
        freed = connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = 'retry', updated_at = now()
            WHERE s.action = 'copy' AND s.state = 'inbatch' AND NOT EXISTS (
              SELECT FROM transfers t WHERE t.subscription_id = s.id AND t.state IN ({sql_list(LIVE_TRANSFERS)}))""")
        ).rowcount
    unsubmitted = [batch_id for batch_id in planned.values() if batch_id not in found]
    return RecoverSummary(unsubmitted, len(found), freed, cancel_unwanted(db, client))


def cancel_unwanted(db: Database, client: FtsClient) -> int:
    """Cancel the FTS jobs of which no file is wished for any more. What they copied until then is observed as ever."""
    with db.begin() as connection:
        job_ids = (
            connection.execute(
                text(f"""
            SELECT b.job_id FROM transfer_batches b WHERE b.state = 'submitted' AND NOT EXISTS (
              SELECT FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
              WHERE t.batch_id = b.id AND s.state = 'inbatch' AND t.state IN ({sql_list(LIVE_TRANSFERS)}))""")
            )
            .scalars()
            .all()
        )
    if not job_ids:
        return 0
    answers = client.cancel([str(job_id) for job_id in job_ids])
    return sum(answer.http_status == 200 for answer in answers.values())
