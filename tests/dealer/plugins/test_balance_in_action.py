"""One site holds most of the last copies: Detox and the Dealer's balancer, cycle after cycle, until sites are alike.

``python -m tests.dealer.plugins.test_balance_in_action`` prints the cycles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from tests.dealer.cycles import Round, bytes_by_site, lost_blocks, rounds
from tests.detox.small import NOW, small_inventory

TB = 10**12
CYCLES = 10
BALANCED = 0.05
POLICY = """
Partition Physics
On site.name in [T*_MSS T1_*_Disk T2_*]
When site.occupancy > 0.9
Until site.occupancy < 0.85
Ignore site.name == T*_MSS
Protect replica.incomplete
Protect replica.num_full_disk_copy_common_owner < 2
Dismiss
Order decreasing dataset.usage_rank increasing replica.size
"""
CONFIG = """
partition: Physics
group: AnalysisOps
target_sites: ["T2_*", "T1_*_Disk"]
target_site_occupancy: 0.93
max_site_pending_fraction: 0.3
max_total_cycle_volume: 100
plugins:
  balancer:
    priority: 1
    max_dataset_size: 3
    max_cycle_volume: 20
    target_reasons: {"replica.num_full_disk_copy_common_owner < 2": 1}
"""
QUOTA_TB = {"T1_A_Disk": 120, "T2_B": 60, "T2_C": 80, "T2_D": 100, "T2_E": 40, "T2_F": 70}
LAST_COPIES = {"T1_A_Disk": 0.90, "T2_B": 0.10, "T2_C": 0.30, "T2_D": 0.15, "T2_E": 0.55, "T2_F": 0.20}
"""Share of its quota that a site holds as last copies at the start. On top of them: copies of others' datasets."""
SECOND_COPIES = {"T1_A_Disk": 0.05, "T2_B": 0.30, "T2_C": 0.10, "T2_D": 0.20, "T2_E": 0.05, "T2_F": 0.15}


@dataclass(frozen=True)
class Cycle:
    """One row of the table. ``fractions``: protected bytes / quota, by site. Volumes in bytes."""

    number: int
    fractions: dict[str, float]
    occupancies: dict[str, float]
    deleted_bytes: int
    num_copies: int
    copied_bytes: int

    @property
    def spread(self) -> float:
        return max(self.fractions.values()) - min(self.fractions.values())


