"""What holds for every inventory, under policies that mix all verbs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_ops.detox.plan import DeletionPlan, plan_deletions
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.check import load_policy
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW, PARTITIONS, small_inventory

HEAD = "Partition Disk\nOn site.storage_type == DISK\nWhen site.occupancy > 0.6\nUntil site.occupancy < 0.4\n"
POLICIES = {
    "protect few copies": "Protect dataset.num_full_disk_copy < 2\nDismiss\nOrder decreasing dataset.usage_rank\n",
    "delete surplus": (
        "Protect replica.incomplete\nDelete replica.num_full_disk_copy_common_owner > 1\nDismiss\nOrder none\n"
    ),
    "blocks": (
        "ProtectBlock blockreplica.last_update newer_than 30 days ago\nDeleteBlock blockreplica.owner == DataOps\n"
        "DismissBlock blockreplica.num_full_disk_copy > 1\nProtect\nOrder increasing replica.size\n"
    ),
    "last copies": "ProtectBlock blockreplica.num_full_disk_copy < 2\nDismiss\nOrder decreasing dataset.usage_rank\n",
}
SEEDS = st.integers(min_value=0, max_value=10_000)


def random_inventory(seed: int) -> InventoryFrames:
    """Up to 12 datasets of 3 blocks at 4 sites, with lacking, incomplete, new and otherwise owned block replicas."""
    rng = np.random.default_rng(seed)
    sites = ("T2_A", "T2_B", "T2_C", "T2_D")
    names = [f"/d{number:02}" for number in range(int(rng.integers(1, 13)))]
    holders = [(name, site) for name in names for site in sites if rng.random() < 0.7] or [("/d00", "T2_A")]
    quotas = {site: int(rng.choice([0, -1, 1500, 2500, 4000])) for site in sites}
    ranks = {name: float(rng.integers(0, 4)) for name, _ in holders}
    frames = small_inventory(holders, sites=sites, quotas=quotas, num_blocks=3, ranks=ranks)
    blocks, count = frames.block_replicas, frames.block_replicas.height
    age = [NOW - timedelta(days=int(days)) for days in rng.choice([5, 100], count, p=[0.2, 0.8])]
    blocks = blocks.with_columns(
        group_id=pl.Series(rng.choice([0, 1], count, p=[0.7, 0.3])),
        is_complete=pl.Series(rng.random(count) < 0.9),
        last_update_at=pl.Series(age).cast(blocks.schema["last_update_at"]),
    )
    return replace(frames, block_replicas=blocks.filter(pl.Series(rng.random(count) < 0.95)))


def plan(frames: InventoryFrames, lines: str, head: str = HEAD) -> DeletionPlan:
    policy = load_policy(head + lines, now=NOW)
    return plan_deletions(frames, policy, load_partitions(PARTITIONS, now=NOW), now=NOW)


@pytest.mark.parametrize("lines", POLICIES.values(), ids=POLICIES)
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_each_block_replica_gets_exactly_one_decision(lines: str, seed: int) -> None:
    frames = random_inventory(seed)
    found = plan(frames, lines).decisions
    assert found.select("block_id", "site_id").is_unique().all()
    keys = ["block_id", "site_id"]
    assert found.select(keys).sort(keys).equals(frames.block_replicas.select(keys).sort(keys))
    assert set(found["decision"]) <= {"delete", "keep", "protect", "ignore", "reowned"}
    assert found["delete_order"].is_not_null().equals(found["decision"] == "delete", check_names=False)


@pytest.mark.parametrize("lines", POLICIES.values(), ids=POLICIES)
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_row_order_never_matters(lines: str, seed: int) -> None:
    frames = random_inventory(seed)
    tables = (
        "sites",
        "groups",
        "datasets",
        "blocks",
        "dataset_replicas",
        "block_replicas",
        "quotas",
        "attribute_values",
    )
    shuffled = replace(
        frames, **{name: getattr(frames, name).sample(fraction=1, shuffle=True, seed=seed) for name in tables}
    )
    one, other = plan(frames, lines), plan(shuffled, lines)
    assert one.decisions.equals(other.decisions)
    assert one.site_states.equals(other.site_states)


@pytest.mark.parametrize("lines", [POLICIES["protect few copies"], POLICIES["last copies"]], ids=["datasets", "blocks"])
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_deletion_stops_at_the_low_watermark(lines: str, seed: int) -> None:
    """The last deletion at a site was made while it was still above: without it, Until would not have held before."""
    found = plan(random_inventory(seed), lines)
    for state in found.site_states.filter(pl.col("quota_bytes") > 0).iter_rows(named=True):
        gone = found.deletions.filter(pl.col("site") == state["site"])
        if gone.height:
            last = gone.filter(pl.col("delete_order") == gone["delete_order"].max())["size_bytes"].sum()
            assert (state["bytes_after"] + last) / state["quota_bytes"] >= 0.4
            assert state["is_triggered"]


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_protected_replica_is_never_deleted(seed: int) -> None:
    """Whatever rule protects by the state of the image: the last full copy of a dataset survives."""
    frames = random_inventory(seed)
    found = plan(frames, POLICIES["protect few copies"], HEAD.replace("0.6", "0.1").replace("0.4", "0.05")).decisions
    left = found.filter(pl.col("decision") != "delete")
    for dataset_id in full_replicas(frames, found):
        assert dataset_id in full_replicas(frames, left)


def full_replicas(frames: InventoryFrames, rows: pl.DataFrame) -> set[int]:
    """Datasets with a complete replica of all three blocks among ``rows``."""
    complete = frames.block_replicas.filter("is_complete").join(rows, on=["block_id", "site_id"], how="semi")
    counts = complete.group_by("dataset_id", "site_id").len().filter(pl.col("len") == 3)
    return set(counts["dataset_id"])


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_copy_count_holds_at_each_deletion(seed: int) -> None:
    """Replaying the deletions of a Delete line that counts copies: each was made while there were two or more."""
    frames = random_inventory(seed)
    found = plan(frames, "Delete dataset.num_full_disk_copy > 1\nProtect\nOrder none\n")
    for _, dataset in found.decisions.group_by("dataset_id"):
        left = dataset
        for number in dataset["delete_order"].drop_nulls().unique().sort():
            complete = frames.block_replicas.filter("is_complete").join(left, on=["block_id", "site_id"], how="semi")
            full = complete.group_by("site_id").len().filter(pl.col("len") == 3).height
            assert full > 1
            left = left.filter(pl.col("delete_order").ne_missing(number))
