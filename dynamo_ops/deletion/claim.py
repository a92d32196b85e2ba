"""The last moment before a storage is asked: files of a batch are judged again and claimed (SEMANTICS §10).

What was true at the commit may be so no longer: another copy was lost, a lock was set, somebody copies from here. A
claim is committed before the first request is sent, and counts as a deletion until it is known whether the file is gone
(``deletions.is_unsettled``): also when the subscription is withdrawn, the task is killed in between, or the storage's
answer is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database, insert_frame, select_frame
from dynamo_ops.inventory.frames import LOCKABLE
from dynamo_ops.inventory.replica.copies import is_held_by_partner, is_last_copy, is_pending_elsewhere
from dynamo_ops.inventory.site.ambiguous import ambiguous_mapping
from dynamo_ops.inventory.site.shared import SHARED_STORAGE
from dynamo_ops.inventory.site.usable import WRITABLE
from dynamo_ops.inventory.states import (
    CLOSED,
    LAST_COPY,
    LAST_SOURCE,
    LOCKED,
    SUBSCRIPTION_MOVES,
    DeletionState,
    SubscriptionEvent,
    SubscriptionState,
)
from dynamo_ops.inventory.subscription.under_way import OPEN_TRANSFERS
from dynamo_ops.lock.rows import locked_rows

BEING_COPIED = "it is being copied there, or from there"
HELD_BY_PARTNER = "a site that shares this storage has it"

LEFT_ALONE = SUBSCRIPTION_MOVES[SubscriptionState.INBATCH, SubscriptionEvent.ATTEMPT_FAILED]
"""What becomes of a subscription whose file must stay for now: it is tried again after a pause."""


@dataclass(frozen=True)
class Chunk:
    """Deletions by LFN. ``claimed``: to be made now; ``asked_at``: when they were asked for, or a copy of ours came
    there later. ``begun``: they must not be made, but a killed run may have made them. ``num_left_out``: files left
    alone, those not included."""

    claimed: dict[str, int]
    asked_at: dict[str, datetime]
    begun: dict[str, int]
    num_left_out: int


def claim_chunk(database: Database, batch_id: int, size: int, objection: str | None = None) -> Chunk | None:
    """Judge the next ``size`` planned deletions of a batch and claim those that may be made, in one transaction.

    The others go back into the queue with the reason (``last_error``): all of them where there is an ``objection`` to
    the storage, or where the site's mapping is in doubt. None: nothing is left to do in this batch now, since all is
    done, or since the site takes no deletions at the moment (downtime, status, a storage that another site has too).
    """
    with database.begin() as connection:
        _drop_withdrawn(connection, batch_id)
        connection.execute(text(CHUNK_SQL), {"id": batch_id, "size": size})
        connection.execute(text("ANALYZE chunk"))
        if objection := objection or _doubt(connection, batch_id):
            connection.execute(text("UPDATE chunk SET left_out = :reason"), {"reason": objection})
        else:
            _judge(connection)
        connection.execute(
            text("""
            UPDATE deletions d SET claimed_at = now(), is_unsettled = true FROM chunk c
            WHERE d.id = c.deletion_id AND c.left_out IS NULL""")
        )
        connection.execute(  # one a subscription: the newest speaks for those before it
            text("""
            UPDATE deletions d SET is_unsettled = false FROM chunk c
            WHERE d.is_unsettled AND d.subscription_id = c.subscription_id AND d.id <> c.deletion_id
              AND c.left_out IS NULL""")
        )
        _leave_alone(connection, "SELECT deletion_id, left_out FROM chunk WHERE left_out IS NOT NULL AND NOT is_begun")
        judged = connection.execute(
            text("""
                SELECT lfn, deletion_id, left_out IS NULL AS is_claimed, is_begun, asked_at FROM chunk
                ORDER BY deletion_id""")
        ).all()
    if not judged:
        return None
    return Chunk(
        claimed={deletion.lfn: deletion.deletion_id for deletion in judged if deletion.is_claimed},
        asked_at={deletion.lfn: deletion.asked_at for deletion in judged if deletion.is_claimed},
        begun={
            deletion.lfn: deletion.deletion_id for deletion in judged if not deletion.is_claimed and deletion.is_begun
        },
        num_left_out=sum(not deletion.is_claimed and not deletion.is_begun for deletion in judged),
    )


def withdrawn_claims(database: Database, batch_id: int) -> dict[str, int]:
    """Deletions by LFN that a killed run may have made, or whose answer was lost, and that were withdrawn since. In no
    order: what cannot be looked at shall not be in the way of the others for ever."""
    with database.begin() as connection:
        withdrawn = connection.execute(
            text(f"""
            SELECT f.lfn, d.id FROM deletions d JOIN subscriptions s ON s.id = d.subscription_id
            JOIN files f ON f.id = s.file_id
            WHERE d.batch_id = :id AND d.is_unsettled AND CASE d.state WHEN '{DeletionState.PLANNED}'
              THEN s.state <> '{SubscriptionState.INBATCH}' ELSE s.state IN {CLOSED} END ORDER BY random()"""),
            {"id": batch_id},
        )
        return {deletion.lfn: deletion.id for deletion in withdrawn}


def release(database: Database, deletion_ids: Sequence[int]) -> None:
    """Claims of files that are there all the same and must stay. The claim is no more, an attempt without an answer is
    settled; a subscription that is still in the batch is queued again."""
    with database.begin() as connection:
        ids = pl.DataFrame({"deletion_id": deletion_ids}, schema={"deletion_id": pl.Int64})
        connection.execute(text("CREATE TEMPORARY TABLE released (deletion_id bigint) ON COMMIT DROP"))
        insert_frame(connection, "released", ids)
        connection.execute(
            text(f"""
            UPDATE deletions d SET is_unsettled = false, reason = concat_ws('; ', d.reason, 'the file is there still')
            FROM released r WHERE d.id = r.deletion_id AND d.state <> '{DeletionState.PLANNED}'""")
        )
        _leave_alone(
            connection,
            f"""SELECT r.deletion_id, CAST('a file that must stay' AS text) AS left_out
                FROM released r JOIN deletions d ON d.id = r.deletion_id WHERE d.state = '{DeletionState.PLANNED}'""",
        )


_SITE = "(SELECT site_id FROM deletion_batches WHERE id = :id)"

CHUNK_SQL = f"""
    CREATE TEMPORARY TABLE chunk ON COMMIT DROP AS
    WITH batch AS MATERIALIZED (SELECT id, subscription_id, state, claimed_at FROM deletions WHERE batch_id = :id)
    SELECT d.id AS deletion_id, s.id AS subscription_id, d.claimed_at IS NOT NULL AS is_begun, s.file_id, s.site_id,
           s.is_last_allowed, f.lfn, f.block_id, b.dataset_id, false AS is_last, NULL::text AS left_out,
           greatest(s.created_at, (
             SELECT max(t.finished_at) FROM subscriptions c JOIN transfers t ON t.subscription_id = c.id
             WHERE c.file_id = s.file_id AND c.site_id = s.site_id)) AS asked_at
    FROM (SELECT * FROM batch WHERE state = '{DeletionState.PLANNED}' ORDER BY id) AS d
    CROSS JOIN LATERAL (SELECT * FROM subscriptions WHERE id = d.subscription_id FOR UPDATE) AS s
    JOIN files f ON f.id = s.file_id JOIN blocks b ON b.id = f.block_id
    WHERE s.state = '{SubscriptionState.INBATCH}' AND {_SITE} IN {WRITABLE}
      AND NOT EXISTS (SELECT FROM {SHARED_STORAGE} AS shared WHERE shared.site_id = {_SITE})
    ORDER BY d.id LIMIT :size"""
"""Withdrawing one of these waits for the claim, or comes before it.

