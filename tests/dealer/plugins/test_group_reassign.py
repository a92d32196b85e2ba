"""Plugin groupreassign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import polars as pl
import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.dealer.plugins.group_reassign import GroupReassignPlugin
from dynamo_ops.inventory.frames import InventoryFrames
from tests.dealer.plugins.conformance import PluginConformance, make_context
from tests.detox.small import small_inventory

SITES = ("T2_A", "T2_B", "T1_MSS")


class TestGroupReassignConformance(PluginConformance):
    plugin = GroupReassignPlugin
    settings: ClassVar[Mapping[str, Any]] = {"from_groups": ["DataOps"]}


def proposed(frames: InventoryFrames, *groups: str) -> list[tuple[int, list[int] | None, int]]:
    found = GroupReassignPlugin({"from_groups": groups or ("DataOps",)}).propose(frames, make_context())
    return found.select("dataset_id", "block_ids", "site_id").rows()


def test_one_request_a_dataset_replica_where_it_is_by_names() -> None:
    replicas = [("/b", "T2_A", "DataOps"), ("/a", "T2_B", "DataOps"), ("/a", "T1_MSS", "DataOps"), ("/a", "T2_A")]
    assert proposed(small_inventory(replicas, sites=SITES)) == [(0, None, 2), (0, None, 1), (1, None, 0)]


def test_only_blocks_of_those_groups() -> None:
    frames = small_inventory([("/a", "T2_A", "DataOps")], num_blocks=3)
    owner = pl.when(pl.col("block_id") == 1).then(0).otherwise(pl.col("group_id"))
    mixed = replace(frames, block_replicas=frames.block_replicas.with_columns(group_id=owner))
    assert proposed(mixed) == [(0, [0, 2], 0)]


def test_all_blocks_of_a_replica_that_lacks_some_are_some() -> None:
    frames = small_inventory([("/a", "T2_A", "DataOps")])
    lacking = replace(frames, block_replicas=frames.block_replicas.filter(pl.col("block_id") == 0))
    assert proposed(lacking) == [(0, [0], 0)]


def test_blocks_go_after_whole_datasets() -> None:
    frames = small_inventory([("/a", "T2_A", "DataOps"), ("/a", "T2_B", "DataOps")])
    lacking = frames.block_replicas.filter((pl.col("site_id") == 1) | (pl.col("block_id") == 1))
    assert proposed(replace(frames, block_replicas=lacking)) == [(0, None, 1), (0, [1], 0)]


def test_incomplete_ones_too() -> None:
    frames = small_inventory([("/a", "T2_A", "DataOps")])
    empty = frames.block_replicas.with_columns(is_complete=False, size_bytes=pl.lit(0, dtype=pl.Int64))
    assert proposed(replace(frames, block_replicas=empty)) == [(0, None, 0)]


def test_the_null_group_is_called_none() -> None:
    frames = small_inventory([("/a", "T2_A", "None"), ("/b", "T2_A", "DataOps")])
    assert proposed(frames, "None") == [(0, None, 0)]
    assert proposed(frames, "None", "DataOps") == [(0, None, 0), (1, None, 0)]


def test_the_reason_says_who_has_how_much() -> None:
    found = GroupReassignPlugin({"from_groups": ["DataOps"]}).propose(
        small_inventory([("/a", "T2_A", "DataOps")]), make_context()
    )
    assert found["reason"].to_list() == ["2 blocks of DataOps at T2_A (200 B): to be owned by AnalysisOps"]


def test_an_unknown_group_is_named_with_near_ones() -> None:
    message = r"plugins\.groupreassign\.from_groups: no group is called 'DataOp'\. Did you mean DataOps"
    with pytest.raises(SettingsError, match=message):
        proposed(small_inventory([("/a", "T2_A")]), "DataOp")


def test_some_group_must_be_named() -> None:
    with pytest.raises(SettingsError, match=r"plugins\.groupreassign\.from_groups"):
        GroupReassignPlugin({"from_groups": []})
