"""What two plans decide otherwise: told plans of a few rows, and golden cases compared one by one in plain Python."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.detox import trial
from dynamo_ops.detox.record import PlanRecord, new_record
from dynamo_ops.detox.report.difference import (
    OUTSIDE,
    PlanDifference,
    compare,
    difference_document,
    policy_difference,
)
from tests import ROOT
from tests.detox.told import LINES, NOW, SIZE, told

CASES = ROOT / "tests/golden" / "cases"


def rows(found: PlanDifference) -> list[tuple[Any, ...]]:
    return list(found.rows.iter_rows())


def test_newly_deleted_and_newly_kept_are_counted_in_replicas_blocks_and_bytes() -> None:
    old = told("/A X b1 keep 0", "/A X b2 keep 0", "/B X b1 delete 0", "/B Y b1 keep 0", "/C X b1 delete 0")
    new = told("/A X b1 delete 0", "/A X b2 delete 0", "/B X b1 keep 0", "/B Y b1 keep 0", "/C X b1 delete 0")
    found = compare(old, new)
    assert (found.newly_deleted.num_dataset_replicas, found.newly_deleted.num_block_replicas) == (1, 2)
    assert (found.newly_deleted.size_bytes, found.newly_kept.size_bytes) == (2 * SIZE, SIZE)
    assert (found.old_deleted.size_bytes, found.new_deleted.size_bytes, found.freed_bytes) == (2 * SIZE, 3 * SIZE, SIZE)
    assert rows(found) == [("/A", "X", "*", "keep", 0, "delete", 0, 200), ("/B", "X", "*", "delete", 0, "keep", 0, 100)]
    (site,) = found.sites.to_dicts()
    assert site["site"] == "X"
    assert (site["old_deleted_bytes"], site["new_deleted_bytes"]) == (200, 300)
    assert (site["newly_deleted_replicas"], site["newly_deleted_bytes"]) == (1, 200)
    assert (site["newly_kept_replicas"], site["newly_kept_bytes"], site["freed_bytes"]) == (1, 100, 100)
    assert found.datasets["dataset"].to_list() == ["/A", "/B"]
    assert found.datasets["freed_bytes"].to_list() == [200, -100]
    assert found.datasets.select("old_copies", "new_copies").rows() == [(1, 0), (1, 2)]


def test_a_plan_does_not_differ_from_itself() -> None:
    plan = told("/A X b1 delete 0", "/A X b2 protect 1", "/A Y b1 reowned 0 ops")
    found = compare(plan, plan)
    for name in ("rows", "sites", "lines", "datasets", "last_copies", "handovers"):
        assert getattr(found, name).is_empty(), name
    assert (found.num_only_old, found.num_only_new, found.num_other_line) == (0, 0, 0)


def test_the_order_of_rows_and_the_numbers_of_ids_do_not_matter() -> None:
    lines = ["/A X b1 keep 0", "/A X b2 protect 1", "/B X b1 delete 0", "/B Y b1 keep 0 ops"]
    changed = ["/A X b1 delete 0", "/A X b2 protect 1", "/B X b1 keep 0", "/B Y b1 keep 0 phys"]
    first, second = compare(told(*lines), told(*changed)), compare(told(*lines), told(*reversed(changed)))
    for name in ("rows", "sites", "lines", "datasets", "handovers"):
        assert getattr(first, name).equals(getattr(second, name)), name


def test_blocks_are_told_one_by_one_where_they_differ_otherwise() -> None:
    old = told("/A X b1 keep 0", "/A X b2 keep 0", "/A X b3 keep 0")
    new = told("/A X b1 delete 2", "/A X b2 keep 0", "/A X b3 protect 1")
    assert rows(compare(old, new)) == [
        ("/A", "X", "b1", "keep", 0, "delete", 2, SIZE),
        ("/A", "X", "b3", "keep", 0, "protect", 1, SIZE),
    ]


def test_a_line_that_only_has_another_number_is_the_same_line() -> None:
    old = told("/A X b1 protect 1", "/B X b1 delete 2")
    shifted = {0: LINES[0], 1: "Protect dataset.name == /Z", 2: LINES[1], 3: LINES[2]}
    found = compare(old, told("/A X b1 protect 2", "/B X b1 delete 3", lines=shifted))
    assert found.rows.is_empty()
    assert found.lines.is_empty()
    assert found.num_other_line == 0


def test_the_same_decision_by_another_line_is_a_pair_of_lines_but_no_differing_row() -> None:
    old, new = told("/A X b1 protect 1", "/A Y b1 keep 0"), told("/A X b1 protect 1", "/A Y b1 delete 2")
    other = {**LINES, 1: "Protect dataset.size > 5"}
    found = compare(old, replace(new, policy_lines=told("/A X b1 keep 0", lines=other).policy_lines))
    assert found.num_other_line == 1
    assert [row[1] for row in rows(found)] == ["Y"]
    pairs = found.lines.select("old_decision", "old_text", "new_decision", "new_text", "num_block_replicas").rows()
    assert pairs == [
        ("keep", "Dismiss", "delete", LINES[2], 1),
        ("protect", LINES[1], "protect", other[1], 1),
    ]


def test_what_is_in_one_image_only_is_outside_of_the_other() -> None:
    old, new = told("/A X b1 delete 0", "/B X b1 keep 0"), told("/B X b1 keep 0", "/C X b1 delete 2")
    found = compare(old, new)
    assert rows(found) == [
        ("/A", "X", "*", "delete", 0, OUTSIDE, None, SIZE),
        ("/C", "X", "*", OUTSIDE, None, "delete", 2, SIZE),
    ]
    assert (found.num_only_old, found.num_only_new) == (1, 1)
    assert (found.newly_deleted.num_block_replicas, found.newly_kept.num_block_replicas) == (1, 1)
    assert found.datasets.select("dataset", "old_copies", "new_copies").rows() == [("/C", 1, 0), ("/A", 0, 1)]


def test_between_two_moments_what_is_outside_is_no_copy() -> None:
    old = told("/A X b1 delete 0", "/A Y b1 keep 0")
    found = compare(old, told("/A Y b1 keep 0", now=NOW + timedelta(days=1)))
    assert not found.is_same_moment
    assert found.datasets.select("old_copies", "new_copies").rows() == [(1, 1)]


def test_an_empty_tape_replica_is_no_copy() -> None:
    old = told("/A X b1 keep 0", "/A T empty ignore 1")
    found = compare(old, told("/A X b1 delete 0", "/A T empty ignore 1"))
    assert found.datasets.select("old_copies", "new_copies").rows() == [(1, 0)]


def test_hand_overs_are_compared_by_the_name_of_the_group() -> None:
    old = told("/A X b1 keep 0 ops", "/A X b2 keep 0", "/A Y b1 keep 0 ops")
    new = told("/A X b1 keep 0 phys", "/A X b2 reowned 0 phys", "/A Y b1 keep 0 ops")
    found = compare(old, new)
    assert found.handovers.rows() == [("/A", "X", None, "phys", 1, SIZE), ("/A", "X", "ops", "phys", 1, SIZE)]
    assert [row[2:7] for row in rows(found)] == [("b1", "keep", 0, "keep", 0), ("b2", "keep", 0, "reowned", 0)]
    assert found.sites["site"].to_list() == ["X"]


def test_only_last_copies_that_are_not_lost_anyway_are_told() -> None:
    old = told("/A X b1 delete 0", "/B X c1 keep 0", "/B Y c1 keep 0", "/B X c2 keep 0", last_copies=["b1"])
    new = told("/A X b1 delete 0", "/B X c1 delete 2", "/B Y c1 delete 2", "/B X c2 delete 2", last_copies=["b1", "c1"])
    assert compare(old, new).last_copies.rows() == [("/B", 1, 2 * SIZE, "X Y")]
    assert compare(new, old).last_copies.is_empty()


def test_plans_of_two_partitions_are_not_compared() -> None:
    with pytest.raises(PlanError, match="'Disk', told of 'Tape'"):
        compare(told(), told(partition="Tape"))


def test_policies_differ_line_by_line() -> None:
    old, new = told(name="old"), told(name="new", policy_text="Protect")
    assert policy_difference(old, new).splitlines()[:3] == ["--- policy of old", "+++ policy of new", "@@ -1,3 +1 @@"]
    assert policy_difference(old, old) == ""


def test_a_difference_is_a_json_document() -> None:
    old, new = told("/A X b1 keep 0"), told("/A X b1 delete 0", last_copies=["b1"])
    states = new.site_states.with_columns(quota_bytes=pl.lit(0), occupancy_after=pl.lit(float("inf")))
    new = replace(new, site_states=states)
    found = json.loads(json.dumps(difference_document(old, new, compare(old, new)), allow_nan=False, default=str))
    assert found["num_rows"] == 1
    assert found["sites"][0]["new_occupancy_after"] is None
    assert found["last_copies"] == [{"dataset": "/A", "num_blocks": 1, "size_bytes": SIZE, "sites": "X"}]


# -- golden cases, compared in plain Python ---------------------------------------------------------------------------


def decided(case: Path, policy: Path) -> PlanRecord:
    now = trial.dump_now(case)
    inputs, checked = trial.dump_inputs(case), trial.policy_of_file(policy / "policy.txt", now)
    plan = trial.decide(inputs, checked, trial.partition_of(checked, None))
    return new_record(plan, inputs.frames, inputs.rules, name=policy.name, policy_text=checked.source.text)


Fates = dict[tuple[str, str, str], tuple[str, int]]


def fates(plan: PlanRecord) -> Fates:
    """(dataset, site, block) → decision, bytes."""
    found = plan.decisions.select("dataset", "site", "block", "decision", "size_bytes").collect()
    return {row[:3]: row[3:] for row in found.iter_rows()}


def lost(plan: Fates, case: Path) -> set[tuple[str, str]]:
    """(dataset, block) of which a replica with bytes is deleted and no complete, owned one stays."""
    frames = trial.dump_inputs(case).frames
    holders = defaultdict(set)
    named = frames.block_replicas.filter(pl.col("is_complete") & pl.col("group_id").is_not_null())
    for key, table in (("site", frames.sites), ("dataset", frames.datasets), ("block", frames.blocks)):
        named = named.join(table.select(f"{key}_id", key), on=f"{key}_id")
    for dataset, site, block in named.select("dataset", "site", "block").iter_rows():
        holders[dataset, block].add(site)
    gone = {key for key, (decision, _) in plan.items() if decision == "delete"}
    return {
        (dataset, block)
        for dataset, site, block in gone
        if plan[dataset, site, block][1] and not {s for s in holders[dataset, block] if (dataset, s, block) not in gone}
    }


PAIRS = [
    ("d04_reown", "protect_default", "remainder_delete_reowns"),
    ("d04_reown", "dismissblock", "physics_like"),
    ("d05_trigger_stop", "never", "P"),
    ("d08_iterative_copies", "common_owner", "dpi_1"),
]


@pytest.mark.golden
@pytest.mark.parametrize(("name", "old_name", "new_name"), PAIRS)
def test_golden_plans_are_compared_as_one_by_one(name: str, old_name: str, new_name: str) -> None:
    case = CASES / name
    old, new = (decided(case, case / "detox" / policy) for policy in (old_name, new_name))
    found = compare(old, new)
    was, will = fates(old), fates(new)
    deleted = {key for key, (decision, _) in will.items() if decision == "delete"}
    was_deleted = {key for key, (decision, _) in was.items() if decision == "delete"}
    assert deleted != was_deleted
    assert found.newly_deleted.num_block_replicas == len(deleted - was_deleted)
    assert found.newly_kept.num_block_replicas == len(was_deleted - deleted)
    assert found.newly_deleted.size_bytes == sum(will[key][1] for key in deleted - was_deleted)
    assert found.newly_kept.size_bytes == sum(was[key][1] for key in was_deleted - deleted)
    freed = sum(will[key][1] for key in deleted) - sum(was[key][1] for key in was_deleted)
    assert found.freed_bytes == found.sites["freed_bytes"].sum() == found.datasets["freed_bytes"].sum() == freed
    newly_lost = lost(will, case) - lost(was, case)
    assert found.last_copies["num_blocks"].sum() == len(newly_lost)
    assert set(found.last_copies["dataset"]) == {dataset for dataset, _ in newly_lost}
