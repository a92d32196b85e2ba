"""What a Dealer plugin is: frames in, proposed copies out. Plugins propose; the engine (``plan``) decides.

A plugin is a class named by an entry point of the group ``dynamo_ops.dealer_plugins``; the entry point's name is what
configurations and plans call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from random import Random
from typing import Any, Protocol, cast

import polars as pl

from dynamo_ops.dealer.config import DealerConfig
from dynamo_ops.errors import SettingsError
from dynamo_ops.inventory.frames import InventoryFrames, Schema, empty
from dynamo_ops.policy.enforcement import EnforcerRule
from dynamo_ops.policy.partition import Partitions
from dynamo_ops.policy.source import near

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
    name. ``detox``: null when Detox has committed nothing for the partition yet."""

    partition: str
    partitions: Partitions
    group: str
    now: datetime
    random: Random
    copy_requests: pl.DataFrame = field(default_factory=lambda: empty(COPY_REQUESTS))
    enforcer_rules: Sequence[EnforcerRule] = ()
    detox: DetoxCycle | None = None


class Plugin(Protocol):
    """Proposes copies. Made with its own settings; raises SettingsError when they are wrong."""

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
    found = entry_points(group=ENTRY_POINT_GROUP)
    for point in found:
        if point.name == name:
            return cast(type[Plugin], point.load())
    known = [point.name for point in found]
    reason = f"no dealer plugin is called {name!r}.{near(name, known)}"
    raise SettingsError(reason, file="", key=f"plugins.{name}", reason=reason)


def collect_proposals(
    frames: InventoryFrames,
    config: DealerConfig,
    partitions: Partitions,
    *,
    now: datetime,
    seed: int,
    copy_requests: pl.DataFrame | None = None,
    enforcer_rules: Sequence[EnforcerRule] = (),
    plugins: Mapping[str, type[Plugin]] | None = None,
) -> pl.DataFrame:
    """Proposals of all plugins of the configuration, with the column ``plugin``. ``plugins`` replaces the installed
    ones."""
    parts = []
    for name, settings in sorted(config.plugins.items()):
        plugin = (plugins[name] if plugins and name in plugins else load_plugin(name))(settings.settings)
        context = ProposalContext(
            partition=config.partition,
            partitions=partitions,
            group=config.group,
            now=now,
            random=Random(f"{seed}/{name}"),  # noqa: S311  repeatable, nothing secret
            copy_requests=empty(COPY_REQUESTS) if copy_requests is None else copy_requests,
            enforcer_rules=enforcer_rules,
        )
        proposed = plugin.propose(frames, context).select(
            pl.col(column).cast(kind) for column, kind in PROPOSALS.items()
        )
        parts.append(proposed.select(pl.lit(name).alias("plugin"), pl.all()))
    return pl.concat(parts)


def proposals_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a proposals frame; keys left out are null."""
    full = [{name: row.get(name) for name in PROPOSALS} for row in rows]
    return pl.DataFrame(full, schema=dict(PROPOSALS))
