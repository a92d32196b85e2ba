"""What holds nothing and is waited for by nobody goes, by one rule."""

from __future__ import annotations

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.empty import Dropped, drop_empty
from tests.inventory.factory import Inventory

EVERY = "SELECT block_id, site_id FROM block_replicas"


@pytest.fixture
def stock(database: Database) -> Inventory:
    """Block ``b`` of two files, and ``nothing``, a block that has none yet."""
    made = Inventory(database)
    made.site("T2_A")
    made.site("T2_B")
    made.block("b")
    made.block("nothing", num_files=0)
    return made


def drop(stock: Inventory, replicas: str = EVERY) -> Dropped:
    with stock.db.begin() as connection:
        return drop_empty(connection, replicas)


def test_an_empty_replica_goes_and_its_dataset_replica_with_it(stock: Inventory) -> None:
    stock.replica("b", "T2_A", present=[])
    assert drop(stock) == Dropped(1, 1)
    assert stock.scalar("SELECT count(*) FROM dataset_replicas") == 0


def test_a_replica_of_a_block_without_files_is_empty_though_complete(stock: Inventory) -> None:
    stock.replica("nothing", "T2_A")
    assert drop(stock) == Dropped(1, 1)


def test_where_the_dataset_grows_the_dataset_replica_stays(stock: Inventory) -> None:
    stock.replica("b", "T2_A", present=[], growing=True)
    assert drop(stock) == Dropped(1, 0)


def test_a_dataset_replica_with_another_block_stays(stock: Inventory) -> None:
    stock.replica("b", "T2_A", present=[])
    stock.block("c")
    stock.replica("c", "T2_A")
    assert drop(stock) == Dropped(1, 0)


def test_what_holds_a_file_stays(stock: Inventory) -> None:
    stock.replica("b", "T2_A")
    stock.replica("b", "T2_B", present=["/store/b/f0"])
    assert drop(stock) == Dropped()


def test_a_file_of_no_bytes_is_a_file(stock: Inventory) -> None:
    stock.block("zero", sizes=[0, 0])
    stock.replica("zero", "T2_A")
    stock.replica("zero", "T2_B", present=["/store/zero/f1"])
    assert drop(stock) == Dropped()


@pytest.mark.parametrize("action", ["copy", "delete"])
@pytest.mark.parametrize("state", ["new", "inbatch", "retry", "held"])
def test_it_waits_for_what_is_subscribed(stock: Inventory, action: str, state: str) -> None:
    stock.replica("b", "T2_A", present=[])
    stock.subscription(action, ["/store/b/f0"], "T2_A")
    reason = "'no_source'" if state == "held" else "NULL"
    stock.rows(f"UPDATE subscriptions SET state = :state, hold_reason = {reason}", state=state)
    assert drop(stock) == Dropped()


@pytest.mark.parametrize("state", ["done", "cancelled"])
def test_what_is_over_is_not_waited_for(stock: Inventory, state: str) -> None:
    stock.replica("b", "T2_A", present=[])
    stock.subscription("copy", ["/store/b/f0"], "T2_A")
    stock.rows("UPDATE subscriptions SET state = :state", state=state)
    assert drop(stock) == Dropped(1, 1)


def test_what_is_subscribed_at_another_site_does_not_matter(stock: Inventory) -> None:
    stock.replica("b", "T2_A", present=[])
    stock.subscription("copy", ["/store/b/f0"], "T2_B")
    assert drop(stock) == Dropped(1, 1)


def test_only_those_that_are_named_go(stock: Inventory) -> None:
    stock.replica("b", "T2_A", present=[])
    stock.replica("b", "T2_B", present=[])
    assert drop(stock, f"{EVERY} WHERE site_id = {stock.site_ids['T2_B']}") == Dropped(1, 1)
    assert stock.replica_state("b", "T2_A") is not None