The batch is read whole, and its subscriptions by their ids: the planner's statistics are of a time when nothing was in
batches, and by their states it would walk through the 100,000 of all batches for each chunk of 500. Of shared storages
those of the batch's site are asked for: all pairs of 100 sites took longer than the rest.
"""

IS_BEING_COPIED = f"""EXISTS (SELECT FROM {OPEN_TRANSFERS} t WHERE t.file_id = c.file_id AND (t.site_id = c.site_id
    OR t.source_site_id = c.site_id OR c.site_id = ANY(t.other_source_site_ids)))"""

REASONS = {
    BEING_COPIED: IS_BEING_COPIED,
    LOCKED: "(c.block_id, c.site_id) IN (SELECT block_id, site_id FROM now_locked)",
    LAST_SOURCE: f"c.is_last AND {is_pending_elsewhere('c.file_id', 'c.site_id')}",
    LAST_COPY: "c.is_last AND NOT c.is_last_allowed",
    HELD_BY_PARTNER: is_held_by_partner("c.file_id", "c.site_id"),
}
"""Why a file ``c`` of ``chunk`` stays after all."""


def _doubt(connection: Connection, batch_id: int) -> str | None:
    site_id = connection.execute(text("SELECT site_id FROM deletion_batches WHERE id = :id"), {"id": batch_id})
    return ambiguous_mapping(connection, site_id.scalar_one())


def _judge(connection: Connection) -> None:
    replicas = select_frame(
        connection,
        """SELECT DISTINCT c.dataset_id, c.block_id, c.site_id, coalesce(r.group_id, r.former_group_id) AS group_id
           FROM chunk c LEFT JOIN block_replicas r USING (block_id, site_id)""",
        LOCKABLE,
    )
    locked_replicas = locked_rows(connection, "chunk", replicas)
    connection.execute(text("CREATE TEMPORARY TABLE now_locked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "now_locked", locked_replicas)
    connection.execute(text(f"UPDATE chunk c SET is_last = {is_last_copy('c.file_id', 'c.site_id')}"))
    for reason, condition in REASONS.items():
        connection.execute(
            text(f"UPDATE chunk c SET left_out = :reason WHERE left_out IS NULL AND {condition}"), {"reason": reason}
        )


def _leave_alone(connection: Connection, deletions: str) -> None:
    """No attempt is made at ``deletions`` (deletion_id, left_out): they go, their subscriptions wait for a run."""
    connection.execute(
        text(f"""
        WITH alone AS (
          DELETE FROM deletions d USING ({deletions}) AS c WHERE d.id = c.deletion_id
          RETURNING d.subscription_id, c.left_out, '{SubscriptionState.INBATCH}' AS state_before)
        UPDATE subscriptions s SET state = '{LEFT_ALONE}', last_error = 'not deleted: ' || a.left_out,
          updated_at = now()
        FROM alone a WHERE s.id = a.subscription_id AND s.state = a.state_before""")
    )


def _drop_withdrawn(connection: Connection, batch_id: int) -> None:
    """Deletions that were withdrawn before anything was asked for them are no attempts."""
    connection.execute(
        text(f"""
        DELETE FROM deletions d USING subscriptions s WHERE d.batch_id = :id AND s.id = d.subscription_id
          AND CASE WHEN d.state = '{DeletionState.PLANNED}' AND d.claimed_at IS NULL
              THEN s.state <> '{SubscriptionState.INBATCH}' END"""),
        {"id": batch_id},
    )
