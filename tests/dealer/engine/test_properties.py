"""What holds for every cycle of the Dealer: random cases, replayed in the plan's own order by a plain-Python oracle."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.dealer.engine import decide as engine
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import PROPOSALS
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from tests.dealer.oracle import Oracle, in_turn
from tests.dealer.random_case import DealerCase, random_case
from tests.detox.small import NOW, PARTITIONS, small_inventory

SEEDS = st.integers(min_value=0, max_value=2**48)
ONE_IN_A_MILLION = {1: 23.928, 2: 27.631, 3: 30.665}
"""Chi-square that one sample in a million goes above, by degrees of freedom."""


@given(SEEDS)
def test_every_outcome_is_the_one_that_the_rules_give_in_its_turn(seed: int) -> None:
    """Reasons in the order of the checks; destinations that were possible then, drawn with the right probability."""
    case = random_case(seed)
    plan, oracle = case.plan(), Oracle(case)
    for row in in_turn(plan):
        told = oracle.judge(row)
        assert row["outcome"] == told.reason, row
        if told.reason is not None:
            continue
        if told.weights:
            assert row["weight"] == pytest.approx(told.weights[row["site_id"]])
            assert row["num_candidates"] == len(told.weights)
        else:
            assert (row["site_id"], row["weight"], row["num_candidates"]) == (row["asked_site_id"], None, None)
        oracle.accept(row)


@given(SEEDS)
def test_no_copy_goes_where_it_cannot_and_the_cycle_ends_in_time(seed: int) -> None:
    """At each acceptance the site was a target, what was not there fits into its quota, and only the last copy is above
    the cycle's volume."""
    case = random_case(seed)
    oracle = Oracle(case)
    for row in in_turn(case.plan()):
        if row["outcome"] is not None:
            continue
        site = oracle.sites[row["site_id"]]
        assert oracle.volume <= case.config.max_total_cycle_volume * 10**12
        assert oracle.is_target(row["site_id"])
        is_there = oracle.is_complete_at(row, row["site_id"])
        oracle.accept(row)
        assert site.quota is not None
        assert is_there or site.quota < 0 or site.projected <= site.quota


@given(SEEDS)
def test_every_proposal_is_accepted_or_has_one_reason(seed: int) -> None:
    case = random_case(seed)
    plan = case.plan()
    rows = plan.proposals.to_dicts()
    assert [row["number"] for row in rows] == list(range(1, case.proposals.height + 1))
    for row, given_row in zip(rows, case.proposals.to_dicts(), strict=True):
        is_copy = row["outcome"] is None
        assert is_copy or row["outcome"] in engine.OUTCOMES
        assert (row["copy"] is not None, row["site_id"] is not None) == (is_copy, is_copy)
        same = ("plugin", "request_id", "dataset_id", "block_ids", "candidate_site_ids", "reason")
        assert [row[name] for name in same] == [given_row[name] for name in same]
        assert row["asked_site_id"] == given_row["site_id"]
        assert (row["outcome"] == engine.REFUSED) == (given_row["refused"] is not None)
    accepted = sorted(row["copy"] for row in rows if row["outcome"] is None)
    assert accepted == list(range(1, len(accepted) + 1)) == sorted(plan.copies["copy"].unique().to_list())
    assert Counter(plan.rejected["reason"]) == Counter(row["outcome"] for row in rows if row["outcome"] is not None)


@given(SEEDS)
def test_each_plugin_keeps_its_order_and_priority_zero_runs_alone(seed: int) -> None:
    case = random_case(seed)
    rows = case.plan().proposals.to_dicts()
    asked = [row for row in rows if row["outcome"] != engine.REFUSED]
    is_first = [case.config.plugins[row["plugin"]].priority == 0 for row in asked]
    looked_at = [row for row, first in zip(asked, is_first, strict=True) if first or not any(is_first)]
    assert sorted(row["turn"] for row in looked_at) == list(range(1, len(looked_at) + 1))
    for row in rows:
        is_left_out = row in asked and row not in looked_at
        assert (row["outcome"] == engine.LOWER_PRIORITY) == is_left_out
        assert (row["turn"] is None) == (row not in looked_at)
    for plugin in case.config.plugins:
        turns = [row["turn"] for row in looked_at if row["plugin"] == plugin]
        assert turns == sorted(turns)


