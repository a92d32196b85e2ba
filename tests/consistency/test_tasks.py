"""Whole checks on the pocket grid: listed, compared, repaired."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError, PermanentRemoteError, PlanError, RetryableRemoteError
from dynamo_ops.consistency import repair as repair_module
from dynamo_ops.consistency.inventory_list import write_inventory_list
from dynamo_ops.consistency.matching.file_list import open_list
from dynamo_ops.consistency.repair import RepairSummary, repair
from dynamo_ops.consistency.storage_list import StorageList
from dynamo_ops.consistency.tasks import (
    CompareSummary,
    choose_sites,
    compare_lists,
    list_inventory,
    list_storage,
    start_check,
)
from dynamo_ops.deletion.execute import execute_batch
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.inventory.replica.copies import REFUSED_SITES
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.site.shared import declare
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.registry import storages
from dynamo_ops.storage.webdav import WebDavStorage
from tests.consistency.checking import RULES, broken, check, check_twice, findings, mend, plant
from tests.inventory.factory import Inventory
from tests.people import ADA, inject
from tests.world import World


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
    assert (first.num_orphan_found, first.num_unmanaged_found) == (0, 0)
    assert (first.num_expected, first.num_stored, first.refused_because) == (6, 7, None)
    assert mend(world, first, delete_unmanaged=True) == RepairSummary(first.check_id)
    assert world.inventory.subscriptions() == {}

    second = check(world, "week2", tmp_path)
    assert (second.num_missing_seen, second.num_missing_found) == (0, 2)
    assert (second.num_orphan_found, second.num_unmanaged_found) == (1, 1)
    done = mend(world, second, delete_unmanaged=True)
    assert (done.num_resubscribed, done.num_lost, done.num_deleted, done.num_failed) == (1, 1, 2, 0)
    assert not orphan.parent.exists()
    assert not orphan.parent.parent.exists()
    assert not unmerged.exists()
    assert young.exists()
    assert world.inventory.subscriptions() == {("copy", "/store/b1/f0", "T2_A"): "new"}
    assert world.inventory.rows("SELECT origin FROM subscriptions") == [("consistency",)]
    assert world.inventory.replica_state("b1", "T2_A")[0] is False  # type: ignore[index]
    assert world.inventory.replica_state("b2", "T2_A")[0] is True  # type: ignore[index]  # lost: nothing is changed
    assert findings(world, second.check_id) == {
        "/store/b1/f0": "missing/repaired",
        "/store/b2/f0": "missing/lost",
        "/store/old/x/f": "orphan/repaired",
        "/store/unmerged/f": "unmanaged/repaired",
    }

    events = world.inventory.rows("SELECT kind, sites, facts->'num_files', facts->'blocks' FROM events")
    assert events == [("file.lost", ["T2_A"], 1, ["b2"])]

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
    summary = check_twice(world, tmp_path)
    assert (summary.num_missing_found, summary.num_orphan) == (1, 1)
    world.inventory.replica("b2", "T2_A", present=["/store/b2/f0"])
    world.inventory.subscription("delete", list(contents), "T2_A")
    done = mend(world, summary)
    assert (done.num_skipped, done.num_deleted, done.num_resubscribed) == (2, 0, 0)
    assert arrived.exists()


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
    summary = check_twice(world, tmp_path)
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
    summary = check_twice(world, tmp_path)
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
    summary = check_twice(world, tmp_path)
    world.inventory.rows(
        """UPDATE site_endpoints AS e SET prefix = a.prefix || '/deeper' FROM site_endpoints AS a
        WHERE a.site_id = :a AND e.site_id = :b AND a.protocol = e.protocol""",
        a=world.inventory.site_ids["T2_A"],
        b=world.inventory.site_ids["T2_B"],
    )
    done = mend(world, summary)
    assert (done.num_deleted, done.num_skipped, orphan.exists()) == (0, 1, True)


def test_no_orphan_goes_where_another_site_has_the_same_directory(world: World, tmp_path: Path) -> None:
    """Through a link on the machine that repairs; where it leads is looked at again for each chunk."""
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check_twice(world, tmp_path)
    root = Path(str(orphan).removesuffix("/store/x"))
    (tmp_path / "link").symlink_to(root)
    for site, place in (("T2_A", root), ("T2_B", tmp_path / "link")):
        world.inventory.rows(
            "UPDATE site_endpoints SET protocol = 'file', prefix = :p WHERE site_id = :s",
            p=f"file://{place}",
            s=world.inventory.site_ids[site],
        )
    open_storage = storages(world.inventory.db, StorageOptions(protocols=("file",)))
    done = repair(world.inventory.db, summary.check_id, open_storage)
    assert (done.num_deleted, done.num_skipped, orphan.exists()) == (0, 1, True)
    assert "that of T2_B is its directory as well" in reasons(world, summary)["/store/x"]


def test_no_orphan_goes_where_two_files_may_have_one_name(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check_twice(world, tmp_path)
    world.inventory.rows(
        """UPDATE site_endpoints SET mapping = '[[["/store/(.*)_.*", "davs://se.org/$1"]]]' WHERE site_id = :a""",
        a=world.inventory.site_ids["T2_A"],
    )
    done = mend(world, summary)
    assert (done.num_deleted, done.num_skipped, orphan.exists()) == (0, 1, True)
    assert "cannot be shown to be one-to-one" in reasons(world, summary)["/store/x"]


@pytest.mark.parametrize("change", ["another size", "another time"])
def test_what_was_written_anew_since_the_listing_stays(world: World, tmp_path: Path, change: str) -> None:
    """The storage is looked at right before it is asked; the other orphan goes."""
    world.block("b1", "T2_A")
    anew, orphan = plant(world, "/store/anew"), plant(world, "/store/x")
    summary = check_twice(world, tmp_path)
    if change == "another size":
        plant(world, "/store/anew", b"written anew")
    else:
        os.utime(anew, (time.time(), time.time()))
    done = mend(world, summary)
    assert (done.num_deleted, done.num_failed, anew.exists(), orphan.exists()) == (1, 1, True, False)
    assert "since it was listed" in reasons(world, summary)["/store/anew"]


def test_what_a_site_that_shares_the_storage_has_is_no_orphan(world: World, tmp_path: Path) -> None:
    """b2 is T2_B's; T2_B is T2_A under another name, as was declared. What neither has goes."""
    world.block("b1", "T2_A")
    world.block("b2", "T2_C", num_files=1)
    world.inventory.replica("b2", "T2_B")
    theirs, orphan = plant(world, "/store/b2/f0"), plant(world, "/store/x")
    world.inventory.rows(
        """UPDATE site_endpoints AS e SET prefix = a.prefix FROM site_endpoints AS a
        WHERE a.site_id = :a AND e.site_id = :b AND a.protocol = e.protocol""",
        a=world.inventory.site_ids["T2_A"],
        b=world.inventory.site_ids["T2_B"],
    )
    declare(world.inventory.db, "T2_A", "T2_B", by=ADA, reason="one dCache")
    summary = check_twice(world, tmp_path)
    done = mend(world, summary)
    assert (done.num_deleted, theirs.exists(), orphan.exists()) == (1, True, False)
    assert reasons(world, summary)["/store/b2/f0"] == "a site that shares this storage has it, or shall have it"


