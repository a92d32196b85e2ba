"""Replicas of what is declared invalid go with it. Set-wise, in the transaction of the invalidation.

All SQL is about tables of the transaction: ``doomed_datasets`` (dataset_id), ``doomed_blocks`` (block_id),
``doomed_files`` (file_id, block_id), ``shrunk_blocks`` (block_id): those that stay and lose files.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.inventory.replica import block_replica, dataset_replica, present_file
from dynamo_ops.inventory.replica.copies import is_block_awaited
from dynamo_ops.inventory.replica.empty import drop_empty

LOCK_REPLICAS = """
    SELECT count(*) FROM (
        SELECT 1 FROM block_replicas AS replica
        WHERE replica.block_id IN (SELECT block_id FROM doomed_files UNION SELECT block_id FROM doomed_blocks)
        ORDER BY replica.block_id, replica.site_id FOR UPDATE OF replica) AS locked"""
"""In the order in which everybody locks them, and before the subscriptions, as Detox and requests do."""


def lock_replicas(connection: Connection) -> None:
    """Until the end of the transaction nobody else changes the block replicas that lose something."""
    connection.execute(text(LOCK_REPLICAS))


def remove_doomed(connection: Connection) -> None:
    """The doomed files leave their replicas, doomed blocks and datasets lose theirs. Dataset replicas that are touched
    are noted in ``touched_replicas`` (dataset_id, site_id), for ``settle_shrunk``."""
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE touched_replicas ON COMMIT DROP AS
        SELECT DISTINCT replica.dataset_id, replica.site_id FROM block_replicas AS replica
        WHERE replica.block_id IN (SELECT block_id FROM shrunk_blocks UNION SELECT block_id FROM doomed_blocks)""")
    )
    present_file.remove_everywhere(connection, "SELECT block_id, file_id FROM doomed_files")
    block_replica.drop_all(connection, "SELECT block_id FROM doomed_blocks")
    dataset_replica.drop_all(connection, "SELECT dataset_id FROM doomed_datasets")


def settle_shrunk(connection: Connection) -> None:
    """After files and blocks are gone: replicas of shrunk blocks are counted again, complete where nothing is missing
    any more; what is empty then goes, but where the dataset grows, or where a group waits for what is left."""
    block_replica.recount(connection, _COUNTED)
    present_file.forget(
        connection,
        """SELECT replica.block_id, replica.site_id
           FROM block_replicas AS replica JOIN shrunk_blocks USING (block_id) WHERE replica.is_complete""",
    )
    drop_empty(connection, _NOT_AWAITED)
    dataset_replica.drop_hollow(connection, "SELECT dataset_id, site_id FROM touched_replicas")
    connection.execute(text("DROP TABLE touched_replicas"))


_COUNTED = """
    SELECT replica.block_id, replica.site_id, replica.is_complete OR counted.num_present = counted.num_files
               AS is_complete, counted.size_bytes
    FROM (SELECT replica.block_id, replica.site_id, block.num_files,
                 CASE WHEN replica.is_complete THEN block.size_bytes
                      ELSE coalesce(sum(file.size_bytes), 0)::bigint END AS size_bytes,
                 CASE WHEN replica.is_complete THEN block.num_files ELSE count(file.id) END AS num_present
          FROM shrunk_blocks AS shrunk JOIN blocks AS block ON block.id = shrunk.block_id
          JOIN block_replicas AS replica ON replica.block_id = shrunk.block_id
          LEFT JOIN block_replica_files AS listed ON listed.block_id = replica.block_id
              AND listed.site_id = replica.site_id AND NOT replica.is_complete
          LEFT JOIN files AS file ON file.id = listed.file_id
          GROUP BY replica.block_id, replica.site_id, replica.is_complete, block.num_files, block.size_bytes) AS counted
    JOIN block_replicas AS replica USING (block_id, site_id)"""

_NOT_AWAITED = f"""
    SELECT replica.block_id, replica.site_id
    FROM block_replicas AS replica JOIN shrunk_blocks USING (block_id)
    JOIN blocks AS block ON block.id = replica.block_id
    WHERE NOT EXISTS (SELECT FROM dataset_replicas AS growing WHERE growing.dataset_id = replica.dataset_id
                      AND growing.site_id = replica.site_id AND growing.is_growing)
      AND (block.num_files = 0 OR NOT replica.is_complete AND replica.group_id IS NULL
           AND NOT {is_block_awaited("replica.block_id", "replica.site_id")})"""
