"""Destination sites: who is a target, how full each is, and how full it will be. One row of each array a site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.base.glob import glob_matches
from dynamo_ops.dealer.engine.config import DealerConfig
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.replica.good import still_on_disk
from dynamo_ops.policy.partition import Partitions, partition_expr, partition_quota

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SITE_STATES: Schema = {
    "site_id": pl.Int64,
    "site": pl.String,
    "status": pl.String,
    "is_named": pl.Boolean,
    "is_target": pl.Boolean,
    "quota_bytes": pl.Int64,
    "physical_bytes": pl.Int64,
    "projected_bytes_before": pl.Int64,
    "projected_bytes_after": pl.Int64,
    "added_bytes": pl.Int64,
    "physical_occupancy": pl.Float64,
    "projected_occupancy_before": pl.Float64,
    "projected_occupancy_after": pl.Float64,
}


@dataclass(frozen=True)
class Limits:
    """What makes a site a target: fractions of its quota (``DealerConfig``)."""

    target_site_occupancy: float
    max_site_pending_fraction: float


class TargetSites:
    """The sites of one cycle, by name; ``add`` is the only thing that changes them.

    ``ids``, ``names``, ``statuses``; ``is_named``: the patterns name it; ``quota``: bytes, negative unlimited,
    meaningless where ``is_known`` is false; ``physical`` and ``projected``: bytes; ``is_target``: as of now.
    """

    def __init__(self, table: pl.DataFrame, limits: Limits) -> None:
        """``table``: site_id, site, status, is_named, quota_bytes (null: unknown), physical_bytes, projected_bytes."""
        sites = table.sort("site")
        self.limits = limits
        self.ids: Ints = sites["site_id"].to_numpy()
        self.names: list[str] = sites["site"].to_list()
        self.statuses: list[str] = sites["status"].to_list()
        self.is_named: Flags = sites["is_named"].to_numpy().astype(np.bool_)
        self.is_known: Flags = sites["quota_bytes"].is_not_null().to_numpy()
        self.quota: Ints = sites["quota_bytes"].fill_null(0).to_numpy()
        self.physical: Ints = sites["physical_bytes"].to_numpy()
        self.projected: Ints = sites["projected_bytes"].to_numpy().copy()
        self.before = self.projected.copy()
        self.is_target: Flags = np.array([self._is_target(place) for place in range(len(self.names))], dtype=np.bool_)
        self.was_target = self.is_target.copy()
        self.place_of = {int(site_id): place for place, site_id in enumerate(self.ids)}

    def _is_target(self, place: int) -> bool:
        return self.why_no_target(place) is None

    def why_no_target(self, place: int) -> str | None:
        """Why the site gets nothing now, in words; None if it is a target."""
        if self.statuses[place] != SiteStatus.READY:
            return f"its status is {self.statuses[place]}"
        if not self.is_named[place]:
            return "target_sites does not name it"
        if not self.is_known[place]:
            return "its quota is not known"
        if self.quota[place] == 0:
            return "its quota is 0"
        projected, physical = (self._occupancy(place, held[place]) for held in (self.projected, self.physical))
        if projected > self.limits.target_site_occupancy:
            return (
                f"it is {projected:.1%} full with what is pending, "
                f"more than target_site_occupancy {self.limits.target_site_occupancy:.1%}"
            )
        if projected - physical > self.limits.max_site_pending_fraction:
            return (
                f"{projected - physical:.1%} of its quota are pending, "
                f"more than max_site_pending_fraction {self.limits.max_site_pending_fraction:.1%}"
            )
        return None

    def _occupancy(self, place: int, size_bytes: int) -> float:
        quota = int(self.quota[place])
        if quota < 0:
            return 0.0
        return int(size_bytes) / quota if quota else float("inf")

    def occupancy_with(self, place: int, size_bytes: int) -> float:
        """Projected occupancy if this were added: 0 with unlimited quota, infinite with quota 0."""
        return self._occupancy(place, self.projected[place] + size_bytes)

    def is_full_with(self, place: int, size_bytes: int) -> bool:
        """It would go above its quota. Never with an unlimited one, always with an unknown one."""
        return not self.is_known[place] or self.occupancy_with(place, size_bytes) > 1

    def weights(self, size_bytes: int) -> Floats:
        """1 − projected occupancy after a copy of this size: 1 with unlimited quota, −inf with quota 0 or unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            free = 1.0 - (self.projected / self.quota + size_bytes / self.quota)
        free[self.quota < 0] = 1.0
        free[(self.quota == 0) | ~self.is_known] = -np.inf
        return free

    def add(self, place: int, size_bytes: int) -> None:
        """A copy of this size was accepted."""
        self.projected[place] += size_bytes
        self.is_target[place] = self._is_target(place)

    def states(self, added: Ints) -> pl.DataFrame:
        """One row a site, by name; see ``CopyPlan.site_states``. ``added``: bytes that are to be written there."""
        places = range(len(self.names))
        occupancies = {
            name: [self._occupancy(place, held[place]) if self.is_known[place] else None for place in places]
            for name, held in (
                ("physical_occupancy", self.physical),
                ("projected_occupancy_before", self.before),
                ("projected_occupancy_after", self.projected),
            )
        }
        return pl.DataFrame(
            {
                "site_id": self.ids,
                "site": self.names,
                "status": self.statuses,
                "is_named": self.is_named,
                "is_target": self.was_target,
                "quota_bytes": [
                    int(quota) if has_quota else None
                    for quota, has_quota in zip(self.quota, self.is_known, strict=True)
                ],
                "physical_bytes": self.physical,
                "projected_bytes_before": self.before,
                "projected_bytes_after": self.projected,
                "added_bytes": added,
                **occupancies,
            },
            schema=dict(SITE_STATES),
        )

    def warnings(self, partition: str) -> tuple[str, ...]:
        """Sites that would be targets if their quota were known."""
        return tuple(
            f"{name} has no quota for {partition}: nothing is copied there"
            for place, name in enumerate(self.names)
            if self.statuses[place] == SiteStatus.READY and self.is_named[place] and not self.is_known[place]
        )


