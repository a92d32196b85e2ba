"""What has had to stay for too long is taken back (SEMANTICS §10)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dynamo_ops.deletion.waiting import take_back_what_must_stay
from dynamo_ops.inventory.subscription.give_back import GivenBack
from dynamo_ops.inventory.subscription.let_go import let_go
from tests.inventory.factory import Inventory

WEEK = timedelta(days=7)


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 of two files at T2_A alone, deleted there eight days ago; b2 too, and it is at T2_B as well."""
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    for block, sites in (("b1", ["T2_A"]), ("b2", ["T2_A", "T2_B"])):
        inventory.block(block, 2)
        for site in sites:
            inventory.replica(block, site)
    with inventory.db.begin() as connection:
        blocks = (
            f"SELECT block_id, dataset_id, site_id FROM block_replicas WHERE site_id = {inventory.site_ids['T2_A']}"
        )
        let_go(connection, f"({blocks})", origin="detox")
    inventory.rows("UPDATE subscriptions SET created_at = now() - interval '8 days'")
    inventory.rows("UPDATE sites SET status_changed_at = now() - interval '8 days'")
    return inventory


def owner(stock: Inventory, block: str) -> Any:
    return stock.scalar(
        """SELECT g.name FROM block_replicas r LEFT JOIN groups g ON g.id = r.group_id
           WHERE r.block_id = :b AND r.site_id = :s""",
        b=stock.block_ids[block],
        s=stock.site_ids["T2_A"],
    )


def test_a_last_copy_that_waited_a_week_is_its_owners_again(stock: Inventory) -> None:
    assert take_back_what_must_stay(stock.db, WEEK) == GivenBack(2, 0, 1)
    assert (owner(stock, "b1"), owner(stock, "b2")) == ("ops", None)
    reasons = stock.rows("SELECT DISTINCT last_error FROM subscriptions WHERE state = 'cancelled'")
    assert reasons == [("taken back: a file of the block had to stay for more than 7 days",)]
    assert take_back_what_must_stay(stock.db, WEEK) == GivenBack()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE subscriptions SET created_at = now() - interval '6 days'",
        "UPDATE subscriptions SET is_last_allowed = true",
        "UPDATE sites SET status = 'waitroom'",
        "UPDATE sites SET status_changed_at = now() - interval '6 days'",
        """INSERT INTO site_downtimes (site_id, begins_at, ends_at, reason, created_by)
           SELECT id, now() - interval '9 days', now() - interval '3 days', 'power', 'ada' FROM sites""",
        "UPDATE subscriptions SET state = 'held', hold_reason = 'operator'",
    ],
    ids=["younger", "it may go", "the site is out", "it came back lately", "a downtime", "a person holds it"],
)
def test_what_else_waits_goes_on_waiting(stock: Inventory, change: str) -> None:
    stock.rows(change)
    assert take_back_what_must_stay(stock.db, WEEK) == GivenBack()
    assert owner(stock, "b1") is None


def test_a_locked_file_that_waited_a_week_is_its_owners_again(stock: Inventory) -> None:
    """A lock that was set past ``add_lock``, which takes back by itself."""
    stock.rows("UPDATE subscriptions SET is_last_allowed = true")
    stock.rows(
        "INSERT INTO locks (item, sites, groups, reason, created_by) VALUES ('/A/B-v1/AOD#b2', '', 'ops', 'x', 'ada')"
    )
    assert take_back_what_must_stay(stock.db, WEEK).num_files == 2
    assert (owner(stock, "b1"), owner(stock, "b2")) == (None, "ops")
