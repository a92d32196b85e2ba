"""Deletions are taken back: what an executor has not claimed stays, and its owner has it again (SEMANTICS §10).

For locks that come after a commit, and for what has waited too long since it must stay. The opposite of ``let_go``.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from dynamo_ops.inventory.replica import block_replica, dataset_replica
from dynamo_ops.inventory.states import (
    SubscriptionAction,
    SubscriptionEvent,
    SubscriptionState,
    sources_of,
)

TAKEN_BACK = "taken back"
"""How the stored reason of what was taken back begins."""


@dataclass(frozen=True)
class GivenBack:
    """``num_files``: deletions taken back; ``num_too_late``: files that an executor had claimed by then;
    ``num_block_replicas``: that have their owner again."""

    num_files: int = 0
    num_too_late: int = 0
    num_block_replicas: int = 0


def give_back(connection: Connection, replicas: str, *, reason: str) -> GivenBack:
    """Take back the deletions of ``replicas`` (block_id, site_id), whoever asked for them; ``reason`` stands with each.

    Files that are gone already are copied again, since their block replica is owned and incomplete. Where nobody knows
    the former owner, it stays with nobody. A dataset replica grows again if the deletion had stopped that.
    """
    connection.execute(text("DROP TABLE IF EXISTS taken_back"))
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE taken_back ON COMMIT DROP AS
        SELECT s.id AS subscription_id, f.block_id, s.site_id, EXISTS (
            SELECT FROM deletions d WHERE d.subscription_id = s.id AND d.is_unsettled) AS is_too_late
        FROM ({replicas}) AS wanted JOIN files f ON f.block_id = wanted.block_id
        JOIN subscriptions s ON s.file_id = f.id AND s.site_id = wanted.site_id
        WHERE s.action = '{SubscriptionAction.DELETE}' AND s.state IN {sources_of(SubscriptionEvent.WITHDRAWN)}
        ORDER BY s.id FOR UPDATE OF s""")
    )
    connection.execute(text("ANALYZE taken_back"))
    connection.execute(
        text(f"""
        UPDATE subscriptions s SET state = '{SubscriptionState.CANCELLED}', hold_reason = NULL, last_error = :reason,
          updated_at = now()
        FROM taken_back t WHERE s.id = t.subscription_id"""),
        {"reason": f"{TAKEN_BACK}: {reason}"},
    )
    num_files, num_too_late = connection.execute(
        text("SELECT count(*) FILTER (WHERE NOT is_too_late), count(*) FILTER (WHERE is_too_late) FROM taken_back")
    ).one()
    blocks = "SELECT DISTINCT block_id, site_id FROM taken_back"
    num_block_replicas = block_replica.give_back(connection, blocks)
    dataset_replica.grow_as_before(
        connection,
        f"""SELECT DISTINCT replica.dataset_id, replica.site_id FROM block_replicas AS replica
            JOIN ({blocks}) AS again USING (block_id, site_id) WHERE replica.group_id IS NOT NULL""",
    )
    return GivenBack(num_files, num_too_late, num_block_replicas)
