"""The tasks of the DAGs ``detox_<partition>``, and of ``dynamo detox``: plan → gate → (approval) → commit."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl

from dynamo_ops.detox.commit import commit
from dynamo_ops.detox.facts import deletion_facts, handover_facts
from dynamo_ops.detox.plan import DeletionPlan, plan_deletions
from dynamo_ops.errors import GateError, PlanError
from dynamo_ops.inventory import plan_store
from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.read import read_inventory
from dynamo_ops.policy.check import load_policy
from dynamo_ops.policy.files import policy_file, policy_text, read_partitions, read_rules
from dynamo_ops.quality.suites.plans import check_detox_plan
from dynamo_ops.quality.thresholds import read_thresholds
from dynamo_ops.settings import Settings

APPROVED, GATE = "Approve", "gate"


def make_plan(frames: InventoryFrames, settings: Settings, partition: str, now: datetime) -> DeletionPlan:
    """Decide for one partition on these frames; nothing is stored."""
    policy = load_policy(policy_text(settings, partition), now=now, file=str(policy_file(settings, partition)))
    return plan_deletions(
        frames,
        policy,
        read_partitions(settings, now),
        now=now,
        partition=policy.partition or partition,
        enforcer_rules=read_rules(settings, partition, now),
    )


def plan_cycle(database: Database, settings: Settings, partition: str, *, run_key: str, now: datetime) -> int:
    """Decide and store the plan of one cycle. Returns its id. Raises PolicyError, PlanError; deletes nothing."""
    frames = read_inventory(database)
    plan = make_plan(frames, settings, partition, now)
    facts = deletion_facts(plan, frames)
    stored = plan_store.save(
        database,
        kind="detox",
        partition=partition,
        run_key=run_key,
        policy_text=policy_text(settings, partition),
        now=now,
        frames={
            "decisions": plan.decisions,
            "site_states": plan.site_states,
            "policy_lines": plan.policy_lines,
            "deletions": facts,
            "reowned": handover_facts(plan),
        },
        summary=_summary(plan, facts),
        location=settings.files_at("plans"),
    )
    return stored.id


def gate_plan(database: Database, settings: Settings, plan_id: int, *, run_key: str) -> None:
    """Approve the plan or refuse it. Raises GateError; then the plan can never be committed."""
    plan = plan_store.load(database, plan_id)
    if plan.state == "committed":
        return
    states = plan.frame("site_states")
    deletions = plan.frame("deletions")
    deleted = deletions.group_by("site").agg(deleted_bytes=pl.col("size_bytes").sum())
    sites = states.join(deleted, on="site", how="left").select(
        "site", "quota_bytes", pl.col("deleted_bytes").fill_null(0)
    )
    try:
        check_detox_plan(
            database,
            run_key,
            deletions,
            sites,
            read_thresholds(settings).detox,
            partition=plan.partition,
            num_image_replicas=plan.summary["num_image_replicas"],
            num_image_replicas_before=_image_before(database, plan.partition, plan_id),
        )
    except GateError as error:
        plan_store.refuse(database, plan_id, error.message)
        raise
    if not needs_approval(database, settings, plan_id):
        plan_store.approve(database, plan_id, GATE)


def needs_approval(database: Database, settings: Settings, plan_id: int) -> bool:
    """Whether the plan deletes more bytes than may be deleted without a person's yes."""
    plan = plan_store.load(database, plan_id)
    return bool(plan.summary["deleted_bytes"] > read_thresholds(settings).detox.approval_above_bytes)


def commit_plan(
    database: Database, settings: Settings, plan_id: int, *, approved_by: str | None = None
) -> dict[str, Any]:
    """Commit an approved plan. ``approved_by``: the person who said yes, where one was asked.

    What was committed before is not committed again: its summary is returned.
    """
    if approved_by and plan_store.load(database, plan_id).state != "committed":
        plan_store.approve(database, plan_id, approved_by)
    summary = commit(database, plan_id, allow_last_copy=read_thresholds(settings).detox.last_copies_allowed)
    return asdict(summary) if summary else plan_store.load(database, plan_id).summary["commit"]


def describe_plan(database: Database, plan_id: int) -> str:
    """The plan in Markdown, for the person who has to approve it."""
    plan = plan_store.load(database, plan_id)
    rows = plan.frame("deletions").group_by("site").agg(pl.len(), pl.col("size_bytes").sum()).sort("site")
    number, size = plan.summary["num_deletions"], plan.summary["deleted_bytes"]
    lines = [
        f"Plan {plan_id} of *{plan.partition}*: {number:,} block replicas, {size / 1e12:,.3f} TB.",
        "",
        "| site | block replicas | TB |",
        "|---|---|---|",
    ]
    lines += [f"| {site} | {number:,} | {size / 1e12:,.3f} |" for site, number, size in rows.iter_rows()]
    return "\n".join([*lines, "", *(f"- {warning}" for warning in plan.summary["warnings"])])


def _summary(plan: DeletionPlan, facts: pl.DataFrame) -> dict[str, Any]:
    decided = dict(plan.decisions.group_by("decision").len().sort("decision").iter_rows())
    if facts["is_locked"].null_count():
        raise PlanError("the plan does not know of every deletion whether it is locked", state="planned")
    return {
        "num_image_replicas": plan.decisions.height,
        "decisions": decided,
        "num_deletions": facts.height,
        "deleted_bytes": int(facts["size_bytes"].sum()),
        "triggered_sites": plan.site_states.filter("is_triggered")["site"].to_list(),
        "warnings": list(plan.warnings),
    }


def _image_before(database: Database, partition: str, plan_id: int) -> int | None:
    """Block replicas in the image of the last committed plan of the partition, less those it deleted itself."""
    found = database.frame(
        """
        SELECT (summary->>'num_image_replicas')::bigint - coalesce((summary->'commit'->>'num_block_replicas')::bigint,
        0) AS n FROM plans WHERE kind = 'detox' AND partition = $1 AND state = 'committed' AND id <> $2
        ORDER BY committed_at DESC LIMIT 1""",
        (partition, plan_id),
    )
    return None if found.is_empty() else int(found.item())
