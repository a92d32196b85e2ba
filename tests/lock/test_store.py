"""Locks as people set them: what is refused, what is warned of, what they cover, and what stays of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.deletion.claim import claim_chunk
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.inventory.subscription.give_back import GivenBack
from dynamo_ops.inventory.subscription.let_go import let_go
from dynamo_ops.lock.covered import lock_coverage, unprotected_without
from dynamo_ops.lock.store import (
    LONGEST_DAYS,
    NewLock,
    add_lock,
    list_locks,
    remove_lock,
    resolve_until,
)
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA, BOB

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DATASET = "/A/B-v1/AOD"


@pytest.fixture
def stock(database: Database) -> Iterator[Inventory]:
    """A dataset of blocks b1 and b2 at T2_A and T2_B, owned by ``ops``."""
    inventory = Inventory(database)
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    for block in ("b1", "b2"):
        inventory.block(block, 2)
        for site in ("T2_A", "T2_B"):
            inventory.replica(block, site)
    return inventory


def add(stock: Inventory, item: str = DATASET, **options: Any) -> NewLock:
    given = {"reason": "in use", "by": ADA, "now": datetime.now(UTC), **options}
    return add_lock(stock.db, item, **given)


def test_a_lock_is_in_force_at_once(stock: Inventory) -> None:
    made = add(stock, sites="T2_*", groups="ops", until="90 days")
    assert made.warnings == ()
    (row,) = list_locks(stock.db).to_dicts()
    assert (row["id"], row["item"], row["sites"], row["groups"]) == (made.id, DATASET, "T2_*", "ops")
    assert (row["reason"], row["created_by"], row["is_in_force"]) == ("in use", "ada", True)
    assert row["expires_at"] - row["created_at"] == timedelta(days=90)
    assert read_inventory(stock.db).locks.rows() == [(DATASET, "T2_*", "ops")]


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("90 days", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("a week", datetime(2026, 2, 7, 12, tzinfo=UTC)),
        ("1 month", datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("2 years", datetime(2028, 1, 31, 12, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:30:00+02:00", datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_an_end_is_a_date_or_a_time_from_now(until: str, end: datetime) -> None:
    assert resolve_until(until, NOW) == end


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"item": "/A/B-v2/AOD"}, r"unknown dataset '/A/B-v2/AOD'\. Did you mean /A/B-v1/AOD\? Force it"),
        ({"item": f"{DATASET}#b3"}, r"/A/B-v1/AOD has no block 'b3'\. Force it to lock"),
        ({"item": ""}, "'' is no item: expected a dataset, dataset#block, or globs of these, without spaces"),
        ({"item": f"{DATASET}#"}, "is no item"),
        ({"item": "#b1"}, "is no item"),
        ({"item": "/A/B AOD"}, "is no item"),
        ({"reason": "  "}, r"say why \(reason is empty\)"),
        ({"until": "2020-01-01"}, "until '2020-01-01' is 2020-01-01T00:00Z, which is over: nothing is locked"),
        ({"until": "0 days"}, "which is over"),
        ({"until": "soon"}, "until 'soon' is not a time; expected a date"),
        ({"until": "99999 years"}, "until '99999 years' is not a time; expected"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(next(iter(value.values()))),
)
def test_a_lock_that_could_not_be_meant_is_refused(stock: Inventory, options: dict[str, str], message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        add(stock, **options)
    assert list_locks(stock.db).is_empty()


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"item": "/A/B-v2/AOD", "force": True}, "dataset /A/B-v2/AOD is not known now: it is covered once it comes"),
        ({"item": "/X/*"}, "no dataset matches /X/* now: it will cover those that come"),
        ({"item": f"{DATASET}#x*"}, f"no block of {DATASET} is called x* now: it will cover those that come"),
        ({"sites": "T3_*"}, "no site matches 'T3_*': the lock counts for all sites"),
        ({"groups": "obs"}, "no group matches 'obs': the lock counts for all groups"),
    ],
    ids=["unknown dataset", "dataset glob", "block glob", "sites", "groups"],
)
def test_what_its_author_may_not_have_meant_is_told(stock: Inventory, options: dict[str, Any], warning: str) -> None:
    assert add(stock, **options).warnings == (warning,)


@pytest.mark.parametrize(
    ("options", "covered"),
    [
        ({}, [("T2_A", 2, 4 * SIZE), ("T2_B", 2, 4 * SIZE)]),
        ({"item": "/*/*/AOD"}, [("T2_A", 2, 4 * SIZE), ("T2_B", 2, 4 * SIZE)]),
        ({"item": f"{DATASET}#b1"}, [("T2_A", 1, 2 * SIZE), ("T2_B", 1, 2 * SIZE)]),
        ({"item": "/*#b?", "sites": "T2_A"}, [("T2_A", 2, 4 * SIZE)]),
        ({"groups": "None"}, []),
        ({"sites": "T3_*"}, [("T2_A", 2, 4 * SIZE), ("T2_B", 2, 4 * SIZE)]),
    ],
    ids=["all", "glob", "block", "blocks at a site", "no owner", "unknown sites mean all"],
)
def test_what_it_covers_now_is_told_by_site(
    stock: Inventory, options: dict[str, Any], covered: list[tuple[str, int, int]]
) -> None:
    made = add(stock, **options)
    found = lock_coverage(stock.db, made.id)
    assert found.sites.rows() == covered
    assert found.num_block_replicas == sum(row[1] for row in covered)
    assert found.size_bytes == sum(row[2] for row in covered)
    assert found.warnings == (*made.warnings, *([] if covered else ["it covers nothing that is there now"]))


@pytest.mark.parametrize(
    ("others", "sites", "counts"),
    [
        ([], [("T2_A", 2, 4 * SIZE), ("T2_B", 2, 4 * SIZE)], (1, 2, 0)),
        ([{"item": f"{DATASET}#b1"}], [("T2_A", 1, 2 * SIZE), ("T2_B", 1, 2 * SIZE)], (1, 1, 2)),
        ([{"item": "/A/*", "sites": "T2_A"}], [("T2_B", 2, 4 * SIZE)], (1, 2, 2)),
        ([{"item": "/A/*"}], [], (0, 0, 4)),
        ([{"item": "/Z/*"}], [("T2_A", 2, 4 * SIZE), ("T2_B", 2, 4 * SIZE)], (1, 2, 0)),
        (
            [{"item": f"{DATASET}#b2", "sites": "T2_B"}, {"item": "/*/B-v1/*#*1", "sites": "T2_A"}],
            [("T2_A", 1, 2 * SIZE), ("T2_B", 1, 2 * SIZE)],
            (1, 2, 2),
        ),
    ],
    ids=["alone", "a block", "a site", "all", "something else", "two others"],
)
def test_what_is_unprotected_without_it_is_what_no_other_lock_covers(
    stock: Inventory,
    others: list[dict[str, Any]],
    sites: list[tuple[str, int, int]],
    counts: tuple[int, int, int],
) -> None:
    made = add(stock)
    for other in others:
        add(stock, **other)
    bare = unprotected_without(stock.db, made.id)
    assert bare.sites.rows() == sites
    assert (bare.num_datasets, bare.num_blocks, bare.num_still_locked) == counts


def test_other_locks_that_are_over_protect_nothing(stock: Inventory) -> None:
    made, other = add(stock, f"{DATASET}#b1"), add(stock)
    remove_lock(stock.db, other.id, reason="done with it", by=BOB)
    assert unprotected_without(stock.db, made.id).num_block_replicas == 2
    with pytest.raises(InventoryError, match=f"lock {other.id} is not in force"):
        unprotected_without(stock.db, other.id)


def test_a_lock_that_is_removed_stays_to_be_seen(stock: Inventory) -> None:
    made = add(stock)
    remove_lock(stock.db, made.id, reason="done with it", by=BOB)
    assert list_locks(stock.db).is_empty()
    assert read_inventory(stock.db).locks.is_empty()
    (row,) = list_locks(stock.db, expired=True).to_dicts()
    assert (row["removed_by"], row["removed_because"], row["is_in_force"]) == ("bob", "done with it", False)
    with pytest.raises(InventoryError, match=f"lock {made.id} is not in force: it was removed by bob: done with it"):
        remove_lock(stock.db, made.id, reason="again", by=ADA)


def test_an_expired_lock_is_over_and_cannot_be_removed(stock: Inventory) -> None:
    made = add(stock, until="1 day")
    stock.rows("UPDATE locks SET expires_at = '2026-01-01'")
    assert list_locks(stock.db).is_empty()
    assert list_locks(stock.db, expired=True)["id"].to_list() == [made.id]
    with pytest.raises(InventoryError, match="it expired at 2026-01-01T00:00Z"):
        remove_lock(stock.db, made.id, reason="why not", by=ADA)


@pytest.mark.parametrize("reason", ["", " "])
def test_a_lock_is_removed_for_a_reason(stock: Inventory, reason: str) -> None:
    made = add(stock)
    with pytest.raises(InventoryError, match="say why it is removed"):
        remove_lock(stock.db, made.id, reason=reason, by=ADA)
    assert list_locks(stock.db).height == 1


def test_a_lock_that_does_not_exist_is_told(stock: Inventory) -> None:
    for ask in (lambda: remove_lock(stock.db, 7, reason="x", by=ADA), lambda: lock_coverage(stock.db, 7)):
        with pytest.raises(InventoryError, match="there is no lock 7"):
            ask()


def test_locks_are_found_by_item(stock: Inventory) -> None:
    first, second = add(stock).id, add(stock, f"{DATASET}#b1").id
    assert list_locks(stock.db)["id"].to_list() == [second, first]
    assert list_locks(stock.db, item=DATASET)["id"].to_list() == [first]
    assert list_locks(stock.db, item="/A/*#*")["id"].to_list() == [second]


# -- after a commit ----------------------------------------------------------------------------------------------------


def let(stock: Inventory, *blocks: str, site: str = "T2_A") -> None:
    """What a commit does with these block replicas."""
    with stock.db.begin() as connection:
        pairs = ", ".join(
            f"({stock.block_ids[block]}::bigint, {stock.dataset_id}::bigint, {stock.site_ids[site]}::smallint)"
            for block in blocks
        )
        let_go(connection, f"(SELECT * FROM (VALUES {pairs}) AS v (block_id, dataset_id, site_id))", origin="detox")


def owners(stock: Inventory, site: str = "T2_A") -> dict[str, str | None]:
    return dict(
        stock.rows(
            """SELECT b.name, g.name FROM block_replicas r JOIN blocks b ON b.id = r.block_id
               LEFT JOIN groups g ON g.id = r.group_id WHERE r.site_id = :s ORDER BY 1""",
            s=stock.site_ids[site],
        )
    )


def growing(stock: Inventory, site: str = "T2_A") -> list[bool]:
    found = stock.rows("SELECT is_growing FROM dataset_replicas WHERE site_id = :s", s=stock.site_ids[site])
    return [is_growing for (is_growing,) in found]


def test_a_lock_takes_back_what_is_being_deleted_and_gives_it_to_its_owner(stock: Inventory) -> None:
    stock.rows("UPDATE dataset_replicas SET is_growing = true")
    let(stock, "b1", "b2")
    assert (owners(stock), growing(stock)) == ({"b1": None, "b2": None}, [False])
    made = add(stock, f"{DATASET}#b1", sites="T2_A")
    assert made.given_back == GivenBack(num_files=2, num_too_late=0, num_block_replicas=1)
    assert (owners(stock), growing(stock)) == ({"b1": "ops", "b2": None}, [True])
    reasons = stock.rows("SELECT DISTINCT last_error FROM subscriptions WHERE state = 'cancelled'")
    assert reasons == [(f"taken back: lock {made.id} covers it",)]
    assert stock.scalar("SELECT count(*) FROM subscriptions WHERE state = 'new' AND action = 'delete'") == 2


@pytest.mark.parametrize(("groups", "num_files"), [("ops", 4), ("users", 0)])
def test_a_lock_of_a_group_means_what_it_owned_before_the_commit(stock: Inventory, groups: str, num_files: int) -> None:
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('users', 'dataset')")
    let(stock, "b1", "b2")
    assert add(stock, groups=groups).given_back.num_files == num_files


def test_a_lock_says_what_came_too_late(stock: Inventory) -> None:
    let(stock, "b1")
    (batch,) = plan_deletions(stock.db)
    assert claim_chunk(stock.db, batch, 1) is not None
    assert add(stock).given_back == GivenBack(num_files=1, num_too_late=1, num_block_replicas=1)
    assert claim_chunk(stock.db, batch, 1) is None
    assert stock.scalar("SELECT count(*) FROM deletions WHERE state = 'planned' AND claimed_at IS NOT NULL") == 1


def test_what_nobody_owned_before_the_deletion_is_nobodys_again(stock: Inventory) -> None:
    stock.rows("UPDATE block_replicas SET group_id = NULL")
    let(stock, "b1")
    assert add(stock).given_back == GivenBack(num_files=2, num_too_late=0, num_block_replicas=0)


def test_a_lock_waits_for_a_commit_at_this_moment_and_takes_back_what_it_deletes(stock: Inventory) -> None:
    made: list[NewLock] = []
    waiting = threading.Thread(target=lambda: made.append(add(stock)))
    with stock.db.begin() as commit:
        hold(commit, Lock.DELETIONS)
        waiting.start()
        while not stock.scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            time.sleep(0.01)
        assert not made
        blocks = f"SELECT block_id, dataset_id, site_id FROM block_replicas WHERE site_id = {stock.site_ids['T2_A']}"
        let_go(commit, f"({blocks})", origin="detox")
    waiting.join()
    assert made[0].given_back.num_files == 4
    assert owners(stock) == {"b1": "ops", "b2": "ops"}


@pytest.mark.parametrize(("until", "is_refused"), [("10 years", False), ("2036-01-31", False), ("11 years", True)])
def test_a_lock_for_longer_than_ten_years_has_no_end(until: str, is_refused: bool) -> None:
    if not is_refused:
        assert resolve_until(until, NOW) <= NOW + timedelta(days=LONGEST_DAYS)
        return
    with pytest.raises(InventoryError, match=r"in more than 3,660 days, .* without an end it is for ever"):
        resolve_until(until, NOW)
