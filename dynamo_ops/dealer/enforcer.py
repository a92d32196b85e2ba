"""Plugin ``enforcer``: datasets that rules name must exist in so many copies at their destinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from dynamo_ops.dealer.config import checked_settings
from dynamo_ops.dealer.plugin import ProposalContext, proposals_frame
from dynamo_ops.errors import SettingsError
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.attributes import require_attributes, site_table
from dynamo_ops.policy.check import CheckedCondition, CheckedPredicate
from dynamo_ops.policy.compile import any_condition_expr, predicate_expr
from dynamo_ops.policy.enforcement import EnforcerRule, load_rules
from dynamo_ops.policy.evaluate import Evaluator
from dynamo_ops.policy.image import lay_out
from dynamo_ops.policy.partition import partition_expr
from dynamo_ops.policy.variables import Column

MAX_AGE = timedelta(days=7)


class EnforcerSettings(BaseModel):
    """``rules``: a file with rules; without it those of the context are used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: str | None = None


@dataclass(frozen=True)
class RuleState:
    """What a rule finds for one dataset. Site ids are in the order of names."""

    rule: EnforcerRule
    dataset_id: int
    complete: tuple[int, ...]
    en_route: tuple[int, ...]
    owner_changes: tuple[int, ...]
    candidates: tuple[int, ...]

    @property
    def num_requests(self) -> int:
        """Copies to ask for."""
        destinations = len(self.complete) + len(self.en_route) + len(self.owner_changes) + len(self.candidates)
        return max(0, min(self.rule.num_copies, destinations) - len(self.complete) - len(self.en_route))


class EnforcerPlugin:
    """Asks first for changes of owner, by site name, then for copies drawn among the other destinations, each site
    once."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = checked_settings(EnforcerSettings, settings, file="", below="plugins.enforcer")

    def attributes(self) -> tuple[str, ...]:
        """None: rules ask for those of their own conditions."""
        return ()

    def needs_detox(self) -> bool:
        """No."""
        return False

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """Proposals by rule and dataset; the destination's status plays no part here."""
        groups = dict(frames.groups.select("group", "group_id").iter_rows())
        names = dict(frames.sites.select("site_id", "site").iter_rows())
        rows = []
        for rule in self._rules(context):
            group_id = _group_id(groups, rule, context)
            for state in rule_states(frames, context, rule, group_id):
                asked = list(state.owner_changes[: state.num_requests])
                pool = sorted(state.candidates, key=names.__getitem__)
                asked += context.random.sample(pool, state.num_requests - len(asked))
                rows += [
                    {
                        "dataset_id": state.dataset_id,
                        "site_id": site,
                        "group_id": group_id,
                        "reason": f"rule {rule.name}",
                    }
                    for site in asked
                ]
        return proposals_frame(rows)

    def _rules(self, context: ProposalContext) -> Sequence[EnforcerRule]:
        if self.settings.rules is None:
            return sorted(context.enforcer_rules, key=lambda rule: rule.name)
        try:
            text = Path(self.settings.rules).read_text(encoding="utf-8")
        except OSError as error:
            key = "plugins.enforcer.rules"
            raise SettingsError(f"{key}: {error}", file=self.settings.rules, key=key, reason=str(error)) from error
        return load_rules(text, now=context.now, file=self.settings.rules)


def _group_id(groups: Mapping[str, int], rule: EnforcerRule, context: ProposalContext) -> int:
    name = rule.destination_group or context.group
    if name not in groups:
        key = f"rules.{rule.name}.destination_group"
        raise SettingsError(
            f"{key}: no group is called {name!r}", file="", key=key, reason=f"no group is called {name!r}"
        )
    return groups[name]


