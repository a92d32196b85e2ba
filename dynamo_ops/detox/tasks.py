"""The tasks of the DAGs ``detox_<partition>``, and of ``dynamo detox``: plan → gate → (approval) → commit."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import GateError, PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.spans import span
from dynamo_ops.base.text import counts_text
from dynamo_ops.base.times import time_text
from dynamo_ops.base.units import size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.detox.approval import approval_text
from dynamo_ops.detox.commit import commit
from dynamo_ops.detox.recheck import pending_sources
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.freshness import refuse_future
from dynamo_ops.inventory.replica import usage
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.inputs import DetoxInputs, read_detox_inputs
from dynamo_ops.plan.states import Decision, PlanKind, PlanState
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.plan.story import inputs_of
from dynamo_ops.plan.verdict import GATE, NOBODY, approve, refuse, signature, who_answered
from dynamo_ops.policy.files import protected_sites
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.quality.suites.freshness import check_freshness
from dynamo_ops.quality.suites.plans import check_detox_plan
from dynamo_ops.quality.thresholds import detox_limits, read_thresholds

if TYPE_CHECKING:
    from dynamo_ops.detox.engine.plan import DeletionPlan

log = logging.getLogger(__name__)


@span("detox.decide")
def make_plan(frames: InventoryFrames, inputs: DetoxInputs) -> DeletionPlan:
    """Decide for one partition on these frames; nothing is read but what is given, nothing is stored."""
    from dynamo_ops.detox.engine.plan import plan_deletions  # one task of a cycle decides, the others start sooner

    return plan_deletions(
        frames,
        load_policy(inputs.policy.text, now=inputs.now, file=inputs.policy.file),
        inputs.known_partitions(),
        now=inputs.now,
        partition=inputs.partition,
        deletion_per_iteration=inputs.deletion_per_iteration,
        enforcer_rules=inputs.enforcer_rules(),
        protected_sites=protected_sites(inputs.protected_sites, frames),
        attribute_max_age=inputs.attribute_max_age,
        last_copies=inputs.last_copies,
    )


def plan_cycle(
    database: Database,
    settings: Settings,
    partition: str,
    *,
    run_key: str,
    now: datetime,
    policy: SourceText | None = None,
    by: Person | None = None,
) -> int:
    """Decide and store the plan of one cycle, under the policy of the partition or another ``policy``. ``by``: who
    stores it by hand.

    What files and settings say is read once, before everything else: the decision is made of it, and it is stored.
    Returns the plan's id. Raises PolicyError, PlanError, SettingsError, and InventoryError for a ``now`` to come, by
    which what is young would be old; deletes nothing.
    """
    from dynamo_ops.detox.enforced import enforced_copies  # as in make_plan
    from dynamo_ops.detox.facts import deletion_facts, handover_facts, replica_decisions

    look(database, PauseKind.DETOX, partition)
    refuse_future(database, now, "the plan would be made as of")
    inputs = read_detox_inputs(settings, partition, now, policy=policy)
    frames = read_inventory(database)
    plan = make_plan(frames, inputs)
    enforced = enforced_copies(plan, frames, inputs.enforcer_rules())
    facts = deletion_facts(plan, frames, enforced)
    stored = plan_store.save(
        database,
        inputs,
        run_key=run_key,
        frames={
            "decisions": plan.decisions,
            "site_states": plan.site_states,
            "policy_lines": plan.policy_lines,
            "deletions": facts,
            "reowned": handover_facts(plan),
            "enforced": enforced,
            "replica_decisions": replica_decisions(plan),
            **(plan.evidence.frames() if plan.evidence else {}),
        },
        summary={**_summary(plan, facts), "deletion_per_iteration": inputs.deletion_per_iteration},
        location=settings.files_at("plans"),
        by=by,
    )
    _log_plan(stored)
    return stored.id


def _log_plan(plan: StoredPlan) -> None:
    amount = f"{plan.summary['num_deletions']:,} of {plan.summary['num_image_replicas']:,} block replicas"
    triggered = plan.summary["triggered_sites"]
    log.info("plan %d of %s deletes %s, %s", plan.id, plan.partition, amount, size_text(plan.summary["deleted_bytes"]))
    log.info("above their watermark: %s", ", ".join(triggered) or "no site")
    log.info("look at it: dynamo plan show %d; why: dynamo detox explain %s DATASET SITE", plan.id, plan.partition)


def gate_plan(database: Database, settings: Settings, plan_id: int, *, run_key: str) -> None:
    """Approve the plan or refuse it. Raises GateError; then the plan can never be committed."""
    plan = plan_store.load(database, plan_id)
    if plan.state == PlanState.COMMITTED:
        return
    states = plan.frame("site_states")
    deletions = _with_pending(database, plan.frame("deletions"))
    deleted = deletions.group_by("site").agg(deleted_bytes=pl.col("size_bytes").sum())
    sites = states.join(deleted, on="site", how="left").select(
        "site", "quota_bytes", pl.col("deleted_bytes").fill_null(0)
    )
    try:
        check_freshness(
            database,
            settings,
            run_key,
            f"what the plan of partition {plan.partition!r} was made with",
            _attributes_of(database, settings, plan),
            read_thresholds(settings),
        )
        check_detox_plan(
            database,
            run_key,
            deletions,
            sites,
            detox_limits(settings, plan.partition),
            partition=plan.partition,
            num_image_replicas=plan.summary["num_image_replicas"],
            num_image_replicas_before=_image_before(database, plan.partition, plan_id, states["site"]),
            set_aside_bytes=sum(amount["size_bytes"] for amount in plan.summary.get("set_aside", ())),
            age_h=plan_store.age_h(database, plan),
            docs=read_thresholds(settings).data_docs,
        )
    except GateError as error:
        refuse(database, plan_id, error.message)
        raise
    if needs_approval(database, settings, plan_id):
        plan_store.tell_that_it_waits(database, plan_id)
        log.info("plan %d waits for a person: it deletes more than detox.approval_above_bytes", plan_id)
    else:
        approve(database, plan_id, GATE)
        log.info("plan %d is approved", plan_id)


def _attributes_of(database: Database, settings: Settings, plan: StoredPlan) -> set[str]:
    """The attributes of datasets that the plan's policy and partition ask for."""
    inputs = inputs_of(database, settings, plan)
    policy = load_policy(inputs.policy.text, now=inputs.now, file=inputs.policy.file)
    return {*policy.attributes(), *inputs.known_partitions().attributes(plan.partition)}


