"""What files block replicas hold: files arrive, files leave, and completeness follows (SEMANTICS §6).

Both functions take the temporary table ``changed`` (file_id, site_id) of the running transaction, are safe to repeat,
and lock the block replicas they touch in one order, so that transfers, deletions and repairs can run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import insert_frame
from dynamo_ops.inventory.states import ACTIVE_SUBSCRIPTIONS, sql_list

_ACTIVE = sql_list(ACTIVE_SUBSCRIPTIONS)


@dataclass(frozen=True)
class ReplicaChange:
    """What became of the block replicas that were touched."""

    num_completed: int = 0
    num_incomplete: int = 0
    num_removed: int = 0
    num_dataset_replicas_removed: int = 0


def fill_changed(connection: Connection, changed: pl.DataFrame) -> None:
    """Make ``changed`` for the transaction, from a frame with ``file_id`` and ``site_id``."""
    connection.execute(text("DROP TABLE IF EXISTS changed"))
    connection.execute(text("CREATE TEMPORARY TABLE changed (file_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "changed", changed.select("file_id", "site_id").unique())


def add_files(connection: Connection) -> ReplicaChange:
    """The files of ``changed`` are at their sites now. Block and dataset replicas that lack are made, for no group."""
    _make_touched(connection)
    connection.execute(
        text("""
        INSERT INTO dataset_replicas (dataset_id, site_id)
        SELECT DISTINCT dataset_id, site_id FROM touched ON CONFLICT DO NOTHING""")
    )
    connection.execute(
        text("""
        INSERT INTO block_replicas (block_id, site_id, dataset_id, is_complete, size_bytes, last_update_at)
        SELECT block_id, site_id, dataset_id, false, 0, now() FROM touched ORDER BY block_id, site_id
        ON CONFLICT DO NOTHING""")
    )
    _lock_touched(connection)
    connection.execute(
        text("""
        INSERT INTO block_replica_files (block_id, site_id, file_id)
        SELECT f.block_id, c.site_id, f.id FROM changed c JOIN files f ON f.id = c.file_id
        JOIN locked l ON l.block_id = f.block_id AND l.site_id = c.site_id AND NOT l.is_complete
        ON CONFLICT DO NOTHING""")
    )
    _recount(connection)
    completed = connection.execute(
        text("""
        UPDATE block_replicas r SET is_complete = true FROM counted c
        WHERE r.block_id = c.block_id AND r.site_id = c.site_id AND NOT r.is_complete
          AND c.num_present = (SELECT count(*) FROM files f WHERE f.block_id = r.block_id)""")
    ).rowcount
    connection.execute(
        text("""
        DELETE FROM block_replica_files p USING counted c JOIN block_replicas r USING (block_id, site_id)
        WHERE p.block_id = c.block_id AND p.site_id = c.site_id AND r.is_complete""")
    )
    touched = _drop_touched(connection)
    return ReplicaChange(num_completed=completed, num_incomplete=touched - completed)


def remove_files(connection: Connection) -> ReplicaChange:
    """The files of ``changed`` are not at their sites any more. Replicas with nothing left and nothing pending go."""
    _make_touched(connection)
    _lock_touched(connection)
    connection.execute(
        text("""
        INSERT INTO block_replica_files (block_id, site_id, file_id)
        SELECT l.block_id, l.site_id, f.id FROM locked l JOIN files f ON f.block_id = l.block_id
        WHERE l.is_complete ON CONFLICT DO NOTHING""")
    )
    connection.execute(
        text("""
        DELETE FROM block_replica_files p USING changed c JOIN files f ON f.id = c.file_id
        WHERE p.block_id = f.block_id AND p.site_id = c.site_id AND p.file_id = c.file_id""")
    )
    incomplete = connection.execute(
        text("""
        UPDATE block_replicas r SET is_complete = false FROM locked l
        WHERE r.block_id = l.block_id AND r.site_id = l.site_id AND l.is_complete""")
    ).rowcount
    connection.execute(text("UPDATE locked SET is_complete = false"))
    _recount(connection)
    removed, datasets = _remove_empty(connection)
    _drop_touched(connection)
    return ReplicaChange(0, max(incomplete - removed, 0), removed, datasets)


def _remove_empty(connection: Connection) -> tuple[int, int]:
    """Drop touched block replicas without files and without wishes, then dataset replicas left without blocks."""
    removed = connection.execute(
        text(f"""
        DELETE FROM block_replicas r USING counted c
        WHERE r.block_id = c.block_id AND r.site_id = c.site_id AND c.num_present = 0 AND NOT EXISTS (
          SELECT FROM files f JOIN subscriptions s ON s.file_id = f.id
          WHERE f.block_id = r.block_id AND s.site_id = r.site_id AND s.action = 'copy' AND s.state IN ({_ACTIVE}))
        """)
    ).rowcount
    datasets = (
        connection.execute(
            text("""
        DELETE FROM dataset_replicas d USING (SELECT DISTINCT dataset_id, site_id FROM touched) t
        WHERE d.dataset_id = t.dataset_id AND d.site_id = t.site_id AND NOT d.is_growing AND NOT EXISTS (
          SELECT FROM block_replicas r WHERE r.dataset_id = d.dataset_id AND r.site_id = d.site_id)
        """)
        ).rowcount
        if removed
        else 0
    )
    return removed, datasets


def _make_touched(connection: Connection) -> None:
    connection.execute(text("ANALYZE changed"))
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
        SELECT DISTINCT f.block_id, c.site_id, b.dataset_id
        FROM changed c JOIN files f ON f.id = c.file_id JOIN blocks b ON b.id = f.block_id""")
    )
    connection.execute(text("ANALYZE touched"))


def _lock_touched(connection: Connection) -> None:
    """Lock the touched block replicas, and note in ``locked`` which were complete.

    Joining this small table keeps the planner from walking all incomplete replicas: its statistics lag behind them.
    """
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE locked ON COMMIT DROP AS
        SELECT r.block_id, r.site_id, r.is_complete FROM block_replicas r JOIN touched t USING (block_id, site_id)
        ORDER BY r.block_id, r.site_id FOR UPDATE OF r""")
    )
    connection.execute(text("ANALYZE locked"))


def _recount(connection: Connection) -> None:
    """Number and bytes of the files present in each incomplete touched replica: into ``counted``, and the size kept."""
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE counted ON COMMIT DROP AS
        SELECT l.block_id, l.site_id, count(f.id) AS num_present, coalesce(sum(f.size_bytes), 0)::bigint AS size_bytes
        FROM locked l LEFT JOIN block_replica_files p ON p.block_id = l.block_id AND p.site_id = l.site_id
        LEFT JOIN files f ON f.id = p.file_id
        WHERE NOT l.is_complete GROUP BY l.block_id, l.site_id""")
    )
    connection.execute(text("ANALYZE counted"))
    connection.execute(
        text("""
        UPDATE block_replicas r SET size_bytes = c.size_bytes, last_update_at = now() FROM counted c
        WHERE r.block_id = c.block_id AND r.site_id = c.site_id""")
    )


def _drop_touched(connection: Connection) -> int:
    touched: int = connection.execute(text("SELECT count(*) FROM touched")).scalar_one()
    connection.execute(text("DROP TABLE touched, locked, counted"))
    return touched
