"""Blocks that gain files: what becomes of the replicas that they have already. Shared by merge and injection.

All SQL is about two tables of the transaction: ``grown_blocks`` (block_id), known before the files are inserted, and
``new_files`` (id, block_id, size_bytes), those that came in.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

ALL_REPLICAS = "SELECT r.block_id, r.site_id FROM block_replicas AS r JOIN grown_blocks USING (block_id)"
"""The block replicas of all blocks that gain files."""


def lock_replicas(connection: Connection, replicas_sql: str = ALL_REPLICAS) -> None:
    """Until the end of the transaction nobody else changes the block replicas (block_id, site_id) of ``replicas_sql``,
    nor makes any of the ``grown_blocks``. Before the files are inserted, never after.

    A transfer or deletion counts the files of a block to see whether its replica is complete. Without the lock it would
    count without the new files, and what was never copied would count as present. Blocks come first: who makes a
    replica has none locked yet; then replicas, in the order in which everybody locks them.
    """
    connection.execute(text(_LOCK_BLOCKS))
    connection.execute(text(_LOCK_REPLICAS.format(replicas_sql)))


_LOCK_BLOCKS = """
    SELECT count(*) FROM (
        SELECT 1 FROM blocks AS b WHERE b.id IN (SELECT block_id FROM grown_blocks) ORDER BY b.id FOR UPDATE OF b
        ) AS locked"""

_LOCK_REPLICAS = """
    SELECT count(*) FROM (
        SELECT 1 FROM block_replicas AS r JOIN ({}) AS t USING (block_id, site_id)
        ORDER BY r.block_id, r.site_id FOR UPDATE OF r) AS locked"""

KEEP_OLD_FILES = """
    INSERT INTO block_replica_files (block_id, site_id, file_id)
    SELECT r.block_id, r.site_id, f.id
    FROM (SELECT DISTINCT block_id FROM new_files) AS grown
    JOIN block_replicas AS r ON r.block_id = grown.block_id AND r.is_complete
    JOIN files AS f ON f.block_id = r.block_id
    WHERE NOT EXISTS (SELECT FROM new_files AS n WHERE n.id = f.id)
    ON CONFLICT DO NOTHING"""
"""Complete replicas of blocks that gained files keep those that they had …"""

MAKE_INCOMPLETE = """
    UPDATE block_replicas AS r SET is_complete = false
    FROM (SELECT DISTINCT block_id FROM new_files) AS grown
    WHERE r.block_id = grown.block_id AND r.is_complete"""
"""… and are incomplete."""
