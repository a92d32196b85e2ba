"""Why a replica was deleted or kept: lines, values, the moment, and what would have to change."""

from __future__ import annotations

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.detox.engine.plan import DeletionPlan, plan_deletions
from dynamo_ops.detox.report.explain import Explanation, explain
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from tests.detox.random_case import first_and_more, random_case
from tests.detox.small import NOW, PARTITIONS, small_inventory

POLICY = """Partition Disk
On site.storage_type == DISK
When site.occupancy > 0.5
Until site.occupancy < 0.3
Protect dataset.status == PRODUCTION
Protect dataset.num_full_disk_copy < 2
Dismiss dataset.usage_rank > 10
Ignore
Order decreasing dataset.usage_rank
"""


def planned(frames: InventoryFrames, text: str = POLICY) -> tuple[DeletionPlan, CheckedPolicy]:
    policy = load_policy(text, now=NOW)
    return plan_deletions(frames, policy, load_partitions(PARTITIONS, now=NOW), now=NOW), policy


def why(frames: InventoryFrames, dataset: str, site: str, text: str = POLICY) -> Explanation:
    plan, policy = planned(frames, text)
    assert plan.evidence is not None
    rows = plan.decisions.filter(pl.col("dataset") == dataset)
    return explain(rows, plan.evidence, plan.site_states, policy, (), dataset=dataset, site=site)


def two_copies() -> InventoryFrames:
    """/a at A and B, /b at A only; A is full, B is not."""
    return small_inventory(
        [("/a", "T2_A"), ("/a", "T2_B"), ("/b", "T2_A")],
        quotas={"T2_A": 600, "T2_B": 10_000, "T2_C": 1000},
        ranks={"/a": 100.0, "/b": 50.0},
    )


def test_a_dismissed_replica_is_explained_as_it_was_when_it_went() -> None:
    found = why(two_copies(), "/a", "T2_A")
    assert found.decisions["decision"].unique().to_list() == ["delete"]
    assert [(t.number, t.holds) for t in found.trials] == [(1, False), (2, False), (3, True)]
    assert [(p.text, p.value) for p in found.trials[1].predicates] == [("dataset.num_full_disk_copy < 2", "2")]
    assert "deletion was triggered at T2_A (its occupancy was 0.667; When site.occupancy > 0.5)" in found.reasons[0]
    assert "Order (dataset.usage_rank 100)" in found.reasons[0]
    assert "line 2 (Protect dataset.num_full_disk_copy < 2) would decide it first" in " ".join(found.hints)
    assert found.copies["site"].to_list() == ["T2_A", "T2_B"]


def test_a_replica_that_became_the_last_copy_is_explained_after_the_deletion() -> None:
    found = why(two_copies(), "/a", "T2_B")
    assert found.moment.startswith("after all deletions")
    assert found.trials[-1].number == 2
    assert found.trials[-1].predicates[0].value == "1"
    assert found.copies["site"].to_list() == ["T2_B"]
    assert "protected by line 2" in found.reasons[0]


def test_a_dismissed_replica_at_a_site_that_is_not_triggered_says_so() -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")], ranks={"/a": 100.0})
    found = why(frames, "/a", "T2_A")
    assert "deletion was not triggered at T2_A (its occupancy was 0.200; When site.occupancy > 0.5)" in found.reasons[0]


def test_a_site_without_quota_keeps_everything_and_says_so() -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")], ranks={"/a": 100.0}, quotas={"T2_A": None, "T2_B": 1000})
    assert "T2_A has no quota, so nothing is deleted there" in why(frames, "/a", "T2_A").reasons[0]


def test_a_block_line_says_which_blocks_it_took() -> None:
    text = POLICY.replace("Dismiss dataset", "ProtectBlock blockreplica.is_locked\nDismiss dataset")
    locked = small_inventory(
        [("/a", "T2_A"), ("/a", "T2_B")], ranks={"/a": 100.0}, quotas={"T2_A": 210}, locks=[("/a#b1", "T2_A", "")]
    )
    found = why(locked, "/a", "T2_A", text)
    taken = {trial.number: trial.blocks for trial in found.trials}
    assert taken == {1: (), 2: (), 3: ("b1",), 4: ("b0",)}
    assert len(found.reasons) == 2


def test_what_is_not_in_the_image_is_an_error_that_says_where_the_dataset_is() -> None:
    with pytest.raises(PlanError, match=r"/b at T2_B is not in the plan's image: it is at T2_A"):
        why(two_copies(), "/b", "T2_B")


@pytest.mark.parametrize("first", first_and_more(range(0, 100, 25)))
def test_every_replica_of_random_plans_is_explained_as_it_was_decided(first: int) -> None:
    """The trials give each block the line that the plan recorded, unless it says that this was found earlier."""
    checked = 0
    for seed in range(first, first + 25):
        case = random_case(seed)
        plan = case.plan()
        policy, rules = load_policy(case.policy_text, now=NOW), load_rules(case.rules_text, now=NOW)
        assert plan.evidence is not None
        if plan.evidence.handovers.height or policy.is_static:
            continue
        for dataset, site in plan.decisions.select("dataset", "site").unique().iter_rows():
            rows = plan.decisions.filter(pl.col("dataset") == dataset)
            found = explain(rows, plan.evidence, plan.site_states, policy, rules, dataset=dataset, site=site)
            told = {block: trial.number for trial in found.trials for block in trial.blocks}
            mine = found.decisions.filter(pl.col("block").is_in(list(told)))
            if mine["delete_order"].n_unique() == 1:
                assert dict(mine.select("block", "line").iter_rows()) == told
                checked += 1
    assert checked > 100
