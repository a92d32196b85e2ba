"""Plugin requests."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from dynamo_ops.dealer.plugin import COPY_REQUESTS
from dynamo_ops.dealer.requests import RequestsPlugin
from tests.dealer.conformance import PluginConformance, make_context
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
    assert proposals(request, replicas=replicas).is_empty()
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
