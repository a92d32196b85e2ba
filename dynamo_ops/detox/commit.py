"""A Detox plan becomes wishes: in one transaction, guarded by the plan's state, after a last look at what has changed.

Nothing is deleted here. Block replicas that the plan deletes go to the null group, and their files get deletion
subscriptions; the storages are asked later, by ``deletion.execute``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.detox.history import record_plan
from dynamo_ops.detox.recheck import recheck
from dynamo_ops.inventory.replica.doomed import one_deletion_at_a_time
from dynamo_ops.inventory.subscription.subscribe import subscribe_blocks
from dynamo_ops.plan.store import StoredPlan, lock_for_commit, mark_committed
from dynamo_ops.quality.thresholds import LastCopies

PLANNED = {
    "block_id": "bigint",
    "dataset_id": "bigint",
    "site_id": "smallint",
    "group_id": "smallint",
    "line": "integer",
    "size_bytes": "bigint",
    "dataset_status": "text",
    "is_last_copy_allowed": "boolean",
}
HANDED_OVER = {
    "block_id": "bigint",
    "dataset_id": "bigint",
    "site_id": "smallint",
    "group_id": "smallint",
    "from_group_id": "smallint",
    "line": "integer",
    "size_bytes": "bigint",
}
ENFORCED = {"rule": "text", "num_copies": "bigint", "dataset_id": "bigint", "site_id": "smallint", "is_left": "boolean"}


@dataclass(frozen=True)
class CommitSummary:
    """What a commit did. ``left_out``: reason → number of block replicas kept although the plan deletes them."""

    num_block_replicas: int
    num_dataset_replicas: int
    num_files: int
    size_bytes: int
    num_reowned: int
    left_out: dict[str, int]


def commit(database: Database, plan_id: int, *, last_copies: LastCopies = "never") -> CommitSummary | None:
    """Commit an approved plan once; None if it was committed before. Raises PlanError in any other state.

    Frames of the plan: ``deletions`` (``facts.deletion_facts``), ``reowned`` (``facts.handover_facts``), ``enforced``
    (``enforced.enforced_copies``), and for the history ``replica_decisions``, ``site_states`` and ``policy_lines``.
    ``last_copies``: as in ``gates.yaml``. What is kept after all is in ``detox_left_out``, with the reason.
    """
    with database.begin() as connection:
        plan = lock_for_commit(connection, plan_id)
        if plan.state == "committed":
            return None
        _one_detox_at_a_time(connection)
        deletions = plan.frame("deletions")
        _load(connection, plan, deletions)
        recheck(connection, deletions, last_copies)
        connection.execute(text("ANALYZE doomed"))
        summary = _apply(connection, plan, deletions)
        record_plan(connection, plan)
        mark_committed(connection, plan, asdict(summary))
        return summary


def _one_detox_at_a_time(connection: Connection) -> None:
    """Two partitions at once would each see the other's copy of a block, and both would let theirs go."""
    one_deletion_at_a_time(connection)


def _load(connection: Connection, plan: StoredPlan, deletions: pl.DataFrame) -> None:
    """The plan's frames as tables of this transaction; the rows that it deletes are locked until its end."""
    _table(connection, "doomed", PLANNED, deletions, ", left_out text, PRIMARY KEY (block_id, site_id)")
    _table(connection, "enforced", ENFORCED, plan.frame("enforced"))
    _table(connection, "handed_over", HANDED_OVER, plan.frame("reowned"))
    connection.execute(
        text("""
        SELECT count(*) FROM (SELECT 1 FROM block_replicas r JOIN doomed d USING (block_id, site_id)
                              ORDER BY r.block_id, r.site_id FOR UPDATE OF r) l""")
    )


def _table(connection: Connection, name: str, columns: dict[str, str], rows: pl.DataFrame, more: str = "") -> None:
    listed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    connection.execute(text(f"CREATE TEMPORARY TABLE {name} ({listed}{more}) ON COMMIT DROP"))
    insert_frame(connection, name, rows.select(*columns))
    connection.execute(text(f"ANALYZE {name}"))


def _apply(connection: Connection, plan: StoredPlan, deletions: pl.DataFrame) -> CommitSummary:
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
        plan_id=plan.id,
    )
    _remove_empty(connection)
    num_datasets = _stop_growing(connection, deletions)
    _remove_hollow(connection)
    num_reowned = _reown(connection)
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
        DELETE FROM block_replicas r
        USING (SELECT block_id, site_id FROM doomed WHERE left_out IS NULL AND size_bytes = 0 OFFSET 0) d
        WHERE r.block_id = d.block_id AND r.site_id = d.site_id AND NOT EXISTS (
            SELECT FROM files f JOIN subscriptions s ON s.file_id = f.id AND s.site_id = d.site_id
                AND s.state IN ('new', 'inbatch', 'retry', 'held') WHERE f.block_id = d.block_id)""")
    )


def _stop_growing(connection: Connection, deletions: pl.DataFrame) -> int:
    """Dataset replicas that the plan deletes whole, with nothing left out, no longer grow. Returns their number."""
    whole = deletions.filter("whole_dataset").select("dataset_id", "site_id").unique()
    _table(connection, "whole", {"dataset_id": "bigint", "site_id": "smallint"}, whole)
    return int(
        connection.execute(
            text("""
        UPDATE dataset_replicas r SET is_growing = false FROM whole w
        WHERE r.dataset_id = w.dataset_id AND r.site_id = w.site_id AND (w.dataset_id, w.site_id) NOT IN (
            SELECT dataset_id, site_id FROM doomed WHERE left_out IS NOT NULL)""")
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


def _reown(connection: Connection) -> int:
    """Block replicas handed over to the group that owns the dataset there, where the owner is still the one planned.

    ``handed_over`` keeps those that are. Returns their number.
    """
    connection.execute(
        text("""
        DELETE FROM handed_over h WHERE NOT EXISTS (
            SELECT FROM block_replicas r
            WHERE r.block_id = h.block_id AND r.site_id = h.site_id AND r.group_id = h.from_group_id)""")
    )
    return int(
        connection.execute(
            text("""
        UPDATE block_replicas r SET group_id = h.group_id FROM handed_over h
        WHERE r.block_id = h.block_id AND r.site_id = h.site_id AND r.group_id = h.from_group_id""")
        ).rowcount
    )
