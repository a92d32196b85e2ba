"""Plugin undertaker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import polars as pl
import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.dealer.plugins.undertaker import UndertakerPlugin
from dynamo_ops.inventory.frames import InventoryFrames
from tests.dealer.plugins.conformance import PluginConformance, make_context, make_cycle
from tests.detox.small import small_inventory

SITES = ("T2_A", "T2_B", "T2_C", "T1_MSS")
A, B, C, TAPE = range(4)
Rows = list[tuple[int, list[int] | None]]
Replicas = list[tuple[str, str] | tuple[str, str, str]]


class TestUndertakerConformance(PluginConformance):
    plugin = UndertakerPlugin
    settings: ClassVar[Mapping[str, Any]] = {"additional_sites": ["T2_A"]}


def inventory(replicas: Replicas, **statuses: str) -> InventoryFrames:
    frames = small_inventory(replicas, sites=SITES)
    status = pl.col("site").replace_strict(statuses, default="ready", return_dtype=pl.String)
    return replace(frames, sites=frames.sites.with_columns(status=status))


def propose(frames: InventoryFrames, *protected: tuple[int, int], **settings: Any) -> pl.DataFrame:
    cycle = make_cycle(*((dataset, site, "protect", None, 1) for dataset, site in protected))
    return UndertakerPlugin(settings).propose(frames, make_context(detox=cycle))


def proposed(frames: InventoryFrames, *protected: tuple[int, int], **settings: Any) -> Rows:
    return propose(frames, *protected, **settings).select("dataset_id", "block_ids").rows()


@pytest.mark.parametrize("status", ["waitroom", "morgue", "unknown", "MORGUE"])
def test_what_is_only_at_a_site_that_is_not_ready(status: str) -> None:
    assert proposed(inventory([("/a", "T2_A")], T2_A=status), (0, A)) == [(0, None)]


def test_a_ready_site_loses_nothing_unless_it_is_named() -> None:
    frames = inventory([("/a", "T2_A")])
    assert proposed(frames, (0, A)) == []
    assert proposed(frames, (0, A), additional_sites=["T2_A"]) == [(0, None)]


@pytest.mark.parametrize("decision", ["keep", "delete", "ignore", "reowned"])
def test_only_what_detox_protects(decision: str) -> None:
    frames = inventory([("/a", "T2_A")], T2_A="morgue")
    cycle = make_cycle((0, A, decision, None, 200))
    assert UndertakerPlugin({}).propose(frames, make_context(detox=cycle)).is_empty()


def test_protection_elsewhere_does_not_help() -> None:
    assert proposed(inventory([("/a", "T2_A"), ("/b", "T2_B")], T2_A="morgue"), (1, B)) == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("/a", "T2_B"), id="on disk"),
        pytest.param(("/a", "T1_MSS"), id="on tape"),
        pytest.param(("/a", "T2_B", "DataOps"), id="of another owner"),
        pytest.param(("/a", "T2_B", "None"), id="of the null group"),
    ],
)
def test_a_block_replica_elsewhere_is_enough(other: tuple[str, str]) -> None:
    assert proposed(inventory([("/a", "T2_A"), other], T2_A="morgue"), (0, A)) == []


def test_an_incomplete_one_elsewhere_is_enough() -> None:
    frames = inventory([("/a", "T2_A"), ("/a", "T2_B")], T2_A="morgue")
    there = frames.block_replicas.with_columns(is_complete=pl.col("site_id") != B)
    assert proposed(replace(frames, block_replicas=there), (0, A)) == []


def test_only_the_blocks_that_are_nowhere_else() -> None:
    frames = inventory([("/a", "T2_A"), ("/a", "T2_B")], T2_A="morgue")
    there = frames.block_replicas.filter((pl.col("site_id") == A) | (pl.col("block_id") == 0))
    assert proposed(replace(frames, block_replicas=there), (0, A)) == [(0, [1])]


def test_other_bad_sites_are_not_elsewhere_and_each_asks() -> None:
    frames = inventory([("/a", "T2_B"), ("/a", "T2_A"), ("/a", "T2_C")], T2_A="morgue", T2_B="waitroom")
    assert proposed(frames, (0, A), (0, B)) == []
    both = propose(frames, (0, B), (0, A), additional_sites=["T2_C"])
    assert both["dataset_id"].to_list() == [0, 0]
    assert [reason.split("here ")[1][:4] for reason in both["reason"]] == ["T2_A", "T2_B"]


def test_tape_that_is_not_ready_is_bad_as_well() -> None:
    frames = inventory([("/a", "T2_A"), ("/a", "T1_MSS")], T2_A="morgue", T1_MSS="morgue")
    assert proposed(frames, (0, A)) == [(0, None)]


def test_several_protected_rows_of_a_replica_are_one_request() -> None:
    assert proposed(inventory([("/a", "T2_A")], T2_A="morgue"), (0, A), (0, A)) == [(0, None)]


def test_a_protected_replica_that_is_gone_is_no_request() -> None:
    assert proposed(inventory([("/a", "T2_B"), ("/b", "T2_A")], T2_A="morgue"), (0, A)) == []


def test_sorted_by_dataset_whatever_the_sites() -> None:
    frames = inventory([("/b", "T2_A"), ("/a", "T2_B"), ("/c", "T2_A")], T2_A="morgue", T2_B="morgue")
    assert proposed(frames, (2, A), (1, A), (0, B)) == [(0, None), (1, None), (2, None)]


def test_the_engine_draws_but_never_a_site_that_is_to_be_emptied() -> None:
    frames = inventory([("/a", "T2_A")], T2_A="morgue")
    assert propose(frames, (0, A)).select("site_id", "candidate_site_ids").rows() == [(None, None)]
    found = propose(frames, (0, A), additional_sites=["T2_B"])
    assert found.select("site_id", "candidate_site_ids").rows() == [(None, [TAPE, C])]


@pytest.mark.parametrize(
    ("statuses", "additional", "why"),
    [({"T2_A": "morgue"}, [], "status morgue"), ({}, ["T2_A"], "to be emptied")],
    ids=["status", "named"],
)
def test_the_reason_says_where_why_and_how_much(statuses: Mapping[str, str], additional: list[str], why: str) -> None:
    found = propose(inventory([("/a", "T2_A")], **statuses), (0, A), additional_sites=additional)
    text = f"only at sites out of service, here T2_A ({why}): the dataset, 200 B"
    assert found["reason"].to_list() == [text]


def test_an_unknown_site_is_named_with_near_ones() -> None:
    message = r"plugins\.undertaker\.additional_sites: no site is called 'T2_AA'\. Did you mean T2_A"
    with pytest.raises(SettingsError, match=message):
        propose(inventory([("/a", "T2_A")]), (0, A), additional_sites=["T2_AA"])
