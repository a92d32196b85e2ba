"""What a gate and a commit must know of a plan's deletions beyond the plan itself. Pure."""

from __future__ import annotations

import polars as pl

from dynamo_ops.detox.engine.plan import DeletionPlan
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.replica.good import KEYS, awaited_elsewhere, blocks_with_good, without_doomed
from dynamo_ops.lock.coverage import locked_expr

REPLICA = ["dataset_id", "site_id"]


def deletion_facts(plan: DeletionPlan, frames: InventoryFrames, enforced: pl.DataFrame) -> pl.DataFrame:
    """One row per block replica that the plan deletes: its names, owner, bytes and line, and in addition

    ``dataset_status``: when planned; ``whole_dataset``: the plan deletes every block replica that the dataset has at
    the site; ``is_locked``: a lock in force covers it; ``is_alone``: no good copy of the block is left anywhere that is
    not deleted by this plan; ``is_last_copy``: it is alone and has bytes; ``is_last_copy_allowed``: and a Delete line
    asked for it knowing that (one that becomes the last copy only after planning is not meant); ``is_last_source``: it
    is alone while somebody waits for the block at another site;
    ``is_enforcer_needed``: at a destination of a protecting rule, with fewer copies left than the rule asks for.
    ``enforced``: the frame of ``detox.enforced.enforced_copies``.
    """
    deleted = plan.deletions.select(
        "dataset_id", "dataset", "site_id", "site", "block_id", "block", "group_id", "line", "size_bytes"
    )
    deleted, frames = _with_stored_size(deleted, frames), without_doomed(frames)
    with_good = blocks_with_good(frames, deleted)
    awaited = awaited_elsewhere(frames, deleted).with_columns(is_awaited=pl.lit(True))
    needed = needed_copies(enforced).select(*REPLICA, is_enforcer_needed=pl.lit(True))
    status = frames.datasets.select("dataset_id", dataset_status="status")
    return (
        deleted.join(_whole(deleted, frames), on=REPLICA, how="left", maintain_order="left")
        .join(needed, on=REPLICA, how="left", maintain_order="left")
        .join(status, on="dataset_id", how="left", maintain_order="left")
        .join(awaited, on=KEYS, how="left", maintain_order="left")
        .with_columns(
            pl.col("whole_dataset", "is_enforcer_needed", "is_awaited").fill_null(False),
            is_locked=locked_expr(frames),
            is_alone=~pl.col("block_id").is_in(with_good.implode()),
        )
        .with_columns(
            is_last_copy=pl.col("is_alone") & (pl.col("size_bytes") > 0),
            is_last_source=pl.col("is_alone") & pl.col("is_awaited"),
        )
        .drop("is_awaited")
        .with_columns(is_last_copy_allowed=pl.col("is_last_copy") & pl.col("line").is_in(_delete_lines(plan).implode()))
    )


def needed_copies(enforced: pl.DataFrame) -> pl.DataFrame:
    """``dataset_id``, ``site_id`` of copies that rules need: fewer are left than some rule asks for. Each once."""
    few = pl.col("is_left").sum().over("rule", "dataset_id") < pl.col("num_copies")
    return enforced.filter(few).select(REPLICA).unique()


def handover_facts(plan: DeletionPlan) -> pl.DataFrame:
    """One row per block replica that changes its owner: block_id, dataset_id, site_id, group_id (the new owner),
    from_group_id, line, size_bytes."""
    real = plan.handovers.filter(~pl.col("is_placeholder"))
    return real.select(
        "block_id",
        "dataset_id",
        "site_id",
        "line",
        "size_bytes",
        group_id="new_group_id",
        from_group_id="group_id",
    )


def replica_decisions(plan: DeletionPlan) -> pl.DataFrame:
    """What is said of dataset replicas: dataset_id, site_id, decision, line, num_blocks, size_bytes. Without
    placeholders."""
    real = plan.decisions.filter(~pl.col("is_placeholder"))
    return real.group_by("dataset_id", "site_id", "decision", "line").agg(
        num_blocks=pl.len().cast(pl.Int64), size_bytes=pl.col("size_bytes").sum()
    )


def _delete_lines(plan: DeletionPlan) -> pl.Series:
    """The policy lines that delete whatever happens (Delete, DeleteBlock), by number."""
    return plan.policy_lines.filter(pl.col("verb") == "Delete")["line"]


def _with_stored_size(deleted: pl.DataFrame, frames: InventoryFrames) -> pl.DataFrame:
    """``deleted`` with the bytes that the inventory has of them: those of doomed files too, which a commit compares."""
    if frames.doomed_files.is_empty():
        return deleted
    stored = frames.block_replicas.join(deleted, on=KEYS, how="semi").select(*KEYS, "size_bytes")
    return deleted.drop("size_bytes").join(stored, on=KEYS, how="left", maintain_order="left")


def _whole(deleted: pl.DataFrame, frames: InventoryFrames) -> pl.DataFrame:
    touched = pl.col("dataset_id").is_in(deleted["dataset_id"].unique().implode())
    counts = frames.block_replicas.filter(touched).group_by(REPLICA).agg(num_all=pl.len())
    return (
        deleted.group_by(REPLICA)
        .agg(num_deleted=pl.len())
        .join(counts, on=REPLICA)
        .select(*REPLICA, whole_dataset=pl.col("num_deleted") == pl.col("num_all"))
    )
