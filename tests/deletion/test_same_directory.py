"""Two sites in one directory of the machine that deletes, by a link that no endpoint tells of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamo_ops.deletion.execute import DeletionSummary, execute_batch
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.deletion.same_directory import objection
from dynamo_ops.inventory.site.shared import declare, shared_storages
from dynamo_ops.query.explanation import why
from dynamo_ops.storage.protocol import Storage, StorageOptions
from dynamo_ops.storage.registry import storages
from tests.deletion.test_deletions import Answers
from tests.inventory.factory import Inventory
from tests.people import ADA

CONTENTS = {f"/store/b1/f{number}": b"data" for number in range(3)}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        for lfn, content in CONTENTS.items():
            file = tmp_path / "disk" / name / lfn.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return tmp_path / "disk"


@pytest.fixture
def stock(inventory: Inventory, disk: Path) -> Inventory:
    """b1 at T2_A and T2_B, both to be deleted there, and at T2_C; each in a directory of its own."""
    inventory.block("b1", contents=CONTENTS)
    for site in ("T2_A", "T2_B", "T2_C"):
        inventory.site(site, prefix=f"file://{disk}/{site[-1].lower()}")
        inventory.replica("b1", site)
    inventory.rows("UPDATE site_endpoints SET protocol = 'file'")
    for site in ("T2_A", "T2_B"):
        inventory.subscription("delete", list(CONTENTS), site)
    return inventory


def moved(stock: Inventory, site: str, prefix: Path) -> None:
    stock.rows("UPDATE site_endpoints SET prefix = :p WHERE site_id = :s", p=f"file://{prefix}", s=stock.site_ids[site])


def opener(stock: Inventory) -> Callable[[int], Storage]:
    return storages(stock.db, StorageOptions(threads=2, protocols=("file",)))


def executed(stock: Inventory) -> dict[str, DeletionSummary]:
    summaries = [execute_batch(stock.db, batch, opener(stock)) for batch in plan_deletions(stock.db)]
    site_of = {number: name for name, number in stock.site_ids.items()}
    return {site_of[summary.site_id]: summary for summary in summaries}


def num_files(disk: Path, name: str) -> int:
    return sum(path.is_file() for path in (disk / name).rglob("*"))


def test_apart_all_goes(stock: Inventory, disk: Path) -> None:
    assert {site: done.num_deleted for site, done in executed(stock).items()} == {"T2_A": 3, "T2_B": 3}
    assert (num_files(disk, "a"), num_files(disk, "b"), num_files(disk, "c")) == (0, 0, 3)


@pytest.mark.parametrize(
    ("target", "says"),
    [("a", "is its directory as well"), ("a/store", "have files in common"), (".", "have files in common")],
    ids=["the same", "within", "around"],
)
def test_by_a_link_to_the_directory_nothing_goes_there_and_all_elsewhere(
    stock: Inventory, disk: Path, target: str, says: str
) -> None:
    """T2_C is T2_A under another name; T2_B lies elsewhere."""
    (disk / "b").rename(disk.parent / "b")
    moved(stock, "T2_B", disk.parent / "b")
    (disk / "link").symlink_to(disk / target)
    moved(stock, "T2_C", disk / "link")
    done = executed(stock)
    assert (done["T2_A"].num_left_out, done["T2_A"].num_deleted, num_files(disk, "a")) == (3, 0, 3)
    assert done["T2_B"].num_deleted == 3
    number = stock.scalar("SELECT min(id) FROM subscriptions WHERE site_id = :s", s=stock.site_ids["T2_A"])
    because = why(stock.db, number).because
    assert because.startswith("failed (not deleted: that of T2_C ")
    assert says in because
    assert stock.rows("SELECT count(*) FROM deletions WHERE state = 'planned'") == [(0,)]


def test_declared_what_the_other_has_not_goes(stock: Inventory, disk: Path) -> None:
    (disk / "link").symlink_to(disk / "a")
    moved(stock, "T2_C", disk / "link")
    declare(stock.db, "T2_A", "T2_C", by=ADA, reason="one disk")
    assert shared_storages(stock.db).height == 1
    assert "T2_A" not in executed(stock)  # T2_C has the files
    stock.rows("DELETE FROM block_replicas WHERE site_id = :s", s=stock.site_ids["T2_C"])
    assert executed(stock)["T2_A"].num_deleted == 3


def test_nested_ones_cannot_be_declared(stock: Inventory, disk: Path) -> None:
    (disk / "link").symlink_to(disk / "a" / "store")
    moved(stock, "T2_C", disk / "link")
    declare(stock.db, "T2_A", "T2_C", by=ADA, reason="one disk")
    stock.rows("DELETE FROM block_replicas WHERE site_id = :s", s=stock.site_ids["T2_C"])
    assert (executed(stock)["T2_A"].num_left_out, num_files(disk, "a")) == (3, 3)


def test_a_link_that_came_while_a_batch_waited(stock: Inventory, disk: Path) -> None:
    """What it is is asked when the storage is, not when the batch is made."""
    batches = plan_deletions(stock.db)
    (disk / "c").rename(disk / "away")
    (disk / "c").symlink_to(disk / "a")
    assert [execute_batch(stock.db, batch, opener(stock)).num_deleted for batch in batches] == [0, 3]
    assert num_files(disk, "a") == 3


def test_files_behind_a_link_are_refused_and_the_others_go(stock: Inventory, disk: Path) -> None:
    (disk / "a" / "store" / "b1").rename(disk / "a" / "store" / "b2")
    (disk / "a" / "store" / "b1").symlink_to("b2")
    done = executed(stock)
    assert (done["T2_A"].num_refused, done["T2_B"].num_deleted, num_files(disk, "a")) == (3, 3, 3)
    reasons = stock.rows("SELECT DISTINCT state, last_error FROM subscriptions WHERE state <> 'done'")
    assert reasons == [("retry", f"it lies behind a link: {disk}/a/store/b1 -> b2; not deleted")]


def test_other_protocols_and_storages_that_see_nothing_are_not_asked(stock: Inventory, disk: Path) -> None:
    (disk / "link").symlink_to(disk / "a")
    moved(stock, "T2_C", disk / "link")
    stock.rows("UPDATE site_endpoints SET protocol = 'davs' WHERE site_id = :s", s=stock.site_ids["T2_C"])
    assert objection(stock.db, stock.site_ids["T2_A"], opener(stock)(stock.site_ids["T2_A"])) is None
    stock.rows("UPDATE site_endpoints SET protocol = 'file'")
    assert objection(stock.db, stock.site_ids["T2_A"], Answers()) is None  # type: ignore[arg-type]


def test_chains_lead_there_as_well(stock: Inventory, disk: Path) -> None:
    (disk / "link").symlink_to(disk / "a")
    stock.rows(
        "UPDATE site_endpoints SET prefix = '', mapping = CAST(:m AS jsonb) WHERE site_id = :s",
        m=json.dumps([[["/store/(.*)", f"file://{disk}/link/store/$1"]]]),
        s=stock.site_ids["T2_C"],
    )
    assert executed(stock)["T2_A"].num_left_out == 3
