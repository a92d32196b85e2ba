"""A request taken back: what was subscribed only for it is withdrawn, what is there stays."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.deletion.claim import claim_chunk
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.inventory.subscription.subscribe import resubscribe_incomplete
from dynamo_ops.request.advance import advance
from dynamo_ops.request.cancel import CancelSummary, cancel
from tests.people import BOB
from tests.request.stock import DATASET, Stock


def taken_back(stock: Stock, request_id: int | None) -> CancelSummary:
    assert request_id is not None
    return cancel(stock.db, request_id, by=BOB, reason="a mistake")


def test_a_new_request_is_cancelled_with_who_and_why(asked: Stock) -> None:
    request = asked.ask()
    assert taken_back(asked, request) == CancelSummary("copy", 0, 0, 0, 0, 0)
    row = asked.rows("SELECT state, closed_by, closed_because, closed_at IS NOT NULL FROM requests")
    assert row == [("cancelled", "bob", "a mistake", True)]


def test_copies_that_have_not_begun_vanish_with_their_subscriptions(asked: Stock) -> None:
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    assert taken_back(asked, request) == CancelSummary("copy", 6, 0, 0, 0, 2)
    assert (asked.active("copy", "T2_C"), asked.owner("b1", "T2_C"), asked.grows("T2_C")) == (0, "no replica", None)
    assert asked.actions(request) == {(None, "T2_C"): "cancelled"}


def test_what_is_complete_stays_and_what_is_half_there_is_left_to_the_clean_up(asked: Stock) -> None:
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    asked.arrive("T2_C", *asked.files_of["b1"], asked.files_of["b2"][0])
    assert taken_back(asked, request) == CancelSummary("copy", 2, 0, 0, 1, 0)
    assert (asked.owner("b1", "T2_C"), asked.owner("b2", "T2_C"), asked.grows("T2_C")) == ("ops", None, False)
    resubscribe_incomplete(asked.db)
    assert asked.active("copy", "T2_C") == 0


@pytest.mark.parametrize("other", ["request", "later plan", "earlier plan"])
def test_what_somebody_else_asks_for_too_goes_on(asked: Stock, other: str) -> None:
    if other == "earlier plan":
        asked.dealt(0, (None, "T2_C"), plugin="enforcer")
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    if other == "request":
        asked.dealt(asked.ask(sites=("T2_C", "T2_B"), num_copies=2), (None, "T2_C"))
    elif other == "later plan":
        asked.dealt(0, (None, "T2_C"), plugin="enforcer")
    assert taken_back(asked, request) == CancelSummary("copy", 0, 1, 0, 0, 0)
    assert (asked.active("copy", "T2_C"), asked.owner("b1", "T2_C"), asked.grows("T2_C")) == (6, "ops", True)


def test_of_two_requests_the_last_to_be_cancelled_ends_the_copies(asked: Stock) -> None:
    first, second = asked.ask(), asked.ask(f"{DATASET}#b1")
    asked.dealt(first, (None, "T2_C"))
    asked.dealt(second, ("b1", "T2_C"))
    assert taken_back(asked, first).num_subscriptions == 3
    assert (asked.owner("b1", "T2_C"), asked.owner("b2", "T2_C")) == ("ops", "no replica")
    assert taken_back(asked, second).num_subscriptions == 3
    assert asked.owner("b1", "T2_C") == "no replica"


def test_an_old_copy_of_the_dealer_that_is_over_does_not_keep_the_subscriptions(asked: Stock) -> None:
    asked.dealt(0, (None, "T2_C"), plugin="enforcer")
    asked.rows("DELETE FROM block_replicas WHERE site_id = :s", s=asked.site_ids["T2_C"])
    asked.rows("UPDATE subscriptions SET state = 'done'")
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    assert taken_back(asked, request).num_subscriptions == 6


def test_a_cancelled_request_is_not_served_by_a_plan_made_before(asked: Stock) -> None:
    request = asked.ask()
    taken_back(asked, request)
    asked.dealt(request, (None, "T2_C"))
    assert (asked.state(request), asked.actions(request)) == ("cancelled", {})


def test_a_deletion_gives_everything_back(asked: Stock) -> None:
    asked.rows("UPDATE dataset_replicas SET is_growing = true")
    before = asked.everything()
    request = asked.delete().request_id
    assert taken_back(asked, request) == CancelSummary("deletion", 6, 0, 2, 0, 0)
    after = asked.everything()
    assert after["block_replicas"] == before["block_replicas"]
    assert after["dataset_replicas"] == before["dataset_replicas"]
    assert asked.active("delete", "T2_A") == 0


def test_a_deletion_half_done_gives_back_what_is_left_and_lacking_files_are_copied_again(asked: Stock) -> None:
    request = asked.delete().request_id
    assert request is not None
    asked.vanish("T2_A", *asked.files_of["b1"], asked.files_of["b2"][0])
    assert taken_back(asked, request) == CancelSummary("deletion", 2, 0, 1, 0, 0)
    assert asked.actions(request) == {("b1", "T2_A"): "done", ("b2", "T2_A"): "cancelled"}
    assert (asked.owner("b1", "T2_A"), asked.owner("b2", "T2_A")) == ("no replica", "ops")
    resubscribe_incomplete(asked.db)
    assert asked.active("copy", "T2_A") == 1


def test_what_was_claimed_since_keeps_its_new_owner(asked: Stock) -> None:
    request = asked.delete().request_id
    asked.own("b1", "T2_A", asked.users)
    assert taken_back(asked, request).num_given_back == 1
    assert (asked.owner("b1", "T2_A"), asked.owner("b2", "T2_A")) == ("users", "ops")


def test_only_open_requests_are_cancelled(asked: Stock) -> None:
    request = asked.ask(sites=("T2_A",))
    advance(asked.db)
    with pytest.raises(InventoryError, match=f"request {request} is completed; only an open request can be cancelled"):
        taken_back(asked, request)
    other = asked.ask()
    taken_back(asked, other)
    with pytest.raises(InventoryError, match=f"request {other} is cancelled by bob: a mistake; only an open"):
        taken_back(asked, other)


def test_a_reason_must_be_given_and_the_request_must_be_there(asked: Stock) -> None:
    with pytest.raises(InventoryError, match=r"say why it is cancelled \(reason is empty\)"):
        cancel(asked.db, asked.ask(), by=BOB, reason=" ")
    with pytest.raises(InventoryError, match="there is no request 4711"):
        cancel(asked.db, 4711, by=BOB, reason="x")


def test_it_is_too_late_for_files_that_the_storage_was_asked_for(asked: Stock) -> None:
    request = asked.delete().request_id
    (batch,) = plan_deletions(asked.db)
    assert claim_chunk(asked.db, batch, 2) is not None
    assert taken_back(asked, request) == CancelSummary("deletion", 4, 0, 2, 0, 0, 2)
