"""A stored Detox plan as people ask for it: its record, and the newest about a replica."""

from __future__ import annotations

import polars as pl
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError, PlanError, UnknownPlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.detox.record import PlanRecord, scan_decisions, scan_evidence, scan_site_states
from dynamo_ops.inventory.names import EVER_KNOWN_DATASETS, is_dataset, near_dataset
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.plan.inputs import PlanInputs
from dynamo_ops.plan.record import scan
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.plan.story import PlanStory, load_story
from dynamo_ops.policy.language.enforcement import rules_text

MOST_ASKED = 50
"""Plans that are looked at for one replica: whoever asks does not wait for the whole past."""
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
    """The newest plan (of the partition) whose image has the replica: the newest of each partition is asked, then those
    that decided something of it, the last one first.

    Raises PlanError when none has, InventoryError when there is no such dataset or site, with near names.
    """
    if not is_dataset(database, dataset):
        raise InventoryError(f"unknown dataset {dataset!r}.{near_dataset(database, dataset)}", dataset=dataset)
    with database.begin() as connection:
        site_id = find_site(connection, site).id
        newest = connection.execute(
            text(f"""
            SELECT max(id) FROM plans
            WHERE kind = '{PlanKind.DETOX}' AND (CAST(:partition AS text) IS NULL OR partition = :partition)
            GROUP BY partition ORDER BY 1 DESC"""),
            {"partition": partition},
        ).scalars()
        newest_ids = [int(number) for number in newest]
    for plan_id in dict.fromkeys([*newest_ids, *_deciding_plans(database, dataset, site_id, partition)]):
        try:
            plan = read_record(database, load_story(database, plan_id, PlanKind.DETOX))
            decisions = plan.decisions.filter((pl.col("dataset") == dataset) & (pl.col("site") == site))
            if decisions.head(1).collect().height:
                return plan
        except (PlanError, FileNotFoundError):
            if plan_id in newest_ids:
                raise
            continue  # archived: an older one can still be there
    of = f" of {partition}" if partition else ""
    raise UnknownPlanError(
        f"no plan{of} has {dataset} at {site} in its image, or decided of it: is the site a target? "
        "`dynamo plan list` shows what there is; --plan names an older one",
        dataset=dataset,
        site=site,
    )


def _deciding_plans(database: Database, dataset: str, site_id: int, partition: str | None) -> list[int]:
    """Plans whose commit did something to the dataset there, or said something of it, newest first."""
    plans = database.frame(
        f"""
        SELECT DISTINCT plan.id FROM detox_history AS history JOIN plans AS plan ON plan.id = history.plan_id
        JOIN {EVER_KNOWN_DATASETS} AS dataset ON dataset.id = history.dataset_id
        WHERE dataset.name = $1 AND history.site_id = $2::bigint AND ($3::text IS NULL OR plan.partition = $3)
        ORDER BY plan.id DESC LIMIT {MOST_ASKED}""",
        (dataset, site_id, partition),
    )
    return [int(plan_id) for plan_id in plans["id"]]


def _rules_text(inputs: PlanInputs | None, location: str) -> str:
    """The enforcer rules that the plan was made under; older plans have them as a frame, the oldest not at all."""
    if inputs is not None:
        return inputs.rules.text if inputs.rules else rules_text(())
    try:
        return str(scan(location, RULES_FRAME).collect().item())
    except PlanError:
        return rules_text(())
