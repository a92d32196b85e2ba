"""Plugin enforcer."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError, PolicyError, SettingsError
from dynamo_ops.dealer.plugins.enforcer import EnforcerPlugin
from dynamo_ops.dealer.plugins.enforcer_state import RuleState, rule_states
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from tests.dealer.plugins.conformance import PluginConformance, make_context, make_frames, with_weights
from tests.detox.small import NOW, small_inventory

RULE = "rules: {r: {num_copies: %s, destinations: [site.name == T2_*], sources: [site.name == T2_*], replicas: [%s]}}"


class TestEnforcerConformance(PluginConformance):
    plugin = EnforcerPlugin


def asked(replicas: list[tuple[str, str, str]], num_copies: int) -> list[int]:
    rules = load_rules(RULE % (num_copies, "dataset.name == /a"), now=NOW)
    found = EnforcerPlugin({}).propose(small_inventory(replicas), make_context(enforcer_rules=rules))
    return found["site_id"].to_list()


@pytest.mark.parametrize(
    ("replicas", "num_copies", "number"),
    [
        pytest.param([("/a", "T2_A", "AnalysisOps")], 1, 0, id="enough"),
        pytest.param([("/a", "T2_A", "AnalysisOps")], 3, 2, id="two lacking"),
        pytest.param([("/a", "T2_A", "AnalysisOps")], 9, 2, id="no more than destinations"),
        pytest.param([("/b", "T2_A", "AnalysisOps")], 2, 0, id="no matching dataset"),
    ],
)
def test_number_of_copies(replicas: list[tuple[str, str, str]], num_copies: int, number: int) -> None:
    found = asked(replicas, num_copies)
    assert len(found) == number
    assert len(set(found)) == number


def test_changes_of_owner_come_first() -> None:
    assert asked([("/a", "T2_A", "AnalysisOps"), ("/a", "T2_C", "DataOps")], 2) == [2]


def state_of(frames: InventoryFrames, rule: str, **changes: Any) -> RuleState:
    """What a rule, written without its braces, finds."""
    (found,) = rule_states(frames, make_context(**changes), load_rules(f"rules: {{r: {{{rule}}}}}", now=NOW))
    return found


def rule(**changes: str) -> str:
    parts = {"num_copies": "2", "destinations": "[site.name == T2_*]", "sources": "[site.name == *]"}
    return ", ".join(
        f"{key}: {value}" for key, value in {**parts, "replicas": "['dataset.name == /*']", **changes}.items()
    )


def at_b(frames: InventoryFrames, value: pl.Expr, column: str) -> InventoryFrames:
    """``frames`` with another value in a column of the block replicas at T2_B."""
    there = pl.when(pl.col("site_id") == 1).then(value).otherwise(pl.col(column)).alias(column)
    return replace(frames, block_replicas=frames.block_replicas.with_columns(there))


TWO = small_inventory([("/a", "T2_A"), ("/a", "T2_B")])
FIRST_BLOCK = pl.col("block_id") == 0


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        pytest.param(TWO, "complete", id="all blocks, complete, of the group"),
        pytest.param(at_b(TWO, ~FIRST_BLOCK, "is_complete"), "en route", id="a block is incomplete"),
        pytest.param(at_b(TWO, pl.lit(1), "group_id"), "owner change", id="of another group"),
        pytest.param(at_b(TWO, FIRST_BLOCK.cast(pl.Int64), "group_id"), "owner change", id="a block of another group"),
        pytest.param(
            at_b(at_b(TWO, pl.lit(1), "group_id"), ~FIRST_BLOCK, "is_complete"),
            "owner change",
            id="of another group, incomplete",
        ),
        pytest.param(at_b(TWO, pl.when(FIRST_BLOCK).then(0), "group_id"), None, id="a block of the null group"),
        pytest.param(
            replace(TWO, block_replicas=TWO.block_replicas.filter((pl.col("site_id") == 0) | FIRST_BLOCK)),
            None,
            id="partial",
        ),
    ],
)
def test_what_a_replica_at_a_destination_is(frames: InventoryFrames, kind: str | None) -> None:
    there = state_of(frames, rule()).present.filter(pl.col("site_id") == 1)
    assert there["kind"].to_list() == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("replicas", "num_copies", "state", "missing"),
    [
        pytest.param(["T2_A", "T2_B"], 2, "enough complete", 0, id="both complete"),
        pytest.param(["T2_A", "T2_B"], 9, "missing", 1, id="no more than destinations"),
        pytest.param(["T2_A", "T2_B", "T2_C"], 9, "enough complete", 0, id="at all destinations"),
        pytest.param(["T1_MSS"], 2, "missing", 2, id="none at a destination"),
    ],
)
def test_states(replicas: list[str], num_copies: int, state: str, missing: int) -> None:
    frames = small_inventory([("/a", site) for site in replicas], sites=("T2_A", "T2_B", "T2_C", "T1_MSS"))
    found = state_of(frames, rule(num_copies=str(num_copies), partition="All"))
    assert found.datasets.select("state", "num_missing").row(0) == (state, missing)


def test_en_route_counts_but_is_not_complete() -> None:
    found = state_of(at_b(TWO, pl.lit(False), "is_complete"), rule())
    assert found.datasets.select("state", "num_complete", "num_en_route", "num_missing").rows() == [
        ("en route", 1, 1, 0)
    ]


def test_the_site_s_status_plays_no_part() -> None:
    frames = replace(TWO, sites=TWO.sites.with_columns(status=pl.lit("morgue")))
    assert state_of(frames, rule(num_copies="3")).datasets["num_missing"].to_list() == [1]


def test_a_replica_counts_if_any_of_its_blocks_is_in_the_partition() -> None:
    """Partition of DataOps: T2_A has one block of it, so all of T2_A is seen; T2_B has none."""
    owner = pl.when((pl.col("site_id") == 0) & FIRST_BLOCK).then(1).otherwise(0)
    frames = replace(TWO, block_replicas=TWO.block_replicas.with_columns(group_id=owner))
    partitions = load_partitions("Ops: blockreplica.owner == DataOps\n", now=NOW)
    found = state_of(frames, rule(partition="Ops"), partitions=partitions)
    assert found.present.select("site_id", "kind").rows() == [(0, "owner change")]


def test_the_rule_s_group_is_to_own_the_copies() -> None:
    found = state_of(TWO, rule(destination_group="DataOps"))
    assert (found.group_id, found.present["kind"].to_list()) == (1, ["owner change", "owner change"])


@pytest.mark.parametrize(
    ("condition", "datasets"),
    [
        pytest.param("['dataset.name == /a']", ["/a"], id="of datasets"),
        pytest.param("['dataset.name == /a', 'dataset.name == /b']", ["/a", "/b"], id="one of several"),
        pytest.param("['site.name == T2_B']", ["/b"], id="of sites"),
        pytest.param("['dataset.name == /* and site.name == T2_B']", ["/b"], id="of both"),
        pytest.param("['dataset.num_full_disk_copy > 1']", ["/c"], id="copies are counted"),
        pytest.param("['dataset.num_full_disk_copy > 1 and dataset.name == /a']", [], id="counted, of few datasets"),
        pytest.param("['replica.owners == DataOps']", ["/c"], id="of replicas"),
        pytest.param("['dataset.usage_rank > 3']", ["/b"], id="an attribute"),
        pytest.param("['dataset.name == /a until 2001-01-01']", [], id="not in force"),
    ],
)
def test_datasets_that_a_rule_is_about(condition: str, datasets: list[str]) -> None:
    replicas = [("/a", "T2_A"), ("/b", "T2_B"), ("/c", "T2_A"), ("/c", "T2_C", "DataOps")]
    frames = small_inventory(replicas, ranks={"/a": 1, "/b": 5})
    assert state_of(frames, rule(replicas=condition)).datasets["dataset"].to_list() == datasets


def test_the_same_replica_must_match_and_be_at_a_source() -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B", "DataOps")])
    of_ops = {"replicas": "['replica.owners == DataOps']"}
    assert state_of(frames, rule(**of_ops, sources="[site.name == T2_B]")).datasets.height == 1
    assert state_of(frames, rule(**of_ops, sources="[site.name == T2_A]")).datasets.height == 0


def draws(num_copies: int, *, seed: int = 7) -> Counter[tuple[int, ...]]:
    """Of 600 datasets on tape that lack so many copies at three sites: which sites were drawn, in order."""
    replicas = [(f"/{number}", "T1_MSS") for number in range(600)]
    frames = small_inventory(replicas, sites=("T2_A", "T2_B", "T2_C", "T1_MSS"))
    rules = load_rules(f"rules: {{r: {{{rule(num_copies=str(num_copies), partition='All')}}}}}", now=NOW)
    context = make_context(enforcer_rules=rules, random=Random(seed))
    found = EnforcerPlugin({}).propose(frames, context).group_by("dataset_id", maintain_order=True).agg("site_id")
    return Counter(tuple(sites) for sites in found["site_id"])


def test_draws_are_even_and_never_the_same_site_twice() -> None:
    """Chi-square of the six ordered pairs, five degrees of freedom: 30.9 is passed once in 100,000."""
    found = draws(2)
    assert set(found) == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}
    assert sum((number - 100) ** 2 / 100 for number in found.values()) < 30.9


def test_draws_are_those_of_the_seed() -> None:
    assert draws(1, seed=1) == draws(1, seed=1)
    assert draws(1, seed=1) != draws(1, seed=2)


def test_all_are_asked_when_all_are_needed() -> None:
    assert {tuple(sorted(sites)) for sites in draws(3)} == {(0, 1, 2)}


def test_what_is_there_is_not_drawn() -> None:
    frames = small_inventory([("/a", "T2_B"), ("/b", "T2_A"), ("/b", "T2_C")])
    rules = load_rules(f"rules: {{r: {{{rule(num_copies='3')}}}}}", now=NOW)
    for seed in range(20):
        found = EnforcerPlugin({}).propose(frames, make_context(enforcer_rules=rules, random=Random(seed)))
        assert set(found.select("dataset_id", "site_id").rows()) == {(0, 0), (0, 2), (1, 1)}


def test_by_rule_and_dataset_changes_of_owner_by_site_name() -> None:
    frames = small_inventory(
        [("/b", "T2_A"), ("/a", "T2_C", "DataOps"), ("/a", "T2_B", "DataOps"), ("/c", "T2_A", "DataOps")]
    )
    text = f"rules: {{z: {{{rule(num_copies='1')}}}, a: {{{rule(num_copies='2')}}}}}"
    found = EnforcerPlugin({}).propose(frames, make_context(enforcer_rules=load_rules(text, now=NOW)))
    names = found["reason"].str.slice(5, 1)
    rows = list(zip(names, found["dataset_id"], found["site_id"], strict=True))
    assert [(name, dataset) for name, dataset, _ in rows] == [
        ("a", 0), ("a", 0), ("a", 1), ("a", 2), ("a", 2), ("z", 0), ("z", 2)
    ]  # fmt: skip
    assert [site for name, dataset, site in rows if dataset == 0] == [1, 2, 1]
    assert (rows[3][2], rows[6][2]) == (0, 0)


def test_reasons_say_what_is_there() -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_C", "DataOps")])
    rules = load_rules(f"rules: {{r: {{{rule(num_copies='3')}}}}}", now=NOW)
    found = EnforcerPlugin({}).propose(frames, make_context(enforcer_rules=rules))
    start = "rule r: 3 of 3 destinations to have it, 1 complete, 0 on the way"
    assert found["reason"].to_list() == [f"{start}; this one changes its owner", start]


def test_rules_of_a_file_go_before_those_of_the_context(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(f"rules: {{mine: {{{rule(num_copies='3')}}}}}")
    found = EnforcerPlugin({"rules": str(file)}).propose(make_frames(), make_context())
    assert set(found["reason"].str.slice(0, 9)) == {"rule mine"}
    with pytest.raises(SettingsError, match=r"plugins\.enforcer\.rules"):
        EnforcerPlugin({"rules": str(tmp_path / "none.yaml")}).propose(make_frames(), make_context())


def test_a_rule_without_destinations_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rules = load_rules(f"rules: {{r: {{{rule(destinations='[site.name == T9_*]')}}}}}", now=NOW)
    with caplog.at_level(logging.WARNING):
        assert EnforcerPlugin({}).propose(make_frames(), make_context(enforcer_rules=rules)).is_empty()
    assert [record.getMessage() for record in caplog.records] == ["enforcer rule r: no site meets its destinations"]


@pytest.mark.parametrize(
    ("group", "says"), [("AnalysisOp", "Did you mean AnalysisOps"), ("None", "the null group cannot own copies")]
)
def test_who_cannot_own_copies_is_named(group: str, says: str) -> None:
    with pytest.raises(SettingsError, match=rf"rules\.r\.destination_group: .*{says}"):
        state_of(TWO, rule(destination_group=group))


def test_an_attribute_that_is_not_there_is_named() -> None:
    with pytest.raises(PlanError, match="num_access was never produced"):
        state_of(TWO, rule(replicas="['dataset.name == /z and replica.num_access > 3']"))


def test_how_old_an_attribute_may_be_is_as_for_the_plan() -> None:
    frames, asked = with_weights(TWO, {"/a": 4}, name="num_access"), rule(replicas="['replica.num_access > 3']")
    state_of(frames, asked, now=NOW + timedelta(days=9), attribute_max_age=timedelta(days=10))
    with pytest.raises(PlanError, match="num_access"):
        state_of(frames, asked, now=NOW + timedelta(days=9), attribute_max_age=timedelta(days=8))


def test_without_rules_nothing_is_proposed() -> None:
    assert EnforcerPlugin({}).propose(make_frames(), make_context(enforcer_rules=())).is_empty()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("[]", "rules", id="no mapping"),
        pytest.param(RULE % (0, "dataset.name == /a"), "rules.r.num_copies", id="no copies"),
        pytest.param("rules: {r: {num_copies: 1, sites: []}}", "rules.r.sites", id="unknown key"),
        pytest.param("rules: {r: {num_copies: 1}}", "rules.r.destinations", id="no destinations"),
    ],
)
def test_wrong_rules_name_the_key(text: str, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_rules(text, now=NOW, file="enforcer.yaml")
    assert caught.value.facts["file"] == "enforcer.yaml"
    assert key in [fault.key for fault in caught.value.all_faults()]


@pytest.mark.parametrize("condition", ["dataset.nam == /a", "replica.enforcer_protected"])
def test_wrong_conditions(condition: str) -> None:
    with pytest.raises(PolicyError, match=r"rules\.r\.replicas"):
        load_rules(RULE % (1, condition), now=NOW)
