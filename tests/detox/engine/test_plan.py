"""Detox plans on a few rows each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.detox.engine.plan import DECISIONS, SITE_STATES, DeletionPlan, plan_deletions
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW, PARTITIONS, small_inventory

HEAD = "Partition Disk\nOn site.storage_type == DISK\nWhen site.occupancy > 0.5\nUntil site.occupancy < 0.3\n"


def plan(frames: InventoryFrames, lines: str, *, head: str = HEAD, **options: object) -> DeletionPlan:
    """The plan under a policy of these lines."""
    policy = load_policy(head + lines, now=NOW)
    return plan_deletions(frames, policy, load_partitions(PARTITIONS, now=NOW), now=NOW, **options)  # type: ignore[arg-type]


def decided(found: DeletionPlan) -> dict[tuple[str, str], str]:
    """Decision by (dataset, site); decisions of several blocks joined."""
    rows = found.decisions.group_by("dataset", "site").agg(pl.col("decision").unique().sort().str.join("+"))
    return {(dataset, site): decision for dataset, site, decision in rows.iter_rows()}


def test_columns_are_as_declared() -> None:
    found = plan(small_inventory([("/a", "T2_A")]), "Dismiss\nOrder none\n")
    assert dict(found.decisions.schema) == DECISIONS
    assert dict(found.site_states.schema) == SITE_STATES


def test_deletes_in_order_until_the_low_watermark() -> None:
    datasets = [(f"/d{i}", "T2_A") for i in range(4)]
    frames = small_inventory(datasets, ranks={"/d0": 1, "/d1": 9, "/d2": 5, "/d3": 3})
    found = plan(frames, "Dismiss\nOrder decreasing dataset.usage_rank\n")
    assert found.deletions["dataset"].unique(maintain_order=True).to_list() == ["/d1", "/d2", "/d3"]
    state = found.site_states.filter(pl.col("site") == "T2_A").row(0, named=True)
    assert (state["bytes_before"], state["bytes_after"], state["is_triggered"]) == (800, 200, True)


@pytest.mark.parametrize(
    ("quota", "left", "warnings"),
    [
        pytest.param(0, 0, 0, id="zero empties the site"),
        pytest.param(-1, 400, 0, id="negative is unlimited"),
        pytest.param(None, 400, 1, id="no row is unknown: nothing is lost"),
    ],
)
@pytest.mark.parametrize("condition", ["site.occupancy > 0.5", "always"])
def test_quota(quota: int | None, left: int, warnings: int, condition: str) -> None:
    frames = small_inventory([("/a", "T2_A"), ("/b", "T2_A")], sites=("T2_A",), quotas={"T2_A": quota})
    head = f"Partition Disk\nOn site.storage_type == DISK\nWhen {condition}\nUntil site.occupancy < 0.3\n"
    found = plan(frames, "Dismiss\nOrder none\n", head=head)
    assert found.site_states["bytes_after"].to_list() == [left if quota != -1 else 400]
    assert len(found.warnings) == warnings


def test_unknown_quota_stops_delete_lines_too() -> None:
    frames = small_inventory([("/a", "T2_A")], quotas={})
    found = plan(frames, "Delete dataset.name == /a\nDismiss\nOrder none\n")
    assert decided(found) == {("/a", "T2_A"): "keep"}


def test_delete_lines_count_copies_at_each_deletion() -> None:
    frames = small_inventory([("/a", site) for site in ("T2_A", "T2_B", "T2_C")])
    found = plan(frames, "Delete dataset.num_full_disk_copy > 1\nProtect\nOrder none\n")
    assert decided(found) == {("/a", "T2_A"): "delete", ("/a", "T2_B"): "delete", ("/a", "T2_C"): "protect"}


def test_enforcer_keeps_the_number_of_copies() -> None:
    rules = load_rules(
        "rules: {two: {num_copies: 2, protect: true, destinations: [site.name == T2_*], sources: [site.name == T2_*],"
        " replicas: ['dataset.name == /a']}}",
        now=NOW,
    )
    frames = small_inventory(
        [(d, s) for d in ("/a", "/b") for s in ("T2_A", "T2_B", "T2_C")],
        quotas=dict.fromkeys(("T2_A", "T2_B", "T2_C"), 0),
    )
    found = plan(frames, "Protect replica.enforcer_protected\nDismiss\nOrder none\n", enforcer_rules=rules)
    assert sorted(decided(found).values()) == ["delete"] * 4 + ["protect"] * 2


@pytest.mark.parametrize(
    ("lock", "kept"),
    [
        pytest.param(("/a", "", ""), 4, id="dataset everywhere"),
        pytest.param(("/a", "T2_A", ""), 2, id="dataset at a site"),
        pytest.param(("/a", "T9_*", ""), 4, id="a pattern that matches no site means all"),
        pytest.param(("/a#b0", "", ""), 2, id="one block"),
        pytest.param(("/*", "T2_B", "Analysis*"), 2, id="glob and group"),
        pytest.param(("/a", "", "DataOps"), 0, id="another owner"),
    ],
)
def test_locked_blocks_stay(lock: tuple[str, str, str], kept: int) -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")], quotas={"T2_A": 0, "T2_B": 0}, locks=[lock])
    found = plan(frames, "ProtectBlock blockreplica.is_locked\nDismiss\nOrder none\n")
    assert found.decisions.filter(pl.col("decision") == "protect").height == kept


def test_tape_placeholders_are_seen_and_never_deleted() -> None:
    frames = small_inventory(
        [("/a", "T2_A"), ("/a", "T1_MSS")], sites=("T2_A", "T1_MSS"), partition="Disk", quotas={"T2_A": 1000}
    )
    on_disk = frames.block_replicas.filter(pl.col("site_id") == 0)
    quotas = pl.DataFrame({"site_id": [0, 0, 1, 1], "partition": ["Disk", "Tape"] * 2, "quota_bytes": [0] * 4})
    frames = replace(frames, block_replicas=on_disk, quotas=quotas)
    head = "Partition All\nOn site.name == *\nWhen always\nUntil never\n"
    found = plan(
        frames, "Protect dataset.on_tape == FULL\nDelete dataset.on_tape == PARTIAL\nProtect\nOrder none\n", head=head
    )
    assert decided(found) == {("/a", "T2_A"): "delete", ("/a", "T1_MSS"): "keep"}
    assert found.decisions.filter("is_placeholder")["site"].unique().to_list() == ["T1_MSS"]


def test_blocks_are_handed_over_to_the_dataset_level_owner() -> None:
    frames = small_inventory([("/a", "T2_A")])
    owners = frames.block_replicas.with_columns(group_id=pl.Series([0, 1]))
    found = plan(
        replace(frames, block_replicas=owners), "DeleteBlock blockreplica.owner == DataOps\nProtect\nOrder none\n"
    )
    assert found.deletions.is_empty()
    assert found.handovers.select("block", "group_id", "new_group_id").rows() == [("b1", 1, 0)]


@pytest.mark.parametrize(
    ("others", "locks", "decision"),
    [
        pytest.param([], [], "reowned", id="there is no next iteration"),
        pytest.param(["/z"], [], "reowned", id="one line protects the rest: final"),
        pytest.param([], [("/a#b0", "", "")], "reowned", id="two lines protect the rest, no next iteration"),
        pytest.param(["/z"], [("/a#b0", "", "")], "protect", id="two lines protect the rest: decided again"),
    ],
)
def test_what_a_delete_line_hands_over_is_decided_again_by_a_next_iteration_unless_final(
    others: list[str], locks: list[tuple[str, str, str]], decision: str
) -> None:
    frames = small_inventory([(name, "T2_A") for name in ("/a", *others)], num_blocks=3, locks=locks)
    owners = frames.block_replicas.with_columns(group_id=pl.when(pl.col("block_id") == 2).then(1).otherwise(0))
    lines = (
        "DeleteBlock blockreplica.owner == DataOps\nProtectBlock blockreplica.is_locked\n"
        "Dismiss dataset.name == /z\nProtect\nOrder none\n"
    )
    found = plan(replace(frames, block_replicas=owners), lines)
    mine = found.decisions.filter(pl.col("dataset") == "/a")
    assert mine.select("block", "decision").rows() == [("b0", "protect"), ("b1", "protect"), ("b2", decision)]
    assert found.handovers["block"].to_list() == ["b2"]
    assert found.deletions["dataset"].unique().to_list() == others
    assert found.site_states["protected_bytes"].sum() == 100 * (mine["decision"] == "protect").sum()


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        pytest.param([], "never produced", id="never produced"),
        pytest.param([("usage_rank", NOW - timedelta(days=30))], "was produced at", id="stale"),
    ],
)
def test_attributes_must_be_fresh(attributes: list[tuple[str, object]], named: str) -> None:
    frames = small_inventory([("/a", "T2_A")])
    frames = replace(frames, attributes=pl.DataFrame(attributes, schema=frames.attributes.schema, orient="row"))
    with pytest.raises(PlanError, match=f"usage_rank.*{named}"):
        plan(frames, "Dismiss dataset.usage_rank > 3\nProtect\nOrder none\n")
    assert plan(frames, "Dismiss\nOrder none\n").decisions.height == 2


def test_policy_checked_at_another_time_is_refused() -> None:
    policy = load_policy(HEAD + "Dismiss\nOrder none\n", now=NOW - timedelta(days=1))
    with pytest.raises(PlanError, match="check it again"):
        plan_deletions(small_inventory([("/a", "T2_A")]), policy, load_partitions(PARTITIONS, now=NOW), now=NOW)


def test_partition_may_come_from_the_caller_but_not_twice() -> None:
    frames = small_inventory([("/a", "T2_A")])
    head = HEAD.replace("Partition Disk\n", "")
    assert plan(frames, "Protect\nOrder none\n", head=head, partition="Disk").partition == "Disk"
    with pytest.raises(PlanError, match="names a partition"):
        plan(frames, "Protect\nOrder none\n", head=head)
    with pytest.raises(PlanError, match="for partition Disk"):
        plan(frames, "Protect\nOrder none\n", partition="Tape")


def test_nothing_to_decide_is_an_empty_plan() -> None:
    frames = small_inventory([("/a", "T2_A")])
    frames = replace(
        frames,
        block_replicas=frames.block_replicas.clear(),
        locks=empty({"item": pl.String, "sites": pl.String, "groups": pl.String}),
    )
    found = plan(
        frames,
        "ProtectBlock blockreplica.is_locked\nDelete replica.num_full_disk_copy_common_owner > 1\n"
        "Dismiss\nOrder increasing replica.size\n",
    )
    assert found.decisions.is_empty()
