"""Plugin balancer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.dealer.plugins.balancer import BalancerPlugin
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from tests.dealer.plugins.conformance import LAST_COPY, PluginConformance, make_context, make_cycle
from tests.detox.small import NOW, small_inventory

A, B, C, TAPE = range(4)
SITES = ("T2_A", "T2_B", "T2_C", "T1_MSS")
SETTINGS: Mapping[str, Any] = {"target_reasons": {LAST_COPY: 1}, "max_cycle_volume": 1.0}
Replicas = Sequence[tuple[str, str] | tuple[str, str, str]]
Decision = tuple[int, int, str, str | None, int]


class TestBalancerConformance(PluginConformance):
    plugin = BalancerPlugin
    settings = SETTINGS


def inventory(replicas: Replicas, **quotas: int | None) -> InventoryFrames:
    """Datasets of 100 bytes (two blocks of 50); quotas are 1000 where not given."""
    found = {site: quotas.get(site, 1000) for site in SITES}
    return small_inventory(replicas, sites=SITES, quotas=found, block_bytes=50)


def protect(dataset: int, site: int, size: int = 100, reason: str | None = LAST_COPY) -> Decision:
    return (dataset, site, "protect", reason, size)


def propose(frames: InventoryFrames, *decisions: Decision, **settings: Any) -> pl.DataFrame:
    context = make_context(detox=make_cycle(*decisions))
    return BalancerPlugin({**SETTINGS, **settings}).propose(frames, context)


def proposed(frames: InventoryFrames, *decisions: Decision, **settings: Any) -> list[int]:
    """Datasets, in the order proposed."""
    found = propose(frames, *decisions, **settings)
    assert found["block_ids"].null_count() == found["site_id"].null_count() == found.height
    return found["dataset_id"].to_list()


AT_A: Replicas = [(name, "T2_A") for name in ("/a", "/b", "/c", "/d")]
KNOWN_B: Decision = (9, B, "keep", None, 100)
"""Nothing is protected at B."""


@pytest.mark.parametrize(
    ("other", "number"),
    [pytest.param(160, 2, id="two"), pytest.param(350, 1, id="just 5 %"), pytest.param(351, 0, id="less than 5 %")],
)
def test_from_the_fullest_until_less_than_five_percent_apart(other: int, number: int) -> None:
    """Site A holds 40 %, B ``other`` / 1000."""
    decisions = [*(protect(number, A) for number in range(4)), protect(9, B, other)]
    assert proposed(inventory(AT_A, T2_C=0), *decisions) == [0, 1][:number]


def test_the_smallest_on_disk_goes_first_ties_by_name() -> None:
    decisions = [protect(0, A, 90), protect(1, A, 30), protect(2, A, 30), protect(3, A, 20)]
    assert proposed(inventory(AT_A, T2_A=100), *decisions, KNOWN_B, max_cycle_volume=350e-12) == [3, 1]


def test_the_full_size_of_the_dataset_is_subtracted() -> None:
    """Site A: 60 bytes of 1000 protected, of a dataset of 100: the second is not asked for any more."""
    assert proposed(inventory(AT_A), protect(0, A, 30), protect(1, A, 30), KNOWN_B) == [0]


def test_sites_take_turns_ties_by_name() -> None:
    frames = inventory([("/a", "T2_B"), ("/b", "T2_A"), ("/c", "T2_B"), ("/d", "T2_A")])
    decisions = [protect(0, B), protect(1, A), protect(2, B), protect(3, A)]
    assert proposed(frames, *decisions, (9, C, "keep", None, 1)) == [1, 0, 3, 2]


def test_a_site_without_candidates_leaves() -> None:
    """Site A is the fullest, with nothing that may be copied; of the others B is the fuller one."""
    frames = inventory([*AT_A, ("/e", "T2_B")])
    decisions = [protect(0, A, 900, reason="dataset.name == /a"), protect(4, B), (9, C, "keep", None, 1)]
    assert proposed(frames, *decisions) == [4]


def test_a_dataset_may_be_proposed_for_each_of_its_sites_once() -> None:
    frames = inventory([("/a", "T2_A"), ("/a", "T2_B")])
    decisions = [protect(0, A), protect(0, A, 20), protect(0, B), (9, C, "keep", None, 1)]
    assert proposed(frames, *decisions, target_reasons={LAST_COPY: 2}) == [0, 0]


def test_all_protected_bytes_count_whatever_their_reason() -> None:
    assert proposed(inventory(AT_A), protect(0, A), protect(1, A, 300, reason=None), KNOWN_B) == [0]
    small = [protect(0, A, 40), (1, A, "keep", None, 900), (2, A, "delete", None, 900)]
    assert proposed(inventory(AT_A), *small, KNOWN_B) == []


@pytest.mark.parametrize(
    ("quota", "number"),
    [
        pytest.param(1000, 1, id="a quota"),
        pytest.param(0, 0, id="nothing may be there"),
        pytest.param(-1, 0, id="unlimited"),
        pytest.param(None, 0, id="unknown"),
    ],
)
def test_only_sites_with_a_quota_above_zero_take_part(quota: int | None, number: int) -> None:
    assert len(proposed(inventory(AT_A, T2_A=quota), protect(0, A), KNOWN_B)) == number


@pytest.mark.parametrize(
    ("site", "status", "decisions", "number"),
    [
        pytest.param(B, "ready", [], 1, id="a ready disk"),
        pytest.param(B, "morgue", [], 0, id="out of service"),
        pytest.param(B, "morgue", [(1, B, "keep", None, 1)], 1, id="out of service, something decided"),
        pytest.param(TAPE, "ready", [], 0, id="tape"),
        pytest.param(TAPE, "ready", [(1, TAPE, "ignore", None, 1)], 0, id="tape that is ignored"),
        pytest.param(TAPE, "ready", [(1, TAPE, "delete", None, 1)], 1, id="tape, something decided"),
    ],
)
def test_a_site_where_nothing_is_protected_is_the_emptiest(
    site: int, status: str, decisions: list[Decision], number: int
) -> None:
    """Apart from T2_A only this site has a quota."""
    frames = inventory(AT_A, **{name: 0 for place, name in enumerate(SITES) if place not in (A, site)})
    frames = replace(frames, sites=frames.sites.with_columns(status=pl.lit(status)))
    text = "Disk: site.name == T*\n"
    context = make_context(partitions=load_partitions(text, now=NOW), detox=make_cycle(protect(0, A), *decisions))
    assert BalancerPlugin(SETTINGS).propose(frames, context).height == number


@pytest.mark.parametrize(
    ("other", "is_candidate"),
    [
        pytest.param(None, True, id="the last copy"),
        pytest.param(("/a", "T2_B"), False, id="two on disk"),
        pytest.param(("/a", "T2_B", "DataOps"), False, id="of another owner"),
        pytest.param(("/a", "T1_MSS"), True, id="tape does not count"),
    ],
)
def test_at_most_so_many_disk_replicas(other: tuple[str, str] | None, is_candidate: bool) -> None:
    frames = inventory([("/a", "T2_A"), *([other] if other else [])])
    assert bool(proposed(frames, protect(0, A), KNOWN_B)) == is_candidate
    assert proposed(frames, protect(0, A), KNOWN_B, target_reasons={LAST_COPY: 2}) == [0]


def at_b(frames: InventoryFrames, **changes: Any) -> InventoryFrames:
    """``frames`` with these columns of the block replicas at B."""
    there = pl.col("site_id") == B
    columns = {name: pl.when(there).then(value).otherwise(pl.col(name)) for name, value in changes.items()}
    return replace(frames, block_replicas=frames.block_replicas.with_columns(**columns))


def without_last_block(frames: InventoryFrames) -> InventoryFrames:
    """``frames`` in which B lacks block 1."""
    left = (pl.col("site_id") != B) | (pl.col("block_id") != 1)
    return replace(frames, block_replicas=frames.block_replicas.filter(left))


def test_incomplete_replicas_count_partial_ones_do_not() -> None:
    frames = inventory([("/a", "T2_A"), ("/a", "T2_B")])
    assert proposed(at_b(frames, is_complete=pl.lit(False)), protect(0, A), KNOWN_B) == []
    assert proposed(without_last_block(frames), protect(0, A), KNOWN_B) == [0]
    both = at_b(without_last_block(frames), is_complete=pl.lit(False))
    assert proposed(both, protect(0, A), KNOWN_B) == []


def test_replicas_outside_the_partition_do_not_count() -> None:
    frames = inventory([("/a", "T2_A"), ("/a", "T2_B", "DataOps")])
    partitions = load_partitions("P: blockreplica.owner == AnalysisOps\n", now=NOW)
    context = make_context(partition="P", partitions=partitions, detox=make_cycle(protect(0, A), KNOWN_B))
    of_p = replace(frames, quotas=frames.quotas.with_columns(partition=pl.lit("P")))
    assert BalancerPlugin(SETTINGS).propose(of_p, context)["dataset_id"].to_list() == [0]


@pytest.mark.parametrize(("most", "number"), [(100e-12, 1), (99e-12, 0), (None, 1)])
def test_what_is_protected_there_is_limited_in_size(most: float | None, number: int) -> None:
    assert len(proposed(inventory(AT_A), protect(0, A, 100), KNOWN_B, max_dataset_size=most)) == number


@pytest.mark.parametrize(("most", "number"), [(100e-12, 1), (101e-12, 2), (200e-12, 2), (0.5, 4)])
def test_stops_when_the_proposed_sizes_reach_the_volume(most: float, number: int) -> None:
    four = [protect(number, A) for number in range(4)]
    assert len(proposed(inventory(AT_A), *four, KNOWN_B, max_cycle_volume=most)) == number


def test_what_is_nowhere_any_more_is_not_proposed() -> None:
    frames = inventory(AT_A)
    gone = replace(frames, block_replicas=frames.block_replicas.filter(pl.col("dataset_id") != 0))
    assert proposed(gone, protect(0, A), KNOWN_B) == []


@pytest.mark.parametrize("written", [f"  {LAST_COPY} ", LAST_COPY.replace(" ", "\t  ")])
def test_blanks_in_a_reason_mean_nothing(written: str) -> None:
    assert proposed(inventory(AT_A), protect(0, A), KNOWN_B, target_reasons={written: 1}) == [0]
    assert proposed(inventory(AT_A), protect(0, A, reason=written), KNOWN_B) == [0]


def test_a_reason_that_no_line_has_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert proposed(inventory(AT_A), protect(0, A), KNOWN_B, target_reasons={LAST_COPY[:-1] + "3": 1}) == []
    (record,) = caplog.records
    assert "no line of the last Detox cycle has decided for" in record.getMessage()
    assert record.getMessage().endswith(f"Did you mean {LAST_COPY}?")


def test_the_reason_has_the_figures() -> None:
    found = propose(inventory(AT_A), protect(0, A), KNOWN_B)
    text = "T2_A holds 10.0% of its quota as protected data, T2_B 0.0%: a copy of 100 B elsewhere; protected there: "
    assert found["reason"].to_list() == [text + LAST_COPY]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        pytest.param({"target_reasons": {}}, "target_reasons", id="no reason"),
        pytest.param({"target_reasons": {"x": -1}}, "target_reasons.x", id="negative number"),
        pytest.param({"max_cycle_volume": 0}, "max_cycle_volume", id="no volume"),
        pytest.param({"max_dataset_size": 0}, "max_dataset_size", id="no size"),
    ],
)
def test_wrong_settings_are_named(settings: Mapping[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        BalancerPlugin({**SETTINGS, **settings})
    assert caught.value.facts["key"] == f"plugins.balancer.{key}"
