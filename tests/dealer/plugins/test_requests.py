"""Plugin requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from dynamo_ops.dealer.engine.plugin import COPY_REQUESTS
from dynamo_ops.dealer.plugins.requests import RequestsPlugin
from tests.dealer.plugins.conformance import PluginConformance, make_context
from tests.detox.small import small_inventory

A, B, C = 0, 1, 2


class TestRequestsConformance(PluginConformance):
    plugin = RequestsPlugin


def proposals(
    *requests: tuple[str, list[str], int, str], replicas: Any = (("/a", "T2_A"),), **settings: Any
) -> pl.DataFrame:
    rows = [(1, *request) for request in requests]
    frame = pl.DataFrame(rows, schema=dict(COPY_REQUESTS), orient="row")
    return RequestsPlugin(settings).propose(small_inventory(list(replicas)), make_context(copy_requests=frame))


def test_zero_copies_means_one_at_each_site() -> None:
    assert proposals(("/a", ["T2_*"], 0, "AnalysisOps"))["site_id"].to_list() == [B, C]


def test_copies_that_are_there_count() -> None:
    found = proposals(("/a", ["T2_*"], 2, "AnalysisOps"))
    assert found.select("site_id", "candidate_site_ids").rows() == [(None, [B, C])]


def test_ownership_is_taken_from_overwritten_groups_only() -> None:
    request, replicas = ("/a", ["T2_A"], 1, "AnalysisOps"), [("/a", "T2_A", "DataOps")]
    (waiting,) = proposals(request, replicas=replicas).iter_rows(named=True)
    assert (waiting["site_id"], waiting["candidate_site_ids"]) == (None, [])
    assert waiting["reason"] == "request 1: 1 copy, 0 there; the other sites asked for have it for other groups"
    assert proposals(request, replicas=replicas, overwritten_groups=["DataOps"])["site_id"].to_list() == [A]


@pytest.mark.parametrize(("share", "is_whole"), [(0.5, False), (0.4, True)])
def test_many_blocks_become_the_dataset(share: float, is_whole: bool) -> None:
    found = proposals(("/a#b1", ["T2_B"], 0, "AnalysisOps"), block_request_max=share)
    assert found["block_ids"].to_list() == [None if is_whole else [1]]


@pytest.mark.parametrize(
    ("request_", "settings", "refused"),
    [
        pytest.param(("/no", ["T2_A"], 1, "AnalysisOps"), {}, "unknown dataset /no", id="unknown dataset"),
        pytest.param(("/a#no", ["T2_A"], 1, "AnalysisOps"), {}, "unknown block /a#no", id="unknown block"),
        pytest.param(("/a", ["T9_*"], 1, "AnalysisOps"), {}, "no site matches", id="no site"),
        pytest.param(("/a", ["T2_A"], 1, "nobody"), {}, "unknown group nobody", id="unknown group"),
        pytest.param(("/a", ["T2_B"], 1, "AnalysisOps"), {"max_size": 1e-10}, "above max_size", id="too large"),
    ],
)
def test_refused(request_: tuple[str, list[str], int, str], settings: dict[str, Any], refused: str) -> None:
    found = proposals(request_, **settings)
    assert found.height == 1
    assert refused in found["refused"][0]


def test_the_reason_says_what_is_asked_and_what_is_there() -> None:
    assert proposals(("/a", ["T2_*"], 2, "AnalysisOps"))["reason"].to_list() == ["request 1: 2 copies, 1 there"]
    each = proposals(("/a", ["T2_*"], 0, "AnalysisOps"))["reason"].unique().to_list()
    assert each == ["request 1: one copy at each of its sites, 1 there"]


def test_owners_are_changed_first_by_site_name_then_copies_are_drawn() -> None:
    replicas = [("/a", "T2_B", "DataOps"), ("/a", "T2_A", "DataOps")]
    found = proposals(("/a", ["T2_*"], 3, "AnalysisOps"), replicas=replicas, overwritten_groups=["DataOps"])
    assert found.select("site_id", "candidate_site_ids").rows() == [(A, None), (B, None), (None, [C])]
    assert found["group_id"].unique().to_list() == [0]


def test_no_more_draws_than_sites_are_free() -> None:
    found = proposals(("/a", ["T2_[AB]*"], 5, "AnalysisOps"))
    assert found.select("site_id", "candidate_site_ids").rows() == [(None, [B])]


def test_a_site_with_some_of_the_blocks_is_asked_for_all() -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")])
    cut = replace(
        frames, block_replicas=frames.block_replicas.filter((pl.col("site_id") != B) | (pl.col("block_id") != 1))
    )
    requests = pl.DataFrame([(1, "/a", ["T2_B"], 1, "AnalysisOps")], schema=dict(COPY_REQUESTS), orient="row")
    found = RequestsPlugin({}).propose(cut, make_context(copy_requests=requests))
    assert found.select("block_ids", "candidate_site_ids").rows() == [(None, [B])]


def test_copies_on_their_way_count_as_there() -> None:
    frames = small_inventory([("/a", "T2_A")])
    begun = replace(frames, block_replicas=frames.block_replicas.with_columns(is_complete=pl.lit(False)))
    requests = pl.DataFrame([(1, "/a", ["T2_A"], 1, "AnalysisOps")], schema=dict(COPY_REQUESTS), orient="row")
    assert RequestsPlugin({}).propose(begun, make_context(copy_requests=requests)).is_empty()


def test_blocks_of_one_request_go_together_and_datasets_apart() -> None:
    rows = [
        (1, "/b#b1", ["T2_C"], 0, "AnalysisOps"),
        (1, "/a#b1", ["T2_C"], 0, "AnalysisOps"),
        (1, "/b#b0", ["T2_C"], 0, "AnalysisOps"),
        (2, "/a", ["T2_C"], 0, "DataOps"),
        (2, "/a#b0", ["T2_C"], 0, "DataOps"),
    ]
    requests = pl.DataFrame(rows, schema=dict(COPY_REQUESTS), orient="row")
    frames = small_inventory([("/a", "T2_A"), ("/b", "T2_B")], num_blocks=3)
    found = RequestsPlugin({}).propose(frames, make_context(copy_requests=requests))
    assert found.select("request_id", "dataset_id", "block_ids", "site_id", "group_id").rows() == [
        (1, 0, [1], C, 0),
        (1, 1, [3, 4], C, 0),
        (2, 0, None, C, 1),
    ]


@pytest.mark.parametrize(
    ("sites", "asked"),
    [
        pytest.param(["T2_[AC]*"], [C], id="a set of letters"),
        pytest.param(["T2_?"], [B, C], id="question mark"),
        pytest.param(["T2_C", "T2_*", "T2_C"], [B, C], id="the same site by several patterns"),
        pytest.param(["T2_C", "T9_*"], [C], id="a pattern that matches none"),
    ],
)
def test_sites_are_named_or_matched(sites: list[str], asked: list[int]) -> None:
    assert proposals(("/a", sites, 0, "AnalysisOps"))["site_id"].to_list() == asked


def test_one_request_that_is_refused_does_not_touch_another() -> None:
    rows = [(1, "/no", ["T2_B"], 1, "AnalysisOps"), (2, "/a", ["T2_B"], 1, "AnalysisOps")]
    requests = pl.DataFrame(rows, schema=dict(COPY_REQUESTS), orient="row")
    found = RequestsPlugin({}).propose(small_inventory([("/a", "T2_A")]), make_context(copy_requests=requests))
    assert found.select("request_id", "dataset_id", "refused").rows() == [
        (1, None, "unknown dataset /no"),
        (2, 0, None),
    ]
