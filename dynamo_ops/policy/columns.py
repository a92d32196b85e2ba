"""Recipes of the columns that policy variables read: over block replicas, over a replica's remaining blocks, over
copies."""

from __future__ import annotations

import polars as pl

from dynamo_ops.inventory.frames import UTC

_complete_elsewhere = (pl.col("is_complete") & pl.col("is_ready_disk")).sum().over("block_id") - pl.col("is_ready_disk")

BLOCK_COLUMNS: dict[str, pl.Expr] = {
    "last_update_at": pl.col("last_update_at"),
    "is_locked": pl.col("is_locked"),
    "block_num_full_disk_copy": pl.col("is_complete").sum().over("block_id"),
    "block_on_tape": pl.col("is_complete") & (pl.col("is_complete") & pl.col("is_tape")).any().over("block_id"),
    "is_last_transfer_source": pl.col("is_complete")
    & (~pl.col("is_complete")).any().over("block_id")
    & (_complete_elsewhere == 0),
}
"""Over all block replicas of the image: other replicas are seen whole."""

REMAINING_COLUMNS: dict[str, pl.Expr] = {
    "age_relative_to_newest": (
        pl.col("last_update_at").max().over("replica") - pl.col("last_update_at")
    ).dt.total_microseconds()
    / 86_400_000_000,
}
"""Over the block replicas that remain of a replica."""

REPLICA_COLUMNS: dict[str, pl.Expr] = {
    "replica_size_bytes": pl.col("size_bytes").sum(),
    "is_incomplete": ~pl.col("is_complete").all(),
    "last_block_created_at": pl.col("last_update_at").max(),
    "first_block_created_at": pl.col("last_update_at").min(),
    "has_locked_block": pl.col("is_locked").any(),
    "last_used_at": pl.col("last_update_at").max(),
}
"""Aggregates over the block replicas that remain of one replica. ``last_used_at`` is completed with the last access."""

LAST_ACCESS = (pl.col("attribute:last_access") * 1e6).cast(pl.Int64).cast(UTC)

COUNT_COLUMNS = frozenset({"num_full_disk_copy", "num_full_copy", "dataset_on_tape"})
COMMON_OWNER_COLUMNS = frozenset({"num_full_disk_copy_common_owner", "num_full_other_copy_common_owner"})
