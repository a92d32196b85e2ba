"""How full partitions are at sites: quota, bytes on disk, and bytes once all that is on its way has arrived."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.inventory.replica.good import still_on_disk
from dynamo_ops.policy.partition import Partitions, partition_expr, partition_quota

PARTITION_USAGE: Schema = {
    "site": pl.String,
    "status": pl.String,
    "partition": pl.String,
    "quota_bytes": pl.Int64,
    "physical_bytes": pl.Int64,
    "projected_bytes": pl.Int64,
    "physical_occupancy": pl.Float64,
    "projected_occupancy": pl.Float64,
}


def partition_usage(frames: InventoryFrames, partitions: Partitions, names: Iterable[str]) -> pl.DataFrame:
    """One row per site and partition of ``names``, by both: columns ``PARTITION_USAGE``.

    ``quota_bytes``: null unknown, negative unlimited. ``physical_bytes``: on disk, being deleted or not;
    ``projected_bytes``: full sizes of the blocks that are there or on their way. All bytes are null for a partition
    whose condition asks for dataset attributes that were never produced. Occupancies: 0 where the quota is unlimited,
    infinite where it is 0, null where it is unknown. PolicyError for an unknown name.
    """
    produced = set(frames.attributes["name"])
    full = frames.blocks.select("block_id", projected="size_bytes")
    parts = [
        _usage(frames, partitions, name, full, is_known=set(partitions.attributes(name)) <= produced)
        for name in sorted(set(names))
    ]
    usage = pl.concat(parts) if parts else pl.DataFrame(schema=dict(PARTITION_USAGE))
    return usage.select(pl.col(name).cast(kind) for name, kind in PARTITION_USAGE.items()).sort("site", "partition")


def _usage(
    frames: InventoryFrames, partitions: Partitions, name: str, full: pl.DataFrame, *, is_known: bool
) -> pl.DataFrame:
    inside = still_on_disk(frames).filter(partition_expr(frames, partitions, name) if is_known else pl.lit(False))
    sums = (
        inside.join(full, on="block_id")
        .group_by("site_id")
        .agg(physical_bytes=pl.col("size_bytes").sum(), projected_bytes=pl.col("projected").sum())
    )
    nothing = 0 if is_known else None
    return (
        frames.sites.select("site_id", "site", "status")
        .join(partition_quota(frames, partitions, name), on="site_id", how="left")
        .join(sums, on="site_id", how="left")
        .with_columns(pl.col("physical_bytes", "projected_bytes").fill_null(pl.lit(nothing, dtype=pl.Int64)))
        .with_columns(
            partition=pl.lit(name),
            physical_occupancy=_occupancy("physical_bytes"),
            projected_occupancy=_occupancy("projected_bytes"),
        )
    )


def _occupancy(column: str) -> pl.Expr:
    quota, size = pl.col("quota_bytes"), pl.col(column)
    share = pl.when(quota > 0).then(size / quota).when(quota < 0).then(0.0).when(quota == 0).then(float("inf"))
    return pl.when(size.is_not_null()).then(share)
