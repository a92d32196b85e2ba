"""What a Dealer plugin is: frames in, proposed copies out. Plugins propose; the engine (``plan``) decides.

A plugin is a class named by an entry point of the group ``dynamo_ops.dealer_plugins``; the entry point's name is what
configurations and plans call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from importlib.metadata import entry_points
from random import Random
from typing import Any, Protocol, cast

import polars as pl

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.spans import span
from dynamo_ops.base.text import near
from dynamo_ops.dealer.engine.config import DealerConfig
from dynamo_ops.inventory.frames import InventoryFrames, Schema, empty
from dynamo_ops.inventory.replica.good import counted
from dynamo_ops.policy.evaluation.attributes import require_attributes
from dynamo_ops.policy.language.enforcement import EnforcerRule
from dynamo_ops.policy.partition import Partitions
from dynamo_ops.quality.thresholds import ATTRIBUTE_MAX_AGE

ENTRY_POINT_GROUP = "dynamo_ops.dealer_plugins"

COPY_REQUESTS: Schema = {
    "request_id": pl.Int64,
    "dataset": pl.String,
    "sites": pl.List(pl.String),
    "num_copies": pl.Int64,
    "group": pl.String,
}
"""Open copy requests. ``dataset`` may be ``dataset#block``; several rows with one id: one request for several of
them."""

PROPOSALS: Schema = {
    "request_id": pl.Int64,
    "dataset_id": pl.Int64,
    "block_ids": pl.List(pl.Int64),
    "site_id": pl.Int64,
    "candidate_site_ids": pl.List(pl.Int64),
    "group_id": pl.Int64,
    "reason": pl.String,
    "refused": pl.String,
}
"""One row per proposed copy, in the plugin's order.

``block_ids`` null: the whole dataset. ``site_id`` null: drawn by the engine, among ``candidate_site_ids`` if given.
``group_id`` null: the configured group. ``reason``: why the copy is wanted. ``refused``: the plugin's own reason why
it is not made after all (too large, unknown dataset); such rows only appear among the rejected. ``request_id``: what
it answers, if any.
"""


DETOX_DECISIONS: Schema = {
    "dataset_id": pl.Int64,
    "site_id": pl.Int64,
    "decision": pl.String,
    "reason": pl.String,
    "size_bytes": pl.Int64,
}
"""What the last Detox cycle said: one row per (dataset replica, decision, policy line). ``decision``: delete, keep,
protect, ignore, reowned. ``reason``: the condition of the line, without its verb; null for the default decision.
``size_bytes``: on disk, of the block replicas that the row stands for."""


@dataclass(frozen=True)
class DetoxCycle:
    """The last committed Detox cycle of the partition. ``plan_id`` null: it was read from a file."""

    plan_id: int | None
    decisions: pl.DataFrame


@dataclass(frozen=True)
class ProposalContext:
    """What plugins may look at beside the inventory. ``random`` depends only on the cycle's seed and the plugin's
    name. ``detox``: null when Detox has committed nothing for the partition yet. ``attribute_max_age``: older
    attributes are no ground for copying."""

    partition: str
    partitions: Partitions
    group: str
    now: datetime
    random: Random
    copy_requests: pl.DataFrame = field(default_factory=lambda: empty(COPY_REQUESTS))
    enforcer_rules: Sequence[EnforcerRule] = ()
    detox: DetoxCycle | None = None
    attribute_max_age: timedelta = ATTRIBUTE_MAX_AGE


class Plugin(Protocol):
    """Proposes copies. Made with its own settings; raises SettingsError when they are wrong.

    A plugin with settings that name files says which in ``FILES``, a set of their keys: what somebody sends to be tried
    may not name any.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None: ...

    def attributes(self) -> tuple[str, ...]:
        """Dataset attributes that it reads: the cycle is refused when one was not produced, or is stale."""
        ...

    def needs_detox(self) -> bool:
        """Whether it works on the last Detox cycle: it proposes nothing where there was none, and the plan warns."""
        ...

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """The proposals, columns :data:`PROPOSALS`. Pure; the same for any order of rows in ``frames``."""
        ...