@given(SEEDS)
def test_blocks_are_the_higher_priority_s_and_sites_end_as_filled(seed: int) -> None:
    case = random_case(seed)
    plan, oracle = case.plan(), Oracle(case)
    claims: dict[tuple[int, int], tuple[int, int, int]] = {}
    for row in in_turn(plan):
        if row["outcome"] is None:
            oracle.accept(row)
            for block in oracle.blocks_of(row):
                claim = (case.config.plugins[row["plugin"]].priority, row["copy"], row["group_id"])
                claims[block, row["site_id"]] = min(claims.get((block, row["site_id"]), claim), claim)
    found = {(row["block_id"], row["site_id"]): row for row in plan.block_copies.to_dicts()}
    assert {key: (row["copy"], row["group_id"]) for key, row in found.items()} == {
        key: claim[1:] for key, claim in claims.items()
    }
    assert {key for key, row in found.items() if row["is_there"]} == found.keys() & oracle.replicas.keys()
    for state in plan.site_states.to_dicts():
        site = oracle.sites[state["site_id"]]
        assert (state["quota_bytes"], state["physical_bytes"]) == (site.quota, site.physical)
        assert state["projected_bytes_after"] == site.projected
        absent = [row["size_bytes"] for row in found.values() if row["site_id"] == state["site_id"]]
        new = [not row["is_there"] for row in found.values() if row["site_id"] == state["site_id"]]
        assert state["added_bytes"] == sum(size for size, is_new in zip(absent, new, strict=True) if is_new)


@given(SEEDS, st.integers(min_value=0, max_value=100))
def test_the_order_of_rows_is_nothing_and_the_seed_is_all(seed: int, shuffle: int) -> None:
    case = random_case(seed)
    tables = {each.name: getattr(case.frames, each.name) for each in fields(InventoryFrames)}
    mixed = {name: frame.sample(fraction=1, shuffle=True, seed=shuffle) for name, frame in tables.items()}
    first, again, other = case.plan(), case.plan(), case.plan(replace(case.frames, **mixed))
    for name in ("proposals", "copies", "block_copies", "rejected", "site_states"):
        assert getattr(first, name).equals(getattr(again, name)), name
        assert getattr(first, name).equals(getattr(other, name)), name


@pytest.mark.thorough
def test_the_random_cases_reach_every_outcome() -> None:
    """And the odd ones of each: what no case reaches would be tested by nothing."""
    plans = [(case, case.plan()) for case in map(random_case, range(150))]
    outcomes = Counter(outcome for _, plan in plans for outcome in plan.proposals["outcome"])
    assert {*engine.OUTCOMES, None} == outcomes.keys()
    accepted = pl.concat([plan.proposals for _, plan in plans]).filter(pl.col("outcome").is_null())
    assert accepted["weight"].null_count() not in (0, accepted.height)
    assert (accepted["num_candidates"].drop_nulls() > 1).sum() > 25
    assert sum(plan.block_copies["is_there"].sum() for _, plan in plans) > 25
    assert any(changed_hands(case, plan) for case, plan in plans)


def changed_hands(case: DealerCase, plan: CopyPlan) -> bool:
    """Whether some block was accepted twice at a site, for different owners."""
    oracle = Oracle(case)
    owners: dict[tuple[int, int], set[int]] = {}
    for row in in_turn(plan):
        if row["outcome"] is None:
            for block in oracle.blocks_of(row):
                owners.setdefault((block, row["site_id"]), set()).add(row["group_id"])
    return any(len(found) > 1 for found in owners.values())


# -- what is drawn -----------------------------------------------------------------------------------------------------

CONFIG = """
partition: Disk
group: AnalysisOps
target_sites: ["T2_*"]
target_site_occupancy: 1.0
max_site_pending_fraction: 1.0
max_total_cycle_volume: 1
plugins: {one: {priority: 1}, two: {priority: 2}, five: {priority: 5}}
"""
PRIORITY = {"one": 1, "two": 2, "five": 5}


def decide(frames: InventoryFrames, rows: Sequence[Mapping[str, Any]], seed: int) -> CopyPlan:
    proposals = pl.DataFrame(rows, schema={"plugin": pl.String, **PROPOSALS})
    return plan_copies(frames, proposals, load_config(CONFIG), load_partitions(PARTITIONS, now=NOW), now=NOW, seed=seed)


@pytest.mark.parametrize(
    ("quota", "asked", "outcome"),
    [
        pytest.param(200, 1, None, id="to the last byte"),
        pytest.param(199, 1, engine.FULL, id="a byte too much"),
        pytest.param(200, None, engine.NO_DESTINATION, id="nothing would stay free: never drawn"),
        pytest.param(201, None, None, id="a byte would stay free"),
    ],
)
def test_how_full_a_site_may_get(quota: int, asked: int | None, outcome: str | None) -> None:
    """Random sizes hardly ever hit the very quota. /a has 200 bytes."""
    frames = small_inventory([("/a", "T2_A")], quotas={"T2_A": 1000, "T2_B": quota})
    plan = decide(frames, [{"plugin": "one", "dataset_id": 0, "site_id": asked}], seed=1)
    assert plan.proposals["outcome"].to_list() == [outcome]


def chi_square(found: Mapping[Any, int], weights: Mapping[Any, float]) -> float:
    """Pearson's statistic of the counts against shares ∝ ``weights``."""
    total, scale = sum(found.values()), sum(weights.values())
    expected = {key: total * weight / scale for key, weight in weights.items()}
    return sum((found[key] - share) ** 2 / share for key, share in expected.items())


