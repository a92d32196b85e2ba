"""What the Dealer takes for a copy: nothing doomed, nothing doubtful (SEMANTICS §4, §10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from dynamo_ops.dealer.engine import decide as engine
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import ProposalInputs, make_plugins, proposals_frame, propose
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from tests.dealer.plugins.conformance import make_cycle, with_weights
from tests.detox.small import NOW, PARTITIONS, small_inventory

A, B, C = 0, 1, 2
CONFIG = """
partition: Disk
group: AnalysisOps
target_sites: ["T2_*"]
target_site_occupancy: 0.9
max_site_pending_fraction: 0.5
max_total_cycle_volume: 1
plugins: {%s}
"""
Rows = Sequence[tuple[int, int, int]]
"""(block, site, file): block b has the files 10 b and 10 b + 1."""
NONE: Rows = ()
Proposed = list[tuple[Any, ...]]


def with_troubles(
    frames: InventoryFrames, *, doomed: Rows | None = None, doubted: Rows | None = None
) -> InventoryFrames:
    names = {"block_id": pl.Int64, "site_id": pl.Int64, "file_id": pl.Int64}
    return replace(
        frames,
        doomed_files=pl.DataFrame(doomed, schema=names, orient="row").with_columns(size_bytes=pl.lit(50)),
        doubted_files=pl.DataFrame(doubted, schema=names, orient="row"),
    )


def whole(site: int) -> Rows:
    """All files of /a, blocks 0 and 1, at the site."""
    return [(block, site, 10 * block + number) for block in (0, 1) for number in (0, 1)]


def decide(frames: InventoryFrames, site: int, config: str = CONFIG, partitions: str = PARTITIONS) -> CopyPlan:
    proposals = proposals_frame([{"dataset_id": 0, "reason": "test", "site_id": site}])
    proposals = proposals.with_columns(plugin=pl.lit("one"))
    loaded = load_config(config % "one: {priority: 1}")
    return plan_copies(frames, proposals, loaded, load_partitions(partitions, now=NOW), now=NOW, seed=1)


def outcome(frames: InventoryFrames, site: int) -> str | None:
    rejected: list[str] = decide(frames, site).rejected["reason"].to_list()
    return rejected[0] if rejected else None


@pytest.mark.parametrize(
    ("trouble", "at", "expected"),
    [
        pytest.param({"doomed": whole(A)}, B, engine.NO_SOURCE, id="all of it is being deleted"),
        pytest.param({"doomed": [(0, A, 0)]}, B, engine.FILES_MISSING, id="a file of it is being deleted"),
        pytest.param({"doubted": [(0, A, 0)]}, B, engine.FILES_MISSING, id="a file of it is doubted"),
        pytest.param({}, A, engine.ALREADY_THERE, id="it is there"),
    ],
)
def test_one_copy(trouble: dict[str, Any], at: int, expected: str) -> None:
    assert outcome(with_troubles(small_inventory([("/a", "T2_A")]), **trouble), at) == expected


@pytest.mark.parametrize(
    ("trouble", "at", "expected"),
    [
        pytest.param({"doubted": [(0, A, 0)]}, C, None, id="the other has the doubted file"),
        pytest.param({"doubted": [(0, A, 0), (0, B, 1)]}, C, None, id="each has what the other lacks"),
        pytest.param({"doubted": [(0, A, 0), (0, B, 0)]}, C, engine.FILES_MISSING, id="both lack the same"),
        pytest.param({"doubted": [(0, A, 0)], "doomed": [(0, B, 0)]}, C, engine.FILES_MISSING, id="doubted and doomed"),
        pytest.param({"doomed": whole(A)}, A, None, id="what is being deleted is not there already"),
        pytest.param({"doubted": [(1, A, 10)]}, A, None, id="nor what is doubted"),
    ],
)
def test_two_copies(trouble: dict[str, Any], at: int, expected: str | None) -> None:
    assert outcome(with_troubles(small_inventory([("/a", "T2_A"), ("/a", "T2_B")]), **trouble), at) == expected


def test_what_a_site_of_unknown_status_has_is_no_source() -> None:
    frames = small_inventory([("/a", "T2_A")])
    status = pl.when(pl.col("site") == "T2_A").then(pl.lit("unknown")).otherwise("status")
    assert outcome(replace(frames, sites=frames.sites.with_columns(status=status)), B) == engine.FILES_MISSING


def test_bytes_that_are_being_deleted_are_there_until_the_storage_has_deleted_them() -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")])
    before = decide(frames, C).site_states
    assert decide(with_troubles(frames, doomed=whole(A)), C).site_states.equals(before)


def test_they_count_in_the_partition_of_who_owned_them() -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")])
    frames = replace(frames, quotas=frames.quotas.with_columns(partition=pl.lit("Owned")))
    options = {
        "config": CONFIG.replace("partition: Disk", "partition: Owned"),
        "partitions": "Owned: blockreplica.owner == AnalysisOps\n",
    }
    is_here = pl.col("site_id") == A
    replicas = frames.block_replicas.with_columns(group_id=pl.when(is_here).then(None).otherwise("group_id"))
    owners = frames.block_replicas.filter(is_here).select("block_id", "site_id", "group_id")
    gone = replace(with_troubles(frames, doomed=whole(A)), block_replicas=replicas)
    before = decide(frames, C, **options).site_states
    assert decide(replace(gone, former_owners=owners), C, **options).site_states.equals(before)
    assert not decide(gone, C, **options).site_states.equals(before)


def proposals(
    frames: InventoryFrames, plugin: str, settings: str, *protected: tuple[int, int]
) -> list[tuple[Any, ...]]:
    config = load_config(CONFIG % f"{plugin}: {{priority: 1{settings}}}")
    cycle = make_cycle(*((dataset, site, "protect", None, 1) for dataset, site in protected))
    inputs = ProposalInputs(frames, load_partitions(PARTITIONS, now=NOW), NOW, detox=cycle)
    found = propose(make_plugins(config)[plugin], plugin, inputs, config, seed=1)
    return found.select("dataset_id", "block_ids").rows()


def test_plugins_do_not_see_what_is_being_deleted() -> None:
    """Two copies are wanted: one more when one of the two goes."""
    frames = with_weights(small_inventory([("/a", "T2_A"), ("/a", "T2_B")]), {"/a": 20.0})
    settings = ", source_groups: [AnalysisOps], max_replication: 3, request_to_replica_threshold: 10"
    assert proposals(frames, "popularity", settings) == []
    assert proposals(with_troubles(frames, doomed=whole(A)), "popularity", settings) == [(0, None)]


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [({}, []), ({"doubted": [(1, A, 10)]}, [(0, [1])]), ({"doomed": whole(A)}, [(0, None)])],
    ids=["a good copy elsewhere", "one with a doubt", "one that goes"],
)
def test_what_is_only_at_a_bad_site_is_brought_away(trouble: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    frames = small_inventory([("/a", "T2_A"), ("/a", "T2_B")])
    status = pl.when(pl.col("site") == "T2_B").then(pl.lit("morgue")).otherwise("status")
    frames = replace(with_troubles(frames, **trouble), sites=frames.sites.with_columns(status=status))
    assert proposals(frames, "undertaker", "", (0, B)) == expected
