"""Datasets, blocks and files leave the inventory for good, with all that hangs on them. Set-wise, in one transaction.

All SQL is about tables of the transaction: ``doomed_datasets`` (dataset_id), ``doomed_blocks`` (block_id, dataset_id)
with those of the datasets, ``doomed_files`` (file_id, block_id, dataset_id, size_bytes) with those of the blocks.

Histories of Detox and Dealer, and closed requests, keep the ids; ``invalidations`` has the names.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.database.schema.file_operations import ACTIVE_STATES
from dynamo_ops.database.schema.request import OPEN_REQUESTS

ITEM_IS_GONE = """(NOT EXISTS (SELECT FROM datasets AS d WHERE d.id = i.dataset_id)
    OR i.block_id IS NOT NULL AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.id = i.block_id))"""
"""What the row ``i`` of ``request_items`` names was declared invalid."""


def remove_doomed(connection: Connection, *, by: str, because: str) -> None:
    """Take all that is doomed out of the inventory; what is left of blocks and datasets is counted again.

    A block that loses all its files stays, and so does its replica where the dataset grows; elsewhere the replica goes.
    An incomplete replica is complete when what it lacked is gone. ``by`` and ``because``: noted in requests that asked
    for what goes.
    """
    values = {"by": by, "because": because}
    for statement in (*_LEFT_BEHIND, *_WISHES, *_REPLICAS, *_REMOVE, *_COUNT_AGAIN, *_REQUESTS):
        connection.execute(text(statement), values)
    connection.execute(text("DROP TABLE shrunk_blocks, touched_replicas"))


LOCK_REPLICAS = """
    SELECT count(*) FROM (
        SELECT 1 FROM block_replicas AS r
        WHERE r.block_id IN (SELECT block_id FROM doomed_files UNION SELECT block_id FROM doomed_blocks)
        ORDER BY r.block_id, r.site_id FOR UPDATE OF r) AS locked"""
"""In the order in which everybody locks them, and before the wishes, as Detox and requests do."""

_LEFT_BEHIND = (
    """CREATE TEMPORARY TABLE shrunk_blocks ON COMMIT DROP AS
       SELECT DISTINCT f.block_id, f.dataset_id FROM doomed_files AS f
       WHERE NOT EXISTS (SELECT FROM doomed_blocks AS b WHERE b.block_id = f.block_id)""",
    "ANALYZE shrunk_blocks",
    """CREATE TEMPORARY TABLE touched_replicas ON COMMIT DROP AS
       SELECT DISTINCT r.dataset_id, r.site_id FROM block_replicas AS r
       WHERE r.block_id IN (SELECT block_id FROM shrunk_blocks UNION SELECT block_id FROM doomed_blocks)""",
    # In the order in which everybody locks them.
    """SELECT count(*) FROM (
           SELECT 1 FROM block_replicas AS r
           WHERE r.block_id IN (SELECT block_id FROM shrunk_blocks UNION SELECT block_id FROM doomed_blocks)
           ORDER BY r.block_id, r.site_id FOR UPDATE OF r) AS locked""",
)

_WISHES = (
    """CREATE TEMPORARY TABLE doomed_wishes ON COMMIT DROP AS
       SELECT s.id FROM subscriptions AS s WHERE s.file_id IN (SELECT file_id FROM doomed_files)""",
    "ANALYZE doomed_wishes",
    "DELETE FROM deletions AS d USING doomed_wishes AS w WHERE d.subscription_id = w.id",
    "DELETE FROM transfers AS t USING doomed_wishes AS w WHERE t.subscription_id = w.id",
    "DELETE FROM subscriptions AS s USING doomed_wishes AS w WHERE s.id = w.id",
    "DROP TABLE doomed_wishes",
)

_REPLICAS = (
    """DELETE FROM block_replica_files AS p USING doomed_files AS f
       WHERE p.block_id = f.block_id AND p.file_id = f.file_id""",
    "DELETE FROM block_replicas AS r USING doomed_blocks AS b WHERE r.block_id = b.block_id",
    "DELETE FROM dataset_replicas AS r USING doomed_datasets AS d WHERE r.dataset_id = d.dataset_id",
)

_VANISHED = (
    """DELETE FROM vanished AS v USING doomed_files AS d JOIN files AS f ON f.id = d.file_id
       WHERE v.kind = 'file' AND md5(v.name)::uuid = md5(f.lfn)::uuid""",
    """DELETE FROM vanished AS v USING doomed_blocks AS x JOIN blocks AS b ON b.id = x.block_id
           JOIN datasets AS d ON d.id = b.dataset_id
       WHERE v.kind = 'block' AND md5(v.name)::uuid = md5(d.name || '#' || b.name)::uuid""",
    """DELETE FROM vanished AS v USING doomed_datasets AS x JOIN datasets AS d ON d.id = x.dataset_id
       WHERE v.kind = 'dataset' AND md5(v.name)::uuid = md5(d.name)::uuid""",
)

_REMOVE = (
    *_VANISHED,
    "DELETE FROM files AS f USING doomed_files AS d WHERE f.id = d.file_id",
    "DELETE FROM blocks AS b USING doomed_blocks AS d WHERE b.id = d.block_id",
    *(
        f"DELETE FROM {table} AS t USING doomed_datasets AS d WHERE t.dataset_id = d.dataset_id"
        for table in ("accesses_daily", "demand_daily", "dataset_attributes", "dataset_sources")
    ),
    "DELETE FROM datasets AS x USING doomed_datasets AS d WHERE x.id = d.dataset_id",
)

_COUNT_AGAIN = (
    """UPDATE blocks AS b SET size_bytes = n.size_bytes, num_files = n.num_files
       FROM (SELECT s.block_id, coalesce(sum(f.size_bytes), 0)::bigint AS size_bytes, count(f.id) AS num_files
             FROM shrunk_blocks AS s LEFT JOIN files AS f ON f.block_id = s.block_id GROUP BY s.block_id) AS n
       WHERE b.id = n.block_id""",
    """UPDATE datasets AS d
       SET size_bytes = n.size_bytes, num_blocks = n.num_blocks, num_files = n.num_files
       FROM (SELECT t.dataset_id, coalesce(sum(b.size_bytes), 0)::bigint AS size_bytes, count(b.id) AS num_blocks,
                    coalesce(sum(b.num_files), 0)::bigint AS num_files
             FROM (SELECT dataset_id FROM shrunk_blocks UNION SELECT dataset_id FROM doomed_blocks) AS t
             LEFT JOIN blocks AS b ON b.dataset_id = t.dataset_id GROUP BY t.dataset_id) AS n
       WHERE d.id = n.dataset_id""",
    """UPDATE block_replicas AS r
       SET size_bytes = n.size_bytes, is_complete = r.is_complete OR n.num_present = n.num_files
       FROM (SELECT c.block_id, c.site_id, b.num_files,
                    CASE WHEN c.is_complete THEN b.size_bytes ELSE coalesce(sum(f.size_bytes), 0)::bigint END
                        AS size_bytes,
                    CASE WHEN c.is_complete THEN b.num_files ELSE count(f.id) END AS num_present
             FROM shrunk_blocks AS s JOIN blocks AS b ON b.id = s.block_id
             JOIN block_replicas AS c ON c.block_id = s.block_id
             LEFT JOIN block_replica_files AS p
                 ON p.block_id = c.block_id AND p.site_id = c.site_id AND NOT c.is_complete
             LEFT JOIN files AS f ON f.id = p.file_id
             GROUP BY c.block_id, c.site_id, c.is_complete, b.num_files, b.size_bytes) AS n
       WHERE r.block_id = n.block_id AND r.site_id = n.site_id""",
    """DELETE FROM block_replica_files AS p USING block_replicas AS r JOIN shrunk_blocks AS s USING (block_id)
       WHERE p.block_id = r.block_id AND p.site_id = r.site_id AND r.is_complete""",
    # Nothing is there any more. What a group still waits for is wished for, or will be (resubscribe_incomplete).
    f"""DELETE FROM block_replicas AS r USING shrunk_blocks AS s JOIN blocks AS b ON b.id = s.block_id
        WHERE r.block_id = s.block_id AND r.size_bytes = 0
          AND NOT EXISTS (SELECT FROM block_replica_files AS p WHERE p.block_id = r.block_id AND p.site_id = r.site_id)
          AND NOT EXISTS (SELECT FROM dataset_replicas AS g WHERE g.dataset_id = r.dataset_id AND g.site_id = r.site_id
                          AND g.is_growing)
          AND (b.num_files = 0 OR NOT r.is_complete AND r.group_id IS NULL AND NOT EXISTS (
              SELECT FROM files AS f JOIN subscriptions AS w ON w.file_id = f.id AND w.site_id = r.site_id
              WHERE f.block_id = r.block_id AND w.action = 'copy' AND w.{ACTIVE_STATES}))""",
    """DELETE FROM dataset_replicas AS g USING touched_replicas AS t
       WHERE g.dataset_id = t.dataset_id AND g.site_id = t.site_id AND NOT g.is_growing AND NOT EXISTS (
           SELECT FROM block_replicas AS r WHERE r.dataset_id = g.dataset_id AND r.site_id = g.site_id)""",
)

_REQUESTS = (
    # As ``request.registry.lock_registry``: after rows of replicas, never before.
    "SELECT pg_advisory_xact_lock(hashtextextended('dynamo requests', 0))",
    """UPDATE request_actions AS a SET state = 'cancelled', reason = :because, updated_at = now()
       WHERE a.state = 'queued' AND (a.dataset_id IN (SELECT dataset_id FROM doomed_datasets)
                                     OR a.block_id IN (SELECT block_id FROM doomed_blocks))""",
    f"""UPDATE requests AS r SET state = 'cancelled', closed_by = :by, closed_because = :because, closed_at = now(),
            updated_at = now()
        WHERE r.{OPEN_REQUESTS} AND EXISTS (
            SELECT FROM request_items AS i WHERE i.request_id = r.id HAVING bool_and({ITEM_IS_GONE}))""",
    # What is closed keeps its items to be read; what goes on asks for what is left.
    f"""DELETE FROM request_items AS i USING requests AS r
        WHERE r.id = i.request_id AND r.{OPEN_REQUESTS}
          AND (i.dataset_id IN (SELECT dataset_id FROM doomed_datasets)
               OR i.block_id IN (SELECT block_id FROM doomed_blocks))""",
)
