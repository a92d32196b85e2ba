"""A Dealer plan becomes replicas-to-be and subscriptions: in one transaction, guarded by the plan's state, re-checked
at the end.

Block replicas are made empty and incomplete; files arrive by the room ``transfer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import PlanError
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.dealer.history import record_plan
from dynamo_ops.inventory.kinds import USABLE_DATASETS, SiteStatus
from dynamo_ops.inventory.replica import block_replica, dataset_replica
from dynamo_ops.inventory.replica.copies import is_block_doomed
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.inventory.subscription.subscribe import subscribe_blocks
from dynamo_ops.plan.states import PlanState
from dynamo_ops.plan.store import StoredPlan, lock_for_commit, mark_committed, previous_committed
from dynamo_ops.plan.verdict import GATE, deciding
from dynamo_ops.request import copy_request
from dynamo_ops.request.states import OPEN_REQUESTS

FOLLOWS = "follows_plan"
"""In a plan's summary: the Dealer plan of the partition that had been committed last when the inventory was read."""

RECHECKS: Mapping[str, str] = {
    "the block or the site is gone": """
        NOT EXISTS (SELECT FROM blocks b WHERE b.id = w.block_id) OR NOT EXISTS (SELECT FROM sites s WHERE s.id =
        w.site_id)""",
    "the site is not ready any more": f"""
        NOT EXISTS (SELECT FROM sites s WHERE s.id = w.site_id AND s.status = '{SiteStatus.READY}')""",
    "the dataset is not valid any more": f"""
        NOT EXISTS (SELECT FROM datasets a WHERE a.id = w.dataset_id AND a.status IN {USABLE_DATASETS})""",
    "the requests that asked for it were closed": """
        NOT EXISTS (SELECT FROM open_claims c WHERE c.dataset_id = w.dataset_id AND c.site_id = w.site_id
                    AND (c.block_id IS NULL OR c.block_id = w.block_id))""",
    "its sources are gone or being deleted": f"""
        EXISTS (SELECT FROM blocks b WHERE b.id = w.block_id AND b.num_files > 0) AND NOT EXISTS (
            SELECT FROM block_replicas r WHERE r.block_id = w.block_id AND r.size_bytes > 0
              AND (r.group_id IS NOT NULL OR r.site_id = w.site_id
                   OR NOT {is_block_doomed("r.block_id", "r.site_id")}))""",
}


@dataclass(frozen=True)
class CommitSummary:
    """What a commit did. ``left_out``: reason → number of block copies that were planned and not made."""

    num_block_replicas: int
    num_ownership_changes: int
    num_dataset_replicas: int
    num_files: int
    size_bytes: int
    left_out: dict[str, int]


def commit(database: Database, plan_id: int, *, by: Person = GATE) -> CommitSummary | None:
    """Commit an approved plan once; None if it was committed before. Raises PlanError in any other state, and when
    another Dealer plan of the partition was committed since it was made: the sites have less room than it thinks.
    AccessError where ``by`` may not.

    Frames of the plan: ``block_copies`` (block_id, dataset_id, site_id, group_id: the owner), ``dataset_copies``
    (dataset_id, site_id, group_id, is_growing: the whole dataset was asked for, new blocks follow), ``copies`` (see
    ``CopyPlan``) and ``refused`` (request_id, reason: what a plugin refused to users).
    """
    with deciding(database, plan_id, by, "committed") as connection:
        plan = lock_for_commit(connection, plan_id)
        hold(
            connection, Lock.INVENTORY, shared=True
        )  # a merge that brings an empty block its first files must not come in between
        if plan.state == PlanState.COMMITTED:
            return None
        overtaken = _overtaken_by(connection, plan)
        if overtaken:
            raise PlanError(f"plan {plan.id} cannot be committed: {overtaken}", plan_id=plan.id, state=plan.state)
        _load(connection, plan.frame("block_copies"), plan.frame("dataset_copies"))
        _load_claims(connection, plan.frame("copies"))
        for reason, condition in RECHECKS.items():
            connection.execute(
                text(f"UPDATE wanted w SET left_out = :reason WHERE left_out IS NULL AND ({condition})"),
                {"reason": reason},
            )
        summary = _apply(connection, plan.id)
        record_plan(connection, plan)
        asked = plan.frame("copies").select("request_id", "dataset_id", "block_id", "site_id").drop_nulls("request_id")
        copy_request.record_plan(connection, plan.id, asked, plan.frame("refused"))
        mark_committed(connection, plan, asdict(summary))
        return summary