def skewed_inventory(seed: int = 1) -> InventoryFrames:
    """Datasets of 0.3 to 2.5 TB in two blocks, whole at the sites that have them."""
    rng = np.random.default_rng(seed)
    names: list[str] = []
    sizes: list[int] = []
    holders: list[list[str]] = []
    for site, share in LAST_COPIES.items():
        wanted = share * QUOTA_TB[site] * TB
        while (left := wanted - sum(sizes[n] for n, (first, *_) in enumerate(holders) if first == site)) > 0.3 * TB:
            names.append(f"/Data{len(names):03}/Run{rng.integers(2000, 2019)}-v1/AOD")
            sizes.append(min(int(rng.uniform(0.3, 2.5) * TB), int(left)) // 2 * 2)
            holders.append([site])
    for site, share in SECOND_COPIES.items():
        wanted = share * QUOTA_TB[site] * TB
        while wanted > 0:
            number = len(names)
            names.append(f"/Twin{number:03}/Run{rng.integers(2000, 2019)}-v1/AOD")
            sizes.append(int(rng.uniform(0.3, 2.5) * TB) // 2 * 2)
            others = [other for other in QUOTA_TB if other not in (site, "T1_A_Disk")]
            holders.append([site, str(rng.choice(others))])
            wanted -= sizes[-1]
    frames = small_inventory(
        [(name, site) for name, sites in zip(names, holders, strict=True) for site in sites],
        sites=tuple(QUOTA_TB),
        quotas={site: quota * TB for site, quota in QUOTA_TB.items()},
        partition="Physics",
        ranks={name: float(rank) for name, rank in zip(names, rng.uniform(0, 400, len(names)), strict=True)},
    )
    size = pl.DataFrame({"dataset": names, "half": [size // 2 for size in sizes]})
    half = frames.datasets.join(size, on="dataset").select("dataset_id", size_bytes="half")
    return replace(
        frames,
        blocks=frames.blocks.drop("size_bytes").join(half, on="dataset_id"),
        block_replicas=frames.block_replicas.drop("size_bytes").join(half, on="dataset_id"),
    )


def run(number: int = CYCLES) -> tuple[list[Cycle], list[Round]]:
    """So many rounds on the skewed inventory: the rows of the table, and the plans."""
    partitions = load_partitions("Physics: dataset.name == *\n", now=NOW)
    made = list(rounds(skewed_inventory(), POLICY, load_config(CONFIG), partitions, number))
    return [cycle_of(each) for each in made], made


def cycle_of(made: Round) -> Cycle:
    """The figures of a round; fractions and occupancies as its Detox cycle found and left them."""
    decisions = made.deletions.decisions
    protected = decisions.filter(pl.col("decision") == "protect").group_by("site").agg(pl.col("size_bytes").sum())
    held = dict(protected.iter_rows())
    on_disk = bytes_by_site(made.frames)
    return Cycle(
        made.number,
        {site: held.get(site, 0) / (quota * TB) for site, quota in QUOTA_TB.items()},
        {site: on_disk[site] / (quota * TB) for site, quota in QUOTA_TB.items()},
        int(made.deletions.deletions["size_bytes"].sum()),
        made.copies.copies["copy"].n_unique(),
        int(made.copies.copies["size_bytes"].sum()),
    )


def table(cycles: list[Cycle]) -> str:
    """One line a cycle: by site the protected fraction and, in brackets, how full it was; then what was done."""
    lines = ["protected data / quota (occupancy before), by cycle", ""]
    lines.append("cycle  " + "".join(f"{site:>16}" for site in QUOTA_TB) + "    spread   deleted  copies    copied")
    for cycle in cycles:
        shares = "".join(f"{f'{cycle.fractions[site]:.1%} ({cycle.occupancies[site]:.0%})':>16}" for site in QUOTA_TB)
        done = f"{cycle.deleted_bytes / TB:>6.1f} TB {cycle.num_copies:>7} {cycle.copied_bytes / TB:>6.1f} TB"
        lines.append(f"{cycle.number:>5}  {shares} {cycle.spread:>9.1%} {done}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def story() -> tuple[list[Cycle], list[Round]]:
    return run()


def test_it_starts_skewed(story: tuple[list[Cycle], list[Round]]) -> None:
    assert story[0][0].spread > 0.7


def test_the_protected_fractions_come_together_and_stay_so(story: tuple[list[Cycle], list[Round]]) -> None:
    spreads = [cycle.spread for cycle in story[0]]
    first = next(number for number, spread in enumerate(spreads) if spread < BALANCED)
    assert first < CYCLES - 2
    assert all(spread < BALANCED for spread in spreads[first:])
    assert spreads[: first + 1] == sorted(spreads[: first + 1], reverse=True)


def test_what_is_balanced_is_left_alone(story: tuple[list[Cycle], list[Round]]) -> None:
    last = story[0][-1]
    assert (last.num_copies, last.deleted_bytes) == (0, 0)


def test_detox_makes_use_of_the_copies(story: tuple[list[Cycle], list[Round]]) -> None:
    """The full site is emptied to its low watermark once others have what it held alone."""
    cycles = story[0]
    assert cycles[0].occupancies["T1_A_Disk"] > 0.9
    assert sum(cycle.deleted_bytes for cycle in cycles) > 0
    assert cycles[-1].occupancies["T1_A_Disk"] < 0.9


def test_no_block_ever_loses_its_last_copy(story: tuple[list[Cycle], list[Round]]) -> None:
    assert all(lost_blocks(made.frames, made.after) == [] for made in story[1])


def test_no_cycle_copies_more_than_it_may(story: tuple[list[Cycle], list[Round]]) -> None:
    """The balancer's volume may be passed by its last dataset; no site goes above its quota."""
    for made in story[1]:
        sizes = made.copies.copies.sort("copy")["size_bytes"].to_list()
        assert sum(sizes[:-1]) <= 20 * TB
        held = bytes_by_site(made.after)
        assert all(held[site] <= quota * TB for site, quota in QUOTA_TB.items())


def test_the_table_shows_every_cycle(story: tuple[list[Cycle], list[Round]]) -> None:
    lines = table(story[0]).splitlines()
    assert len(lines) == 3 + CYCLES
    assert all(site in lines[2] for site in QUOTA_TB)


if __name__ == "__main__":
    print(table(run()[0]))
