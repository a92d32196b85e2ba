"""Datasets, blocks and files leave the inventory for good, with all that hangs on them. Set-wise, in one transaction.

All SQL is about tables of the transaction: ``doomed_datasets`` (dataset_id), ``doomed_blocks`` (block_id, dataset_id)
with those of the datasets, ``doomed_files`` (file_id, block_id, dataset_id, size_bytes) with those of the blocks.

Histories of Detox and Dealer, and closed requests, keep the ids; ``invalidations`` has the names.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.schema.request import CANCELLED, OPEN_REQUESTS, QUEUED_ACTIONS
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import in_order
from dynamo_ops.inventory.kinds import CatalogueKind
from dynamo_ops.inventory.replica import removal as replica_removal
from dynamo_ops.inventory.request_event import closing

ITEM_IS_GONE = """(NOT EXISTS (SELECT FROM datasets AS d WHERE d.id = i.dataset_id)
    OR i.block_id IS NOT NULL AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.id = i.block_id))"""
"""What the row ``i`` of ``request_items`` names was declared invalid."""


def remove_doomed(connection: Connection, *, by: str, because: str) -> None:
    """Take all that is doomed out of the inventory; what is left of blocks and datasets is counted again.

    A block that loses all its files stays, and so does its replica where the dataset grows; elsewhere the replica goes.
    An incomplete replica is complete when what it lacked is gone. ``by`` and ``because``: noted in requests that asked
    for what goes.
    """
    parameters = {"by": by, "because": because}
    _run(connection, *_LEFT_BEHIND, *_SUBSCRIPTIONS)
    replica_removal.remove_doomed(connection)
    _run(connection, *_REMOVE, *_COUNT_AGAIN)
    replica_removal.settle_shrunk(connection)
    hold(connection, Lock.REQUESTS)
    in_order(connection)
    for statement in _REQUESTS:
        connection.execute(text(statement), parameters)
    _run(connection, "DROP TABLE shrunk_blocks")


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))


_LEFT_BEHIND = (
    """CREATE TEMPORARY TABLE shrunk_blocks ON COMMIT DROP AS
       SELECT DISTINCT f.block_id, f.dataset_id FROM doomed_files AS f
       WHERE NOT EXISTS (SELECT FROM doomed_blocks AS b WHERE b.block_id = f.block_id)""",
    "ANALYZE shrunk_blocks",
)

_SUBSCRIPTIONS = (
    """CREATE TEMPORARY TABLE doomed_subscriptions ON COMMIT DROP AS
       SELECT s.id FROM subscriptions AS s WHERE s.file_id IN (SELECT file_id FROM doomed_files)""",
    "ANALYZE doomed_subscriptions",
    "DELETE FROM deletions AS d USING doomed_subscriptions AS w WHERE d.subscription_id = w.id",
    "DELETE FROM transfers AS t USING doomed_subscriptions AS w WHERE t.subscription_id = w.id",
    "DELETE FROM subscriptions AS s USING doomed_subscriptions AS w WHERE s.id = w.id",
    "DROP TABLE doomed_subscriptions",
)

_VANISHED = (
    f"""DELETE FROM vanished AS v USING doomed_files AS d JOIN files AS f ON f.id = d.file_id
       WHERE v.kind = '{CatalogueKind.FILE}' AND md5(v.name)::uuid = md5(f.lfn)::uuid""",
    f"""DELETE FROM vanished AS v USING doomed_blocks AS x JOIN blocks AS b ON b.id = x.block_id
           JOIN datasets AS d ON d.id = b.dataset_id
       WHERE v.kind = '{CatalogueKind.BLOCK}' AND md5(v.name)::uuid = md5(d.name || '#' || b.name)::uuid""",
    f"""DELETE FROM vanished AS v USING doomed_datasets AS x JOIN datasets AS d ON d.id = x.dataset_id
       WHERE v.kind = '{CatalogueKind.DATASET}' AND md5(v.name)::uuid = md5(d.name)::uuid""",
    """DELETE FROM set_aside_datasets AS a USING doomed_datasets AS x JOIN datasets AS d ON d.id = x.dataset_id
       WHERE a.dataset = d.name""",
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
)

_REQUESTS = (
    f"""UPDATE request_actions AS a SET {CANCELLED}, reason = :because, updated_at = now()
       WHERE a.{QUEUED_ACTIONS} AND (a.dataset_id IN (SELECT dataset_id FROM doomed_datasets)
                                      OR a.block_id IN (SELECT block_id FROM doomed_blocks))""",
    closing(
        EventKind.REQUEST_CANCELLED,
        f"""
        UPDATE requests AS r SET {CANCELLED}, closed_by = :by, closed_because = :because, closed_at = now(),
            updated_at = now()
        WHERE r.{OPEN_REQUESTS} AND EXISTS (
            SELECT FROM request_items AS i WHERE i.request_id = r.id HAVING bool_and({ITEM_IS_GONE}))""",
    ),
    # What is closed keeps its items to be read; what goes on asks for what is left.
    f"""DELETE FROM request_items AS i USING requests AS r
        WHERE r.id = i.request_id AND r.{OPEN_REQUESTS}
          AND (i.dataset_id IN (SELECT dataset_id FROM doomed_datasets)
               OR i.block_id IN (SELECT block_id FROM doomed_blocks))""",
)
