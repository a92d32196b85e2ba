"""Copy requests: asked for once, refused with the reason, completed when the data are where they were wanted."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from dynamo_ops.errors import InventoryError
from dynamo_ops.inventory.database import Database
from dynamo_ops.requests.copy_request import activate, close_completed, list_requests, open_requests, request_copy
from tests.fileops.factory import Inventory

DATASET = "/A/B-v1/AOD"


@pytest.fixture
def stock(database: Database) -> Inventory:
    """One dataset of two blocks, complete at T2_A; T2_B1 and T2xC are empty."""
    inventory = Inventory(database)
    for site in ("T2_A", "T2_B1", "T2xC"):
        inventory.site(site)
    for block in ("b1", "b2"):
        inventory.block(block)
        inventory.replica(block, "T2_A")
    return inventory


def ask(stock: Inventory, *sites: str, copies: int = 1, dataset: str = DATASET, group: str = "ops") -> int:
    return request_copy(stock.db, dataset, list(sites), num_copies=copies, group=group, by="ada")


def states(stock: Inventory) -> dict[int, str]:
    return dict(list_requests(stock.db).select("id", "state").iter_rows())


def test_a_request_is_open_until_it_is_completed(stock: Inventory) -> None:
    first, second = ask(stock, "T2_B1"), ask(stock, "T2_*", copies=2)
    assert open_requests(stock.db, "ops").to_dicts() == [
        {"request_id": first, "dataset": DATASET, "sites": ["T2_B1"], "num_copies": 1, "group": "ops"},
        {"request_id": second, "dataset": DATASET, "sites": ["T2_*"], "num_copies": 2, "group": "ops"},
    ]
    assert activate(stock.db, [first]) == 1
    assert states(stock) == {first: "activated", second: "new"}
    assert open_requests(stock.db, "ops").height == 2
    assert open_requests(stock.db, "users").is_empty()


def test_a_group_that_no_dealer_serves_is_told_at_once(stock: Inventory) -> None:
    with pytest.raises(InventoryError, match="places for group 'ops'; served are express, physics"):
        request_copy(stock.db, DATASET, ["T2_A"], num_copies=1, group="ops", by="ada", served={"physics", "express"})
    assert states(stock) == {}


def test_the_same_open_request_is_made_once(stock: Inventory) -> None:
    first = ask(stock, "T2_B1", "T2xC")
    assert ask(stock, "T2xC", "T2_B1", "T2xC") == first
    assert ask(stock, "T2_B1") != first
    assert ask(stock, "T2_B1", "T2xC", copies=2) != first


def test_after_it_was_completed_it_can_be_made_again(stock: Inventory) -> None:
    first = ask(stock, "T2_A")
    assert close_completed(stock.db) == 1
    assert ask(stock, "T2_A") != first


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param({"dataset": "/No/Such-v1/AOD"}, "unknown dataset '/No/Such-v1/AOD'", id="dataset"),
        pytest.param({"group": "opps"}, "unknown group 'opps'; groups are ops", id="group"),
        pytest.param({"sites": ["T2_A", "T3_*"]}, "no site matches 'T3_*'", id="site"),
        pytest.param({"sites": []}, "no site matches an empty list", id="no site"),
        pytest.param({"copies": -1}, "num_copies=-1 is negative", id="copies"),
        pytest.param(
            {"sites": ["T2_B1", "T2_B*"], "copies": 2}, "only 1 sites match: T2_B1", id="fewer sites than copies"
        ),
    ],
)
def test_what_is_unknown_is_named(stock: Inventory, wrong: dict[str, object], message: str) -> None:
    given = {"dataset": DATASET, "group": "ops", "sites": ["T2_A"], "copies": 1, **wrong}
    sites = given.pop("sites")
    assert isinstance(sites, list)
    with pytest.raises(InventoryError) as error:
        ask(stock, *sites, **given)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert states(stock) == {}


@pytest.mark.parametrize(
    ("sites", "copies", "full_at", "is_completed"),
    [
        pytest.param(["T2_A"], 1, [], True, id="there already"),
        pytest.param(["T2_B1"], 1, [], False, id="nothing there"),
        pytest.param(["T2_B1"], 1, ["T2_B1"], True, id="arrived"),
        pytest.param(["T2_*"], 2, [], False, id="one of two"),
        pytest.param(["T2_*"], 2, ["T2_B1"], True, id="two of two"),
        pytest.param(["T2_*"], 0, [], False, id="one at each: one lacks"),
        pytest.param(["T2_*"], 0, ["T2_B1"], True, id="one at each"),
        pytest.param(["T2_?"], 1, ["T2_B1"], True, id="question mark"),
        pytest.param(["T2_?1"], 1, ["T2xC"], False, id="an underscore is no wildcard"),
        pytest.param(["T2_[BC]*"], 1, ["T2_B1"], True, id="a set of letters"),
        pytest.param(["T2_[BC]*"], 1, ["T2xC"], False, id="a set of letters, elsewhere"),
        pytest.param(["T2_B1", "T2_B*"], 1, ["T2_B1"], True, id="two patterns for one site"),
    ],
)
def test_a_request_is_completed_when_enough_sites_have_all_blocks(
    stock: Inventory, sites: list[str], copies: int, full_at: list[str], is_completed: bool
) -> None:
    request = ask(stock, *sites, copies=copies)
    for site in full_at:
        for block in ("b1", "b2"):
            stock.replica(block, site)
    assert close_completed(stock.db) == int(is_completed)
    assert states(stock) == {request: "completed" if is_completed else "new"}
    assert close_completed(stock.db) == 0


@pytest.mark.parametrize("lacking", ["a block", "a file"])
def test_a_dataset_that_is_not_all_there_completes_nothing(stock: Inventory, lacking: str) -> None:
    request = ask(stock, "T2_B1")
    stock.replica("b1", "T2_B1")
    if lacking == "a file":
        stock.replica("b2", "T2_B1", present=stock.files_of["b2"][:1])
    assert close_completed(stock.db) == 0
    assert states(stock) == {request: "new"}


def test_a_copy_that_another_group_owns_is_not_the_one_asked_for(stock: Inventory) -> None:
    request = ask(stock, "T2_A")
    with stock.db.begin() as connection:
        connection.execute(text("UPDATE block_replicas SET group_id = NULL"))
    assert close_completed(stock.db) == 0
    assert states(stock) == {request: "new"}


def test_a_request_for_a_dataset_without_blocks_waits_for_them(stock: Inventory) -> None:
    with stock.db.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO datasets (name, status, is_open, last_update_at)
            VALUES ('/New/B-v1/AOD', 'production', true, now())""")
        )
    request = ask(stock, "T2_A", dataset="/New/B-v1/AOD")
    assert close_completed(stock.db) == 0
    assert states(stock) == {request: "new"}


def test_completed_requests_are_not_activated_again(stock: Inventory) -> None:
    request = ask(stock, "T2_A")
    close_completed(stock.db)
    assert activate(stock.db, [request]) == 0
    assert states(stock) == {request: "completed"}