def test_what_was_injected_before_stays(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check_twice(world, tmp_path)
    inject(world.inventory.db, LATE)
    assert (mend(world, summary).num_deleted, orphan.exists()) == (0, True)


def test_repair_twice_is_once(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    plant(world, "/store/x")
    summary = check_twice(world, tmp_path)
    assert mend(world, summary).num_deleted == 1
    assert mend(world, summary) == RepairSummary(summary.check_id)


class Killed(BaseException):
    """The process is gone."""


class KilledAfter:
    """A storage that deletes, and then there is nobody to be told."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)

    def delete(self, lfns: Any) -> Any:
        self.storage.delete(lfns)
        raise Killed


def test_a_repair_that_is_killed_after_each_chunk_comes_to_the_same_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "FILES_PER_CHUNK", 2)
    managed = world.block("b1", "T2_A")
    orphans = [plant(world, f"/store/x{number}") for number in range(5)]
    summary = check_twice(world, tmp_path)
    for _ in range(3):
        with pytest.raises(Killed):
            repair(world.inventory.db, summary.check_id, lambda site: KilledAfter(world.open_storage(site)))
    assert mend(world, summary).num_deleted == 3  # the first chunk is gone already
    assert [orphan.exists() for orphan in orphans] == [False] * 5
    assert all(world.pocket.path("T2_A", lfn).exists() for lfn in managed)
    assert set(findings(world, summary.check_id).values()) == {"orphan/repaired"}


def test_report_only(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    mend(world, check_twice(world, tmp_path), delete_orphans=False, repair_missing=False)
    assert orphan.exists()


def test_read_only_storage_is_reported(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    plant(world, "/store/x")
    summary = check_twice(world, tmp_path)
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


class Clustered(WebDavStorage):
    """A storage of several data servers."""

    servers: tuple[str, ...] = ("one", "two", "three")
    least_data_servers = 0

    def data_servers(self) -> tuple[str, ...]:
        return self.servers


def test_a_data_server_that_is_not_listed_any_more_refuses_the_check(world: World, tmp_path: Path) -> None:
    contents = world.block("b1", "T2_A")
    ends = world.pocket.grid.endpoints["sites"]["T2_A"]["prefix"]
    storage = Clustered(Endpoint("T2_A", "davs", ends), world.pocket.options)

    def listed(run: str) -> StorageList:
        check_id = start_check(world.inventory.db, run, "T2_A", tmp_path / run)
        list_inventory(world.inventory.db, check_id)
        found = list_storage(world.inventory.db, check_id, lambda _: storage, RULES)
        compare_lists(world.inventory.db, check_id, RULES)
        return found

    assert listed("first").num_files == len(contents)
    storage.servers = ("one",)
    with pytest.raises(PermanentRemoteError, match="the last check listed three, two too, and nothing is known of"):
        listed("second")
    ((state, because, listed_at),) = world.inventory.rows(
        "SELECT state, refused_because, storage_listed_at FROM consistency_checks WHERE run_key = 'second'"
    )
    assert (state, listed_at) == ("refused", None)
    assert "say how many servers there are (storages: root:T2_A: servers)" in because
    storage.least_data_servers = 1
    listed("third")
    storage.least_data_servers, storage.servers = 0, ("one", "four")
    listed("fourth")
    assert world.inventory.rows("SELECT servers FROM consistency_checks ORDER BY id") == [
        (["one", "two", "three"],),
        (None,),
        (["one"],),
        (["one", "four"],),
    ]


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
    lines = open_list(listed.path).scan().collect().sort("lfn").select("lfn", "is_present", "is_pending").rows()
    assert listed.num_files == 5
    assert lines == [
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
    assert open_list(listed.path).scan().collect().sort("lfn").select("lfn", "is_present", "is_pending").rows() == [
        ("/store/b1/f0", True, False),
        ("/store/b2/f0", False, True),
    ]


def test_empty_site(inventory: Inventory, tmp_path: Path) -> None:
    site = inventory.site("T2_A")
    listed = write_inventory_list(inventory.db, site, tmp_path / "list.parquet")
    assert (listed.num_files, open_list(listed.path).scan().collect().height) == (0, 0)


def test_the_last_copy_that_the_catalogue_knows_is_no_orphan(world: World, tmp_path: Path) -> None:
    """The inventory lost sight of it; nobody else has it."""
    world.block("b1", "T2_A")
    world.block("b2", "T2_B", num_files=1)
    world.block("b3", num_files=1)
    copy, last = plant(world, "/store/b2/f0"), plant(world, "/store/b3/f0")
    summary = check_twice(world, tmp_path)
    done = mend(world, summary)
    assert (done.num_deleted, done.num_skipped, copy.exists(), last.exists()) == (1, 1, False, True)
    assert reasons(world, summary)["/store/b3/f0"] == "the catalogue knows it, and no other site has a good copy"


def test_what_the_inventory_knows_is_not_unmanaged(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    (lfn,) = world.inventory.block("b2", contents={"/store/unmerged/managed": b"loose"})
    world.inventory.replica("b2", "T2_B")
    managed, expired = plant(world, lfn), plant(world, "/store/unmerged/f")
    summary = check_twice(world, tmp_path)
    done = mend(world, summary, delete_unmanaged=True)
    assert (done.num_deleted, managed.exists(), expired.exists()) == (1, True, False)
    assert reasons(world, summary)[lfn] == "the inventory knows it: it is not unmanaged"


def test_unmanaged_areas_are_reported_only_unless_told(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    expired = plant(world, "/store/unmerged/f")
    summary = check_twice(world, tmp_path)
    assert (summary.num_unmanaged_found, mend(world, summary).num_deleted, expired.exists()) == (1, 0, True)
    mend(world, summary, delete_unmanaged=True)  # a repaired check is done, whatever the settings say by now
    assert expired.exists()


def test_an_orphan_that_was_deleted_and_is_there_again_is_another_one(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    plant(world, "/store/x")
    assert mend(world, check_twice(world, tmp_path)).num_deleted == 1
    again = plant(world, "/store/x")
    assert (mend(world, check(world, "next week", tmp_path)).num_deleted, again.exists()) == (0, True)


def downtime(world: World, begin: timedelta, end: timedelta | None) -> None:
    now = datetime.now(UTC)
    with world.inventory.db.begin() as connection:
        connection.execute(
            text("""INSERT INTO site_downtimes (site_id, begins_at, ends_at, reason, created_by)
                    VALUES (:site, :begin, :end, 'new disks', 'ada')"""),
            {
                "site": world.inventory.site_ids["T2_A"],
                "begin": now + begin,
                "end": None if end is None else now + end,
            },
        )


HOUR = timedelta(hours=1)


def test_a_site_in_a_downtime_is_neither_chosen_nor_listed(world: World, tmp_path: Path) -> None:
    database = world.inventory.db
    world.block("b1", "T2_A")
    downtime(world, -HOUR, HOUR)
    assert choose_sites(database, []) == ["T1_TAPE", "T2_B", "T2_C"]
    assert choose_sites(database, ["T2_*"]) == ["T2_B", "T2_C"]
    with pytest.raises(InventoryError, match=r"T2_A is not checked: downtime 1 of T2_A from .*Z \(new disks\)"):
        choose_sites(database, ["T2_A", "T2_B"])
    check_id = start_check(database, "r", "T2_A", tmp_path)
    list_inventory(database, check_id)
    with pytest.raises(PlanError, match=r"is void, nothing is judged: downtime 1 of T2_A"):
        list_storage(database, check_id, world.open_storage, RULES)


@pytest.mark.parametrize(
    ("begin", "end", "is_void"),
    [
        (-HOUR, None, True),
        (-HOUR, HOUR, True),
        (-HOUR, -HOUR / 2, False),
        (HOUR, 2 * HOUR, False),
        (-HOUR, -HOUR, False),
    ],
    ids=["until resumed", "now", "over before", "to come", "never was"],
)
def test_a_downtime_makes_a_check_void_for_repair(
    world: World, tmp_path: Path, begin: timedelta, end: timedelta | None, is_void: bool
) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    summary = check_twice(world, tmp_path)
    downtime(world, begin, end)
    if is_void:
        with pytest.raises(PlanError, match=r"is void, nothing more is repaired: downtime 1 of T2_A .*new disks"):
            mend(world, summary)
    else:
        mend(world, summary)
    assert orphan.exists() == is_void


def test_a_downtime_that_covered_the_listing_judges_no_file(world: World, tmp_path: Path) -> None:
    """It is over when the lists are compared; what it has shown is no doubt, and not the first sight of anything."""
    lfn = next(iter(world.block("b1", "T2_A", "T2_B")))
    world.pocket.path("T2_A", lfn).unlink()
    check_id = start_check(world.inventory.db, "r", "T2_A", tmp_path / "r")
    list_inventory(world.inventory.db, check_id)
    list_storage(world.inventory.db, check_id, world.open_storage, RULES)
    downtime(world, -HOUR, timedelta(seconds=0))
    with pytest.raises(PlanError, match="is void"):
        compare_lists(world.inventory.db, check_id, RULES)
    assert check(world, "next week", tmp_path).num_missing_seen == 1


def test_a_downtime_that_begins_while_orphans_are_deleted_ends_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "FILES_PER_CHUNK", 2)
    world.block("b1", "T2_A")
    orphans = [plant(world, f"/store/x{number}") for number in range(4)]
    summary = check_twice(world, tmp_path)

    def begins() -> None:
        downtime(world, timedelta(0), None)

    with pytest.raises(PlanError, match="downtime 1 of T2_A"):
        repair(world.inventory.db, summary.check_id, lambda site: During(world.open_storage(site), begins))
    assert [orphan.exists() for orphan in orphans] == [False, False, True, True]


def test_lists_that_have_shrunk_are_refused_until_they_are_whole_again(world: World, tmp_path: Path) -> None:
    rules = RULES.model_copy(update={"max_missing": 1000})
    first = world.block("b1", "T2_A", num_files=40)
    world.block("b2", "T2_A", num_files=60)
    assert check(world, "r1", tmp_path, rules).refused_because is None
    for lfn in list(first)[:30]:
        world.pocket.path("T2_A", lfn).unlink()
    for run in ("r2", "r3"):  # it does not become right by being seen twice
        refused = check(world, run, tmp_path, rules).refused_because
        assert refused is not None
        assert refused.startswith("the storage lists 70 files, 100 on ")
    for lfn, data in first.items():
        world.pocket.put("T2_A", lfn, data)
    assert check(world, "r4", tmp_path, rules).refused_because is None


@pytest.mark.parametrize("has_lists", [True, False], ids=["counted", "by the numbers of the check"])
def test_what_dynamo_deleted_has_not_shrunk_the_lists(world: World, tmp_path: Path, has_lists: bool) -> None:
    lfns = list(world.block("b1", "T2_A", num_files=40))
    world.block("b2", "T2_A", num_files=60)
    assert check(world, "r1", tmp_path).refused_because is None
    if not has_lists:
        shutil.rmtree(tmp_path / "r1")
    world.inventory.subscription("delete", lfns, "T2_A")
    (batch,) = plan_deletions(world.inventory.db)
    execute_batch(world.inventory.db, batch, world.open_storage)
    second = check(world, "r2", tmp_path)
    assert (second.num_expected, second.num_stored, second.refused_because) == (60, 60, None)


def test_an_inventory_that_lists_nothing_is_refused(world: World, tmp_path: Path) -> None:
    orphan = plant(world, "/store/x")
    rules = RULES.model_copy(update={"max_orphan": 1.0})
    for run in ("r1", "r2"):
        assert check(world, run, tmp_path, rules).refused_because == "the inventory lists no file, the storage 1"
    assert orphan.exists()


def reasons(world: World, summary: CompareSummary) -> dict[str, str]:
    return dict(
        world.inventory.rows("SELECT lfn, reason FROM consistency_findings WHERE check_id = :c", c=summary.check_id)
    )


@pytest.mark.parametrize("is_empty", [True, False], ids=["an empty directory", "nothing"])
def test_a_mount_that_is_lost_for_a_day(world: World, tmp_path: Path, is_empty: bool) -> None:
    """Nothing goes elsewhere because of what the site should have, all else goes on; a day later all is as before."""
    lost = list(world.block("b1", "T2_A", "T2_B"))
    elsewhere = list(world.block("b2", "T2_B", "T2_C"))
    check(world, "day 1", tmp_path)
    mount = world.pocket.path("T2_A", "/store")
    away = mount.rename(mount.with_name("away"))
    if is_empty:
        mount.mkdir()
        assert check(world, "day 2", tmp_path).refused_because
    else:
        with pytest.raises(PermanentRemoteError, match="is there"):
            check(world, "day 2", tmp_path)
    # The policy let them go at T2_B: all have another copy, by the inventory.
    world.inventory.subscription("delete", [*lost, *elsewhere], "T2_B", is_last_allowed=False)
    assert {lfn for _, lfn, _ in planned_deletions(world)} == set(elsewhere)
    with world.inventory.db.begin() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {REFUSED_SITES} AS site")).scalar_one() == 1
    assert world.inventory.replica_state("b1", "T2_A")[0] is True  # type: ignore[index]

    if is_empty:
        mount.rmdir()
    away.rename(mount)
    # The red task may be cleared, or a new run begin.
    again = check(world, "day 3" if is_empty else "day 2", tmp_path)
    assert (again.refused_because, again.num_missing_seen, again.num_missing_found) == (None, 0, 0)
    assert {lfn for _, lfn, _ in planned_deletions(world)} == {*lost, *elsewhere}
