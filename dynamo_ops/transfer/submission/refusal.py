"""What an FTS server has refused: kept with the batch, and batches taken apart to find the file that is to blame.

A document with one file that FTS cannot take is refused whole, and for ever: by 400, or by 500 where its own database
chokes on it (FTS_CONTRACT §12). A server that is ill refuses everything. Only what else it takes tells the two apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import RemoteError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.inventory.states import (
    LIVE_TRANSFERS,
    BatchState,
    SubscriptionState,
    TransferState,
)

BELIEVED_AT_ONCE = frozenset({400, 413})
"""Answers that say of a document that it is wrong."""
BELIEVED_LATER = frozenset({500})
"""Answers that say that the server failed at it."""
TIMES_BEFORE_BELIEVED = 3
"""Of one document, each in a run of its own or a task's next try: a server that is ill for a moment answers so, too."""
MOST_REFUSALS = 10
"""So often the same document is sent; then its files go back into the queue, for a new one."""
NEWEST_BATCHES = 10_000
"""Among which it is looked for what a server has taken lately: there are millions."""


@dataclass(frozen=True)
class Refused:
    """A batch that a server does not take. ``since``: when it first refused this very document. ``num_refusals``: how
    often, with up to ``TIMES_BEFORE_BELIEVED`` refusals of what it was part of."""

    batch_id: int
    num_files: int
    num_refusals: int
    since: datetime


def is_refusal(error: RemoteError) -> bool:
    """FTS has answered to the document itself, and does not take it. After a 500 it has said besides that it does not
    have the job (``FtsClient.submit`` asks), so it answers other questions."""
    status = error.facts.get("status")
    is_of_submit = str(error.facts.get("url", "")).endswith("/jobs")
    return status in BELIEVED_AT_ONCE or (status in BELIEVED_LATER and is_of_submit)


def note(db: Database, batch_id: int) -> int:
    """A server has refused the batch once more; how often now. Its answer is here: no request is on its way."""
    with db.begin() as connection:
        times = connection.execute(
            text(f"""
            UPDATE transfer_batches SET num_refusals = num_refusals + 1, submitted_at = NULL,
              refused_since = coalesce(refused_since, submitted_at, now())
            WHERE id = :id AND state = '{BatchState.PLANNED}' RETURNING num_refusals"""),
            {"id": batch_id},
        ).scalar()
    return int(times or 0)


def is_believed(error: RemoteError, num_refusals: int) -> bool:
    """The document is what the server does not take, as far as one can say: it will not be sent again as it is."""
    return error.facts.get("status") in BELIEVED_AT_ONCE or num_refusals >= TIMES_BEFORE_BELIEVED


def read_refused(db: Database, batch_ids: Sequence[int]) -> list[Refused]:
    """Those of these batches that are still to be sent, the smallest first."""
    with db.begin() as connection:
        refused = connection.execute(
            text(f"""
            SELECT b.id, (SELECT count(*) FROM transfers t WHERE t.batch_id = b.id AND t.state IN {LIVE_TRANSFERS}),
                   b.num_refusals, coalesce(b.refused_since, now())
            FROM transfer_batches b WHERE b.id = ANY(:ids) AND b.state = '{BatchState.PLANNED}' ORDER BY 2, 1"""),
            {"ids": list(batch_ids)},
        )
        return [Refused(*row) for row in refused]


def has_taken_since(db: Database, server: str | None, since: datetime) -> bool:
    """Whether the server has taken any document since then, of the newest batches. Not found is not held."""
    with db.begin() as connection:
        return bool(
            connection.execute(
                text(f"""
                SELECT EXISTS (
                  SELECT FROM (SELECT server, submitted_at, state FROM transfer_batches ORDER BY id DESC LIMIT :newest)
                  WHERE server IS NOT DISTINCT FROM :server AND submitted_at >= :since
                    AND state IN ('{BatchState.SUBMITTED}', '{BatchState.FINISHED}'))"""),
                {"server": server, "since": since, "newest": NEWEST_BATCHES},
            ).scalar_one()
        )


def take_apart(db: Database, client: FtsClient, batch_id: int) -> list[int]:
    """Two new batches of the halves of this one, under ids of their own; it is cancelled. Files that are no longer
    subscribed leave it. Fewer where fewer files are left, none while another task is at it."""
    with alone(db, f"transfer batch {batch_id}") as lock:
        if lock is None:
            return []
        identity = client.whoami()
        with db.begin() as connection:
            _drop_withdrawn(connection, batch_id)
            batch = connection.execute(
                text(f"""
                SELECT sid, ARRAY(SELECT t.id FROM transfers t WHERE t.batch_id = b.id AND t.state IN {LIVE_TRANSFERS}
                                  ORDER BY t.file_index) AS transfer_ids
                FROM transfer_batches b WHERE b.id = :id AND b.state = '{BatchState.PLANNED}' FOR UPDATE"""),
                {"id": batch_id},
            ).one_or_none()
            if batch is None:
                return []
            middle = (len(batch.transfer_ids) + 1) // 2
            halves = [half for half in (batch.transfer_ids[:middle], batch.transfer_ids[middle:]) if half]
            batch_ids = []
            for part, transfer_ids in enumerate(halves):
                sid = hashlib.sha256(f"{batch.sid}:{part}".encode()).hexdigest()
                batch_ids.append(_half(connection, batch_id, sid, str(identity.job_id(sid)), transfer_ids))
            connection.execute(
                text(f"""
                UPDATE transfer_batches SET state = '{BatchState.CANCELLED}', finished_at = now() WHERE id = :id"""),
                {"id": batch_id},
            )
            return batch_ids


def _half(connection: Connection, batch_id: int, sid: str, job_id: str, transfer_ids: Sequence[int]) -> int:
    half = connection.execute(
        text("""
        INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, backend, server, activity, verify_checksum,
          num_refusals)
        SELECT :sid, CAST(:job_id AS uuid), site_id, is_staging, backend, server, activity, verify_checksum,
               least(num_refusals, :most)
        FROM transfer_batches WHERE id = :id RETURNING id"""),
        {"sid": sid, "job_id": job_id, "id": batch_id, "most": TIMES_BEFORE_BELIEVED},
    ).scalar_one()
    connection.execute(
        text("""
        UPDATE transfers t SET batch_id = :half, file_index = part.place - 1
        FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS part (id, place) WHERE t.id = part.id"""),
        {"half": half, "ids": list(transfer_ids)},
    )
    return int(half)


def _drop_withdrawn(connection: Connection, batch_id: int) -> None:
    connection.execute(
        text(f"""
        UPDATE transfers t SET state = '{TransferState.CANCELLED}', finished_at = now(),
          reason = 'no longer subscribed, or held, before the submit'
        FROM subscriptions s WHERE t.batch_id = :id AND s.id = t.subscription_id AND t.state IN {LIVE_TRANSFERS}
          AND s.state <> '{SubscriptionState.INBATCH}'"""),
        {"id": batch_id},
    )
