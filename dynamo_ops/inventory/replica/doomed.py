"""What decides over deletions share: which block replicas stay, which blocks are left alone, which are still wanted.

All SQL is about the table ``doomed`` of the transaction: one row per block replica that is to be deleted (block_id,
dataset_id, site_id, …), with ``left_out``: null, or why it stays after all.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.inventory.replica.copies import DOUBTED_FILES, SURE_SITES, doomed_in, is_awaited_elsewhere

STAYS = """NOT EXISTS (
        SELECT FROM doomed x WHERE x.block_id = o.block_id AND x.site_id = o.site_id AND x.left_out IS NULL)"""
"""Nothing of this decision takes the block replica ``o`` away."""

IS_GOOD = f"""(o.site_id IN {SURE_SITES}
      AND NOT EXISTS (SELECT FROM not_good WHERE not_good.block_id = o.block_id AND not_good.site_id = o.site_id))"""
"""What the block replica ``o`` has is good, whoever owns it: a reason why others may go. Needs ``not_good``."""

IS_AWAITED_ELSEWHERE = is_awaited_elsewhere("d.block_id", "d.site_id")
"""A copy of the block of ``d`` to another site is still pending."""

IS_LAST_SOURCE = f"""
        d.block_id IN (SELECT block_id FROM alone) AND ({IS_AWAITED_ELSEWHERE}
            OR EXISTS (SELECT FROM block_replicas o WHERE o.block_id = d.block_id AND o.site_id <> d.site_id
                       AND NOT o.is_complete AND o.group_id IS NOT NULL AND {STAYS}))"""
"""Needs ``alone``: nothing good stays, and somebody waits for the block of ``d``: a copy is subscribed, or an owned
replica is incomplete."""


def leave_out(connection: Connection, reason: str, condition: str) -> None:
    """Rows ``d`` of ``doomed`` that meet the SQL condition, and were not left out before, stay for this reason."""
    connection.execute(
        text(f"UPDATE doomed d SET left_out = :reason WHERE left_out IS NULL AND {condition}"), {"reason": reason}
    )


def find_not_good(connection: Connection) -> None:
    """Make ``not_good`` (block_id, site_id): replicas of the blocks of ``doomed`` with an open deletion, or with a file
    that is doubted. They are no copies, whoever owns them."""
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE not_good ON COMMIT DROP AS
        SELECT block_id, site_id FROM {doomed_in("SELECT block_id FROM doomed")} AS going
        UNION
        SELECT f.block_id, q.site_id FROM {DOUBTED_FILES} q JOIN files f ON f.id = q.file_id
        WHERE f.block_id IN (SELECT block_id FROM doomed)""")
    )
    connection.execute(text("ANALYZE not_good"))


def find_alone(connection: Connection) -> None:
    """Make ``alone`` (block_id): blocks of which no good copy stays anywhere, as things stand now."""
    connection.execute(text("DROP TABLE IF EXISTS alone"))
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE alone ON COMMIT DROP AS
        SELECT block_id FROM doomed WHERE left_out IS NULL
        EXCEPT
        SELECT o.block_id FROM block_replicas o JOIN doomed d USING (block_id)
        WHERE o.is_complete AND {STAYS} AND {IS_GOOD}""")
    )
    connection.execute(text("ANALYZE alone"))
