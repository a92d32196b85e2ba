"""The copy plan of one cycle for one partition: proposals in, accepted copies and rejections out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.spans import span
from dynamo_ops.base.text import near
from dynamo_ops.base.units import TB
from dynamo_ops.dealer.engine.config import DealerConfig
from dynamo_ops.dealer.engine.decide import Cycle
from dynamo_ops.dealer.engine.item import PRESENT, Items, load_items
from dynamo_ops.dealer.engine.placement import FORBIDDEN, Placement, load_placement
from dynamo_ops.dealer.engine.site import TargetSites, load_target_sites
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.policy.partition import Partitions
from dynamo_ops.quality.thresholds import ATTRIBUTE_MAX_AGE

PLANNED: Schema = {
    "number": pl.Int64,
    "turn": pl.Int64,
    "plugin": pl.String,
    "request_id": pl.Int64,
    "dataset_id": pl.Int64,
    "dataset": pl.String,
    "block_ids": pl.List(pl.Int64),
    "asked_site_id": pl.Int64,
    "candidate_site_ids": pl.List(pl.Int64),
    "group_id": pl.Int64,
    "size_bytes": pl.Int64,
    "reason": pl.String,
    "outcome": pl.String,
    "detail": pl.String,
    "copy": pl.Int64,
    "site_id": pl.Int64,
    "weight": pl.Float64,
    "num_candidates": pl.Int64,
    "item": pl.Int64,
    "placement": pl.Int64,
}
COPIES: Schema = {
    "copy": pl.Int64,
    "plugin": pl.String,
    "request_id": pl.Int64,
    "dataset_id": pl.Int64,
    "block_id": pl.Int64,
    "site_id": pl.Int64,
    "site": pl.String,
    "group_id": pl.Int64,
    "size_bytes": pl.Int64,
    "reason": pl.String,
    "weight": pl.Float64,
}
BLOCK_COPIES: Schema = {
    "block_id": pl.Int64,
    "dataset_id": pl.Int64,
    "site_id": pl.Int64,
    "group_id": pl.Int64,
    "is_growing": pl.Boolean,
    "plugin": pl.String,
    "copy": pl.Int64,
    "size_bytes": pl.Int64,
    "is_there": pl.Boolean,
}
REJECTED: Schema = {
    "plugin": pl.String,
    "request_id": pl.Int64,
    "dataset_id": pl.Int64,
    "block_ids": pl.List(pl.Int64),
    "site_id": pl.Int64,
    "group_id": pl.Int64,
    "reason": pl.String,
    "detail": pl.String,
}


@dataclass(frozen=True)
class CopyPlan:
    """What one cycle decides.

    ``proposals``: one row per proposal, in the order given. ``number`` from 1; ``turn``: place in the order in which
    they were looked at, null for those that never were (refused by the plugin, of lower priority); ``asked_site_id``:
    the destination that was named; ``group_id``: the owner to be; ``size_bytes``: full size; ``outcome``: null
    accepted, else one reason of ``engine.OUTCOMES``; ``detail``: the plugin's words when it refused; ``copy``: number
    of the accepted copy, from 1; ``site_id``: its destination; ``weight``: probability with which that was drawn among
    ``num_candidates`` sites, both null if it was named. ``item`` and ``placement`` lead to the two frames of evidence:
    ``present``: where what is proposed was complete already: item, site_id, owner (-1 the null group, -2 several);
    ``forbidden``: sites that a placement rule forbids: placement, site_id, rule.

    ``copies``: accepted, in the order of acceptance: one row per copy of a whole dataset (``block_id`` null), or one
    per block (rows of one proposal share ``copy``). ``block_copies``: the same by block, one row per (block, site): of
    two plugins that ask the same block at the same site, the one with the higher priority (smaller number) names the
    owner; also blocks that are there already are listed (``is_there``: they change owner, or wait for files).
    ``is_growing``: the dataset replica is to grow. ``rejected``: all other proposals with exactly one ``reason``.

    ``site_states``: one row a site, by name: ``status``, ``is_named`` (by the patterns), ``is_target`` (at the start),
    ``quota_bytes`` (null unknown, negative unlimited), ``physical_bytes``, ``projected_bytes_before``,
    ``projected_bytes_after`` (all accepted copies, also of what is there: SEMANTICS §4), ``added_bytes`` (what is to be
    written there: blocks of which the site has nothing yet), and occupancies of these bytes.
    """

    partition: str
    now: datetime
    seed: int
    proposals: pl.DataFrame
    copies: pl.DataFrame
    block_copies: pl.DataFrame
    rejected: pl.DataFrame
    site_states: pl.DataFrame
    present: pl.DataFrame
    forbidden: pl.DataFrame
    warnings: tuple[str, ...]

    def with_warnings(self, more: Sequence[str]) -> CopyPlan:
        """The plan, with these warnings too."""
        return replace(self, warnings=(*self.warnings, *more))


@dataclass(frozen=True)
class Table:
    """A cycle that is set but not run: what is proposed, what is there, where it may go."""

    items: Items
    sites: TargetSites
    placement: Placement
    cycle: Cycle


def set_table(
    frames: InventoryFrames,
    proposals: pl.DataFrame,
    config: DealerConfig,
    partitions: Partitions,
    *,
    now: datetime,
    seed: int,
    attribute_max_age: timedelta = ATTRIBUTE_MAX_AGE,
) -> Table:
    """Look up all that deciding on ``proposals`` needs."""
    sites = load_target_sites(frames, config, partitions)
    with config.named():
        default_group = _group_id(frames, config.group)
    items = load_items(frames, proposals, default_group=default_group)
    pairs = items.rows.select("dataset_id", "group_id")
    placement = load_placement(frames, config, pairs, sites.ids, now=now, attribute_max_age=attribute_max_age)
    volume = config.max_total_cycle_volume * TB
    return Table(items, sites, placement, Cycle(items, sites, placement, max_volume_bytes=volume, seed=seed))


@span("dealer.decide")
def plan_copies(
    frames: InventoryFrames,
    proposals: pl.DataFrame,
    config: DealerConfig,
    partitions: Partitions,
    *,
    now: datetime,
    seed: int,
    attribute_max_age: timedelta = ATTRIBUTE_MAX_AGE,
) -> CopyPlan:
    """Decide on ``proposals`` (columns of ``plugin.PROPOSALS`` and ``plugin``). The same seed gives the same plan."""
    priorities = _priorities(proposals, config)
    table = set_table(frames, proposals, config, partitions, now=now, seed=seed, attribute_max_age=attribute_max_age)
    table.cycle.run(priorities)
    planned = _planned(table, frames)
    accepted = planned.filter(pl.col("copy").is_not_null()).sort("copy")
    block_copies = _block_copies(frames, table, accepted, priorities)
    return CopyPlan(
        partition=config.partition,
        now=now,
        seed=seed,
        proposals=planned,
        copies=_copies(table, accepted),
        block_copies=block_copies,
        rejected=_rejected(planned),
        site_states=table.sites.states(_added(table.sites, block_copies)),
        present=table.items.present().select(*PRESENT),
        forbidden=table.placement.forbidden.select(*FORBIDDEN),
        warnings=table.sites.warnings(config.partition),
    )


def _priorities(proposals: pl.DataFrame, config: DealerConfig) -> dict[str, int]:
    priorities = {}
    for plugin in proposals["plugin"].unique().sort():
        if plugin not in config.plugins:
            reason = f"proposals of {plugin}, which the configuration does not name"
            raise SettingsError(reason, file="", key=f"plugins.{plugin}", reason=reason)
        priorities[plugin] = config.plugins[plugin].priority
    return priorities


def _planned(table: Table, frames: InventoryFrames) -> pl.DataFrame:
    """The proposals with what became of them."""
    cycle = table.cycle
    is_copy = cycle.copy > 0
    sites = np.append(table.sites.ids, 0)[np.where(is_copy, cycle.place, -1)]
    names = frames.datasets.select("dataset_id", "dataset")
    named = table.items.rows.join(names, on="dataset_id", how="left", maintain_order="left")
    decided = named.with_columns(
        pl.Series("turn", cycle.turn),
        pl.Series("outcome", cycle.outcome, dtype=pl.String),
        pl.Series("copy", cycle.copy),
        pl.Series("destination", sites),
        pl.Series("weight", cycle.weight),
        pl.Series("num_candidates", cycle.num_candidates),
        pl.Series("size_bytes", table.items.size[table.items.item]),
        table.placement.class_of.alias("placement"),
        pl.Series("is_copy", is_copy),
    )
    is_drawn = pl.col("is_copy") & pl.col("weight").is_not_nan()
    return decided.with_columns(
        turn=pl.when(pl.col("turn") > 0).then("turn"),
        copy=pl.when("is_copy").then("copy"),
        asked_site_id="site_id",
        detail="refused",
        weight=pl.when(is_drawn).then("weight"),
        num_candidates=pl.when(is_drawn).then("num_candidates"),
        site_id=pl.when("is_copy").then("destination"),
    ).select(pl.col(name).cast(kind) for name, kind in PLANNED.items())


def _copies(table: Table, accepted: pl.DataFrame) -> pl.DataFrame:
    names = pl.DataFrame({"site_id": table.sites.ids, "site": table.sites.names})
    named = accepted.join(names, on="site_id", how="left", maintain_order="left")
    blocks = _blocks_of(table, accepted.filter(pl.col("block_ids").is_not_null()))
    whole = named.filter(pl.col("block_ids").is_null()).with_columns(block_id=pl.lit(None, dtype=pl.Int64))
    parts = named.drop("size_bytes").join(blocks, on="copy", maintain_order="left_right")
    columns = [pl.col(name).cast(kind) for name, kind in COPIES.items()]
    return pl.concat([whole.select(columns), parts.select(columns)]).sort("copy", "block_id")


def _blocks_of(table: Table, accepted: pl.DataFrame) -> pl.DataFrame:
    """``copy``, ``block_id``, ``size_bytes``: the blocks of accepted proposals."""
    blocks = table.items.blocks
    numbers = pl.DataFrame(
        {
            "item": np.repeat(np.arange(len(table.items.size)), blocks.lengths),
            "block_id": blocks.values,
            "size_bytes": table.items.block_sizes.values,
        }
    )
    return accepted.select("copy", "item").join(numbers, on="item").select("copy", "block_id", "size_bytes")


def _block_copies(
    frames: InventoryFrames, table: Table, accepted: pl.DataFrame, priorities: dict[str, int]
) -> pl.DataFrame:
    """One row per (block, site); the plugin with the higher priority, then the earlier copy, names the owner."""
    claims = _blocks_of(table, accepted).join(
        accepted.select(
            "copy", "plugin", "dataset_id", "site_id", "group_id", is_growing=pl.col("block_ids").is_null()
        ),
        on="copy",
    )
    grows = pl.col("is_growing").any().over("dataset_id", "site_id")
    priority = pl.col("plugin").replace_strict(priorities, default=None, return_dtype=pl.Int64)
    kept = (
        claims.with_columns(is_growing=grows, priority=priority)
        .sort("priority", "copy")
        .unique(["block_id", "site_id"], keep="first", maintain_order=True)
    )
    there = frames.block_replicas.filter(pl.col("block_id").is_in(kept["block_id"].unique().implode()))
    marked = kept.join(
        there.select("block_id", "site_id", is_there=pl.lit(True)), on=["block_id", "site_id"], how="left"
    ).with_columns(pl.col("is_there").fill_null(False))
    return marked.select(pl.col(name).cast(kind) for name, kind in BLOCK_COPIES.items()).sort(
        "dataset_id", "block_id", "site_id"
    )


def _added(sites: TargetSites, block_copies: pl.DataFrame) -> np.ndarray:
    """By site: bytes of blocks of which it has nothing yet."""
    added = np.zeros(len(sites.ids), dtype=np.int64)
    sums = block_copies.filter(~pl.col("is_there")).group_by("site_id").agg(pl.col("size_bytes").sum())
    for site_id, size in sums.iter_rows():
        added[sites.place_of[site_id]] = size
    return added


def _rejected(planned: pl.DataFrame) -> pl.DataFrame:
    """In the order in which they were looked at; first those that never were."""
    rejected = planned.filter(pl.col("outcome").is_not_null()).sort("turn", "number", nulls_last=False)
    return (
        rejected.select(
            "plugin",
            "request_id",
            "dataset_id",
            "block_ids",
            "asked_site_id",
            "group_id",
            pl.col("outcome").alias("why"),
            pl.coalesce("detail", "reason").alias("detail"),
        )
        .rename({"asked_site_id": "site_id", "why": "reason"})
        .select(*REJECTED)
    )


def _group_id(frames: InventoryFrames, group: str) -> int:
    group_ids = frames.groups.filter(pl.col("group") == group)["group_id"]
    if not len(group_ids):
        reason = f"no group is called {group!r}.{near(group, frames.groups['group'].to_list())}"
        raise SettingsError(f"group: {reason}", file="", key="group", reason=reason)
    return int(group_ids[0])
