"""What enforcer rules find: of which datasets how many copies are there, on the way and missing, and where more can go.

Set-wise: block replicas are summed up to dataset replicas once for all rules; a rule then works on these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.dealer.engine.plugin import ProposalContext
from dynamo_ops.dealer.plugins.names import group_ids
from dynamo_ops.dealer.plugins.proposal import REPLICA, by_replica
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.policy.evaluation.attributes import dataset_table, require_attributes, site_table
from dynamo_ops.policy.evaluation.compile import any_condition_expr, attribute_expr, condition_expr, predicate_expr
from dynamo_ops.policy.evaluation.evaluate import Evaluator
from dynamo_ops.policy.evaluation.image import lay_out
from dynamo_ops.policy.language.check import CheckedCondition, CheckedPredicate
from dynamo_ops.policy.language.enforcement import EnforcerRule
from dynamo_ops.policy.language.variables import Column, Scope
from dynamo_ops.policy.partition import partition_expr

ENOUGH, EN_ROUTE, MISSING = "enough complete", "en route", "missing"
COMPLETE, ON_ITS_WAY, OWNER_CHANGE = "complete", "en route", "owner change"

DATASETS: Schema = {
    "dataset_id": pl.Int64,
    "dataset": pl.String,
    "size_bytes": pl.Int64,
    "num_complete": pl.Int64,
    "num_en_route": pl.Int64,
    "num_missing": pl.Int64,
    "state": pl.String,
}
PRESENT: Schema = {"dataset_id": pl.Int64, "site_id": pl.Int64, "position": pl.Int64, "kind": pl.String}


@dataclass(frozen=True)
class RuleState:
    """What one rule finds.

    ``group_id``: who is to own the copies. ``destinations``: site ids, by name. ``datasets``: one row (``DATASETS``)
    per dataset with a matching replica at a source site, by name; ``num_missing``: copies to ask for; ``size_bytes`` of
    the whole dataset. ``present``: one row (``PRESENT``) per such dataset and destination where there is a copy that is
    complete, en route, or of another owner (``owner change``), by dataset and site; ``position``: the site's place in
    ``destinations``. Every other destination is one that a copy can go to.
    """

    rule: EnforcerRule
    group_id: int
    destinations: pl.DataFrame
    datasets: pl.DataFrame
    present: pl.DataFrame


def rule_states(frames: InventoryFrames, context: ProposalContext, rules: Sequence[EnforcerRule]) -> list[RuleState]:
    """What each of ``rules`` finds, by name of the rule.

    PlanError when an attribute that a rule asks for was not produced or is stale; SettingsError for an unknown group.
    """
    if not rules:
        return []
    rules = sorted(rules, key=lambda rule: rule.name)
    conditions = [condition for rule in rules for condition in rule.replicas]
    attributes = sorted({name for c in conditions for v in c.variables() for name in v.attributes})
    require_attributes(frames, attributes, now=context.now, max_age=context.attribute_max_age)
    replicas = _Replicas(frames, context, rules, attributes)
    return [_state(frames, context, rule, replicas) for rule in rules]


class _Replicas:
    """The dataset replicas of the inventory, as all rules see them.

    ``table``: one row per dataset replica with a block replica: ``dataset_id``, ``site_id``, ``present`` (block
    replicas), ``is_complete``, ``num_unowned``, ``first_owner`` and ``last_owner`` (of its owners' ids), and for each
    partition of a rule a boolean: a block of it is inside.
    """

    def __init__(
        self,
        frames: InventoryFrames,
        context: ProposalContext,
        rules: Sequence[EnforcerRule],
        attributes: Sequence[str],
    ) -> None:
        self.frames, self.attributes = frames, attributes
        self.partitions = {rule.name: rule.partition or context.partition for rule in rules}
        inside = {name: partition_expr(frames, context.partitions, name) for name in set(self.partitions.values())}
        self.table = by_replica(
            frames.block_replicas.lazy().with_columns(test.alias(f"in {name}") for name, test in inside.items()),
            pl.len().cast(pl.Int64).alias("present"),
            pl.col("is_complete").all(),
            pl.col("group_id").null_count().alias("num_unowned"),
            pl.col("group_id").min().alias("first_owner"),
            pl.col("group_id").max().alias("last_owner"),
            *(pl.col(f"in {name}").any() for name in inside),
        )
        self.sites = site_table(frames)
        self.datasets = dataset_table(frames, attributes)

    def inside(self, rule: EnforcerRule) -> pl.DataFrame:
        """Those with a block in the rule's partition."""
        return self.table.filter(pl.col(f"in {self.partitions[rule.name]}"))

    def sites_meeting(self, conditions: Sequence[CheckedCondition]) -> pl.DataFrame:
        """``site_id``, ``site``, by name, of the sites that meet one of the conditions."""
        sources = {id(predicate): condition.source for condition in conditions for predicate in condition.predicates}

        def named(predicate: CheckedPredicate) -> pl.Expr:
            return predicate_expr(predicate, pl.col(predicate.variable.source.name), sources[id(predicate)])

        return self.sites.filter(any_condition_expr(conditions, named)).select("site_id", "site")

    def meeting(self, condition: CheckedCondition, replicas: pl.DataFrame, at: pl.Series) -> pl.Series:
        """Ids of the datasets of which one of ``replicas`` at the sites ``at`` meets the condition for certain.

        What datasets and sites say by themselves is asked first, of small tables; only of what is left replicas are
        laid out with their blocks, each dataset with all its ``replicas``, as copy counts need them.
        """
        asked = replicas.filter(pl.col("site_id").is_in(at.implode()))
        for scope, table, key in ((Scope.DATASET, self.datasets, "dataset_id"), (Scope.SITE, self.sites, "site_id")):
            ids = table.filter(_on_table(condition, scope))[key]
            asked = asked.filter(pl.col(key).is_in(ids.implode()))
        if all(_is_in_table(predicate) for predicate in condition.predicates) or asked.is_empty():
            return asked["dataset_id"].unique()
        of_these = replicas.filter(pl.col("dataset_id").is_in(asked["dataset_id"].implode()))
        blocks = self.frames.block_replicas.join(of_these, on=REPLICA, how="semi")
        image = lay_out(self.frames, blocks, attributes=self.attributes)
        met_replicas = Evaluator(image, selections=[condition]).matching_replicas([condition])
        matching = pl.DataFrame(
            {
                "dataset_id": image.datasets["dataset_id"].gather(met_replicas["dataset"]),
                "site_id": image.sites["site_id"].gather(met_replicas["site"]),
            }
        )
        return matching.join(asked, on=REPLICA, how="semi")["dataset_id"].unique()


def _is_in_table(predicate: CheckedPredicate) -> bool:
    """Whether the table of datasets or of sites tells it, without the replicas."""
    variable = predicate.variable
    if isinstance(variable.source, Column) and variable.source.name == "on_protected_site":
        return False
    return variable.scope in (Scope.DATASET, Scope.SITE)


def _on_table(condition: CheckedCondition, scope: Scope) -> pl.Expr:
    """The predicates of the condition that the table of this scope tells; they hold for certain."""

    def named(predicate: CheckedPredicate) -> pl.Expr:
        if predicate.variable.scope is not scope or not _is_in_table(predicate):
            return pl.lit(True)
        source = predicate.variable.source
        if isinstance(source, Column):
            return predicate_expr(predicate, pl.col(source.name), condition.source)
        return attribute_expr(predicate, condition.source)

    return condition_expr(condition, named, unknown=False)


def _state(frames: InventoryFrames, context: ProposalContext, rule: EnforcerRule, replicas: _Replicas) -> RuleState:
    group_id = _owner(frames, context, rule)
    inside = replicas.inside(rule)
    at = replicas.sites_meeting(rule.sources)["site_id"]
    dataset_ids = pl.concat([replicas.meeting(condition, inside, at) for condition in rule.replicas]).unique()
    datasets = replicas.datasets.filter(pl.col("dataset_id").is_in(dataset_ids.implode()))
    destinations = replicas.sites_meeting(rule.destinations)
    present = _present(inside, datasets, destinations, group_id)
    return RuleState(rule, group_id, destinations, _counted(datasets, present, rule, destinations.height), present)


def _owner(frames: InventoryFrames, context: ProposalContext, rule: EnforcerRule) -> int:
    key = f"rules.{rule.name}.destination_group"
    (group_id,) = group_ids(frames, [rule.destination_group or context.group], key=key)
    if group_id is None:
        reason = "the null group cannot own copies"
        raise SettingsError(f"{key}: {reason}", file="", key=key, reason=reason)
    return group_id


def _present(inside: pl.DataFrame, datasets: pl.DataFrame, destinations: pl.DataFrame, group_id: int) -> pl.DataFrame:
    """``PRESENT``. Only replicas with every block of the dataset: those of the group are complete or en route, those of
    others (no block of the null group) can change owner."""
    places = destinations.select("site_id").with_row_index("position")
    is_owned = (
        (pl.col("num_unowned") == 0) & (pl.col("first_owner") == group_id) & (pl.col("last_owner") == group_id)
    ).fill_null(False)
    kind = (
        pl.when(is_owned & pl.col("is_complete"))
        .then(pl.lit(COMPLETE))
        .when(is_owned)
        .then(pl.lit(ON_ITS_WAY))
        .otherwise(pl.lit(OWNER_CHANGE))
    )
    order = datasets.select("dataset_id", "num_blocks").with_row_index("number")
    return (
        inside.join(places, on="site_id")
        .join(order, on="dataset_id")
        .filter((pl.col("present") == pl.col("num_blocks")) & (is_owned | (pl.col("num_unowned") == 0)))
        .with_columns(kind=kind)
        .sort("number", "position")
        .select(pl.col(name).cast(dtype) for name, dtype in PRESENT.items())
    )


def _counted(datasets: pl.DataFrame, present: pl.DataFrame, rule: EnforcerRule, num_destinations: int) -> pl.DataFrame:
    """``DATASETS``. No rule can ask for more copies than there are destinations."""
    counts = present.group_by("dataset_id").agg(
        num_complete=(pl.col("kind") == COMPLETE).sum().cast(pl.Int64),
        num_en_route=(pl.col("kind") == ON_ITS_WAY).sum().cast(pl.Int64),
    )
    wanted = min(rule.num_copies, num_destinations)
    missing = (wanted - pl.col("num_complete") - pl.col("num_en_route")).clip(lower_bound=0)
    state = (
        pl.when(pl.col("num_complete") >= wanted)
        .then(pl.lit(ENOUGH))
        .when(pl.col("num_missing") == 0)
        .then(pl.lit(EN_ROUTE))
        .otherwise(pl.lit(MISSING))
    )
    return (
        datasets.select("dataset_id", "dataset", size_bytes="dataset_size_bytes")
        .join(counts, on="dataset_id", how="left", maintain_order="left")
        .with_columns(pl.col("num_complete", "num_en_route").fill_null(0))
        .with_columns(num_missing=missing)
        .with_columns(state=state)
        .select(pl.col(name).cast(dtype) for name, dtype in DATASETS.items())
    )
