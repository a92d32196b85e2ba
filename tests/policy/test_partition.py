"""Partitions: definitions, masks, quotas."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.policy.partition import load_partitions, partition_mask, partition_quota
from tests.detox.small import NOW, PARTITIONS, small_inventory


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("A: [B]", "unknown partition 'B'", id="unknown part"),
        pytest.param("A: [B]\nB: [A]", "contains itself", id="circle"),
        pytest.param("A: site.name == x\nA: site.name == y", "defined twice", id="twice"),
        pytest.param("A site.name == x", "expected 'name: condition'", id="no colon"),
        pytest.param("A: []", "no sub-partition", id="empty union"),
        pytest.param("A: replica.size > 3", "cannot be asked", id="replica variable"),
        pytest.param("A: blockreplica.is_last_transfer_source", "not supported yet", id="unsupported block variable"),
    ],
)
def test_wrong_definitions(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        load_partitions(text, now=NOW)


@pytest.mark.parametrize(
    ("condition", "sites"),
    [
        ("site.storage_type == MSS", ["T1_MSS"]),
        ("blockreplica.owner == None", ["T2_B"]),
        ("blockreplica.owner != AnalysisOps", ["T1_MSS", "T2_B"]),
        ("dataset.name == /a and blockreplica.last_update older_than 99 days ago", ["T2_A"]),
    ],
)
def test_masks(condition: str, sites: list[str]) -> None:
    names = ("T2_A", "T2_B", "T1_MSS")
    frames = small_inventory([("/a", "T2_A"), ("/b", "T2_B", "None"), ("/c", "T1_MSS", "DataOps")], sites=names)
    mask = partition_mask(frames, load_partitions(f"P: {condition}", now=NOW), "P")
    assert sorted({names[i] for i in frames.block_replicas.filter(mask)["site_id"]}) == sites


@pytest.mark.parametrize(
    ("disk", "tape", "total"),
    [(5, 7, 12), (5, -1, -1), (5, None, None), (-1, None, -1), (0, 0, 0)],
)
def test_quota_of_a_union(disk: int | None, tape: int | None, total: int | None) -> None:
    frames = small_inventory([("/a", "T2_A")], sites=("T2_A",))
    rows = [(0, name, quota) for name, quota in (("Disk", disk), ("Tape", tape)) if quota is not None]
    frames = replace(frames, quotas=pl.DataFrame(rows, schema=frames.quotas.schema, orient="row"))
    assert partition_quota(frames, load_partitions(PARTITIONS, now=NOW), "All")["quota_bytes"].to_list() == [total]
