"""Placement rules: what they restrict, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import PolicyError, SettingsError
from dynamo_ops.dealer.engine import placement
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.placement import Restriction, load_placement, make_rules
from dynamo_ops.inventory.frames import InventoryFrames
from tests.detox.small import NOW, small_inventory

CONFIG = """
partition: Disk
group: AnalysisOps
target_sites: ["*"]
target_site_occupancy: 0.9
max_site_pending_fraction: 0.5
max_total_cycle_volume: 1
plugins: {requests: {}}
"""
SITES = ("T1_D", "T1_MSS", "T2_A", "T2_B")
FRAMES = small_inventory([("/a/x/AOD", "T2_A"), ("/b/x/RAW", "T2_B")], sites=SITES)
ANALYSIS, DATA = 0, 1
PAIRS = pl.DataFrame(
    {"dataset_id": [0, 1, 0, 1], "group_id": [ANALYSIS, ANALYSIS, DATA, None]},
    schema={"dataset_id": pl.Int64, "group_id": pl.Int64},
)


def allowed(*rules: str) -> list[list[str]]:
    """By pair, the sites that are allowed."""
    config = load_config(CONFIG + "placement: [" + ", ".join(rules) + "]\n")
    found = load_placement(FRAMES, config, PAIRS, FRAMES.sites["site_id"].to_numpy(), now=NOW)
    return [[site for site, ok in zip(SITES, found.allowed[n], strict=True) if ok] for n in found.class_of]


ALL = list(SITES)


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        pytest.param([], [ALL] * 4, id="no rule"),
        pytest.param(["{sites: ['T1_*']}"], [["T1_D", "T1_MSS"]] * 4, id="all datasets"),
        pytest.param(["{sites: ['T*', '!T1_*']}"], [["T2_A", "T2_B"]] * 4, id="an excluded pattern"),
        pytest.param(["{storage_types: [disk]}"], [["T1_D", "T2_A", "T2_B"]] * 4, id="storage type"),
        pytest.param(
            ["{condition: 'dataset.name == /*/*/RAW', sites: ['T1_*']}"],
            [ALL, ["T1_D", "T1_MSS"], ALL, ["T1_D", "T1_MSS"]],
            id="condition",
        ),
        pytest.param(
            ["{groups: [Data*], sites: [T2_A]}"], [ALL, ALL, ["T2_A"], ALL], id="group; the null group is none"
        ),
        pytest.param(
            ["{sites: ['T1_*', T2_A]}", "{storage_types: [DISK]}"], [["T1_D", "T2_A"]] * 4, id="every rule must allow"
        ),
        pytest.param(["{sites: [nowhere]}"], [[]] * 4, id="a pattern that no site matches forbids all"),
    ],
)
def test_where_copies_may_go(rules: list[str], wanted: list[list[str]]) -> None:
    assert allowed(*rules) == wanted


def test_the_first_rule_that_forbids_is_named() -> None:
    config = load_config(
        CONFIG + "placement: [{sites: ['T*', '!T2_A']}, {condition: 'dataset.name == /a/*', sites: ['T1_*']}]\n"
    )
    found = load_placement(FRAMES, config, PAIRS, FRAMES.sites["site_id"].to_numpy(), now=NOW)
    rules = found.forbidden.filter(pl.col("placement") == found.class_of[0]).select("site_id", "rule").rows()
    assert rules == [
        (2, "placement.0: all only at T* !T2_A"),
        (3, "placement.1: dataset.name == /a/* only at T1_*"),
    ]


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        pytest.param(
            "{condition: 'dataset.name == /a'}",
            SettingsError,
            r"placement\.0.*sites or storage_types",
            id="forbids nothing",
        ),
        pytest.param("{sites: [T2_A], dataset: /a}", SettingsError, r"placement\.0\.dataset", id="unknown key"),
        pytest.param(
            "{type: patern, sites: [T2_A]}",
            SettingsError,
            r"placement\.0\.type: no placement rule type is called 'patern'.*patterns",
            id="unknown type",
        ),
        pytest.param(
            "{condition: 'dataset.nam == /a', sites: [T2_A]}",
            PolicyError,
            r"placement\.0\.condition.*dataset\.name",
            id="unknown variable",
        ),
    ],
)
def test_what_is_wrong_is_named(rule: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        allowed(rule)


class TwoBlocksOnly:
    """A rule of somebody else: datasets of two blocks stay at T1s."""

    def __init__(self, settings: Mapping[str, Any], *, key: str) -> None:
        self.glob, self.key = str(settings["at"]), key

    def restrict(
        self, frames: InventoryFrames, pairs: pl.DataFrame, *, now: datetime, attribute_max_age: timedelta
    ) -> Sequence[Restriction]:
        del now, attribute_max_age
        counts = frames.blocks.group_by("dataset_id").len()
        few = counts.filter(pl.col("len") == 2)["dataset_id"]
        sites = frames.sites.filter(pl.col("site").str.starts_with(self.glob))["site_id"]
        return [Restriction(pairs["dataset_id"].is_in(few.implode()), sites, f"{self.key}: two blocks")]


def test_rules_of_others_are_asked_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str, key: str) -> type[TwoBlocksOnly]:
        assert (name, key) == ("two-blocks", "placement.0")
        return TwoBlocksOnly

    monkeypatch.setattr(placement, "load_rule_type", found)
    assert allowed("{type: two-blocks, at: T1_}") == [["T1_D", "T1_MSS"]] * 4


def test_ours_is_found_by_its_entry_point() -> None:
    config = load_config(CONFIG + "placement: [{type: patterns, sites: [T2_A]}]\n")
    assert type(make_rules(config)[0]) is placement.PatternRule
