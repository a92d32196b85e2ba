"""A Detox plan becomes subscriptions: in one transaction, guarded by the plan's state, after a last look.

Nothing is deleted here. Block replicas that the plan deletes go to the null group, and their files get deletion
subscriptions; the storages are asked later, by ``deletion.execute``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.person import Person
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.detox.history import record_plan
from dynamo_ops.detox.recheck import recheck
from dynamo_ops.inventory.replica import block_replica
from dynamo_ops.inventory.subscription.let_go import let_go
from dynamo_ops.plan.states import PlanState
from dynamo_ops.plan.store import StoredPlan, lock_for_commit, mark_committed
from dynamo_ops.plan.verdict import GATE, deciding
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


def commit(
    database: Database, plan_id: int, *, last_copies: LastCopies = "never", by: Person = GATE
) -> CommitSummary | None:
    """Commit an approved plan once; None if it was committed before. Raises PlanError in any other state, and
    AccessError where ``by`` may not.

    Frames of the plan: ``deletions`` (``facts.deletion_facts``), ``reowned`` (``facts.handover_facts``), ``enforced``
    (``enforced.enforced_copies``), and for the history ``replica_decisions``, ``site_states`` and ``policy_lines``.
    ``last_copies``: as in ``gates.yaml``. What is kept after all is in ``detox_left_out``, with the reason.
    """
    with deciding(database, plan_id, by, "committed") as connection:
        plan = lock_for_commit(connection, plan_id)
        if plan.state == PlanState.COMMITTED:
            return None
        hold(connection, Lock.DELETIONS)
        deletions = plan.frame("deletions")
        _load(connection, plan, deletions)
        recheck(connection, deletions, last_copies)
        connection.execute(text("ANALYZE doomed"))
        summary = _apply(connection, plan, last_copies)
        record_plan(connection, plan)
        mark_committed(connection, plan, asdict(summary))
        return summary


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


GOING = "(SELECT block_id, dataset_id, site_id, is_last_copy_allowed FROM doomed WHERE left_out IS NULL)"
MAY_BE_LAST = {"never": "false", "delete_lines": "let_go.is_last_copy_allowed", "always": "true"}
"""Which deletions may take the last copies of their files, by ``last_copies`` of the gates: the executor asks again."""


@span("detox.apply")
def _apply(connection: Connection, plan: StoredPlan, last_copies: LastCopies) -> CommitSummary:
    may_be_last = MAY_BE_LAST[last_copies]
    gone = let_go(connection, GOING, origin="detox", plan_id=plan.id, last_allowed=may_be_last)
    num_reowned = _reown(connection)
    number, size = connection.execute(
        text("SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM doomed WHERE left_out IS NULL")
    ).one()
    reasons = connection.execute(
        text("SELECT left_out, count(*) FROM doomed WHERE left_out IS NOT NULL GROUP BY left_out")
    )
    left_out = {str(reason_count[0]): int(reason_count[1]) for reason_count in reasons}
    return CommitSummary(number, gone.num_dataset_replicas, gone.num_files, size, num_reowned, left_out)


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
    return block_replica.hand_over(connection, "SELECT block_id, site_id, from_group_id, group_id FROM handed_over")