def test_the_statistic_and_its_limits_are_right() -> None:
    """P(χ² > x) in closed form for 1, 2 and 3 degrees of freedom."""
    above = {
        1: lambda x: math.erfc(math.sqrt(x / 2)),
        2: lambda x: math.exp(-x / 2),
        3: lambda x: math.erfc(math.sqrt(x / 2)) + math.sqrt(2 * x / math.pi) * math.exp(-x / 2),
    }
    for freedom, limit in ONE_IN_A_MILLION.items():
        assert above[freedom](limit) == pytest.approx(1e-6, rel=1e-3)
    assert chi_square(Counter(a=60, b=40), {"a": 1, "b": 1}) == pytest.approx(4)


def plugins_by_turn(counts: Mapping[str, int], seed: int) -> list[str]:
    """Which plugin was drawn at each turn, of plugins with so many proposals each."""
    rows = [{"plugin": name, "dataset_id": 0, "site_id": 9} for name, number in counts.items() for _ in range(number)]
    plan = decide(small_inventory([("/a", "T2_A")]), rows, seed)
    return [row["plugin"] for row in in_turn(plan)]


def test_plugins_are_drawn_by_one_over_their_priority() -> None:
    number, seeds = 200, range(40)
    drawn = [plugins_by_turn(dict.fromkeys(PRIORITY, number), seed)[:number] for seed in seeds]
    weights = {name: 1 / priority for name, priority in PRIORITY.items()}
    counts = Counter(name for turns in drawn for name in turns)
    assert chi_square(counts, weights) < ONE_IN_A_MILLION[2]
    assert chi_square(counts, dict.fromkeys(PRIORITY, 1.0)) > ONE_IN_A_MILLION[2]
    assert chi_square(counts, {name: -priority + 6 for name, priority in PRIORITY.items()}) > ONE_IN_A_MILLION[2]


@pytest.mark.thorough
@pytest.mark.parametrize("before", PRIORITY)
def test_the_draw_has_no_memory(before: str) -> None:
    """Whatever was drawn at a turn, the next is drawn by the same weights."""
    number = 200
    drawn = [plugins_by_turn(dict.fromkeys(PRIORITY, number), seed)[:number] for seed in range(100, 160)]
    following = Counter(b for turns in drawn for a, b in pairwise(turns) if a == before)
    assert chi_square(following, {name: 1 / priority for name, priority in PRIORITY.items()}) < ONE_IN_A_MILLION[2]


def test_a_plugin_that_is_done_leaves_the_others_their_weights() -> None:
    drawn = [plugins_by_turn({"one": 3, "two": 150, "five": 150}, seed) for seed in range(60)]
    counts: Counter[str] = Counter()
    for turns in drawn:
        last = max(number for number, name in enumerate(turns) if name == "one")
        counts.update(turns[last + 1 : last + 101])
    assert chi_square(counts, {"two": 1 / 2, "five": 1 / 5}) < ONE_IN_A_MILLION[1]


def test_destinations_are_drawn_by_what_stays_free() -> None:
    """Sites that are 0, 30, 50 and 80 % full; the copies themselves are too small to change that."""
    number, quota = 400, 10**9
    ballast = [("/big", "T2_B", 0.3), ("/bigger", "T2_C", 0.5), ("/biggest", "T2_D", 0.8)]
    replicas = [(name, site) for name, site, _ in ballast] + [(f"/small{n:03}", "T2_E") for n in range(number)]
    sites = ("T2_A", "T2_B", "T2_C", "T2_D", "T2_E")
    frames = small_inventory(replicas, sites=sites, quotas=dict.fromkeys(sites, quota), num_blocks=1, block_bytes=1)
    share = {name: int(share * quota) for name, _, share in ballast}
    named = frames.datasets.select("dataset_id", "dataset")
    size = named.select(
        "dataset_id", size_bytes=pl.col("dataset").replace_strict(share, default=1, return_dtype=pl.Int64)
    )
    frames = replace(
        frames,
        blocks=frames.blocks.drop("size_bytes").join(size, on="dataset_id"),
        block_replicas=frames.block_replicas.drop("size_bytes").join(size, on="dataset_id"),
    )
    small = named.filter(pl.col("dataset").str.starts_with("/small"))["dataset_id"].to_list()
    rows = [{"plugin": "one", "dataset_id": dataset} for dataset in small]
    counts = Counter(site for seed in range(10) for site in decide(frames, rows, seed).copies["site"])
    assert sum(counts.values()) == 10 * number
    weights = {"T2_A": 1.0, "T2_B": 0.7, "T2_C": 0.5, "T2_D": 0.2}
    assert chi_square(counts, weights) < ONE_IN_A_MILLION[3]
    assert chi_square(counts, dict.fromkeys(weights, 1.0)) > ONE_IN_A_MILLION[3]
    squared = {site: weight**2 for site, weight in weights.items()}
    assert chi_square(counts, squared) > ONE_IN_A_MILLION[3]
