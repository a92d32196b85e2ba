"""What files block replicas hold: files arrive, files leave, and completeness follows (SEMANTICS §6).

Both acts take the temporary table ``changed`` (file_id, site_id) of the running transaction, are safe to repeat, and
lock the block replicas they touch in one order, so that transfers, deletions and repairs can run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from dynamo_ops.inventory.checks import ALL_BAD, BadState
from dynamo_ops.inventory.replica import block_replica, dataset_replica, present_file
from dynamo_ops.inventory.replica.empty import drop_empty


@dataclass(frozen=True)
class ReplicaChange:
    """What became of the block replicas that were touched."""

    num_completed: int = 0
    num_incomplete: int = 0
    num_removed: int = 0
    num_dataset_replicas_removed: int = 0


def arrive(connection: Connection) -> ReplicaChange:
    """The files of ``changed`` are at their sites now. Missing block and dataset replicas are made, for no group. A bad
    copy that was copied again is good."""
    _make_touched(connection)
    dataset_replica.make(connection, "SELECT dataset_id, site_id FROM touched")
    block_replica.make_empty(
        connection,
        """SELECT block_id, site_id, dataset_id, CAST(NULL AS smallint) AS group_id, now() AS last_update_at
           FROM touched""",
    )
    _lock_touched(connection)
    present_file.add(
        connection,
        """SELECT file.block_id, changed.site_id, file.id AS file_id
           FROM changed JOIN files AS file ON file.id = changed.file_id
           JOIN locked ON locked.block_id = file.block_id AND locked.site_id = changed.site_id
               AND NOT locked.is_complete""",
    )
    _recount(connection)
    completed = block_replica.complete(
        connection,
        _FILLED,
    )
    present_file.forget(
        connection,
        """SELECT counted.block_id, counted.site_id
           FROM counted JOIN block_replicas AS replica USING (block_id, site_id) WHERE replica.is_complete""",
    )
    present_file.forget_bad(connection, "SELECT file_id, site_id FROM changed", states=f"('{BadState.COPYING}')")
    touched = _drop_touched(connection)
    return ReplicaChange(num_completed=completed, num_incomplete=touched - completed)


def leave(connection: Connection, *, is_deleted: bool = False) -> ReplicaChange:
    """The files of ``changed`` are not at their sites any more. Replicas with nothing left and nothing pending go.

    ``is_deleted``: the storage has nothing of them either, so that there is nothing left to be called bad."""
    _make_touched(connection)
    _lock_touched(connection)
    present_file.add_all(connection, "SELECT block_id, site_id FROM locked WHERE is_complete")
    present_file.remove(
        connection,
        """SELECT file.block_id, changed.site_id, changed.file_id
           FROM changed JOIN files AS file ON file.id = changed.file_id""",
    )
    incomplete = block_replica.make_incomplete(connection, "SELECT block_id, site_id FROM locked WHERE is_complete")
    connection.execute(text("UPDATE locked SET is_complete = false"))
    _recount(connection)
    dropped = drop_empty(connection, "SELECT block_id, site_id FROM counted WHERE num_present = 0")
    if is_deleted:
        present_file.forget_bad(connection, "SELECT file_id, site_id FROM changed", states=str(ALL_BAD))
    _drop_touched(connection)
    still_there = max(incomplete - dropped.num_block_replicas, 0)
    return ReplicaChange(0, still_there, dropped.num_block_replicas, dropped.num_dataset_replicas)


# Counted once each: beside incomplete replicas that the statistics do not know yet, the planner counted for each pair.
_FILLED = """
    WITH filled AS MATERIALIZED (
        SELECT counted.block_id, counted.site_id FROM counted
        WHERE counted.num_present = (SELECT count(*) FROM files AS file WHERE file.block_id = counted.block_id))
    SELECT filled.block_id, filled.site_id FROM filled"""


def _make_touched(connection: Connection) -> None:
    connection.execute(text("ANALYZE changed"))
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
        SELECT DISTINCT file.block_id, changed.site_id, block.dataset_id
        FROM changed JOIN files AS file ON file.id = changed.file_id
        JOIN blocks AS block ON block.id = file.block_id""")
    )
    connection.execute(text("ANALYZE touched"))


def _lock_touched(connection: Connection) -> None:
    """Lock the touched block replicas, and note in ``locked`` which were complete.

    Joining this small table keeps the planner from walking all incomplete replicas: its statistics lag behind them.
    """
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE locked ON COMMIT DROP AS
        SELECT replica.block_id, replica.site_id, replica.is_complete
        FROM block_replicas AS replica JOIN touched USING (block_id, site_id)
        ORDER BY replica.block_id, replica.site_id FOR UPDATE OF replica""")
    )
    connection.execute(text("ANALYZE locked"))


def _recount(connection: Connection) -> None:
    """Number and bytes of the files present in each incomplete touched replica: into ``counted``, and the size kept."""
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE counted ON COMMIT DROP AS
        SELECT locked.block_id, locked.site_id, count(file.id) AS num_present,
               coalesce(sum(file.size_bytes), 0)::bigint AS size_bytes
        FROM locked LEFT JOIN block_replica_files AS listed
            ON listed.block_id = locked.block_id AND listed.site_id = locked.site_id
        LEFT JOIN files AS file ON file.id = listed.file_id
        WHERE NOT locked.is_complete GROUP BY locked.block_id, locked.site_id""")
    )
    connection.execute(text("ANALYZE counted"))
    block_replica.resize(connection, "SELECT block_id, site_id, size_bytes FROM counted")


def _drop_touched(connection: Connection) -> int:
    touched: int = connection.execute(text("SELECT count(*) FROM touched")).scalar_one()
    connection.execute(text("DROP TABLE touched, locked, counted"))
    return touched
