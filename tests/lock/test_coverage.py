"""What locks cover: each case by hand, and many random locks against the rule applied one by one."""

from __future__ import annotations

import random
from dataclasses import replace
from fnmatch import fnmatchcase

import polars as pl
import pytest

from dynamo_ops.base.glob import is_glob
from dynamo_ops.inventory.frames import LOCKS, InventoryFrames, empty
from dynamo_ops.lock.coverage import covered_names, locked_expr
from tests.detox.small import small_inventory

Lock = tuple[str | None, str | None, str | None]
A, B = "/A/B-v1/AOD", "/C/D-v1/AOD"
SITES = ("T2_A", "T2_B", "T1_C_MSS")
REPLICAS = [
    (name, site, group)
    for name in (A, B)
    for site, group in zip(SITES, ("AnalysisOps", "DataOps", "None"), strict=True)
]


def inventory(*locks: Lock) -> InventoryFrames:
    """Two datasets of two blocks at three sites; AnalysisOps owns at T2_A, DataOps at T2_B, nobody at the tape."""
    frames = small_inventory(REPLICAS, sites=SITES)
    return replace(frames, locks=pl.DataFrame(locks, schema=dict(LOCKS), orient="row"))


def named(frames: InventoryFrames) -> pl.DataFrame:
    owners = pl.concat(
        [frames.groups.select("group_id", "group"), pl.DataFrame({"group_id": [None], "group": ["None"]})],
        how="vertical_relaxed",
    )
    return (
        frames.block_replicas.join(frames.datasets.select("dataset_id", "dataset"), on="dataset_id")
        .join(frames.blocks.select("block_id", "block"), on="block_id")
        .join(frames.sites.select("site_id", "site"), on="site_id")
        .join(owners, on="group_id", how="left", nulls_equal=True)
    )


def locked(frames: InventoryFrames) -> set[tuple[str, str, str]]:
    found = named(frames).filter(locked_expr(frames))
    return set(found.select("dataset", "block", "site").iter_rows())


def everything(*datasets: str, sites: tuple[str, ...] = SITES) -> set[tuple[str, str, str]]:
    return {(dataset, block, site) for dataset in datasets for block in ("b0", "b1") for site in sites}


CASES: dict[str, tuple[list[Lock], set[tuple[str, str, str]]]] = {
    "none": ([], set()),
    "a dataset": ([(A, "", "")], everything(A)),
    "nulls are empty": ([(A, None, None)], everything(A)),
    "an unknown dataset": ([("/X/Y/Z", "", "")], set()),
    "a glob": ([("/*/*/AOD", "", "")], everything(A, B)),
    "a glob with a beginning": ([("/C/*", "", "")], everything(B)),
    "a question mark": ([("/?/B-v1/AOD", "", "")], everything(A)),
    "a bracket alone is no glob": ([("/[AC]/B-v1/AOD", "", "")], set()),
    "a bracket in a glob": ([("/[AC]/*", "", "")], everything(A, B)),
    "a block": ([(f"{A}#b1", "", "")], {row for row in everything(A) if row[1] == "b1"}),
    "an unknown block": ([(f"{A}#b7", "", "")], set()),
    "a glob of blocks": ([(f"{A}#b*", "", "")], everything(A)),
    "all blocks": ([(f"{A}#*", "", "")], everything(A)),
    "a block of many datasets": ([("/*#b0", "", "")], {row for row in everything(A, B) if row[1] == "b0"}),
    "a site": ([(A, "T2_B", "")], everything(A, sites=("T2_B",))),
    "a glob of sites": ([(A, "T2_*", "")], everything(A, sites=("T2_A", "T2_B"))),
    "unknown sites mean all": ([(A, "T3_*", "")], everything(A)),
    "a group": ([(A, "", "DataOps")], everything(A, sites=("T2_B",))),
    "a glob of groups": ([(A, "", "*Ops")], everything(A, sites=("T2_A", "T2_B"))),
    "the null group": ([(A, "", "None")], everything(A, sites=("T1_C_MSS",))),
    "unknown groups mean all": ([(A, "", "PhysOps")], everything(A)),
    "a site and a group that do not meet": ([(A, "T2_A", "DataOps")], set()),
    "two that do not add up": ([(A, "T2_A", "DataOps"), (A, "T2_B", "AnalysisOps")], set()),
    "two that add up": (
        [(A, "T2_A", "AnalysisOps"), (f"{A}#b0", "T2_B", "")],
        {*everything(A, sites=("T2_A",)), (A, "b0", "T2_B")},
    ),
}


@pytest.mark.parametrize(("locks", "covered"), CASES.values(), ids=CASES.keys())
def test_a_lock_covers(locks: list[Lock], covered: set[tuple[str, str, str]]) -> None:
    assert locked(inventory(*locks)) == covered


def matches(pattern: str, value: str) -> bool:
    return fnmatchcase(value, pattern) if is_glob(pattern) else pattern == value


def means(pattern: str, value: str, known: list[str]) -> bool:
    return not any(matches(pattern, name) for name in known) or matches(pattern, value)


@pytest.mark.parametrize("seed", range(20))
def test_many_locks_cover_what_each_of_them_covers(seed: int) -> None:
    draw = random.Random(seed)
    items = [A, B, "/A/*", "/*/*/AOD", "/C/D-v?/AOD", f"{A}#b0", f"{B}#b1", "/*#b0", f"{A}#*", "/*#b?", "/X#b0", "/X"]
    sites = ["", "T2_A", "T2_*", "*_MSS", "T2_B", "T3_X"]
    groups = ["", "DataOps", "*Ops", "None", "A*", "nobody"]
    locks = [(draw.choice(items), draw.choice(sites), draw.choice(groups)) for _ in range(draw.randrange(1, 12))]
    frames = inventory(*locks)
    known_sites, known_groups = list(SITES), ["AnalysisOps", "DataOps", "None"]
    expected = set()
    for row in named(frames).iter_rows(named=True):
        for item, site, group in locks:
            dataset, _, block = item.partition("#")
            covers = matches(dataset, row["dataset"]) and (not block or matches(block, row["block"]))
            if covers and means(site, row["site"], known_sites) and means(group, row["group"], known_groups):
                expected.add((row["dataset"], row["block"], row["site"]))
    assert locked(frames) == expected


def test_what_is_at_an_unknown_place_is_covered_by_locks_that_mean_all_places() -> None:
    frames = inventory((A, "T3_*", ""), (B, "T2_A", ""))
    strange = frames.block_replicas.with_columns(site_id=pl.lit(99, pl.Int64), group_id=pl.lit(77, pl.Int64))
    found = strange.with_columns(is_locked=locked_expr(frames)).filter("is_locked")
    assert found["dataset_id"].unique().to_list() == [0]


def test_locks_are_never_unknown() -> None:
    frames = inventory((A, "T2_*", "DataOps"))
    assert frames.block_replicas.select(locked_expr(frames)).to_series().null_count() == 0
    nobody = replace(frames, block_replicas=frames.block_replicas.clear(), datasets=frames.datasets.clear())
    assert nobody.block_replicas.select(locked_expr(nobody).alias("x")).height == 0


def test_what_a_scope_matches_is_told_by_name() -> None:
    frames = inventory()
    assert covered_names(frames, "T2_*", "*") == {
        "sites": ["T2_A", "T2_B"],
        "groups": ["AnalysisOps", "DataOps", "None"],
    }
    assert covered_names(frames, "", "nobody") == {"sites": [], "groups": []}


def test_without_locks_nothing_is_covered() -> None:
    assert locked(replace(inventory(), locks=empty(LOCKS))) == set()
