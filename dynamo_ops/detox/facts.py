"""What a gate and a commit must know of a plan's deletions beyond the plan itself. Pure."""

from __future__ import annotations

import polars as pl

from dynamo_ops.detox.plan import DeletionPlan
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.lock import locked_expr

KEYS = ["block_id", "site_id"]


def deletion_facts(plan: DeletionPlan, frames: InventoryFrames) -> pl.DataFrame:
    """One row per block replica that the plan deletes: its names, owner, bytes and line, and in addition

    ``whole_dataset``: the plan deletes every block replica that the dataset has at the site; ``is_locked``: a lock in
    force covers it; ``is_last_copy``: no complete replica of the block is left anywhere that is owned and not deleted
    by this plan; ``is_last_copy_allowed``: it is, and a Delete line asked for it knowing that (one that becomes the
    last copy only after planning is not meant); ``is_last_source``: as is_last_copy, while some owned replica of the
    block is still incomplete elsewhere.
    """
    deleted = plan.deletions.select(
        "dataset_id", "dataset", "site_id", "site", "block_id", "block", "group_id", "line", "size_bytes"
    )
    staying = frames.block_replicas.join(deleted, on=KEYS, how="anti").filter(pl.col("group_id").is_not_null())
    complete = staying.filter("is_complete")["block_id"].unique()
    waiting = staying.filter(~pl.col("is_complete"))["block_id"].unique()
    not_left = ~pl.col("block_id").is_in(complete.implode())
    return (
        deleted.join(_whole(deleted, frames), on=["dataset_id", "site_id"], how="left")
        .with_columns(
            whole_dataset=pl.col("whole_dataset").fill_null(False),
            is_locked=locked_expr(frames),
            is_last_copy=not_left & (pl.col("size_bytes") > 0),
            is_last_source=not_left & pl.col("block_id").is_in(waiting.implode()),
        )
        .with_columns(is_last_copy_allowed=pl.col("is_last_copy") & pl.col("line").is_in(_delete_lines(plan).implode()))
    )


def handover_facts(plan: DeletionPlan) -> pl.DataFrame:
    """One row per block replica that changes its owner: block_id, site_id, group_id (the new owner), from_group_id."""
    real = plan.handovers.filter(~pl.col("is_placeholder"))
    return real.select("block_id", "site_id", group_id="new_group_id", from_group_id="group_id")


def _delete_lines(plan: DeletionPlan) -> pl.Series:
    """The policy lines that delete whatever happens (Delete, DeleteBlock), by number."""
    return plan.policy_lines.filter(pl.col("text").str.strip_chars().str.starts_with("Delete"))["line"]


def _whole(deleted: pl.DataFrame, frames: InventoryFrames) -> pl.DataFrame:
    counts = frames.block_replicas.group_by("dataset_id", "site_id").agg(num_all=pl.len())
    return (
        deleted.group_by("dataset_id", "site_id")
        .agg(num_deleted=pl.len())
        .join(counts, on=["dataset_id", "site_id"])
        .select("dataset_id", "site_id", whole_dataset=pl.col("num_deleted") == pl.col("num_all"))
    )
