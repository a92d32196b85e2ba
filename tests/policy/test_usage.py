"""How full partitions are at sites."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from dynamo_ops.policy.usage import PARTITION_USAGE, partition_usage
from tests.detox.small import NOW, small_inventory

PARTITIONS = """
Ana: blockreplica.owner == AnalysisOps
Rest: blockreplica.owner != AnalysisOps
Both: [Ana, Rest]
Hot: dataset.demand_rank > 5
Ranked: dataset.usage_rank < 5
"""


@pytest.fixture
def frames() -> InventoryFrames:
    """/a at T2_A and, half there, at T2_B; /b of DataOps at T2_A. Blocks of 100 bytes, two a dataset."""
    found = small_inventory(
        [("/a", "T2_A"), ("/a", "T2_B"), ("/b", "T2_A", "DataOps")],
        quotas={"T2_A": 1000, "T2_B": 0, "T2_C": -1},
        partition="Ana",
    )
    is_half = (pl.col("site_id") == 1) & (pl.col("block_id") == 1)
    replicas = found.block_replicas.with_columns(
        size_bytes=pl.when(is_half).then(40).otherwise("size_bytes"), is_complete=~is_half
    )
    rest = pl.DataFrame({"site_id": [0], "partition": ["Rest"], "quota_bytes": [200]})
    return replace(found, block_replicas=replicas, quotas=pl.concat([found.quotas, rest]))


def usage(frames: InventoryFrames, *names: str) -> list[tuple[object, ...]]:
    found = partition_usage(frames, load_partitions(PARTITIONS, now=NOW), names)
    assert dict(found.schema) == dict(PARTITION_USAGE)
    return found.drop("status").rows()


def test_bytes_and_occupancies_by_kind_of_quota(frames: InventoryFrames) -> None:
    assert usage(frames, "Ana") == [
        ("T2_A", "Ana", 1000, 200, 200, 0.2, 0.2),
        ("T2_B", "Ana", 0, 140, 200, float("inf"), float("inf")),
        ("T2_C", "Ana", -1, 0, 0, 0.0, 0.0),
    ]


def test_without_a_quota_the_occupancy_is_unknown(frames: InventoryFrames) -> None:
    assert usage(frames, "Rest")[1] == ("T2_B", "Rest", None, 0, 0, None, None)


def test_a_union_has_all_of_its_leaves(frames: InventoryFrames) -> None:
    assert usage(frames, "Both")[0] == ("T2_A", "Both", 1200, 400, 400, 1 / 3, 1 / 3)
    assert usage(frames, "Both")[1][2] is None


def test_what_was_never_produced_is_not_counted_as_nothing(frames: InventoryFrames) -> None:
    assert usage(frames, "Hot")[0] == ("T2_A", "Hot", None, None, None, None, None)
    assert usage(frames, "Ranked")[0][2:4] == (None, 400)


def test_several_partitions_by_site_and_name(frames: InventoryFrames) -> None:
    assert [row[:2] for row in usage(frames, "Rest", "Ana")][:3] == [("T2_A", "Ana"), ("T2_A", "Rest"), ("T2_B", "Ana")]
    assert usage(frames) == []


def test_an_unknown_partition_is_an_error(frames: InventoryFrames) -> None:
    with pytest.raises(PolicyError, match="unknown partition 'Anna'"):
        usage(frames, "Anna")
