"""Destination sites: who is a target, how full each is, and how full it will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dynamo_ops.dealer.config import DealerConfig
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.glob import glob_matches
from dynamo_ops.policy.partition import Partitions, partition_expr, partition_quota


@dataclass
class _Site:
    name: str
    status: str
    matches: bool
    quota: int | None
    physical: int
    projected: int
    before: int


class TargetSites:
    """The sites of one cycle; ``add`` is the only thing that changes them."""

    def __init__(self, sites: dict[int, _Site], config: DealerConfig) -> None:
        self._sites = sites
        self._config = config
        self._was_target = {site_id: self.is_target(site_id) for site_id in sites}

    @property
    def ids(self) -> list[int]:
        """All site ids, by name."""
        return sorted(self._sites, key=self.name)

    def name(self, site_id: int) -> str:
        """The site's name."""
        return self._sites[site_id].name

    def is_target(self, site_id: int) -> bool:
        """Ready, named by the patterns, not too full, and not too much is pending. False when the quota is unknown."""
        site = self._sites.get(site_id)
        if site is None or site.status != "ready" or not site.matches or site.quota is None:
            return False
        projected, physical = _occupancy(site.quota, site.projected), _occupancy(site.quota, site.physical)
        if projected == float("inf"):
            return False
        return (
            projected <= self._config.target_site_occupancy
            and projected - physical <= self._config.max_site_pending_fraction
        )

    def occupancy_with(self, site_id: int, size_bytes: int) -> float:
        """Projected occupancy if this were added. 0 with unlimited quota, infinite with quota 0 or unknown."""
        site = self._sites[site_id]
        return float("inf") if site.quota is None else _occupancy(site.quota, site.projected + size_bytes)

    def add(self, site_id: int, size_bytes: int) -> None:
        """A copy of this size was accepted."""
        self._sites[site_id].projected += size_bytes

    def states(self) -> pl.DataFrame:
        """One row a site, by name; see ``CopyPlan.site_states``."""
        rows = []
        for site_id in self.ids:
            site = self._sites[site_id]
            occupancies = [
                None if site.quota is None else _occupancy(site.quota, b)
                for b in (site.physical, site.before, site.projected)
            ]
            rows.append((site_id, site.name, site.status, self._was_target[site_id], site.quota))
            rows[-1] += (site.physical, site.before, site.projected, *occupancies)  # type: ignore[assignment]
        return pl.DataFrame(rows, schema=SITE_STATES, orient="row")

    def warnings(self) -> tuple[str, ...]:
        """Sites that would be targets if their quota were known."""
        named = [self._sites[site_id] for site_id in self.ids]
        return tuple(
            f"{site.name} has no quota for {self._config.partition}: nothing is copied there"
            for site in named
            if site.quota is None and site.matches and site.status == "ready"
        )


SITE_STATES = {
    "site_id": pl.Int64,
    "site": pl.String,
    "status": pl.String,
    "is_target": pl.Boolean,
    "quota_bytes": pl.Int64,
    "physical_bytes": pl.Int64,
    "projected_bytes_before": pl.Int64,
    "projected_bytes_after": pl.Int64,
    "physical_occupancy": pl.Float64,
    "projected_occupancy_before": pl.Float64,
    "projected_occupancy_after": pl.Float64,
}


def _occupancy(quota: int, size_bytes: int) -> float:
    if quota < 0:
        return 0.0
    return size_bytes / quota if quota else float("inf")


def matches_patterns(name: str, patterns: Sequence[str]) -> bool:
    """The last of the shell globs that matches decides; ``!glob`` excludes; none: no."""
    found = False
    for pattern in patterns:
        if glob_matches(name, pattern.removeprefix("!")):
            found = not pattern.startswith("!")
    return found


def load_target_sites(frames: InventoryFrames, config: DealerConfig, partitions: Partitions) -> TargetSites:
    """The sites before the first copy. Projected bytes: full block sizes of the partition's block replicas."""
    inside = frames.block_replicas.filter(partition_expr(frames, partitions, config.partition))
    full = inside.join(frames.blocks.select("block_id", full="size_bytes"), on="block_id")
    sums = full.group_by("site_id").agg(
        pl.col("size_bytes").sum().alias("physical"), pl.col("full").sum().alias("projected")
    )
    table = (
        frames.sites.join(partition_quota(frames, partitions, config.partition), on="site_id", how="left")
        .join(sums, on="site_id", how="left")
        .with_columns(pl.col("physical", "projected").fill_null(0))
    )
    sites = {
        row["site_id"]: _Site(
            name=row["site"],
            status=row["status"].lower(),
            matches=matches_patterns(row["site"], config.target_sites),
            quota=row["quota_bytes"],
            physical=row["physical"],
            projected=row["projected"],
            before=row["projected"],
        )
        for row in table.iter_rows(named=True)
    }
    return TargetSites(sites, config)