def _with_pending(database: Database, deletions: pl.DataFrame) -> pl.DataFrame:
    """``deletions`` whose ``is_last_source`` knows of the copies that are subscribed now."""
    alone = deletions.filter("is_alone")
    if alone.is_empty():
        return deletions
    with database.begin() as connection:
        pending = pending_sources(connection, alone).with_columns(is_pending=pl.lit(True))
    joined = deletions.join(pending, on=["block_id", "site_id"], how="left", maintain_order="left")
    return joined.with_columns(is_last_source=pl.col("is_last_source") | pl.col("is_pending").fill_null(False))


def needs_approval(database: Database, settings: Settings, plan_id: int) -> bool:
    """Whether the plan deletes more bytes than may be deleted without a person's yes, and nobody has decided yet."""
    plan = plan_store.load(database, plan_id)
    return plan.state == PlanState.PLANNED and bool(
        plan.summary["deleted_bytes"] > detox_limits(settings, plan.partition).approval_above_bytes
    )


def commit_plan(
    database: Database,
    settings: Settings,
    plan_id: int,
    *,
    by: Person,
    approved_by: Person | None = None,
) -> dict[str, Any]:
    """Commit an approved plan. ``approved_by``: who says yes now, where a person must.

    What was committed before is not committed again: its summary is returned. Raises AccessError, and PlanError when
    the plan was not approved, or is too old by now: then it is refused, and must be made again.
    """
    plan = plan_store.load(database, plan_id)
    limits = detox_limits(settings, plan.partition)
    summary = None
    if plan.state != PlanState.COMMITTED:
        look(database, PauseKind.DETOX, plan.partition)
        if approved_by:
            approve(database, plan_id, approved_by)
        refuse_if_old(database, plan, limits.max_plan_age_h)
        summary = commit(database, plan_id, last_copies=limits.last_copies, by=by)
    usage.fold(database)
    counts = asdict(summary) if summary else plan_store.load(database, plan_id).summary["commit"]
    log.info("plan %d was committed%s: %s", plan_id, "" if summary else " before", counts_text(counts))
    return counts


