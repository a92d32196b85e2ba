"""The Dealer's engine on a few rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError, SettingsError
from dynamo_ops.dealer.engine import decide as engine
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.plan import BLOCK_COPIES, COPIES, PLANNED, REJECTED, CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import (
    DetoxCycle,
    ProposalInputs,
    collect_proposals,
    detox_warnings,
    make_plugins,
    proposals_frame,
)
from dynamo_ops.dealer.engine.site import matches_patterns
from dynamo_ops.dealer.plugins.requests import RequestsPlugin
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from tests.dealer.plugins.conformance import make_context, make_frames
from tests.detox.small import NOW, PARTITIONS, small_inventory

CONFIG = """
partition: Disk
group: AnalysisOps
target_sites: ["T2_*"]
target_site_occupancy: 0.9
max_site_pending_fraction: 0.5
max_total_cycle_volume: 1
plugins: {one: {priority: 1}, two: {priority: 2}}
"""
A, B, C = 0, 1, 2


def decide(frames: InventoryFrames, *rows: dict[str, Any], config: str = CONFIG, seed: int = 1) -> CopyPlan:
    plugins = pl.Series("plugin", [row.pop("plugin", "one") for row in rows], dtype=pl.String)
    proposals = proposals_frame([{"dataset_id": 0, "reason": "test", **row} for row in rows]).with_columns(plugins)
    return plan_copies(frames, proposals, load_config(config), load_partitions(PARTITIONS, now=NOW), now=NOW, seed=seed)


def test_columns_are_as_declared() -> None:
    found = decide(small_inventory([("/a", "T2_A")]), {"site_id": B})
    assert dict(found.copies.schema) == dict(COPIES)
    assert dict(found.block_copies.schema) == dict(BLOCK_COPIES)
    assert dict(found.rejected.schema) == dict(REJECTED)


def test_a_whole_dataset_is_copied_with_all_blocks_and_grows() -> None:
    found = decide(small_inventory([("/a", "T2_A")]), {"site_id": B})
    assert found.copies.select("block_id", "site_id", "size_bytes", "weight").rows() == [(None, B, 200, None)]
    assert found.block_copies.select("block_id", "site_id", "group_id", "is_growing").rows() == [
        (0, B, 0, True),
        (1, B, 0, True),
    ]


def test_single_blocks_do_not_make_the_replica_grow() -> None:
    found = decide(small_inventory([("/a", "T2_A")]), {"site_id": B, "block_ids": [1]})
    assert found.copies.select("block_id", "size_bytes").rows() == [(1, 100)]
    assert found.block_copies["is_growing"].to_list() == [False]


def changed(**columns: pl.Expr) -> InventoryFrames:
    frames = small_inventory([("/a", "T2_A")])
    name = "datasets" if "status" in columns else "block_replicas"
    return replace(frames, **{name: getattr(frames, name).with_columns(**columns)})


@pytest.mark.parametrize(
    ("frames", "row", "reason"),
    [
        pytest.param(changed(status=pl.lit("invalid")), {"site_id": B}, engine.NOT_VALID, id="status"),
        pytest.param(
            replace(changed(), block_replicas=changed().block_replicas.clear()),
            {"site_id": B},
            engine.NO_SOURCE,
            id="no source",
        ),
        pytest.param(changed(is_complete=pl.lit(False)), {"site_id": B}, engine.FILES_MISSING, id="files missing"),
        pytest.param(
            replace(changed(), block_replicas=changed().block_replicas.head(1)),
            {"site_id": B},
            engine.FILES_MISSING,
            id="partial source",
        ),
        pytest.param(changed(), {"site_id": 99}, engine.NOT_A_TARGET, id="no site"),
        pytest.param(changed(), {"site_id": A}, engine.ALREADY_THERE, id="already there"),
        pytest.param(
            small_inventory([("/a", "T2_A")], quotas={"T2_A": 1000, "T2_B": 150}),
            {"site_id": B},
            engine.FULL,
            id="full",
        ),
        pytest.param(
            small_inventory([("/a", "T2_A")], quotas={"T2_A": 1000}),
            {"site_id": B},
            engine.NOT_A_TARGET,
            id="unknown quota",
        ),
        pytest.param(
            small_inventory([("/a", "T2_A")], quotas={"T2_B": 0}), {"site_id": B}, engine.NOT_A_TARGET, id="quota 0"
        ),
        pytest.param(
            small_inventory([("/a", "T2_A")], sites=("T2_A",)), {}, engine.NO_DESTINATION, id="nowhere to draw"
        ),
        pytest.param(changed(), {"site_id": B, "refused": "too large"}, engine.REFUSED, id="refused by the plugin"),
    ],
)
def test_one_reason_each(frames: InventoryFrames, row: dict[str, Any], reason: str) -> None:
    found = decide(frames, dict(row))
    assert found.copies.is_empty()
    assert found.rejected["reason"].to_list() == [reason]


def test_files_of_several_sites_make_up_a_source() -> None:
    frames = changed(is_complete=pl.lit(False))
    files = [(block, site, block * 2 + file) for block in (0, 1) for site, file in ((A, 0), (C, 1))]
    files_frame = pl.DataFrame(files, schema=frames.partial_files.schema, orient="row")
    assert decide(replace(frames, partial_files=files_frame), {"site_id": B}).copies.height == 1


def test_a_change_of_owner_is_a_copy() -> None:
    found = decide(small_inventory([("/a", "T2_A", "DataOps")]), {"site_id": A})
    assert found.block_copies["group_id"].to_list() == [0, 0]


def test_unlimited_is_never_full() -> None:
    assert decide(small_inventory([("/a", "T2_A")], quotas={"T2_B": -1}), {"site_id": B}).copies.height == 1


def test_sites_stop_being_targets_as_they_fill() -> None:
    frames = small_inventory([(f"/d{i}", "T2_A") for i in range(4)], quotas={"T2_A": 1000, "T2_B": 1000})
    found = decide(frames, *[{"dataset_id": i, "site_id": B} for i in range(4)])
    assert found.copies["dataset_id"].to_list() == [0, 1, 2]
    assert found.rejected["reason"].to_list() == [engine.NOT_A_TARGET]


def test_the_cycle_stops_when_its_volume_is_passed() -> None:
    config = CONFIG.replace("max_total_cycle_volume: 1", "max_total_cycle_volume: 1.0e-10")
    frames = small_inventory([(f"/d{i}", "T2_A") for i in range(3)], quotas=dict.fromkeys(("T2_A", "T2_B"), 10_000))
    found = decide(frames, *[{"dataset_id": i, "site_id": B} for i in range(3)], config=config)
    assert found.copies["dataset_id"].to_list() == [0]
    assert found.rejected["reason"].to_list() == [engine.VOLUME_REACHED] * 2


def test_drawn_destinations_are_absent_and_repeatable() -> None:
    frames = small_inventory([("/a", "T2_A")])
    sites = {decide(frames, {}, seed=seed).copies["site_id"][0] for seed in range(20)}
    assert sites == {B, C}
    assert decide(frames, {}, seed=5).copies.equals(decide(frames, {}, seed=5).copies)
    assert decide(frames, {}, seed=5).copies["weight"].to_list() == [0.5]


def test_the_same_copy_is_not_drawn_twice() -> None:
    found = decide(small_inventory([("/a", "T2_A")]), {}, {}, {})
    assert sorted(found.copies["site_id"]) == [B, C]
    assert found.rejected["reason"].to_list() == [engine.NO_DESTINATION]


def test_higher_priority_names_the_owner() -> None:
    rows = ({"site_id": B, "plugin": "two", "group_id": 1}, {"site_id": B, "plugin": "one", "group_id": 0})
    for seed in range(6):
        found = decide(small_inventory([("/a", "T2_A")]), *[dict(row) for row in rows], seed=seed)
        assert found.copies.height == 2
        assert found.block_copies.select("group_id", "plugin").unique().rows() == [(0, "one")]


def test_priority_zero_runs_alone() -> None:
    config = CONFIG.replace("priority: 1", "priority: 0")
    found = decide(small_inventory([("/a", "T2_A")]), {"site_id": B}, {"site_id": C, "plugin": "two"}, config=config)
    assert found.copies["plugin"].to_list() == ["one"]
    assert found.rejected["reason"].to_list() == [engine.LOWER_PRIORITY]


def test_placement_rules() -> None:
    config = CONFIG + "placement: [{condition: 'dataset.name == /a', sites: [T2_C]}]\n"
    found = decide(small_inventory([("/a", "T2_A")]), {"site_id": B}, {}, config=config)
    assert found.copies["site_id"].to_list() == [C]
    assert found.rejected["reason"].to_list() == [engine.NOT_ALLOWED]


@pytest.mark.parametrize(
    ("name", "matches"), [("T2_A", True), ("T2_H", False), ("T1_X_Disk", True), ("T1_X_MSS", False), ("T2_Hx", True)]
)
def test_patterns(name: str, matches: bool) -> None:
    assert matches_patterns(name, ["T2_*", "T1_*_Disk", "!T2_H"]) is matches


@pytest.mark.parametrize(
    ("change", "key"),
    [
        pytest.param(("group: AnalysisOps", ""), "group", id="missing"),
        pytest.param(
            ("target_site_occupancy: 0.9", "target_site_occupancy: full"), "target_site_occupancy", id="no number"
        ),
        pytest.param(("priority: 1", "priority: -1"), "plugins.one.priority", id="negative priority"),
        pytest.param(("partition: Disk", "partition: Disk\nspeed: 9"), "speed", id="unknown key"),
    ],
)
def test_wrong_settings_name_file_and_key(change: tuple[str, str], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_config(CONFIG.replace(*change), file="dealer.yaml")
    assert caught.value.facts["file"] == "dealer.yaml"
    assert str(caught.value.facts["key"]).endswith(key) or key in str(caught.value.facts["key"])


def test_unknown_plugin_and_group_are_refused() -> None:
    with pytest.raises(SettingsError, match="no dealer plugin is called 'one'"):
        make_plugins(load_config(CONFIG))
    with pytest.raises(SettingsError, match="no group"):
        decide(make_frames(), {"site_id": B}, config=CONFIG.replace("group: AnalysisOps", "group: nobody"))
    with pytest.raises(SettingsError, match="proposals of three, which the configuration does not name"):
        decide(make_frames(), {"site_id": B, "plugin": "three"})


def inputs(frames: InventoryFrames, **changes: Any) -> ProposalInputs:
    context = make_context()
    return ProposalInputs(
        frames,
        context.partitions,
        NOW,
        copy_requests=context.copy_requests,
        enforcer_rules=context.enforcer_rules,
        **changes,
    )


def test_from_plugins_to_plan() -> None:
    config = load_config(CONFIG.replace("one:", "requests:").replace("two:", "enforcer:"))
    frames = make_frames()
    proposals = collect_proposals(make_plugins(config), inputs(frames), config, seed=3)
    found = plan_copies(frames, proposals, config, make_context().partitions, now=NOW, seed=3)
    assert set(proposals["plugin"]) == {"requests", "enforcer"}
    assert found.copies["copy"].n_unique() + found.rejected.height == proposals.height == found.proposals.height


def test_attributes_that_a_plugin_reads_must_be_fresh() -> None:
    config = load_config(CONFIG.replace("one: {priority: 1}, two: {priority: 2}", "p: {priority: 1}"))

    class Reader(RequestsPlugin):
        def attributes(self) -> tuple[str, ...]:
            return ("usage_rank", "request_weight")

    old = timedelta(hours=1)
    frames = replace(
        make_frames(),
        attributes=pl.DataFrame(
            {"name": ["usage_rank"], "produced_at": [NOW - 2 * old]}, schema=make_frames().attributes.schema
        ),
    )
    with pytest.raises(PlanError, match=r"request_weight was never produced; usage_rank was produced at .* more than"):
        collect_proposals({"p": Reader({})}, inputs(frames, attribute_max_age=old), config, seed=1)


def test_plugins_that_need_detox_are_named_where_there_was_none() -> None:
    class Needy(RequestsPlugin):
        def needs_detox(self) -> bool:
            return True

    plugins = {"needy": Needy({}), "other": RequestsPlugin({})}
    warnings = detox_warnings(plugins, None, "Physics")
    assert warnings == (
        "needy works on what Detox protects, and no Detox plan of Physics is committed: it proposed nothing",
    )
    assert detox_warnings(plugins, make_context().detox or DetoxCycle(1, pl.DataFrame()), "Physics") == ()


def test_every_proposal_has_a_turn_and_an_outcome() -> None:
    frames = small_inventory([("/a", "T2_A")], quotas={"T2_A": 1000, "T2_B": 150, "T2_C": 1000})
    found = decide(
        frames,
        {"site_id": B},
        {"refused": "too large"},
        {},
        {"site_id": A},
    ).proposals
    assert dict(found.schema) == dict(PLANNED)
    assert found["number"].to_list() == [1, 2, 3, 4]
    assert found["turn"].to_list() == [1, None, 2, 3]
    assert found["outcome"].to_list() == [engine.FULL, engine.REFUSED, None, engine.ALREADY_THERE]
    assert found.filter(pl.col("copy") == 1).select("site_id", "weight", "num_candidates").rows() == [(C, 1.0, 1)]
    assert found["detail"].to_list() == [None, "too large", None, None]


def test_what_is_to_be_written_is_what_the_site_lacks() -> None:
    frames = small_inventory([("/a", "T2_A", "DataOps"), ("/b", "T2_A")])
    found = decide(frames, {"site_id": A}, {"dataset_id": 1, "site_id": B}, {"dataset_id": 1, "site_id": B})
    states = found.site_states.select("site", "projected_bytes_before", "projected_bytes_after", "added_bytes").rows()
    assert states == [("T2_A", 400, 600, 0), ("T2_B", 0, 200, 200), ("T2_C", 0, 0, 0)]
    assert found.block_copies.select("site_id", "is_there").unique().sort("site_id").rows() == [(A, True), (B, False)]


def test_blocks_promised_and_complete_together_are_there() -> None:
    """One block is complete and the group's, the other was promised in this cycle: nothing is left to be asked."""
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")])
    part = replace(
        frames,
        block_replicas=frames.block_replicas.filter((pl.col("site_id") == A) | (pl.col("block_id") == 0)),
    )
    found = decide(part, {"site_id": B, "block_ids": [1]}, {"site_id": B})
    assert found.proposals["outcome"].to_list() == [None, engine.ALREADY_THERE]


def test_candidates_limit_the_draw() -> None:
    found = [decide(small_inventory([("/a", "T2_A")]), {"candidate_site_ids": [C, 99]}, seed=s) for s in range(5)]
    assert {plan.copies["site_id"].item() for plan in found} == {C}


def test_a_draw_among_no_site_goes_nowhere() -> None:
    found = decide(small_inventory([("/a", "T2_A")]), {"candidate_site_ids": []})
    assert found.proposals["outcome"].to_list() == [engine.NO_DESTINATION]


def test_an_empty_block_needs_no_source() -> None:
    frames = small_inventory([("/a", "T2_A")])
    blocks = frames.blocks.with_columns(num_files=pl.when(pl.col("block_id") == 1).then(0).otherwise("num_files"))
    lacking = replace(frames, blocks=blocks, block_replicas=frames.block_replicas.filter(pl.col("block_id") == 0))
    assert decide(lacking, {"site_id": B}).copies.height == 1