IS_REQUESTED = """EXISTS (SELECT FROM open_claims c WHERE c.request_id IS NOT NULL AND c.dataset_id = w.dataset_id
    AND c.site_id = w.site_id AND (c.block_id IS NULL OR c.block_id = w.block_id))"""
"""A user asked for the block ``w`` at this site."""


def _overtaken_by(connection: Connection, plan: StoredPlan) -> str | None:
    """Why the plan is out of date: another was committed after the inventory was read for it. None if it is not."""
    newest = previous_committed(connection, plan)
    if newest is None or newest.id == plan.summary.get(FOLLOWS, newest.id):
        return None
    return f"plan {newest.id} of the partition was committed after the inventory was read for this one: plan again"


def _load(connection: Connection, block_copies: pl.DataFrame, dataset_copies: pl.DataFrame) -> None:
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE wanted (block_id bigint, dataset_id bigint, site_id smallint, group_id smallint,
                                       left_out text, PRIMARY KEY (block_id, site_id)) ON COMMIT DROP""")
    )
    insert_frame(connection, "wanted", block_copies.select("block_id", "dataset_id", "site_id", "group_id"))
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE wanted_datasets (dataset_id bigint, site_id smallint, group_id smallint,
                                                is_growing boolean) ON COMMIT DROP""")
    )
    insert_frame(
        connection, "wanted_datasets", dataset_copies.select("dataset_id", "site_id", "group_id", "is_growing")
    )
    connection.execute(text("ANALYZE wanted"))


def _load_claims(connection: Connection, copies: pl.DataFrame) -> None:
    """``open_claims``: what the accepted proposals ask for, but for those of requests that are not open any more.

    A dataset replica only grows for a claim that stands.
    """
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE open_claims (request_id bigint, dataset_id bigint, block_id bigint, site_id smallint)
        ON COMMIT DROP""")
    )
    insert_frame(connection, "open_claims", copies.select("request_id", "dataset_id", "block_id", "site_id"))
    connection.execute(
        text(f"""
        DELETE FROM open_claims c USING requests r WHERE r.id = c.request_id AND r.state NOT IN {OPEN_REQUESTS}""")
    )
    connection.execute(text("CREATE INDEX ON open_claims (dataset_id, site_id)"))
    connection.execute(text("ANALYZE open_claims"))
    connection.execute(
        text("""
        UPDATE wanted_datasets d SET is_growing = false WHERE d.is_growing AND NOT EXISTS (
            SELECT FROM open_claims c
            WHERE c.dataset_id = d.dataset_id AND c.site_id = d.site_id AND c.block_id IS NULL)""")
    )


DATASET_CLAIMS = """
    SELECT wanted.dataset_id, wanted.site_id, whole.group_id, whole.is_growing
    FROM wanted LEFT JOIN wanted_datasets AS whole USING (dataset_id, site_id) WHERE wanted.left_out IS NULL"""

BLOCK_CLAIMS = """
    SELECT wanted.block_id, wanted.site_id, wanted.dataset_id, wanted.group_id, block.num_files = 0 AS is_complete,
           false AS is_custodial, 0 AS size_bytes, now() AS last_update_at
    FROM wanted JOIN blocks AS block ON block.id = wanted.block_id WHERE wanted.left_out IS NULL"""


def _apply(connection: Connection, plan_id: int) -> CommitSummary:
    num_datasets = dataset_replica.claim(connection, DATASET_CLAIMS)
    num_owned = block_replica.own(connection, "SELECT block_id, site_id, group_id FROM wanted WHERE left_out IS NULL")
    num_made = block_replica.make(connection, BLOCK_CLAIMS)
    num_subscribed = 0
    for activity, condition in (("request", IS_REQUESTED), ("rebalancing", "true")):
        subscriptions = subscribe_blocks(
            connection,
            SubscriptionAction.COPY,
            f"SELECT w.block_id, w.site_id FROM wanted w WHERE w.left_out IS NULL AND {condition}",
            origin="dealer",
            activity=activity,
            plan_id=plan_id,
        )
        num_subscribed += subscriptions.num_created
    size = connection.execute(
        text("""
        SELECT coalesce(sum(f.size_bytes), 0)::bigint FROM subscriptions s JOIN files f ON f.id = s.file_id
        WHERE s.plan_id = :plan"""),
        {"plan": plan_id},
    ).scalar_one()
    reasons = connection.execute(
        text("SELECT left_out, count(*) FROM wanted WHERE left_out IS NOT NULL GROUP BY left_out")
    )
    left_out = {str(reason_count[0]): int(reason_count[1]) for reason_count in reasons}
    return CommitSummary(num_made, num_owned, num_datasets, num_subscribed, int(size), left_out)
