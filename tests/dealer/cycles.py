"""Detox and Dealer in turns on frames: what is deleted is gone and what is copied is there at once. No database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from dynamo_ops.dealer.engine.config import DealerConfig
from dynamo_ops.dealer.engine.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import DETOX_DECISIONS, DetoxCycle, ProposalInputs, collect_proposals, make_plugins
from dynamo_ops.detox.engine.plan import DeletionPlan, plan_deletions
from dynamo_ops.detox.facts import replica_decisions
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.partition import Partitions
from tests.detox.small import NOW

KEYS = ["block_id", "site_id"]
REPLICA = ["dataset_id", "site_id"]


@dataclass(frozen=True)
class Round:
    """One Detox cycle and the Dealer cycle after it. ``frames``: as they were before, ``after``: as both left them."""

    number: int
    frames: InventoryFrames
    deletions: DeletionPlan
    copies: CopyPlan
    after: InventoryFrames


def rounds(
    frames: InventoryFrames, policy: str, config: DealerConfig, partitions: Partitions, number: int
) -> Iterator[Round]:
    """So many rounds, each on what the one before left."""
    plugins = make_plugins(config)
    for n in range(1, number + 1):
        deletions = plan_deletions(frames, load_policy(policy, now=NOW), partitions, now=NOW)
        left = deleted(frames, deletions)
        inputs = ProposalInputs(left, partitions, NOW, detox=cycle_of(deletions))
        proposals = collect_proposals(plugins, inputs, config, seed=n)
        copies = plan_copies(left, proposals, config, partitions, now=NOW, seed=n)
        after = copied(left, copies)
        yield Round(n, frames, deletions, copies, after)
        frames = after


def cycle_of(plan: DeletionPlan) -> DetoxCycle:
    """What a plan said, as plugins see a committed one."""
    text = pl.col("text").str.strip_chars()
    reason = pl.when(text.str.contains(r"\s")).then(text.str.replace(r"^\S+\s+", ""))
    decisions = replica_decisions(plan).join(plan.policy_lines.select("line", reason=reason), on="line", how="left")
    return DetoxCycle(None, decisions.select(pl.col(name).cast(kind) for name, kind in DETOX_DECISIONS.items()))


def deleted(frames: InventoryFrames, plan: DeletionPlan) -> InventoryFrames:
    """The inventory without what the plan deletes, and with the owners that it gives."""
    left = frames.block_replicas.join(plan.deletions, on=KEYS, how="anti")
    new = plan.handovers.filter(pl.col("decision") != "delete").select(*KEYS, "new_group_id")
    owned = left.join(new, on=KEYS, how="left", maintain_order="left").with_columns(
        group_id=pl.coalesce("new_group_id", "group_id")
    )
    holders = owned.select(REPLICA).unique()
    return replace(
        frames,
        block_replicas=owned.drop("new_group_id"),
        dataset_replicas=frames.dataset_replicas.join(holders, on=REPLICA, how="semi"),
    )


def copied(frames: InventoryFrames, plan: CopyPlan) -> InventoryFrames:
    """The inventory with all copies of the plan complete."""
    new = plan.block_copies.select(
        "block_id", "dataset_id", "site_id", "group_id", "size_bytes", is_complete=True, is_custodial=False
    ).with_columns(last_update_at=pl.lit(NOW, dtype=frames.block_replicas.schema["last_update_at"]))
    others = frames.block_replicas.join(new, on=KEYS, how="anti")
    holders = plan.block_copies.group_by(REPLICA).agg(pl.col("is_growing").any(), pl.col("group_id").first())
    grown = pl.concat([frames.dataset_replicas, holders.select(frames.dataset_replicas.columns)])
    return replace(
        frames,
        block_replicas=pl.concat([others, new.select(others.columns)]),
        dataset_replicas=grown.unique(REPLICA, keep="last", maintain_order=True),
    )


def lost_blocks(before: InventoryFrames, after: InventoryFrames) -> list[int]:
    """Blocks that had a complete replica somewhere and have none now."""
    had, has = (frames.block_replicas.filter("is_complete").select("block_id").unique() for frames in (before, after))
    return had.join(has, on="block_id", how="anti")["block_id"].sort().to_list()


def bytes_by_site(frames: InventoryFrames) -> dict[str, int]:
    """On disk, of every site, by name."""
    held = frames.block_replicas.group_by("site_id").agg(pl.col("size_bytes").sum())
    named = frames.sites.join(held, on="site_id", how="left").sort("site")
    return dict(named.select("site", pl.col("size_bytes").fill_null(0)).iter_rows())
