"""A stored Detox plan as people ask for it: its story, its record, and what its commit did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import text

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.detox import tasks as steps
from dynamo_ops.detox.record import PlanRecord, scan, scan_evidence
from dynamo_ops.detox.tasks import RULES_FRAME
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.policy.language.enforcement import rules_text


@dataclass(frozen=True)
class PlanStory:
    """What became of a plan. ``stored``: its row; ``committed_at``: null until it is committed; ``policy_sha256`` and
    ``policy_text``: the policy that it was made under."""

    stored: StoredPlan
    committed_at: datetime | None
    policy_sha256: str
    policy_text: str

    def document(self) -> dict[str, Any]:
        """The story as a JSON document: who approved or refused it, when and why, and all stored figures."""
        plan = self.stored
        return {
            "id": plan.id,
            "state": plan.state,
            "run_key": plan.run_key,
            "created_at": _iso(plan.created_at),
            "approved_by": plan.approved_by,
            "approved_at": _iso(plan.approved_at),
            "refused_by": plan.refused_by,
            "refused_at": _iso(plan.refused_at),
            "refused_because": plan.refused_because,
            "committed_at": _iso(self.committed_at),
            "policy_version": plan.policy_version_id,
            "policy_sha256": self.policy_sha256,
            "summary": plan.summary,
        }


def load_story(database: Database, plan_id: int) -> PlanStory:
    """The story of a Detox plan. Raises PlanError when there is no such plan, or it is one of the Dealer."""
    stored = plan_store.load(database, plan_id)
    if stored.kind != "detox":
        raise PlanError(
            f"plan {plan_id} is a plan of the Dealer; `dynamo plan show {plan_id}` shows it",
            plan_id=plan_id,
            state=stored.state,
        )
    with database.begin() as connection:
        row = connection.execute(
            text("""
            SELECT p.committed_at, v.sha256, v.text FROM plans p JOIN policy_versions v ON v.id = p.policy_version_id
            WHERE p.id = :id"""),
            {"id": plan_id},
        ).one()
    return PlanStory(stored, row.committed_at, row.sha256, row.text)


def read_record(database: Database, story: PlanStory) -> PlanRecord:
    """The plan to be read; its big frames only as far as they are asked for. Raises PlanError when one is not there."""
    plan = story.stored
    return PlanRecord(
        name=f"plan {plan.id}",
        partition=plan.partition,
        now=plan.planned_for_at,
        policy_text=story.policy_text,
        decisions=scan(plan.location, "decisions"),
        site_states=scan(plan.location, "site_states").collect(),
        policy_lines=scan(plan.location, "policy_lines").collect(),
        deletions=scan(plan.location, "deletions"),
        groups=database.frame('SELECT id::bigint AS group_id, name AS "group" FROM groups'),
        warnings=tuple(plan.summary.get("warnings", ())),
        evidence=scan_evidence(plan.location),
        rules_text=_rules_text(plan.location),
    )


def newest_with(database: Database, dataset: str, site: str, partition: str | None) -> PlanRecord:
    """The newest plan (of the partition) whose image has the replica: the newest of each partition is asked.

    Raises PlanError when none has.
    """
    with database.begin() as connection:
        newest = connection.execute(
            text("""
            SELECT max(id) FROM plans
            WHERE kind = 'detox' AND (CAST(:partition AS text) IS NULL OR partition = :partition)
            GROUP BY partition ORDER BY 1 DESC"""),
            {"partition": partition},
        ).scalars()
        ids = [int(number) for number in newest]
    for plan_id in ids:
        plan = read_record(database, load_story(database, plan_id))
        rows = plan.decisions.filter((pl.col("dataset") == dataset) & (pl.col("site") == site))
        if rows.head(1).collect().height:
            return plan
    of = f" of {partition}" if partition else ""
    raise PlanError(
        f"no newest plan{of} has {dataset} at {site} in its image: is the name whole, is the site a target? "
        "`dynamo plan list` shows what there is; --plan names an older one",
        dataset=dataset,
        site=site,
    )


def ready_to_commit(database: Database, settings: Settings, plan_id: int) -> PlanStory:
    """The plan as it is once its gate has looked at it: approved, committed, or planned still: a person must approve.

    Raises GateError when the gate refuses it now, PlanError when it was refused before.
    """
    story = load_story(database, plan_id)
    if story.stored.state == "planned":
        steps.gate_plan(database, settings, plan_id, run_key=story.stored.run_key)
        story = load_story(database, plan_id)
    if story.stored.state == "refused":
        plan = story.stored
        raise PlanError(
            f"plan {plan.id} of {plan.partition} was refused by {plan.refused_by or 'unknown'}: "
            f"{plan.refused_because}\n"
            "it can never be committed; make a new plan",
            plan_id=plan.id,
            state=plan.state,
        )
    return story


def _rules_text(location: str) -> str:
    """The enforcer rules that were stored with the plan; none for a plan that was stored without its evidence."""
    try:
        return str(scan(location, RULES_FRAME).collect().item())
    except PlanError:
        return rules_text(())


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
