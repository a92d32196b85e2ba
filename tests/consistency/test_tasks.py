"""Whole checks on the pocket grid: listed, compared, repaired."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import InventoryError, PlanError, RetryableRemoteError
from dynamo_ops.consistency.inventory_list import write_inventory_list
from dynamo_ops.consistency.repair import RepairSummary, repair
from dynamo_ops.consistency.settings import SiteRules, UnmanagedArea
from dynamo_ops.consistency.tasks import CompareSummary, compare_lists, list_inventory, list_storage, start_check
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.inventory.catalogue.injection.inject import inject
from tests.inventory.factory import Inventory
from tests.world import World

RULES = SiteRules(
    max_missing=10, max_orphan=10, unmanaged=(UnmanagedArea(prefix="/store/unmerged", max_age=timedelta(days=7)),)
)
LONG_AGO = time.time() - 40 * 86400


def check(world: World, run: str, folder: Path, rules: SiteRules = RULES, site: str = "T2_A") -> CompareSummary:
    check_id = start_check(world.inventory.db, run, site, folder / run)
    list_inventory(world.inventory.db, check_id)
    list_storage(world.inventory.db, check_id, world.open_storage, rules)
    return compare_lists(world.inventory.db, check_id, rules)


def mend(world: World, summary: CompareSummary, **options: Any) -> RepairSummary:
    return repair(world.inventory.db, summary.check_id, world.open_storage, **options)


def plant(world: World, lfn: str, data: bytes = b"loose") -> Path:
    world.pocket.put("T2_A", lfn, data)
    path = world.pocket.path("T2_A", lfn)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def findings(world: World, check_id: int) -> dict[str, str]:
    return dict(
        world.inventory.rows(
            "SELECT lfn, kind || '/' || state FROM consistency_findings WHERE check_id = :c", c=check_id
        )
    )


def test_cycle(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A", "T2_B")
    world.block("b2", "T2_A")
    world.pocket.path("T2_A", "/store/b1/f0").unlink()
    world.pocket.path("T2_A", "/store/b2/f0").unlink()
    orphan, unmerged = plant(world, "/store/old/x/f"), plant(world, "/store/unmerged/f")
    young = world.pocket.path("T2_A", "/store/young")
    young.write_bytes(b"being written")

    first = check(world, "week1", tmp_path)
    assert (first.num_missing_seen, first.num_missing_found, first.num_orphan, first.num_unmanaged) == (2, 0, 1, 1)
    assert (first.num_expected, first.num_stored, first.refused_because) == (6, 7, None)
    done = mend(world, first)
    assert (done.num_resubscribed, done.num_lost, done.num_deleted, done.num_failed) == (0, 0, 2, 0)
    assert not orphan.parent.exists()
    assert not orphan.parent.parent.exists()
    assert not unmerged.exists()
    assert young.exists()
    assert world.inventory.subscriptions() == {}

    second = check(world, "week2", tmp_path)
    assert (second.num_missing_seen, second.num_missing_found, second.num_orphan) == (0, 2, 0)
    done = mend(world, second)
    assert (done.num_resubscribed, done.num_lost) == (1, 1)
    assert world.inventory.subscriptions() == {("copy", "/store/b1/f0", "T2_A"): "new"}
    assert world.inventory.rows("SELECT origin FROM subscriptions") == [("consistency",)]
    assert world.inventory.replica_state("b1", "T2_A")[0] is False  # type: ignore[index]
    assert world.inventory.replica_state("b2", "T2_A")[0] is True  # type: ignore[index]  # lost: nothing is changed
    assert findings(world, second.check_id) == {"/store/b1/f0": "missing/repaired", "/store/b2/f0": "missing/lost"}

    third = check(world, "week3", tmp_path)
    assert (third.num_missing_found, findings(world, third.check_id)) == (1, {"/store/b2/f0": "missing/found"})


def test_breaker_refuses_and_repair_will_not(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check(world, "r", tmp_path, RULES.model_copy(update={"max_orphan": 0}))
    assert summary.refused_because == "1 files orphan, more than max_orphan allows (0)"
    with pytest.raises(PlanError, match="max_orphan"):
        mend(world, summary)
    assert orphan.exists()


def test_refused_check_counts_as_the_previous_one(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A", "T2_B")
    world.pocket.path("T2_A", "/store/b1/f0").unlink()
    assert check(world, "r1", tmp_path, RULES.model_copy(update={"max_missing": 0})).refused_because
    assert check(world, "r2", tmp_path).num_missing_found == 1


def test_missing_that_came_back_is_forgotten(world: World, tmp_path: Path) -> None:
    contents = world.block("b1", "T2_A", "T2_B")
    lfn = "/store/b1/f0"
    world.pocket.path("T2_A", lfn).unlink()
    check(world, "r1", tmp_path)
    world.pocket.put("T2_A", lfn, contents[lfn])
    assert check(world, "r2", tmp_path).num_missing_seen == 0
    world.pocket.path("T2_A", lfn).unlink()
    assert check(world, "r3", tmp_path).num_missing_found == 0


def test_the_inventory_overtakes_a_finding(world: World, tmp_path: Path) -> None:
    """Between listing and repair a copy arrived and a deletion was subscribed."""
    contents = world.block("b1", "T2_A", "T2_B")
    world.block("b2", "T2_B")
    world.pocket.path("T2_A", "/store/b1/f0").unlink()
    arrived = plant(world, "/store/b2/f0")
    check(world, "r1", tmp_path)
    summary = check(world, "r2", tmp_path)
    assert (summary.num_missing_found, summary.num_orphan) == (1, 1)
    world.inventory.replica("b2", "T2_A", present=["/store/b2/f0"])
    world.inventory.subscription("delete", list(contents), "T2_A")
    done = mend(world, summary)
    assert (done.num_skipped, done.num_deleted, done.num_resubscribed) == (2, 0, 0)
    assert arrived.exists()


def broken(world: World, site: str, lfn: str, data: bytes) -> None:
    path = world.pocket.path(site, lfn)
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.mark.parametrize(
    "data", [b"", b"much longer than it should be, and full of other bytes"], ids=["empty", "longer"]
)
def test_a_file_of_another_size_is_confirmed_and_copied_again(world: World, tmp_path: Path, data: bytes) -> None:
    lfns = list(world.block("b1", "T2_A", "T2_B"))
    broken(world, "T2_A", lfns[0], data)
    first = check(world, "r1", tmp_path)
    assert (first.num_wrong_size, mend(world, first).num_resubscribed) == (1, 0)
    world.inventory.subscription("delete", lfns, "T2_B", is_last_allowed=False)
    planned = {lfn for _, lfn, _ in planned_deletions(world)}
    assert planned == set(lfns[1:])  # the only good copy of the first one stays, from the first sight on
    second = check(world, "r2", tmp_path)
    assert findings(world, second.check_id) == {lfns[0]: "wrong_size/found"}
    assert mend(world, second).num_resubscribed == 1
    assert world.inventory.subscriptions()["copy", lfns[0], "T2_A"] == "new"
    assert findings(world, second.check_id) == {lfns[0]: "wrong_size/repaired"}


def planned_deletions(world: World) -> list[Any]:
    plan_deletions(world.inventory.db)
    return [key for key, state in world.inventory.subscriptions().items() if key[0] == "delete" and state == "inbatch"]


def test_nothing_is_overwritten_on_tape(world: World, tmp_path: Path) -> None:
    (lfn, *_) = world.block("b1", "T2_A", "T2_B")
    broken(world, "T2_A", lfn, b"")
    world.inventory.rows("UPDATE sites SET storage_type = 'mss' WHERE name = 'T2_A'")
    check(world, "r1", tmp_path)
    second = check(world, "r2", tmp_path)
    assert (mend(world, second).num_resubscribed, world.inventory.subscriptions()) == (0, {})
    reason = world.inventory.scalar("SELECT reason FROM consistency_findings WHERE check_id = :c", c=second.check_id)
    assert reason == "on tape nothing is overwritten: a person must decide"


def test_what_both_sites_have_wrong_is_copied_from_neither(world: World, tmp_path: Path) -> None:
    (lfn, *_) = world.block("b1", "T2_A", "T2_B")
    for site in ("T2_A", "T2_B"):
        broken(world, site, lfn, b"")
    for run in ("r1", "r2"):
        checks = [check(world, run, tmp_path / site, site=site) for site in ("T2_A", "T2_B")]
    assert [mend(world, summary).num_lost for summary in checks] == [1, 1]
    assert world.inventory.subscriptions() == {}


def test_an_old_check_repairs_nothing(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check(world, "r", tmp_path)
    world.inventory.rows("UPDATE consistency_checks SET storage_listed_at = storage_listed_at - interval '3 days'")
    with pytest.raises(PlanError, match=r"longer ago than max_age of consistency.yaml \(2 days, 0:00:00\)"):
        mend(world, summary)
    assert orphan.exists()


class During:
    """A storage of which somebody does something else while it deletes."""

    def __init__(self, storage: Any, act: Callable[[], object]) -> None:
        self.storage, self.act = storage, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)

    def delete(self, lfns: Any) -> Any:
        self.act()
        return self.storage.delete(lfns)


LATE = {
    "datasets": [
        {"name": "/Late/X-v1/RAW", "blocks": [{"name": "b1", "files": [{"lfn": "/store/x", "size_bytes": 5}]}]}
    ],
    "dataset_replicas": [{"dataset": "/Late/X-v1/RAW", "site": "T2_A"}],
}


def test_what_is_injected_while_a_repair_deletes_it_is_refused(world: World, tmp_path: Path) -> None:
    """It would be in the inventory and gone."""
    world.block("b1", "T2_A")
    plant(world, "/store/x")
    summary = check(world, "r", tmp_path)
    refused: list[str] = []

    def late() -> None:
        with pytest.raises(InventoryError) as caught:
            inject(world.inventory.db, LATE)
        refused.append(str(caught.value))

    done = repair(world.inventory.db, summary.check_id, lambda site: During(world.open_storage(site), late))
    assert (done.num_deleted, len(refused)) == (1, 1)
    assert "dataset_replicas[0]: '/store/x' at 'T2_A' is being deleted at this moment" in refused[0]
    assert inject(world.inventory.db, LATE).block_replicas.new == 1  # afterwards it is the person's word


def test_no_orphan_goes_where_another_site_has_the_same_storage(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check(world, "r", tmp_path)
    world.inventory.rows(
        """UPDATE site_endpoints AS e SET prefix = a.prefix || '/deeper' FROM site_endpoints AS a
        WHERE a.site_id = :a AND e.site_id = :b AND a.protocol = e.protocol""",
        a=world.inventory.site_ids["T2_A"],
        b=world.inventory.site_ids["T2_B"],
    )
    done = mend(world, summary)
    assert (done.num_deleted, done.num_skipped, orphan.exists()) == (0, 1, True)


def test_what_was_injected_before_stays(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check(world, "r", tmp_path)
    inject(world.inventory.db, LATE)
    assert (mend(world, summary).num_deleted, orphan.exists()) == (0, True)


def test_repair_twice_is_once(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    plant(world, "/store/x")
    summary = check(world, "r", tmp_path)
    assert mend(world, summary).num_deleted == 1
    assert mend(world, summary) == RepairSummary(summary.check_id)


def test_report_only(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    mend(world, check(world, "r", tmp_path), delete_orphans=False, repair_missing=False)
    assert orphan.exists()


def test_read_only_storage_is_reported(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    plant(world, "/store/x")
    summary = check(world, "r", tmp_path)
    world.pocket.grid.fault(sites={"T2_A": {"read_only": True}})
    assert mend(world, summary).num_failed == 1
    assert findings(world, summary.check_id) == {"/store/x": "orphan/failed"}


def test_broken_listing_leaves_no_list(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    check_id = start_check(world.inventory.db, "r", "T2_A", tmp_path)
    list_inventory(world.inventory.db, check_id)
    world.pocket.grid.fault(sites={"T2_A": {"http_500": True}})
    with pytest.raises(RetryableRemoteError):
        list_storage(world.inventory.db, check_id, world.open_storage, RULES)
    assert not (tmp_path / "storage.parquet").exists()
    with pytest.raises(PlanError):
        compare_lists(world.inventory.db, check_id, RULES)


def test_the_inventory_comes_first(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    check_id = start_check(world.inventory.db, "r", "T2_A", tmp_path)
    with pytest.raises(PlanError, match="before the storage"):
        list_storage(world.inventory.db, check_id, world.open_storage, RULES)
    list_inventory(world.inventory.db, check_id)
    list_storage(world.inventory.db, check_id, world.open_storage, RULES)
    list_inventory(world.inventory.db, check_id)  # read again: the storage list is void
    with pytest.raises(PlanError, match="both lists"):
        compare_lists(world.inventory.db, check_id, RULES)


def test_start_twice_is_one_check(world: World, tmp_path: Path) -> None:
    assert start_check(world.inventory.db, "r", "T2_A", tmp_path) == start_check(
        world.inventory.db, "r", "T2_A", tmp_path
    )
    with pytest.raises(InventoryError, match="no site"):
        start_check(world.inventory.db, "r", "T2_NONE", tmp_path)


def test_inventory_list(inventory: Inventory, tmp_path: Path) -> None:
    inventory.site("T2_A")
    inventory.site("T2_B")
    for name in ("complete", "subscribed", "partial", "coming", "elsewhere"):
        inventory.block(name, 2)
    inventory.replica("complete", "T2_A")
    inventory.replica("subscribed", "T2_A")
    inventory.replica("partial", "T2_A", present=["/store/partial/f0"])
    inventory.replica("elsewhere", "T2_B")
    inventory.subscription("delete", ["/store/subscribed/f0"], "T2_A")
    inventory.subscription("copy", ["/store/coming/f0"], "T2_A")
    listed = write_inventory_list(inventory.db, inventory.site_ids["T2_A"], tmp_path / "x" / "list.parquet")
    rows = pl.read_parquet(listed.path).sort("lfn").select("lfn", "is_present", "is_pending").rows()
    assert listed.num_files == 5
    assert rows == [
        ("/store/coming/f0", False, True),
        ("/store/coming/f1", False, True),
        ("/store/complete/f0", True, False),
        ("/store/complete/f1", True, False),
        ("/store/partial/f0", True, True),
        ("/store/partial/f1", False, True),
        ("/store/subscribed/f0", True, True),
        ("/store/subscribed/f1", True, True),
    ]


def test_blocks_due_at_a_growing_dataset_are_pending(inventory: Inventory, tmp_path: Path) -> None:
    inventory.site("T2_A")
    inventory.block("b1", 1)
    inventory.block("b2", 1)
    inventory.replica("b1", "T2_A", growing=True)
    listed = write_inventory_list(inventory.db, inventory.site_ids["T2_A"], tmp_path / "list.parquet")
    assert pl.read_parquet(listed.path).sort("lfn").select("lfn", "is_present", "is_pending").rows() == [
        ("/store/b1/f0", True, False),
        ("/store/b2/f0", False, True),
    ]


def test_empty_site(inventory: Inventory, tmp_path: Path) -> None:
    site = inventory.site("T2_A")
    listed = write_inventory_list(inventory.db, site, tmp_path / "list.parquet")
    assert (listed.num_files, pl.read_parquet(listed.path).height) == (0, 0)
