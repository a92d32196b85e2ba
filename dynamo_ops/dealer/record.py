"""A Dealer plan as it is read again: just made, or from the database. Shown, explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from dynamo_ops.base.errors import InventoryError, PlanError, UnknownPlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.plan import CopyPlan
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.names import is_dataset, near_dataset
from dynamo_ops.plan.record import scan
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.plan.story import PlanStory, load_story


@dataclass(frozen=True)
class DealerRecord:
    """A plan to be read. ``name``: what messages call it. The frames are those of ``CopyPlan``; ``groups``: names of
    owners by id."""

    name: str
    partition: str
    now: datetime
    seed: int
    config: DealerConfig
    proposals: pl.DataFrame
    site_states: pl.DataFrame
    present: pl.DataFrame
    forbidden: pl.DataFrame
    groups: Mapping[int, str]
    warnings: tuple[str, ...]

    @property
    def accepted(self) -> pl.DataFrame:
        """The accepted proposals, in the order of acceptance."""
        return self.proposals.filter(pl.col("copy").is_not_null()).sort("copy")


def new_record(plan: CopyPlan, frames: InventoryFrames, config: DealerConfig, *, name: str) -> DealerRecord:
    """The record of a plan that was just made on ``frames``."""
    return DealerRecord(
        name=name,
        partition=plan.partition,
        now=plan.now,
        seed=plan.seed,
        config=config,
        proposals=plan.proposals,
        site_states=plan.site_states,
        present=plan.present,
        forbidden=plan.forbidden,
        groups=dict(frames.groups.select("group_id", "group").iter_rows()),
        warnings=plan.warnings,
    )


def read_record(database: Database, story: PlanStory) -> DealerRecord:
    """The record of a stored plan. Raises PlanError when its frames are not there."""
    stored = story.stored
    inputs = stored.inputs()
    groups = database.frame('SELECT id::bigint AS group_id, name AS "group" FROM groups')
    names = ("proposals", "site_states", "present", "forbidden")
    frames = {name: scan(stored.location, name).collect() for name in names}
    return DealerRecord(
        name=f"plan {stored.id}",
        partition=stored.partition,
        now=stored.planned_for_at,
        seed=int(stored.summary["seed"]),
        config=load_config(inputs.policy.text if inputs else story.policy_text),
        groups=dict(groups.iter_rows()),
        warnings=tuple(stored.summary.get("warnings", ())),
        **frames,
    )


def newest_about(database: Database, dataset: str, partition: str | None) -> DealerRecord:
    """The newest plan (of the partition) with a proposal for the dataset, among the newest hundred.

    Raises PlanError when none has one.
    """
    newest_plans = database.frame(
        f"""
        SELECT id FROM plans WHERE kind = '{PlanKind.DEALER}' AND ($1::text IS NULL OR partition = $1)
        ORDER BY id DESC LIMIT 100""",
        (partition,),
    )
    for plan_id in newest_plans["id"]:
        story = load_story(database, int(plan_id), PlanKind.DEALER)
        try:
            proposals = scan(story.stored.location, "proposals")
            asked = proposals.filter(pl.col("dataset") == dataset).select("dataset").head(1)
            if asked.collect().height:
                return read_record(database, story)
        except (PlanError, pl.exceptions.ColumnNotFoundError):
            continue  # archived, or made by an older version
    if not is_dataset(database, dataset):
        raise InventoryError(f"unknown dataset {dataset!r}.{near_dataset(database, dataset)}", dataset=dataset)
    of = f" of {partition}" if partition else ""
    raise UnknownPlanError(
        f"no Dealer plan{of} has a proposal for {dataset}: is the name whole? `dynamo plan list` shows what there is; "
        "`dynamo request list --dataset` whether anybody asks for it",
        dataset=dataset,
        state=None,
    )