def load_plugin(name: str) -> type[Plugin]:
    """The plugin class that the entry point ``name`` names. SettingsError when none is installed."""
    installed = entry_points(group=ENTRY_POINT_GROUP)
    for point in installed:
        if point.name == name:
            return cast(type[Plugin], point.load())
    plugin_names = [point.name for point in installed]
    reason = f"no dealer plugin is called {name!r}.{near(name, plugin_names)}"
    raise SettingsError(reason, file="", key=f"plugins.{name}", reason=reason)


WITH_PLUGIN: Schema = {"plugin": pl.String, **PROPOSALS}


@dataclass(frozen=True)
class ProposalInputs:
    """What a cycle's plugins work on: see ``ProposalContext``. ``attribute_max_age``: older attributes are refused.

    ``frames``: the inventory, for what is full and what can be read; ``seen``: the copies in it that count.
    """

    frames: InventoryFrames
    partitions: Partitions
    now: datetime
    copy_requests: pl.DataFrame = field(default_factory=lambda: empty(COPY_REQUESTS))
    enforcer_rules: Sequence[EnforcerRule] = ()
    detox: DetoxCycle | None = None
    attribute_max_age: timedelta = ATTRIBUTE_MAX_AGE

    @cached_property
    def seen(self) -> InventoryFrames:
        """What plugins see: nothing that is doomed, and nothing doubtful as complete (SEMANTICS §10)."""
        return counted(self.frames)

    def context(self, config: DealerConfig, plugin: str, seed: int) -> ProposalContext:
        """What one plugin may look at."""
        return ProposalContext(
            partition=config.partition,
            partitions=self.partitions,
            group=config.group,
            now=self.now,
            random=Random(f"{seed}/{plugin}"),  # noqa: S311  repeatable, nothing secret
            copy_requests=self.copy_requests,
            enforcer_rules=self.enforcer_rules,
            detox=self.detox,
            attribute_max_age=self.attribute_max_age,
        )


def make_plugins(config: DealerConfig) -> dict[str, Plugin]:
    """The plugins of a configuration, by name. SettingsError names the key of what is wrong."""
    with config.named():
        return {
            name: load_plugin(name)(plugin_config.settings) for name, plugin_config in sorted(config.plugins.items())
        }


def propose(plugin: Plugin, name: str, inputs: ProposalInputs, config: DealerConfig, *, seed: int) -> pl.DataFrame:
    """One plugin's proposals, columns :data:`WITH_PLUGIN`. PlanError when an attribute that it reads was not produced,
    or is stale."""
    require_attributes(inputs.frames, plugin.attributes(), now=inputs.now, max_age=inputs.attribute_max_age)
    with config.named(), span("dealer.propose", plugin=name):
        proposed = plugin.propose(inputs.seen, inputs.context(config, name, seed))
    return proposed.select(pl.lit(name).alias("plugin"), *(pl.col(c).cast(kind) for c, kind in PROPOSALS.items()))


def collect_proposals(
    plugins: Mapping[str, Plugin], inputs: ProposalInputs, config: DealerConfig, *, seed: int
) -> pl.DataFrame:
    """Proposals of all plugins, by name, columns :data:`WITH_PLUGIN`."""
    proposed = [propose(plugin, name, inputs, config, seed=seed) for name, plugin in sorted(plugins.items())]
    return pl.concat([empty(WITH_PLUGIN), *proposed])


def detox_warnings(plugins: Mapping[str, Plugin], detox: DetoxCycle | None, partition: str) -> tuple[str, ...]:
    """Which plugins could propose nothing, as Detox has committed no cycle yet."""
    if detox is not None:
        return ()
    return tuple(
        f"{name} works on what Detox protects, and no Detox plan of {partition} is committed: it proposed nothing"
        for name, plugin in sorted(plugins.items())
        if plugin.needs_detox()
    )


def proposals_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a proposals frame; keys left out are null."""
    full = [{name: proposal.get(name) for name in PROPOSALS} for proposal in rows]
    return pl.DataFrame(full, schema=dict(PROPOSALS))
