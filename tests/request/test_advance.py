"""Requests and actions follow from what is there."""

from __future__ import annotations

import pytest

from dynamo_ops.request.advance import AdvanceSummary, advance
from tests.request.stock import DATASET, OTHER, Stock

NOTHING = AdvanceSummary(0, 0, 0, 0)


def test_a_copy_is_queued_until_all_its_blocks_have_arrived(asked: Stock) -> None:
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    assert advance(asked.db) == NOTHING
    asked.arrive("T2_C", *asked.files[:-1])
    assert advance(asked.db) == NOTHING
    assert (asked.state(request), asked.actions(request)) == ("activated", {(None, "T2_C"): "queued"})
    asked.arrive("T2_C", asked.files[-1])
    assert advance(asked.db) == AdvanceSummary(1, 0, 1, 0)
    assert (asked.state(request), asked.actions(request)) == ("completed", {(None, "T2_C"): "done"})
    assert advance(asked.db) == NOTHING


def test_blocks_are_done_one_by_one(asked: Stock) -> None:
    request = asked.ask(f"{DATASET}#b1", f"{DATASET}#b2")
    asked.dealt(request, ("b1", "T2_C"), ("b2", "T2_C"))
    asked.arrive("T2_C", *asked.files_of["b1"])
    assert advance(asked.db).num_actions_done == 1
    assert asked.actions(request) == {("b1", "T2_C"): "done", ("b2", "T2_C"): "queued"}
    asked.arrive("T2_C", *asked.files_of["b2"])
    assert advance(asked.db).num_completed == 1


def test_blocks_must_be_together_at_a_site(asked: Stock) -> None:
    request = asked.ask(f"{DATASET}#b1", f"{DATASET}#b2", sites=("T2_A", "T2_C"))
    asked.rows("DELETE FROM block_replicas")
    asked.replica("b1", "T2_A")
    asked.replica("b2", "T2_C")
    assert advance(asked.db) == NOTHING
    asked.replica("b1", "T2_C")
    assert advance(asked.db).num_completed == 1
    assert asked.state(request) == "completed"


@pytest.mark.parametrize("item", [DATASET, f"{DATASET}#b1"], ids=["dataset", "block"])
def test_a_copy_that_vanishes_has_failed_and_may_be_planned_again(asked: Stock, item: str) -> None:
    request = asked.ask(item)
    what = None if item == DATASET else "b1"
    asked.dealt(request, (what, "T2_C"))
    asked.rows("DELETE FROM block_replicas WHERE site_id = :s", s=asked.site_ids["T2_C"])
    assert advance(asked.db) == AdvanceSummary(0, 0, 0, 1)
    assert asked.actions(request) == {(what, "T2_C"): "failed"}
    assert asked.state(request) == "activated"
    asked.dealt(request, (what, "T2_C"))
    assert asked.actions(request) == {(what, "T2_C"): "queued"}


def test_a_copy_that_another_group_took_has_failed(asked: Stock) -> None:
    request = asked.ask(f"{DATASET}#b1")
    asked.dealt(request, ("b1", "T2_C"))
    asked.own("b1", "T2_C", asked.users)
    assert advance(asked.db).num_actions_failed == 1


def test_every_dataset_of_a_request_must_be_there(asked: Stock) -> None:
    other = asked.other_dataset("c1")
    request = asked.ask(DATASET, OTHER, sites=("T2_A",))
    assert advance(asked.db) == NOTHING
    asked.dataset_id = other
    asked.replica("c1", "T2_A")
    assert advance(asked.db).num_completed == 1
    assert asked.state(request) == "completed"


@pytest.mark.parametrize("status", ["invalid", "deleted", "deprecated", "ignored"])
def test_a_request_whose_dataset_is_no_longer_copied_is_rejected(asked: Stock, status: str) -> None:
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    asked.rows("UPDATE datasets SET status = :s", s=status)
    assert advance(asked.db) == AdvanceSummary(0, 1, 0, 1)
    assert (asked.state(request), asked.because(request)) == ("rejected", f"{DATASET} is {status}")
    assert asked.scalar("SELECT reason FROM request_actions") == f"the dataset is {status}"


def test_a_dataset_of_unknown_status_is_waited_for(asked: Stock) -> None:
    request = asked.ask()
    asked.rows("UPDATE datasets SET status = 'unknown'")
    assert advance(asked.db) == NOTHING
    assert asked.state(request) == "new"


def test_the_others_of_a_request_are_completed_without_the_invalid_one(asked: Stock) -> None:
    asked.other_dataset("c1")
    request = asked.ask(DATASET, OTHER, sites=("T2_A",))
    asked.rows("UPDATE datasets SET status = 'invalid' WHERE name = :n", n=OTHER)
    assert advance(asked.db) == AdvanceSummary(1, 0, 0, 0)
    assert asked.because(request) == f"but for {OTHER}, which is invalid"


def test_a_deletion_is_completed_when_all_of_it_is_gone(asked: Stock) -> None:
    request = asked.delete().request_id
    assert request is not None
    asked.vanish("T2_A", *asked.files_of["b1"])
    assert advance(asked.db) == AdvanceSummary(0, 0, 1, 0)
    assert asked.actions(request) == {("b1", "T2_A"): "done", ("b2", "T2_A"): "queued"}
    asked.vanish("T2_A", *asked.files_of["b2"])
    assert advance(asked.db) == AdvanceSummary(1, 0, 1, 0)
    assert asked.state(request) == "completed"


def test_a_deletion_that_is_claimed_again_has_failed(asked: Stock) -> None:
    request = asked.delete().request_id
    assert request is not None
    for block in ("b1", "b2"):
        asked.own(block, "T2_A", asked.users)
    assert advance(asked.db) == AdvanceSummary(0, 1, 0, 2)
    assert set(asked.rows("SELECT reason FROM request_actions")) == {
        ("claimed again before it was deleted, by group users",)
    }
    assert (asked.state(request), asked.because(request)) == (
        "rejected",
        "all of it was claimed again before it was deleted",
    )


def test_actions_of_closed_requests_go_on(asked: Stock) -> None:
    request = asked.ask(sites=("T2_A", "T2_C"))
    asked.dealt(request, (None, "T2_C"))
    assert advance(asked.db).num_completed == 1
    asked.arrive("T2_C", *asked.files)
    assert advance(asked.db) == AdvanceSummary(0, 0, 1, 0)