def matches_patterns(name: str, patterns: Sequence[str]) -> bool:
    """The last of the shell globs that matches decides; ``!glob`` excludes; none: no."""
    is_match = False
    for pattern in patterns:
        if glob_matches(name, pattern.removeprefix("!")):
            is_match = not pattern.startswith("!")
    return is_match


def limits_of(config: DealerConfig) -> Limits:
    """The limits that a configuration sets."""
    return Limits(config.target_site_occupancy, config.max_site_pending_fraction)


def load_target_sites(frames: InventoryFrames, config: DealerConfig, partitions: Partitions) -> TargetSites:
    """The sites before the first copy. Projected bytes: full block sizes of the partition's block replicas. What is
    being deleted counts until the storage has deleted it."""
    inside = still_on_disk(frames).filter(partition_expr(frames, partitions, config.partition))
    full = inside.select("site_id", "block_id", "size_bytes").join(
        frames.blocks.select("block_id", full="size_bytes"), on="block_id"
    )
    sums = full.group_by("site_id").agg(physical_bytes=pl.col("size_bytes").sum(), projected_bytes=pl.col("full").sum())
    named = [matches_patterns(name, config.target_sites) for name in frames.sites["site"]]
    table = (
        frames.sites.select(
            "site_id", "site", pl.col("status").str.to_lowercase(), is_named=pl.Series(named, dtype=pl.Boolean)
        )
        .join(partition_quota(frames, partitions, config.partition), on="site_id", how="left")
        .join(sums, on="site_id", how="left")
        .with_columns(pl.col("physical_bytes", "projected_bytes").fill_null(0))
    )
    return TargetSites(table, limits_of(config))


def sites_of_states(states: pl.DataFrame, limits: Limits) -> TargetSites:
    """The sites as they were before the first copy of a stored plan, from its ``site_states``."""
    return TargetSites(states.with_columns(projected_bytes="projected_bytes_before"), limits)
