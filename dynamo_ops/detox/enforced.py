"""Which copies in a plan's image enforcer rules count, and which of them the plan leaves. Pure (SEMANTICS §8.3)."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dynamo_ops.detox.engine.plan import DeletionPlan
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.inventory.replica.good import without_doomed
from dynamo_ops.plan.states import Decision
from dynamo_ops.policy.evaluation.evaluate import Evaluator
from dynamo_ops.policy.evaluation.image import Image, lay_out, tape_placeholders
from dynamo_ops.policy.language.check import CheckedCondition
from dynamo_ops.policy.language.enforcement import EnforcerRule

ENFORCED: Schema = {
    "rule": pl.String,
    "num_copies": pl.Int64,
    "dataset_id": pl.Int64,
    "site_id": pl.Int64,
    "is_left": pl.Boolean,
}
KEYS = ["block_id", "site_id"]
REPLICA = ["dataset_id", "site_id"]


def enforced_copies(plan: DeletionPlan, frames: InventoryFrames, rules: Sequence[EnforcerRule]) -> pl.DataFrame:
    """One row per rule and copy that it counts: ``ENFORCED``, of datasets that lose something at a destination.

    Only rules that protect. Copies are the dataset replicas of the image at the rule's destinations, of any
    completeness and owner; the rule applies to datasets with a replica at a source site that meets one of its
    conditions, as the image was before the plan. ``is_left``: not every block replica of it in the image is deleted.
    """
    frames = without_doomed(frames)
    protecting = [rule for rule in rules if rule.is_protecting]
    touched = plan.deletions["dataset_id"].unique()
    if not protecting or touched.is_empty():
        return pl.DataFrame(schema=dict(ENFORCED))
    decisions = plan.decisions.filter(pl.col("dataset_id").is_in(touched.implode()))
    replicas = decisions.group_by(REPLICA).agg(
        is_left=(pl.col("decision") != Decision.DELETE).any(), is_losing=(pl.col("decision") == Decision.DELETE).any()
    )
    image = _image(decisions, frames, protecting)
    evaluator = Evaluator(image, selections=[condition for rule in protecting for condition in _conditions(rule)])
    copies_by_rule = []
    for rule in protecting:
        asking = _matching(image, evaluator, rule.sources).join(
            _matching(image, evaluator, rule.replicas), on=REPLICA, how="semi"
        )
        copies = _matching(image, evaluator, rule.destinations).join(asking, on="dataset_id", how="semi")
        counted = copies.join(replicas, on=REPLICA).filter(pl.col("is_losing").any().over("dataset_id"))
        copies_by_rule.append(counted.with_columns(rule=pl.lit(rule.name), num_copies=pl.lit(rule.num_copies)))
    return pl.concat(copies_by_rule).select(pl.col(name).cast(kind) for name, kind in ENFORCED.items())


def _conditions(rule: EnforcerRule) -> tuple[CheckedCondition, ...]:
    return (*rule.sources, *rule.replicas, *rule.destinations)


def _image(decisions: pl.DataFrame, frames: InventoryFrames, rules: Sequence[EnforcerRule]) -> Image:
    """The plan's image before the plan, of these decisions only."""
    attributes = sorted({a for r in rules for c in r.replicas for v in c.variables() for a in v.attributes})
    real = frames.block_replicas.join(decisions.filter(~pl.col("is_placeholder")), on=KEYS, how="semi")
    block_replicas = [real.with_columns(is_placeholder=pl.lit(False))]
    stand_ins = decisions.filter("is_placeholder")
    if stand_ins.height:
        block_replicas.append(tape_placeholders(frames).join(stand_ins, on=KEYS, how="semi"))
    return lay_out(frames, pl.concat(block_replicas, how="diagonal_relaxed"), attributes=attributes)


def _matching(image: Image, evaluator: Evaluator, conditions: Sequence[CheckedCondition]) -> pl.DataFrame:
    """``dataset_id``, ``site_id`` of the replicas that meet one of ``conditions`` for certain."""
    matching = evaluator.matching_replicas(conditions)
    return pl.DataFrame(
        {
            "dataset_id": image.datasets["dataset_id"].gather(matching["dataset"]),
            "site_id": image.sites["site_id"].gather(matching["site"]),
        }
    )