def rule_states(
    frames: InventoryFrames, context: ProposalContext, rule: EnforcerRule, group_id: int
) -> Iterator[RuleState]:
    """What the rule finds, for each dataset with a matching replica at a source site, by name."""
    destinations = _site_ids(frames, rule.destinations)
    whole = _replicas_in_partition(frames, context, rule.partition or context.partition)
    datasets = _datasets_of_rule(frames, context, rule, whole)
    at = whole.filter(pl.col("dataset_id").is_in(datasets.implode()) & pl.col("site_id").is_in(destinations))
    kinds = {(dataset, site): kind for dataset, site, kind in _kinds(frames, at, group_id).iter_rows()}
    for dataset_id in datasets:
        found: dict[str, list[int]] = {"complete": [], "en_route": [], "owner_change": [], "candidate": []}
        for site in destinations:
            found[kinds.get((dataset_id, site), "candidate")].append(site)
        yield RuleState(
            rule=rule,
            dataset_id=dataset_id,
            complete=tuple(found["complete"]),
            en_route=tuple(found["en_route"]),
            owner_changes=tuple(found["owner_change"]),
            candidates=tuple(found["candidate"]),
        )


def _site_ids(frames: InventoryFrames, conditions: Sequence[CheckedCondition]) -> list[int]:
    """Sites that meet one of the conditions, by name."""
    tests = {
        predicate: predicate_expr(predicate, pl.col(predicate.variable.source.name), condition.source)
        for condition in conditions
        for predicate in condition.predicates
        if isinstance(predicate.variable.source, Column)
    }

    def named(predicate: CheckedPredicate) -> pl.Expr:
        return tests[predicate]

    return site_table(frames).filter(any_condition_expr(conditions, named))["site_id"].to_list()


def _replicas_in_partition(frames: InventoryFrames, context: ProposalContext, partition: str) -> pl.DataFrame:
    """All block replicas of the dataset replicas that have a block in the partition."""
    inside = frames.block_replicas.filter(partition_expr(frames, context.partitions, partition))
    return frames.block_replicas.join(
        inside.select("dataset_id", "site_id").unique(), on=["dataset_id", "site_id"], how="semi"
    )


def _datasets_of_rule(
    frames: InventoryFrames, context: ProposalContext, rule: EnforcerRule, whole: pl.DataFrame
) -> pl.Series:
    """Ids of the datasets with a replica at a source site that meets a condition of the rule, by name."""
    attributes = sorted({name for c in rule.replicas for v in c.variables() for name in v.attributes})
    require_attributes(frames, attributes, now=context.now, max_age=MAX_AGE)
    image = lay_out(frames, whole, attributes=attributes)
    evaluator = Evaluator(image, selections=rule.replicas)
    matching = evaluator.matching_replicas(rule.replicas)
    at_source = image.sites["site_id"].gather(matching["site"]).is_in(_site_ids(frames, rule.sources))
    found = matching.filter(at_source)["dataset"].unique().sort()
    return image.datasets["dataset_id"].gather(found)


def _kinds(frames: InventoryFrames, replicas: pl.DataFrame, group_id: int) -> pl.DataFrame:
    """``dataset_id``, ``site_id``, ``kind``: complete, en_route, owner_change or candidate."""
    wanted = frames.blocks.group_by("dataset_id").agg(pl.len().alias("wanted"))
    owner = pl.col("group_id")
    found = replicas.group_by("dataset_id", "site_id").agg(
        pl.len().alias("present"),
        pl.col("is_complete").all().alias("is_complete"),
        (owner == group_id).fill_null(False).all().alias("is_owned"),
        owner.is_not_null().all().alias("is_claimed"),
    )
    has_all = pl.col("present") == pl.col("wanted")
    kind = (
        pl.when(has_all & pl.col("is_owned") & pl.col("is_complete"))
        .then(pl.lit("complete"))
        .when(has_all & pl.col("is_owned"))
        .then(pl.lit("en_route"))
        .when(has_all & pl.col("is_claimed"))
        .then(pl.lit("owner_change"))
        .otherwise(pl.lit("candidate"))
    )
    return found.join(wanted, on="dataset_id").select("dataset_id", "site_id", kind.alias("kind"))
