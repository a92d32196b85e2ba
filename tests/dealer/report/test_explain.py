"""Why this copy, why this site, and why not that one."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.plan import plan_copies
from dynamo_ops.dealer.engine.plugin import proposals_frame
from dynamo_ops.dealer.record import new_record
from dynamo_ops.dealer.report.explain import Explanation, explain_dataset
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW, PARTITIONS, small_inventory

CONFIG = """
partition: Disk
group: AnalysisOps
target_sites: ["T2_*", "!T2_X"]
target_site_occupancy: 0.9
max_site_pending_fraction: 0.5
max_total_cycle_volume: 1
placement: [{condition: 'dataset.name == /a', sites: ["*", "!T2_F"]}]
plugins: {one: {priority: 3}}
"""
SITES = ("T2_A", "T2_B", "T2_C", "T2_F", "T2_L", "T2_N", "T2_U", "T2_X", "T2_Z")
A, B, C = 0, 1, 2
QUOTAS = {**dict.fromkeys(SITES, 1000), "T2_L": 150, "T2_U": None, "T2_Z": 0}


def explain(*rows: dict[str, Any], dataset: str = "/a", site: str | None = None, **more: Any) -> list[Explanation]:
    frames = small_inventory([("/a", "T2_A"), ("/b", "T2_A", "DataOps")], sites=SITES, quotas=QUOTAS)
    proposals = proposals_frame([{"dataset_id": 0, "reason": "wanted", **row} for row in rows]).with_columns(
        plugin=pl.lit("one")
    )
    config = load_config(CONFIG)
    plan = plan_copies(
        frames, proposals, config, load_partitions(PARTITIONS, now=NOW), now=NOW, seed=more.get("seed", 1)
    )
    return explain_dataset(new_record(plan, frames, config, name="trial"), dataset, site)


def reasons(found: Explanation) -> dict[str, str]:
    return {row["site"]: row["why"] for row in found.sites.iter_rows(named=True)}


def test_a_draw_says_of_every_site_why_or_why_not() -> None:
    (found,) = explain({"candidate_site_ids": [A, B, C, 3, 4, 6, 7, 8]})
    why = reasons(found)
    assert why["T2_A"] == "it has it already, owned by AnalysisOps"
    assert why["T2_F"] == "forbidden by placement rule placement.0: dataset.name == /a only at * !T2_F"
    assert why["T2_L"] == "it would be more than full with it"
    assert why["T2_N"] == "it is not among the sites asked for"
    assert why["T2_U"] == "its quota is not known"
    assert why["T2_X"] == "target_sites does not name it"
    assert why["T2_Z"] == "its quota is 0"
    assert found.verdict.startswith("copy 1 (200 B) to T2_")
    assert "drawn with probability 50.0% among 2 sites; turn 1 of 1" in found.verdict
    drawn = {row["site"]: row["weight"] for row in found.sites.iter_rows(named=True) if row["weight"] is not None}
    assert drawn == {"T2_B": 0.5, "T2_C": 0.5}
    assert sorted(found.sites.filter(found.sites["weight"].is_not_null())["verdict"]) == [
        "chosen",
        "could have been drawn",
    ]
    assert (found.owner, found.priority, found.proposal["reason"]) == ("AnalysisOps", 3, "wanted")


def test_a_site_that_has_it_is_not_called_one_that_nobody_asked_for() -> None:
    """A request names it, and the plugin leaves it out: it needs no copy."""
    (found,) = explain({"candidate_site_ids": [B, C]})
    assert reasons(found)["T2_A"] == "it has it already, owned by AnalysisOps"


def test_the_sites_are_as_they_were_at_its_turn() -> None:
    rows = [{"dataset_id": 1, "site_id": B}, {"candidate_site_ids": [B, C]}, {"candidate_site_ids": [B, C]}]
    second, third = explain(*rows)
    after = {row["site"]: row["occupancy_after"] for row in second.sites.iter_rows(named=True)}
    assert (after["T2_B"], after["T2_C"]) == (0.4, 0.2)
    gone = next(row["site"] for row in second.sites.iter_rows(named=True) if row["verdict"] == "chosen")
    assert reasons(third)[gone] == "copy 2 of this plan brings it there"
    other = {"T2_B", "T2_C"} - {gone}
    assert [row["site"] for row in third.sites.iter_rows(named=True) if row["verdict"] == "chosen"] == sorted(other)


def test_a_named_destination_is_the_only_one_looked_at() -> None:
    (found,) = explain({"site_id": 4}, site="T2_L")
    assert found.verdict == "no copy (200 B): destination full"
    assert reasons(found) == {"T2_L": "it would be more than full with it"}
    (elsewhere,) = explain({"site_id": 4}, site="T2_B")
    assert reasons(elsewhere) == {"T2_B": "another destination was named"}
    (chosen,) = explain({"site_id": B})
    assert chosen.verdict == "copy 1 (200 B) to T2_B: the destination was named; turn 1 of 1"
    assert chosen.sites["site"].to_list() == ["T2_B"]


def test_what_a_plugin_refused_says_so() -> None:
    (found,) = explain({"refused": "0.4 TB are above max_size 0.3 TB"})
    assert found.verdict == "no copy (200 B): refused by the plugin: 0.4 TB are above max_size 0.3 TB"


def test_an_owner_that_changes_is_not_there_already() -> None:
    (found,) = explain({"dataset_id": 1, "site_id": A}, dataset="/b", site="T2_A")
    assert found.sites["verdict"].to_list() == ["chosen"]
    (drawn,) = explain({"dataset_id": 1}, dataset="/b", site="T2_A")
    assert reasons(drawn) == {"T2_A": "it has it already, owned by DataOps"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"dataset": "/aa"}, r"trial has no proposal for '/aa'.*/a"),
        ({"site": "T2_AA"}, r"trial knows no site 'T2_AA'.*T2_A"),
    ],
    ids=["dataset", "site"],
)
def test_what_is_not_there_is_named_with_near_ones(names: dict[str, str], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        explain({}, **names)
