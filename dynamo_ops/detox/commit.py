"""A Detox plan becomes wishes: in one transaction, guarded by the plan's state, after a last look at what has changed.

Nothing is deleted here. Block replicas that the plan deletes go to the null group, and their files get deletion
subscriptions; the storages are asked later, by ``fileops.deletions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.fileops.subscribe import subscribe_blocks
from dynamo_ops.inventory.database import Database, insert_frame
from dynamo_ops.inventory.frames import (
    BLOCK_REPLICAS,
    DATASET_REPLICAS,
    GROUPS,
    LOCKS,
    SITES,
    InventoryFrames,
    Schema,
    empty,
)
from dynamo_ops.inventory.plan_store import lock_for_commit, mark_committed
from dynamo_ops.policy.lock import locked_expr

PLANNED = {
    "block_id": "bigint",
    "dataset_id": "bigint",
    "site_id": "smallint",
    "group_id": "smallint",
    "size_bytes": "bigint",
    "is_last_copy_allowed": "boolean",
}

CANDIDATES: Schema = {
    "block_id": pl.Int64,
    "dataset_id": pl.Int64,
    "site_id": pl.Int64,
    "group_id": pl.Int64,
    "dataset": pl.String,
    "block": pl.String,
}

RECHECKS: Mapping[str, str] = {
    "the replica is no longer there": """
        NOT EXISTS (SELECT FROM block_replicas r WHERE r.block_id = d.block_id AND r.site_id = d.site_id)""",
    "the replica has changed since it was planned": """
        EXISTS (SELECT FROM block_replicas r WHERE r.block_id = d.block_id AND r.site_id = d.site_id
                AND (r.group_id IS DISTINCT FROM d.group_id OR r.size_bytes <> d.size_bytes))""",
    "it is the only source of a copy that is still pending": """
        EXISTS (SELECT FROM files f JOIN subscriptions s ON s.file_id = f.id AND s.action = 'copy'
                    AND s.state IN ('new', 'inbatch', 'retry', 'held') AND s.site_id <> d.site_id
                WHERE f.block_id = d.block_id)
        AND NOT EXISTS (SELECT FROM block_replicas o LEFT JOIN doomed x USING (block_id, site_id)
                WHERE o.block_id = d.block_id AND o.is_complete AND o.group_id IS NOT NULL
                  AND (x.block_id IS NULL OR x.left_out IS NOT NULL))""",
}
LAST_COPY = """
        d.size_bytes > 0 AND d.is_last_copy_allowed IS NOT TRUE AND NOT EXISTS (
            SELECT FROM block_replicas o LEFT JOIN doomed x USING (block_id, site_id)
            WHERE o.block_id = d.block_id AND o.is_complete AND o.group_id IS NOT NULL
              AND (x.block_id IS NULL OR x.left_out IS NOT NULL))"""
"""No complete replica of the block is left anywhere, not counting those that go now or are on their way out."""


@dataclass(frozen=True)
class CommitSummary:
    """What a commit did. ``left_out``: reason → number of block replicas kept although the plan deletes them."""

    num_block_replicas: int
    num_dataset_replicas: int
    num_files: int
    size_bytes: int
    num_reowned: int
    left_out: dict[str, int]


def commit(database: Database, plan_id: int, *, allow_last_copy: bool = False) -> CommitSummary | None:
    """Commit an approved plan once; None if it was committed before. Raises PlanError in any other state.

    Frames of the plan: ``deletions`` (block_id, dataset_id, site_id, group_id, size_bytes; is_last_copy_allowed: it
    was the last copy when planned, and a Delete line wants it gone; whole_dataset: the plan deletes all of the dataset
    replica)
    and ``reowned`` (block_id, site_id, group_id: the new owner, from_group_id: the owner when planned).
    ``allow_last_copy``: all deletions may be of last copies.
    """
    with database.begin() as connection:
        plan = lock_for_commit(connection, plan_id)
        if plan.state == "committed":
            return None
        deletions = plan.frame("deletions")
        _load(connection, deletions)
        _recheck(connection, allow_last_copy)
        summary = _apply(connection, plan.id, deletions, plan.frame("reowned"))
        mark_committed(connection, plan, asdict(summary))
        return summary


def _load(connection: Connection, deletions: pl.DataFrame) -> None:
    """The plan's deletions as a table of this transaction; their rows are locked until its end."""
    columns = ", ".join(f"{name} {kind}" for name, kind in PLANNED.items())
    connection.execute(
        text(
            f"CREATE TEMPORARY TABLE doomed ({columns}, left_out text, PRIMARY KEY (block_id, site_id)) ON COMMIT DROP"
        )
    )
    insert_frame(connection, "doomed", deletions.select(*PLANNED))
    connection.execute(text("ANALYZE doomed"))
    connection.execute(
        text("""
        SELECT count(*) FROM (SELECT 1 FROM block_replicas r JOIN doomed d USING (block_id, site_id)
                              ORDER BY r.block_id, r.site_id FOR UPDATE OF r) l""")
    )


def _recheck(connection: Connection, allow_last_copy: bool) -> None:
    """Mark, with the reason, what must be kept after all."""
    for reason, condition in RECHECKS.items():
        _leave_out(connection, reason, condition)
    _leave_out_locked(connection)
    if not allow_last_copy:
        _leave_out(connection, "it is the last copy", LAST_COPY)


def _leave_out(connection: Connection, reason: str, condition: str) -> None:
    connection.execute(
        text(f"UPDATE doomed d SET left_out = :reason WHERE left_out IS NULL AND {condition}"), {"reason": reason}
    )


