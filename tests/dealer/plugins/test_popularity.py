"""Plugin popularity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError, SettingsError
from dynamo_ops.dealer.plugins.popularity import PopularityPlugin
from dynamo_ops.inventory import frames as f
from tests.dealer.plugins.conformance import PluginConformance, make_context, with_weights
from tests.detox.small import small_inventory

SETTINGS: Mapping[str, Any] = {
    "source_groups": ["AnalysisOps"],
    "max_replication": 5,
    "request_to_replica_threshold": 10,
}
Replicas = list[tuple[str, str] | tuple[str, str, str]]
A: Replicas = [("/a", "T2_A")]


class TestPopularityConformance(PluginConformance):
    plugin = PopularityPlugin
    settings: ClassVar[Mapping[str, Any]] = {**SETTINGS, "condition": "dataset.usage_rank < 5"}


def proposed(weights: Mapping[str, float], replicas: Replicas, **settings: Any) -> list[str]:
    """Names of the datasets, in the order proposed."""
    frames = with_weights(small_inventory(replicas, sites=("T2_A", "T2_B", "T2_C", "T1_MSS")), weights)
    found = PopularityPlugin({**SETTINGS, **settings}).propose(frames, make_context())
    return found.join(frames.datasets, on="dataset_id", maintain_order="left")["dataset"].to_list()


@pytest.mark.parametrize(
    ("weight", "number"),
    [
        pytest.param(0.0, 0, id="none waits"),
        pytest.param(-30.0, 0, id="negative"),
        pytest.param(10.0, 0, id="exactly the one that is there"),
        pytest.param(10.1, 1, id="rounded up"),
        pytest.param(30.0, 2, id="two more"),
        pytest.param(1e30, 4, id="at most max_replication"),
        pytest.param(float("nan"), 0, id="not a number is unknown"),
        pytest.param(float("inf"), 0, id="infinite is unknown"),
    ],
)
def test_copies_by_weight(weight: float, number: int) -> None:
    assert len(proposed({"/a": weight}, A)) == number


def test_a_dataset_without_weight_gets_none() -> None:
    assert proposed({}, A) == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("/a", "T2_B"), id="disk"),
        pytest.param(("/a", "T1_MSS"), id="tape"),
        pytest.param(("/a", "T2_B", "DataOps"), id="of another owner"),
        pytest.param(("/a", "T2_B", "None"), id="of nobody"),
    ],
)
def test_any_replica_counts(other: tuple[str, str] | tuple[str, str, str]) -> None:
    assert len(proposed({"/a": 30}, [*A, other])) == 1


def test_replicas_without_a_block_count_and_incomplete_ones_too() -> None:
    frames = with_weights(small_inventory([*A, ("/a", "T2_B"), ("/a", "T2_C")]), {"/a": 40})
    at_b, at_c = pl.col("site_id") == 1, pl.col("site_id") == 2
    blocks = frames.block_replicas.filter(~at_b).with_columns(is_complete=~at_c)
    assert PopularityPlugin(SETTINGS).propose(replace(frames, block_replicas=blocks), make_context()).height == 1


def test_the_heaviest_first_round_robin_ties_by_name() -> None:
    weights = {"/a": 30.0, "/b": 50.0, "/c": 30.0, "/d": 20.0}
    replicas: Replicas = [(name, "T2_A") for name in weights]
    assert proposed(weights, replicas, max_replication=3) == ["/b", "/a", "/c", "/d", "/b", "/a", "/c"]


def test_some_block_must_belong_to_a_source_group() -> None:
    assert proposed({"/a": 20}, [("/a", "T2_A", "DataOps")]) == []
    assert proposed({"/a": 20}, [("/a", "T2_A", "DataOps")], source_groups=["DataOps"]) == ["/a"]
    assert proposed({"/a": 30}, [("/a", "T2_A", "DataOps"), ("/a", "T2_B")]) == ["/a"]


def test_the_null_group_is_called_none() -> None:
    assert proposed({"/a": 20}, [("/a", "T2_A", "None")]) == []
    assert proposed({"/a": 20}, [("/a", "T2_A", "None")], source_groups=["None"]) == ["/a"]


@pytest.mark.parametrize(("most", "number"), [(200e-12, 1), (199e-12, 0), (None, 1)])
def test_the_size_of_the_whole_dataset_is_limited(most: float | None, number: int) -> None:
    assert len(proposed({"/a": 20}, A, max_dataset_size=most)) == number


def test_the_condition_selects() -> None:
    both: Replicas = [*A, ("/b", "T2_A")]
    assert proposed({"/a": 20, "/b": 20}, both, condition="dataset.name == /b") == ["/b"]


def test_the_reason_has_the_figures() -> None:
    frames = with_weights(small_inventory(A), {"/a": 85.3})
    settings = {**SETTINGS, "request_to_replica_threshold": 20, "max_replication": 3}
    reason = "request weight 85.3, threshold 20: 5 copies wanted (at most 3), 1 there"
    assert PopularityPlugin(settings).propose(frames, make_context())["reason"].to_list() == [reason] * 2


def test_attributes_of_the_condition_are_named() -> None:
    assert PopularityPlugin(SETTINGS).attributes() == ("request_weight",)
    condition = "dataset.usage_rank < 5 and dataset.last_access older_than 90 days ago"
    found = PopularityPlugin({**SETTINGS, "condition": condition}).attributes()
    assert found == ("last_access", "request_weight", "usage_rank")


def test_an_attribute_of_the_condition_that_is_not_there_is_named() -> None:
    frames = with_weights(small_inventory(A), {"/a": 20})
    plugin = PopularityPlugin({**SETTINGS, "condition": "dataset.usage_rank < 5"})
    with pytest.raises(PlanError, match="usage_rank was never produced"):
        plugin.propose(replace(frames, attributes=f.empty(f.ATTRIBUTES)), make_context())


def test_how_old_an_attribute_of_the_condition_may_be_is_as_for_the_plan() -> None:
    frames = with_weights(small_inventory(A), {"/a": 20})
    frames = with_weights(frames, {"/a": 1}, name="usage_rank")
    plugin = PopularityPlugin({**SETTINGS, "condition": "dataset.usage_rank < 5"})
    later = make_context().now + timedelta(days=9)
    assert not plugin.propose(frames, make_context(now=later, attribute_max_age=timedelta(days=10))).is_empty()
    with pytest.raises(PlanError, match="usage_rank"):
        plugin.propose(frames, make_context(now=later, attribute_max_age=timedelta(days=8)))


@pytest.mark.parametrize(
    ("settings", "key", "says"),
    [
        pytest.param({"condition": "dataset.nam == /a"}, "condition", "Did you mean", id="unknown variable"),
        pytest.param({"condition": "site.name == T2"}, "condition", "cannot be asked", id="not of datasets"),
        pytest.param({"source_groups": []}, "source_groups", "at least 1", id="no group"),
        pytest.param({"max_replication": 0}, "max_replication", "greater than or equal to 1", id="no replica"),
        pytest.param({"request_to_replica_threshold": 0}, "request_to_replica_threshold", "greater", id="threshold 0"),
        pytest.param({"max_dataset_size": -1}, "max_dataset_size", "greater than 0", id="negative size"),
    ],
)
def test_wrong_settings_are_named(settings: Mapping[str, Any], key: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        PopularityPlugin({**SETTINGS, **settings})
    assert caught.value.facts["key"] == f"plugins.popularity.{key}"


def test_an_unknown_group_is_named_with_near_ones() -> None:
    message = r"plugins\.popularity\.source_groups: no group is called 'AnalysisOp'\. Did you mean AnalysisOps\?"
    with pytest.raises(SettingsError, match=message):
        proposed({"/a": 20}, A, source_groups=["AnalysisOp"])
