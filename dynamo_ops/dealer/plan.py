"""The copy plan of one cycle for one partition: proposals in, accepted copies and rejections out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random

import polars as pl

from dynamo_ops.dealer.config import TB, DealerConfig
from dynamo_ops.dealer.item import Item, describe_items
from dynamo_ops.dealer.placement import allowed_sites
from dynamo_ops.dealer.site import TargetSites, load_target_sites
from dynamo_ops.errors import SettingsError
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.policy.partition import Partitions

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

NOT_VALID = "dataset is neither valid nor in production"
NO_SOURCE = "no source"
FILES_MISSING = "source files missing"
NOT_A_TARGET = "not a target site"
NOT_ALLOWED = "not allowed by a placement rule"
ALREADY_THERE = "already there and owned by the group"
FULL = "destination full"
NO_DESTINATION = "no destination"
VOLUME_REACHED = "cycle volume reached"
LOWER_PRIORITY = "only plugins of priority 0 run"
REFUSED = "refused by the plugin"


@dataclass(frozen=True)
class CopyPlan:
    """What one cycle decides.

    ``copies``: accepted, in the order of acceptance: one row per copy of a whole dataset (``block_id`` null), or one
    per block (rows of one proposal share ``copy``, numbered from 1). ``weight``: probability of the drawn
    destination, null if it was named. ``group_id``: owner. ``block_copies``: the same by block, one row per (block,
    site): of two plugins that ask the same block at the same site, the one with the higher priority (smaller number)
    names the owner; also blocks that are there already are listed (they change owner, or wait for files).
    ``is_growing``: the dataset replica is to grow. ``rejected``: all other proposals with exactly one ``reason``
    (``detail``: the plugin's words). ``site_states``: one row a site, by name: ``site_id``, ``site``, ``status``,
    ``is_target`` (at the start), ``quota_bytes`` (null unknown, negative unlimited), ``physical_bytes``,
    ``projected_bytes_before``, ``projected_bytes_after``, and occupancies ``physical_occupancy``,
    ``projected_occupancy_before``, ``projected_occupancy_after``.
    """

    partition: str
    now: datetime
    seed: int
    copies: pl.DataFrame
    block_copies: pl.DataFrame
    rejected: pl.DataFrame
    site_states: pl.DataFrame
    warnings: tuple[str, ...]


def plan_copies(
    frames: InventoryFrames,
    proposals: pl.DataFrame,
    config: DealerConfig,
    partitions: Partitions,
    *,
    now: datetime,
    seed: int,
) -> CopyPlan:
    """Decide on ``proposals`` (columns of ``plugin.PROPOSALS`` and ``plugin``). The same seed gives the same plan."""
    engine = _Engine(frames, proposals, config, partitions, now, seed)
    engine.run()
    return engine.plan()


class _Engine:
    """One cycle. Works through the proposals one by one, as each accepted copy changes what the next may do."""

    def __init__(
        self,
        frames: InventoryFrames,
        proposals: pl.DataFrame,
        config: DealerConfig,
        partitions: Partitions,
        now: datetime,
        seed: int,
    ) -> None:
        self.frames, self.config, self.now, self.seed = frames, config, now, seed
        self.random = Random(f"{seed}/engine")  # noqa: S311  repeatable, nothing secret
        self.sites: TargetSites = load_target_sites(frames, config, partitions)
        self.allowed = allowed_sites(frames, config, now=now)
        self.items = describe_items(frames, proposals, default_group=_group_id(frames, config.group))
        self.promised: dict[tuple[int, int], int | None] = {}
        self.accepted: list[tuple[Item, int, float | None]] = []
        self.rejections: list[tuple[Item, str]] = []

    def run(self) -> None:
        """Take proposals in the drawn order until the cycle's volume is passed."""
        volume = 0
        for item in self._interleaved():
            if volume > self.config.max_total_cycle_volume * TB:
                self.rejections.append((item, VOLUME_REACHED))
                continue
            found = self._destination(item)
            if isinstance(found, str):
                self.rejections.append((item, found))
            else:
                self._accept(item, *found)
                volume += item.size_bytes

    def _interleaved(self) -> Iterator[Item]:
        """Proposals by weighted draw of the plugin, weight 1/priority; each plugin's own order is kept."""
        queues: dict[str, list[Item]] = {}
        for item in self.items:
            if item.refused is not None:
                self.rejections.append((item, REFUSED))
            else:
                queues.setdefault(item.plugin, []).append(item)
        priorities = {name: self._priority(name) for name in queues}
        if 0 in priorities.values():
            for name in [name for name in queues if priorities[name] > 0]:
                self.rejections += [(item, LOWER_PRIORITY) for item in queues.pop(name)]
        waiting = {name: iter(items) for name, items in sorted(queues.items())}
        while waiting:
            names = list(waiting)
            weights = [1.0 / (priorities[name] or 1) for name in names]
            name = self.random.choices(names, weights)[0]
            following = next(waiting[name], None)
            if following is None:
                del waiting[name]
            else:
                yield following

    def _priority(self, plugin: str) -> int:
        if plugin not in self.config.plugins:
            reason = f"proposals of {plugin}, which the configuration does not name"
            raise SettingsError(reason, file="", key=f"plugins.{plugin}", reason=reason)
        return self.config.plugins[plugin].priority

    def _destination(self, item: Item) -> str | tuple[int, float | None]:
        """Where the item goes and, if drawn, with what probability; or why it goes nowhere."""
        reason = self._source_reason(item)
        if reason:
            return reason
        return self._draw(item) if item.site_id is None else self._check(item, item.site_id)

    def _source_reason(self, item: Item) -> str | None:
        if not item.is_valid:
            return NOT_VALID
        if not item.has_source:
            return NO_SOURCE
        return None if item.is_covered else FILES_MISSING

    def _check(self, item: Item, site_id: int) -> str | tuple[int, None]:
        """Why the item cannot go to this site, or the site."""
        if not self.sites.is_target(site_id):
            return NOT_A_TARGET
        if not self.allowed(item.dataset_id, site_id):
            return NOT_ALLOWED
        if self._is_owned_at(item, site_id):
            return ALREADY_THERE
        if site_id not in item.complete_at and self.sites.occupancy_with(site_id, item.size_bytes) > 1:
            return FULL
        return site_id, None

    def _draw(self, item: Item) -> str | tuple[int, float]:
        """A destination drawn among those that can take the item, with its probability."""
        names = self.sites.ids if item.candidate_site_ids is None else item.candidate_site_ids
        weights: dict[int, float] = {}
        for site_id in sorted(names, key=self.sites.name):
            absent = site_id not in item.complete_at and not self._is_promised(item, site_id)
            if absent and self.sites.is_target(site_id) and self.allowed(item.dataset_id, site_id):
                weight = 1.0 - self.sites.occupancy_with(site_id, item.size_bytes)
                if weight > 0:
                    weights[site_id] = weight
        if not weights:
            return NO_DESTINATION
        site_id = self.random.choices(list(weights), list(weights.values()))[0]
        return site_id, weights[site_id] / sum(weights.values())

    def _is_owned_at(self, item: Item, site_id: int) -> bool:
        """All blocks are complete there or promised in this cycle, and are or will be the group's."""
        owners = item.complete_at.get(site_id, {})
        return bool(item.block_ids) and all(
            self.promised.get((block, site_id), owners.get(block, _ABSENT)) == item.group_id for block in item.block_ids
        )

    def _is_promised(self, item: Item, site_id: int) -> bool:
        return bool(item.block_ids) and all((block, site_id) in self.promised for block in item.block_ids)

    def _accept(self, item: Item, site_id: int, weight: float | None) -> None:
        self.accepted.append((item, site_id, weight))
        self.promised.update({(block, site_id): item.group_id for block in item.block_ids})
        self.sites.add(site_id, item.size_bytes)

    def plan(self) -> CopyPlan:
        """The frames of what was decided."""
        return CopyPlan(
            partition=self.config.partition,
            now=self.now,
            seed=self.seed,
            copies=self._copies(),
            block_copies=self._block_copies(),
            rejected=self._rejected(),
            site_states=self.sites.states(),
            warnings=self.sites.warnings(),
        )

    def _copies(self) -> pl.DataFrame:
        rows = []
        for number, (item, site_id, weight) in enumerate(self.accepted, start=1):
            parts = [(None, item.size_bytes)] if item.is_whole else list(item.block_sizes.items())
            rows += [
                (
                    number,
                    item.plugin,
                    item.request_id,
                    item.dataset_id,
                    block,
                    site_id,
                    self.sites.name(site_id),
                    item.group_id,
                    size,
                    item.reason,
                    weight,
                )
                for block, size in parts
            ]
        return pl.DataFrame(rows, schema=dict(COPIES), orient="row")

    def _block_copies(self) -> pl.DataFrame:
        found: dict[tuple[int, int], tuple[int, int, Item]] = {}
        growing: set[tuple[int, int]] = set()
        for number, (item, site_id, _) in enumerate(self.accepted, start=1):
            if item.is_whole:
                growing.add((item.dataset_id, site_id))
            for block in item.block_ids:
                claim = (self._priority(item.plugin), number, item)
                if (block, site_id) not in found or claim[:2] < found[block, site_id][:2]:
                    found[block, site_id] = claim
        rows = [
            (
                block,
                item.dataset_id,
                site,
                item.group_id,
                (item.dataset_id, site) in growing,
                item.plugin,
                number,
                item.block_sizes[block],
            )
            for (block, site), (_, number, item) in found.items()
        ]
        return pl.DataFrame(rows, schema=dict(BLOCK_COPIES), orient="row").sort("dataset_id", "block_id", "site_id")

    def _rejected(self) -> pl.DataFrame:
        rows = [
            (
                item.plugin,
                item.request_id,
                item.dataset_id if item.dataset_id >= 0 else None,
                None if item.is_whole else list(item.block_ids),
                item.site_id,
                item.group_id,
                reason,
                item.refused or item.reason,
            )
            for item, reason in self.rejections
        ]
        return pl.DataFrame(rows, schema=dict(REJECTED), orient="row")


_ABSENT = object()


def _group_id(frames: InventoryFrames, group: str) -> int:
    found = frames.groups.filter(pl.col("group") == group)["group_id"]
    if not len(found):
        reason = f"no group is called {group!r}"
        raise SettingsError(reason, file="", key="group", reason=reason)
    return int(found[0])
