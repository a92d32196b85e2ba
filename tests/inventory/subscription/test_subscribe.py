"""Subscriptions: one active for a file at a site, the newer kind wins."""

from __future__ import annotations

import pytest

from dynamo_ops.inventory.subscription.subscribe import (
    SubscribeSummary,
    resubscribe_incomplete,
    subscribe,
    subscribe_blocks,
)
from tests.inventory.factory import Inventory


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.block("b1", 3)
    return inventory


def blocks(inventory: Inventory, action: str, site: str) -> SubscribeSummary:
    with inventory.db.begin() as connection:
        return subscribe_blocks(
            connection,
            action,
            "SELECT CAST(:b AS bigint) AS block_id, CAST(:s AS smallint) AS site_id",  # type: ignore[arg-type]
            origin="test",
            params={"b": inventory.block_ids["b1"], "s": inventory.site_ids[site]},
        )


def test_twice_is_once(stock: Inventory) -> None:
    lfns = stock.files_of["b1"]
    assert stock.subscription("copy", lfns, "T2_B") == SubscribeSummary(3, 0, 0)
    assert stock.subscription("copy", lfns, "T2_B") == SubscribeSummary(0, 0, 3)
    assert stock.scalar("SELECT count(*) FROM subscriptions") == 3


def test_opposite_subscription_cancels(stock: Inventory) -> None:
    lfns = stock.files_of["b1"]
    stock.subscription("copy", lfns, "T2_B")
    assert stock.subscription("delete", lfns[:1], "T2_B") == SubscribeSummary(1, 1, 0)
    assert stock.subscriptions()["copy", lfns[0], "T2_B"] == "cancelled"
    assert stock.subscriptions()["delete", lfns[0], "T2_B"] == "new"
    assert stock.subscriptions()["copy", lfns[1], "T2_B"] == "new"


def test_after_the_end_a_new_subscription_is_made(stock: Inventory) -> None:
    stock.subscription("copy", stock.files_of["b1"], "T2_B")
    stock.rows("UPDATE subscriptions SET state = 'done'")
    assert stock.subscription("copy", stock.files_of["b1"], "T2_B").num_created == 3


def test_the_same_twice_is_subscribed_once(stock: Inventory) -> None:
    file_id = stock.file_ids["/store/b1/f0"]
    twice = f"SELECT {file_id} AS file_id, {stock.site_ids['T2_B']} AS site_id FROM generate_series(1, 2)"
    with stock.db.begin() as connection:
        assert subscribe(connection, "copy", twice, origin="dealer") == SubscribeSummary(1, 0, 0)
    assert stock.rows("SELECT origin, plan_id FROM subscriptions") == [("dealer", None)]


def test_block_copy_subscriptions_for_what_is_lacking(stock: Inventory) -> None:
    stock.replica("b1", "T2_B", present=stock.files_of["b1"][:1])
    assert blocks(stock, "copy", "T2_B").num_created == 2


def test_block_copy_withdraws_a_deletion_under_way(stock: Inventory) -> None:
    stock.replica("b1", "T2_B")
    blocks(stock, "delete", "T2_B")
    assert blocks(stock, "copy", "T2_B") == SubscribeSummary(3, 3, 0)


def test_block_delete_takes_what_is_there_and_what_is_coming(stock: Inventory) -> None:
    lfns = stock.files_of["b1"]
    stock.replica("b1", "T2_B", present=lfns[:1])
    stock.subscription("copy", lfns[1:2], "T2_B")
    assert blocks(stock, "delete", "T2_B") == SubscribeSummary(2, 1, 0)


@pytest.mark.parametrize(
    ("owned", "subscribed", "created"),
    [(True, False, 2), (True, True, 0), (False, False, 0)],
    ids=["owned, nothing pending", "something pending", "null group"],
)
def test_resubscribe_incomplete(stock: Inventory, owned: bool, subscribed: bool, created: int) -> None:
    lfns = stock.files_of["b1"]
    stock.replica("b1", "T2_B", present=lfns[:1], owned=owned)
    stock.replica("b1", "T2_A")
    if subscribed:
        stock.subscription("copy", lfns[2:], "T2_B")
    assert resubscribe_incomplete(stock.db).num_created == created
