"""A stored Detox plan as people ask for it: its record, the newest about a replica, and whether it may be committed."""

from __future__ import annotations

import polars as pl
from sqlalchemy import text

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.detox import tasks as steps
from dynamo_ops.detox.record import PlanRecord, scan_decisions, scan_evidence, scan_site_states
from dynamo_ops.plan.inputs import PlanInputs
from dynamo_ops.plan.record import PlanStory, load_story, scan
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.policy.language.enforcement import rules_text

RULES_FRAME = "enforcer_rules"
"""The frame that older plans keep their enforcer rules in."""


def read_record(database: Database, story: PlanStory) -> PlanRecord:
    """The plan to be read; its big frames only as far as they are asked for. Raises PlanError when one is not there."""
    plan = story.stored
    inputs = plan.inputs()
    return PlanRecord(
        name=f"plan {plan.id}",
        partition=plan.partition,
        now=plan.planned_for_at,
        policy_text=inputs.policy.text if inputs else story.policy_text,
        decisions=scan_decisions(plan.location),
        site_states=scan_site_states(plan.location),
        policy_lines=scan(plan.location, "policy_lines").collect(),
        deletions=scan(plan.location, "deletions"),
        groups=database.frame('SELECT id::bigint AS group_id, name AS "group" FROM groups'),
        warnings=tuple(plan.summary.get("warnings", ())),
        evidence=scan_evidence(plan.location),
        rules_text=_rules_text(inputs, plan.location),
    )


def newest_with(database: Database, dataset: str, site: str, partition: str | None) -> PlanRecord:
    """The newest plan (of the partition) whose image has the replica: the newest of each partition is asked.

    Raises PlanError when none has.
    """
    with database.begin() as connection:
        newest = connection.execute(
            text(f"""
            SELECT max(id) FROM plans
            WHERE kind = '{PlanKind.DETOX}' AND (CAST(:partition AS text) IS NULL OR partition = :partition)
            GROUP BY partition ORDER BY 1 DESC"""),
            {"partition": partition},
        ).scalars()
        ids = [int(number) for number in newest]
    for plan_id in ids:
        plan = read_record(database, load_story(database, plan_id, PlanKind.DETOX))
        decisions = plan.decisions.filter((pl.col("dataset") == dataset) & (pl.col("site") == site))
        if decisions.head(1).collect().height:
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
    story = load_story(database, plan_id, PlanKind.DETOX)
    if story.stored.state == PlanState.PLANNED:
        steps.gate_plan(database, settings, plan_id, run_key=story.stored.run_key)
        story = load_story(database, plan_id, PlanKind.DETOX)
    if story.stored.state == PlanState.REFUSED:
        plan = story.stored
        raise PlanError(
            f"plan {plan.id} of {plan.partition} was refused by {plan.refused_by or 'unknown'}: "
            f"{plan.refused_because}\n"
            "it can never be committed; make a new plan",
            plan_id=plan.id,
            state=plan.state,
        )
    return story


def _rules_text(inputs: PlanInputs | None, location: str) -> str:
    """The enforcer rules that the plan was made under; older plans have them as a frame, the oldest not at all."""
    if inputs is not None:
        return inputs.rules.text if inputs.rules else rules_text(())
    try:
        return str(scan(location, RULES_FRAME).collect().item())
    except PlanError:
        return rules_text(())
