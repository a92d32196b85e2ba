"""How far enforcer rules are met."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import polars as pl
import pytest

from dynamo_ops.dealer.plugins.enforcer import EnforcerPlugin
from dynamo_ops.dealer.report.enforcer_report import DATASETS, POSSIBLE, RULES, TABLE, enforcer_report, enforcer_table
from dynamo_ops.dealer.report.enforcer_report import possible_requests as possible
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules
from tests.dealer.plugins.conformance import make_context, shuffled
from tests.detox.small import NOW, small_inventory

TEXT = """
rules:
  one:   {num_copies: 1, destinations: [site.name == T2_C], sources: [site.name == *], replicas: [dataset.name == /*]}
  three: {num_copies: 3, destinations: [site.name == T2_*], sources: [site.name == *], replicas: [dataset.name == /*]}
  two:   {num_copies: 2, destinations: [site.name == T2_*], sources: [site.name == *], replicas: [dataset.name == /*]}
"""


def rules(*names: str) -> list[EnforcerRule]:
    return [rule for rule in load_rules(TEXT, now=NOW) if rule.name in names]


def inventory() -> InventoryFrames:
    """/a complete at A and B, /b at A, and at B for another group, /c at A, on the way to B."""
    frames = small_inventory(
        [("/a", "T2_A"), ("/a", "T2_B"), ("/b", "T2_A"), ("/b", "T2_B", "DataOps"), ("/c", "T2_A")]
    )
    coming = frames.block_replicas.filter(pl.col("dataset_id") == 2).with_columns(
        site_id=pl.lit(1, dtype=pl.Int64), is_complete=pl.lit(False)
    )
    return replace(frames, block_replicas=pl.concat([frames.block_replicas, coming]))


def test_one_row_a_rule() -> None:
    found = enforcer_report(inventory(), make_context(), rules("one", "two")).rules
    assert found.rows() == [
        ("one", 1, 1, 3, 0, 0, 3, 3, 600),
        ("two", 2, 3, 3, 1, 1, 1, 1, 200),
    ]
    assert dict(found.schema) == dict(RULES)


def test_one_row_per_rule_and_dataset() -> None:
    found = enforcer_report(inventory(), make_context(), rules("two")).datasets
    assert found.rows() == [
        ("two", "/a", "enough complete", 2, 0, 0, 0, []),
        ("two", "/b", "missing", 1, 0, 1, 200, ["T2_B", "T2_C"]),
        ("two", "/c", "en route", 1, 1, 0, 0, []),
    ]
    assert dict(found.schema) == dict(DATASETS)


def test_the_table_of_the_file() -> None:
    assert enforcer_table(inventory(), make_context(), rules("one", "three", "two")).rows() == [
        ("one", "/a", "missing", 1, "T2_C", "T2_C", 0),
        ("one", "/b", "missing", 1, "T2_C", "T2_C", 0),
        ("one", "/c", "missing", 1, "T2_C", "T2_C", 0),
        ("three", "/a", "missing", 1, "T2_C", "T2_C", 0),
        ("three", "/b", "missing", 2, "T2_B;T2_C", "T2_B;T2_C", 0),
        ("three", "/c", "missing", 1, "T2_C", "T2_C", 0),
        ("two", "/a", "enough complete", 0, "", "", 0),
        ("two", "/b", "missing", 1, "T2_B", "T2_B;T2_C", 0),
        ("two", "/c", "en route", 0, "", "", 0),
    ]


def test_possible_requests_are_those_of_the_first_rule_by_name() -> None:
    found = possible(inventory(), make_context(), rules("two", "three", "one"))
    assert found.select("rule", "dataset_id", "site_id").rows() == [
        ("one", 0, 2),
        ("one", 1, 2),
        ("one", 2, 2),
        ("three", 1, 1),
    ]
    assert found["group_id"].to_list() == [0, 0, 0, 0]


def test_where_a_change_of_owner_is_enough_nothing_is_drawn() -> None:
    assert possible(inventory(), make_context(), rules("two")).select("dataset_id", "site_id").rows() == [(1, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_asked_is_possible_and_what_is_certain_is_asked(seed: int) -> None:
    names = [f"/{number}" for number in range(40)]
    draw = Random(seed)
    replicas = [
        (name, f"T2_{site}", draw.choice(["AnalysisOps", "DataOps", "None"]))
        for name in names
        for site in draw.sample("ABCDE", draw.randint(1, 4))
    ]
    frames = small_inventory(replicas, sites=[f"T2_{site}" for site in "ABCDE"])
    context = make_context(enforcer_rules=rules("three"), random=Random(seed))
    asked = EnforcerPlugin({}).propose(frames, context)
    pairs = set(asked.select("dataset_id", "site_id").rows())
    assert len(pairs) == asked.height
    assert pairs <= set(possible(frames, context, rules("three")).select("dataset_id", "site_id").rows())
    ids = dict(frames.datasets.select("dataset", "dataset_id").iter_rows())
    sites = dict(frames.sites.select("site", "site_id").iter_rows())
    table = enforcer_table(frames, context, rules("three"))
    for name, number, certain in table.select("dataset", "n_requests", "sites_in_every_draw").iter_rows():
        assert {(ids[name], sites[site]) for site in certain.split(";") if site} <= pairs
        assert sum(dataset == ids[name] for dataset, _ in pairs) == number


def test_no_order_of_rows_changes_a_report() -> None:
    frames, context, all_rules = inventory(), make_context(), rules("one", "two", "three")
    other = shuffled(frames, 3)
    assert enforcer_report(other, context, all_rules).rules.equals(enforcer_report(frames, context, all_rules).rules)
    assert enforcer_table(other, context, all_rules[::-1]).equals(enforcer_table(frames, context, all_rules))
    assert possible(other, context, all_rules[::-1]).equals(possible(frames, context, all_rules))


def test_no_rules_no_rows() -> None:
    report = enforcer_report(inventory(), make_context(), [])
    tables = [report.rules, report.datasets, enforcer_table(inventory(), make_context(), [])]
    assert [table.height for table in tables] == [0, 0, 0]
    assert [list(table.columns) for table in tables] == [list(RULES), list(DATASETS), list(TABLE)]
    assert list(possible(inventory(), make_context(), []).columns) == list(POSSIBLE)
