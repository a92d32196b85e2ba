"""Blocks that gain files, and datasets that gain blocks: what becomes of the replicas. Shared by merge and injection.

All SQL is about tables of the transaction: ``grown_blocks`` (block_id), known before the files are inserted, and
``new_files`` (id, block_id, size_bytes), those that came in.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.inventory.replica import block_replica, present_file

ALL_REPLICAS = """SELECT replica.block_id, replica.site_id
    FROM block_replicas AS replica JOIN grown_blocks USING (block_id)"""
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


def keep_old_files(connection: Connection) -> int:
    """Complete replicas of blocks that gained files keep those that they had, and are incomplete. Returns how many."""
    present_file.add(connection, _OLD_FILES)
    return block_replica.make_incomplete(
        connection,
        """SELECT replica.block_id, replica.site_id FROM (SELECT DISTINCT block_id FROM new_files) AS grown
           JOIN block_replicas AS replica USING (block_id) WHERE replica.is_complete""",
    )


def grow(connection: Connection, new_blocks: str) -> int:
    """``new_blocks`` (block_id, dataset_id) get an empty replica wherever their dataset grows. Returns how many.

    It is as old as the dataset replica, not as the clock says: what is merged later gives the same.
    """
    return block_replica.make_empty(
        connection,
        f"""SELECT block.block_id, growing.site_id, growing.dataset_id, growing.group_id,
                   growing.created_at AS last_update_at
            FROM ({new_blocks}) AS block
            JOIN dataset_replicas AS growing ON growing.dataset_id = block.dataset_id AND growing.is_growing""",
    )


_LOCK_BLOCKS = """
    SELECT count(*) FROM (
        SELECT 1 FROM blocks AS block WHERE block.id IN (SELECT block_id FROM grown_blocks)
        ORDER BY block.id FOR UPDATE OF block) AS locked"""

_LOCK_REPLICAS = """
    SELECT count(*) FROM (
        SELECT 1 FROM block_replicas AS replica JOIN ({}) AS touched USING (block_id, site_id)
        ORDER BY replica.block_id, replica.site_id FOR UPDATE OF replica) AS locked"""

_OLD_FILES = """
    SELECT replica.block_id, replica.site_id, file.id AS file_id
    FROM (SELECT DISTINCT block_id FROM new_files) AS grown
    JOIN block_replicas AS replica ON replica.block_id = grown.block_id AND replica.is_complete
    JOIN files AS file ON file.block_id = replica.block_id
    WHERE NOT EXISTS (SELECT FROM new_files AS new_file WHERE new_file.id = file.id)"""