def _leave_out_locked(connection: Connection) -> None:
    """Locks set since the plan was made are respected: the locks in force now are tried on what is left."""
    locks = _select(
        connection, "SELECT item, sites, groups FROM locks WHERE expires_at IS NULL OR expires_at > now()", LOCKS
    )
    if locks.is_empty():
        return
    candidates = _select(
        connection,
        """
        SELECT d.block_id, d.dataset_id, d.site_id, d.group_id, a.name AS dataset, b.name AS block
        FROM doomed d JOIN blocks b ON b.id = d.block_id JOIN datasets a ON a.id = d.dataset_id
        WHERE d.left_out IS NULL""",
        CANDIDATES,
    )
    frames = InventoryFrames(
        sites=_select(connection, "SELECT id AS site_id, name AS site, storage_type, status FROM sites", SITES),
        groups=_select(connection, 'SELECT id AS group_id, name AS "group", ownership_level FROM groups', GROUPS),
        datasets=candidates.select("dataset_id", "dataset").unique(),
        blocks=candidates.select("block_id", "dataset_id", "block").unique(),
        dataset_replicas=empty(DATASET_REPLICAS),
        block_replicas=empty(BLOCK_REPLICAS),
        locks=locks,
    )
    found = candidates.filter(locked_expr(frames)).select("block_id", "site_id")
    connection.execute(text("CREATE TEMPORARY TABLE now_locked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "now_locked", found)
    _leave_out(connection, "it is locked", "(d.block_id, d.site_id) IN (SELECT block_id, site_id FROM now_locked)")


def _select(connection: Connection, sql: str, schema: Schema) -> pl.DataFrame:
    """The rows of ``sql`` as this transaction sees them."""
    rows = connection.execute(text(sql)).all()
    return pl.DataFrame([tuple(row) for row in rows], schema=dict(schema), orient="row")


def _apply(connection: Connection, plan_id: int, deletions: pl.DataFrame, reowned: pl.DataFrame) -> CommitSummary:
    connection.execute(
        text("""
        UPDATE block_replicas r SET group_id = NULL FROM doomed d
        WHERE r.block_id = d.block_id AND r.site_id = d.site_id AND d.left_out IS NULL""")
    )
    wishes = subscribe_blocks(
        connection,
        "delete",
        "SELECT block_id, site_id FROM doomed WHERE left_out IS NULL",
        origin="detox",
        plan_id=plan_id,
    )
    _remove_empty(connection)
    num_datasets = _stop_growing(connection, deletions)
    _remove_hollow(connection)
    num_reowned = _reown(connection, reowned)
    number, size = connection.execute(
        text("SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM doomed WHERE left_out IS NULL")
    ).one()
    reasons = connection.execute(
        text("SELECT left_out, count(*) FROM doomed WHERE left_out IS NOT NULL GROUP BY left_out")
    )
    left_out = {str(row[0]): int(row[1]) for row in reasons}
    return CommitSummary(number, num_datasets, wishes.num_created, size, num_reowned, left_out)


def _remove_empty(connection: Connection) -> None:
    """Deleted replicas that had no file yet: nothing is to be asked of the storage, so the replica goes now."""
    connection.execute(
        text("""
        DELETE FROM block_replicas r USING doomed d
        WHERE r.block_id = d.block_id AND r.site_id = d.site_id AND d.left_out IS NULL AND NOT EXISTS (
            SELECT FROM files f JOIN subscriptions s ON s.file_id = f.id AND s.site_id = d.site_id
                AND s.state IN ('new', 'inbatch', 'retry', 'held') WHERE f.block_id = d.block_id)
          AND (r.size_bytes = 0)""")
    )


def _stop_growing(connection: Connection, deletions: pl.DataFrame) -> int:
    """Dataset replicas that the plan deletes whole, with nothing left out, no longer grow. Returns their number."""
    whole = deletions.filter("whole_dataset").select("dataset_id", "site_id").unique()
    connection.execute(text("CREATE TEMPORARY TABLE whole (dataset_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "whole", whole)
    return int(
        connection.execute(
            text("""
        UPDATE dataset_replicas r SET is_growing = false FROM whole w
        WHERE r.dataset_id = w.dataset_id AND r.site_id = w.site_id AND NOT EXISTS (
            SELECT FROM doomed d WHERE d.dataset_id = w.dataset_id AND d.site_id = w.site_id AND d.left_out IS NOT NULL)
        """)
        ).rowcount
    )


def _remove_hollow(connection: Connection) -> None:
    """Dataset replicas of which ``_remove_empty`` took the last block go with it, unless they grow."""
    connection.execute(
        text("""
        DELETE FROM dataset_replicas r USING (SELECT DISTINCT dataset_id, site_id FROM doomed WHERE left_out IS NULL) d
        WHERE r.dataset_id = d.dataset_id AND r.site_id = d.site_id AND NOT r.is_growing AND NOT EXISTS (
            SELECT FROM block_replicas b WHERE b.dataset_id = r.dataset_id AND b.site_id = r.site_id)""")
    )


def _reown(connection: Connection, reowned: pl.DataFrame) -> int:
    """Block replicas handed over to the group that owns the dataset there, where the owner is still the one planned."""
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE handed_over (block_id bigint, site_id smallint, group_id smallint,
                                            from_group_id smallint) ON COMMIT DROP""")
    )
    insert_frame(connection, "handed_over", reowned.select("block_id", "site_id", "group_id", "from_group_id"))
    return int(
        connection.execute(
            text("""
        UPDATE block_replicas r SET group_id = h.group_id FROM handed_over h
        WHERE r.block_id = h.block_id AND r.site_id = h.site_id AND r.group_id = h.from_group_id""")
        ).rowcount
    )