def accept_yes(database: Database, plan_id: int, *, name: str, at: datetime | None = None) -> None:
    """Somebody of this name said yes in Airflow's form: the plan is approved. One that was approved before stays so.

    Raises AccessError where they may not decide: the yes does not count, and the plan stays planned, for who may.
    """
    plan = plan_store.load(database, plan_id)
    if plan.state not in (PlanState.PLANNED, PlanState.REFUSED):
        return
    by = who_answered(database, name)
    try:
        approve(database, plan_id, by, at=at)
    except AccessError as error:
        raise AccessError(
            f"approved by {signature(by)}, which does not count: {error.message}. The plan stays {plan.state}: clear "
            "the task `approval` of this run, so that somebody who may is asked. To let them: "
            f"dynamo access grant {name} operator --scope partition:{plan.partition} --reason …",
            **error.facts,
        ) from error


def reject_plan(database: Database, plan_id: int, *, name: str | None, at: datetime | None = None) -> str:
    """Somebody of this name said no in Airflow's form, or nobody (None) answered in time: the plan is refused. Returns
    the reason. A no counts from anybody: it deletes nothing. Where nobody answered because somebody has decided
    elsewhere, that stays."""
    plan = plan_store.load(database, plan_id)
    if name is None and plan.state != PlanState.PLANNED:
        if plan.state == PlanState.APPROVED:
            log.warning("plan %d is approved, and this run ends without it: `dynamo detox commit %d`", plan_id, plan_id)
        return plan.refused_because or f"it was {plan.state} by {plan.approved_by} meanwhile, and stays so"
    by = who_answered(database, name) if name else NOBODY
    reason = f"rejected by {signature(by)}" if name else "not approved in time: nobody answered, which means no"
    refuse(database, plan_id, reason, by=by, at=at, is_asked=True)
    return reason


def refuse_if_old(database: Database, plan: StoredPlan, max_age_h: float) -> None:
    """A plan that was made longer ago is refused, and PlanError raised: it must be made again."""
    if plan_store.age_h(database, plan) > max_age_h:
        reason = f"made at {time_text(plan.created_at)}, more than {max_age_h:g} hours ago (max_plan_age_h): plan again"
        refuse(database, plan.id, reason)
        raise PlanError(f"plan {plan.id} of {plan.partition} was {reason}", plan_id=plan.id, state="refused")


def describe_plan(database: Database, plan_id: int) -> str:
    """The plan in Markdown, for the person who has to approve it."""
    plan = plan_store.load(database, plan_id)
    before = plan_store.last_committed(database, PlanKind.DETOX, plan.partition)
    is_other = before is not None and before.id != plan.id
    return approval_text(plan, plan.frame("deletions"), plan.frame("policy_lines"), before if is_other else None)


def _summary(plan: DeletionPlan, facts: pl.DataFrame) -> dict[str, Any]:
    from dynamo_ops.detox.engine.plan import set_aside_amounts

    decided = dict(plan.decisions.group_by("decision").len().sort("decision").iter_rows())
    kept = plan.decisions.filter(pl.col("decision") != Decision.DELETE)
    if facts["is_locked"].null_count():
        raise PlanError("the plan does not know of every deletion whether it is locked", state="planned")
    return {
        "num_image_replicas": plan.decisions.height,
        "num_kept_by_site": dict(kept.group_by("site").len().sort("site").iter_rows()),
        "decisions": decided,
        "num_deletions": facts.height,
        "deleted_bytes": int(facts["size_bytes"].sum()),
        "set_aside": set_aside_amounts(plan.decisions).to_dicts(),
        "triggered_sites": plan.site_states.filter("is_triggered")["site"].to_list(),
        "warnings": list(plan.warnings),
    }


def _image_before(database: Database, partition: str, plan_id: int, sites: pl.Series) -> int | None:
    """Block replicas in the image of the last committed plan of the partition, less those it deleted itself: at
    ``sites``, the targets of today. What is at others is out of the policy's sight, not gone: a tape site in the
    waitroom may have a third of all."""
    last_committed = database.frame(
        f"""
        SELECT summary->'num_kept_by_site' AS kept, (summary->>'num_image_replicas')::bigint
          - coalesce((summary->'commit'->>'num_block_replicas')::bigint, 0) AS n
        FROM plans WHERE kind = '{PlanKind.DETOX}' AND partition = $1 AND state = '{PlanState.COMMITTED}' AND id <> $2
        ORDER BY committed_at DESC LIMIT 1""",
        (partition, plan_id),
    )
    if last_committed.is_empty():
        return None
    kept, number = last_committed.row(0)
    if kept is None:  # made before this was noted
        return int(number)
    kept_by_site: dict[str, int] = json.loads(kept)
    return sum(kept_by_site.get(site, 0) for site in sites)
