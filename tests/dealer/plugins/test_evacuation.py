"""A site in the morgue, until nothing is left there that no other site has: Detox and the Dealer's undertaker in turns.

``python -m tests.dealer.plugins.test_evacuation`` prints the cycles.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from tests.dealer.cycles import KEYS, Round, lost_blocks, rounds
from tests.detox.small import NOW, small_inventory

CYCLES = 6
ALONE = 12
BLOCK = 1000
POLICY = """
Partition All
On site.storage_type == DISK and site.status in [READY MORGUE]
On site.storage_type == MSS
When site.occupancy > 0.9
Until site.occupancy < 0.8
Ignore site.storage_type == MSS
Protect site.status == MORGUE
Protect replica.num_full_disk_copy_common_owner < 2
Dismiss
Order decreasing dataset.usage_rank
"""
CONFIG = f"""
partition: All
group: AnalysisOps
target_sites: ["T2_*"]
target_site_occupancy: 0.9
max_site_pending_fraction: 0.5
max_total_cycle_volume: {7 * BLOCK / 10**12}
plugins: {{undertaker: {{priority: 1}}}}
"""
PARTITIONS = "All: dataset.name == *\n"
GONE = "T2_HH"
SITES = ("T1_MSS", "T2_A", "T2_B", "T2_G", GONE)


def inventory(*, status: str = "morgue") -> InventoryFrames:
    """Datasets of two blocks. T2_HH, in the morgue with quota 0, has 12 of them alone; one also at T2_A, one also on
    tape, one also (still empty) at T2_B, and one of which T2_A has the first block. T2_G waits."""
    alone = [(f"/alone{n:02}", GONE) for n in range(ALONE)]
    shared = [("/disk", "T2_A"), ("/tape", "T1_MSS"), ("/way", "T2_B"), ("/half", "T2_A")]
    both = [(name, GONE) for name, _ in shared]
    quotas = {"T1_MSS": -1, "T2_A": 40 * BLOCK, "T2_B": 40 * BLOCK, "T2_G": 40 * BLOCK, GONE: 0}
    frames = small_inventory(
        [*alone, *shared, *both],
        sites=SITES,
        quotas=quotas,
        partition="All",
        block_bytes=BLOCK,
        ranks={"/disk": 1.0},
    )
    is_way = pl.col("dataset_id").is_in(ids(frames, "/way").implode()) & (pl.col("site_id") == SITES.index("T2_B"))
    is_half = pl.col("dataset_id").is_in(ids(frames, "/half").implode()) & (pl.col("site_id") == SITES.index("T2_A"))
    second = frames.blocks.filter(pl.col("block") == "b1")["block_id"]
    replicas = frames.block_replicas.filter(~(is_half & pl.col("block_id").is_in(second.implode()))).with_columns(
        is_complete=pl.col("is_complete") & ~is_way, size_bytes=pl.when(is_way).then(0).otherwise("size_bytes")
    )
    state = pl.col("site").replace_strict({GONE: status, "T2_G": "waitroom"}, default="ready")
    return replace(frames, sites=frames.sites.with_columns(status=state), block_replicas=replicas)


def ids(frames: InventoryFrames, start: str) -> pl.Series:
    return frames.datasets.filter(pl.col("dataset").str.starts_with(start))["dataset_id"]


def last_copies(frames: InventoryFrames) -> pl.DataFrame:
    """Block replicas at T2_HH whose block is nowhere else."""
    is_there = pl.col("site_id") == SITES.index(GONE)
    elsewhere = frames.block_replicas.filter(~is_there)
    return frames.block_replicas.filter(is_there).join(elsewhere, on="block_id", how="anti")


def run(number: int = CYCLES) -> list[Round]:
    return list(rounds(inventory(), POLICY, load_config(CONFIG), load_partitions(PARTITIONS, now=NOW), number))


def table(story: list[Round]) -> str:
    """One line a cycle."""
    lines = [f"last copies at {GONE} (morgue), by cycle", ""]
    lines.append("cycle  blocks before  copies  bytes copied  blocks after")
    for made in story:
        copies = made.copies.copies
        before, after = last_copies(made.frames).height, last_copies(made.after).height
        number, size = copies["copy"].n_unique(), int(copies["size_bytes"].sum())
        lines.append(f"{made.number:>5} {before:>14} {number:>7} {size:>13} {after:>13}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def story() -> list[Round]:
    return run()


def test_no_last_copy_is_left(story: list[Round]) -> None:
    assert last_copies(story[0].frames).height == 2 * ALONE + 1
    assert last_copies(story[-1].after).is_empty()


def test_it_takes_as_many_cycles_as_the_volume_wants_and_then_it_ends(story: list[Round]) -> None:
    left = [last_copies(made.after).height for made in story]
    assert left[:3] == [17, 9, 1]
    assert left[3:] == [0] * (CYCLES - 3)
    assert all(made.copies.copies.is_empty() for made in story[4:])


def test_only_what_nobody_else_has_is_copied(story: list[Round]) -> None:
    first, last = story[0].frames, story[-1].after
    new = last.block_replicas.join(first.block_replicas, on=KEYS, how="anti").join(
        first.blocks.select("block_id", "block"), on="block_id"
    )
    names = new.join(first.datasets.select("dataset_id", "dataset"), on="dataset_id").select("dataset", "block")
    expected = {(f"/alone{n:02}", block) for n in range(ALONE) for block in ("b0", "b1")} | {("/half", "b1")}
    assert set(names.rows()) == expected
    assert new.height == len(expected)


def test_copies_go_to_ready_disks(story: list[Round]) -> None:
    sites = {site for made in story for site in made.copies.copies["site"]}
    assert sites == {"T2_A", "T2_B"}


def test_nothing_is_deleted_at_the_site_and_nothing_is_lost(story: list[Round]) -> None:
    for made in story:
        assert GONE not in made.deletions.deletions["site"].to_list()
        assert lost_blocks(made.frames, made.after) == []


def test_a_site_in_the_waitroom_is_waited_for() -> None:
    """The same site, but it comes back: the policy does not look at it, so nobody copies what it has."""
    frames, partitions = inventory(status="waitroom"), load_partitions(PARTITIONS, now=NOW)
    (made,) = rounds(frames, POLICY, load_config(CONFIG), partitions, 1)
    assert made.copies.proposals.is_empty()


if __name__ == "__main__":
    print(table(run()))
