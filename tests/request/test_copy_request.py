"""Copy requests: asked for once, refused with the reason, completed when the data are where they were wanted."""

from __future__ import annotations

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import RequestSettings
from dynamo_ops.database.connection import Database
from dynamo_ops.request.advance import advance
from dynamo_ops.request.copy_request import open_requests, record_plan, request_copy
from tests.inventory.factory import Inventory
from tests.people import ADA, BOB
from tests.request.stock import list_requests

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


def ask(
    stock: Inventory,
    *sites: str,
    copies: int = 1,
    dataset: str = DATASET,
    group: str = "ops",
    items: list[str] | None = None,
) -> int:
    asked = dataset if items is None else items
    return request_copy(stock.db, asked, list(sites), num_copies=copies, group=group, by=ADA)


def states(stock: Inventory) -> dict[int, str]:
    return dict(list_requests(stock.db).select("id", "state").iter_rows())


def test_a_request_is_open_until_it_is_completed(stock: Inventory) -> None:
    first, second = ask(stock, "T2_B1"), ask(stock, "T2_*", copies=2)
    assert open_requests(stock.db, "ops").to_dicts() == [
        {"request_id": first, "dataset": DATASET, "sites": ["T2_B1"], "num_copies": 1, "group": "ops"},
        {"request_id": second, "dataset": DATASET, "sites": ["T2_*"], "num_copies": 2, "group": "ops"},
    ]
    plan(stock, 1, [(first, None, "T2_B1")])
    assert states(stock) == {first: "activated", second: "new"}
    assert open_requests(stock.db, "ops").height == 2
    assert open_requests(stock.db, "users").is_empty()


def test_a_group_that_no_dealer_serves_is_told_at_once(stock: Inventory) -> None:
    with pytest.raises(InventoryError, match="places for group 'ops'; served are express, physics"):
        request_copy(stock.db, DATASET, ["T2_A"], num_copies=1, group="ops", by=ADA, served={"physics", "express"})
    assert states(stock) == {}


def test_the_same_open_request_is_made_once(stock: Inventory) -> None:
    first = ask(stock, "T2_B1", "T2xC")
    assert ask(stock, "T2xC", "T2_B1", "T2xC") == first
    assert ask(stock, "T2_B1") != first
    assert ask(stock, "T2_B1", "T2xC", copies=2) != first


def test_after_it_was_completed_it_can_be_made_again(stock: Inventory) -> None:
    first = ask(stock, "T2_A")
    assert advance(stock.db).num_completed == 1
    assert ask(stock, "T2_A") != first


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param({"dataset": "/No/Such-v1/AOD"}, "unknown dataset '/No/Such-v1/AOD'", id="dataset"),
        pytest.param({"group": "opps"}, "there is no group 'opps'; groups are ops", id="group"),
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
    assert advance(stock.db).num_completed == int(is_completed)
    assert states(stock) == {request: "completed" if is_completed else "new"}
    assert advance(stock.db).num_completed == 0


@pytest.mark.parametrize("lacking", ["a block", "a file"])
def test_a_dataset_that_is_not_all_there_completes_nothing(stock: Inventory, lacking: str) -> None:
    request = ask(stock, "T2_B1")
    stock.replica("b1", "T2_B1")
    if lacking == "a file":
        stock.replica("b2", "T2_B1", present=stock.files_of["b2"][:1])
    assert advance(stock.db).num_completed == 0
    assert states(stock) == {request: "new"}


def test_a_copy_that_another_group_owns_is_not_the_one_asked_for(stock: Inventory) -> None:
    request = ask(stock, "T2_A")
    with stock.db.begin() as connection:
        connection.execute(text("UPDATE block_replicas SET group_id = NULL"))
    assert advance(stock.db).num_completed == 0
    assert states(stock) == {request: "new"}


def test_a_request_for_a_dataset_without_blocks_waits_for_them(stock: Inventory) -> None:
    with stock.db.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO datasets (name, status, is_open, last_update_at)
            VALUES ('/New/B-v1/AOD', 'production', true, now())""")
        )
    request = ask(stock, "T2_A", dataset="/New/B-v1/AOD")
    assert advance(stock.db).num_completed == 0
    assert states(stock) == {request: "new"}


def test_completed_requests_are_not_activated_again(stock: Inventory) -> None:
    request = ask(stock, "T2_A")
    advance(stock.db)
    plan(stock, 1, [(request, None, "T2_A")])
    assert (states(stock), actions(stock)) == ({request: "completed"}, [])


# -- items, limits -----------------------------------------------------------------------------------------------------


def test_blocks_are_asked_for_by_name_and_those_of_a_whole_dataset_are_left_out(stock: Inventory) -> None:
    one = ask(stock, "T2_B1", items=[f"{DATASET}#b2", f"{DATASET}#b1", f"{DATASET}#b2"])
    whole = ask(stock, "T2_B1", items=[DATASET, f"{DATASET}#b1"])
    assert open_requests(stock.db, "ops").select("request_id", "dataset").rows() == [
        (one, f"{DATASET}#b1"),
        (one, f"{DATASET}#b2"),
        (whole, DATASET),
    ]
    assert ask(stock, "T2_B1", items=[f"{DATASET}#b1", f"{DATASET}#b2"]) == one
    assert ask(stock, "T2_B1", items=[DATASET]) == whole


def test_asking_again_counts_and_says_who(stock: Inventory) -> None:
    request = ask(stock, "T2_B1")
    request_copy(stock.db, DATASET, ["T2_B1"], num_copies=1, group="ops", by=BOB)
    row = list_requests(stock.db).select("id", "num_asked", "requested_by", "last_asked_by").rows()
    assert row == [(request, 2, "ada", "bob")]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        pytest.param([f"{DATASET}#b11"], r"/A/B-v1/AOD has no block 'b11'\. Did you mean b1\?", id="block"),
        pytest.param(["/A/B-v1/AODSIM"], r"unknown dataset .* Did you mean /A/B-v1/AOD\?", id="dataset"),
        pytest.param(["#b1"], "'#b1' is no item: expected a dataset or dataset#block", id="no dataset"),
        pytest.param([], "name at least one dataset or dataset#block", id="nothing"),
    ],
)
def test_a_wrong_item_is_named(stock: Inventory, items: list[str], message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        ask(stock, "T2_B1", items=items)


@pytest.mark.parametrize("status", ["invalid", "deleted", "deprecated", "ignored"])
def test_a_dataset_that_is_never_copied_is_refused(stock: Inventory, status: str) -> None:
    open_one = ask(stock, "T2_B1")
    stock.rows("UPDATE datasets SET status = :s", s=status)
    with pytest.raises(InventoryError, match=f"the dataset is {status}, no copy of it is made"):
        ask(stock, "T2_A")
    assert open_requests(stock.db, "ops").is_empty()
    assert states(stock) == {open_one: "new"}


@pytest.mark.parametrize(
    ("sites", "copies", "limits", "message"),
    [
        pytest.param(
            ["T2*"], 0, {"max_copies": 2}, r"3 copies \(one at each site\) .* requests.max_copies is 2", id="at each"
        ),
        pytest.param(
            ["T2*"], 3, {"max_copies": 2}, "3 copies were asked for, and requests.max_copies is 2", id="copies"
        ),
        pytest.param(
            ["T2*"],
            2,
            {"max_size_tb": 7e-9},
            "2 copies of /A/B-v1/AOD: 8.00 kB in all, and requests.max_size_tb is 7e-09 TB; ask for less",
            id="size",
        ),
        pytest.param(
            ["T2_A"],
            1,
            {"max_open_per_user": 1},
            "ada has 1 open requests, and requests.max_open_per_user is 1; cancel some",
            id="open requests",
        ),
    ],
)
def test_a_limit_is_told_with_its_value(
    stock: Inventory, sites: list[str], copies: int, limits: dict[str, float], message: str
) -> None:
    first = ask(stock, "T2_B1")
    given = RequestSettings.model_validate(limits)
    with pytest.raises(InventoryError, match=message):
        request_copy(stock.db, DATASET, sites, num_copies=copies, group="ops", by=ADA, limits=given)
    assert states(stock) == {first: "new"}
    assert request_copy(stock.db, DATASET, ["T2_B1"], num_copies=1, group="ops", by=ADA, limits=given) == first


# -- what a plan does --------------------------------------------------------------------------------------------------


def plan(
    stock: Inventory,
    plan_id: int,
    copies: list[tuple[int, str | None, str]],
    refused: list[tuple[int, str]] | None = None,
) -> None:
    """Record a plan that makes (request, block or None, site) and refuses (request, reason)."""
    rows = [
        (request, stock.dataset_id, block and stock.block_ids[block], stock.site_ids[site])
        for request, block, site in copies
    ]
    schema = dict.fromkeys(["request_id", "dataset_id", "block_id", "site_id"], pl.Int64)
    with stock.db.begin() as connection:
        record_plan(
            connection,
            plan_id,
            pl.DataFrame(rows, schema=schema, orient="row"),
            pl.DataFrame(refused or [], schema={"request_id": pl.Int64, "reason": pl.String}, orient="row"),
        )


def actions(stock: Inventory) -> list[tuple[object, ...]]:
    return stock.rows(
        "SELECT request_id, block_id, site_id, state, plan_id, size_bytes FROM request_actions ORDER BY id"
    )


def test_a_plan_becomes_actions_once(stock: Inventory) -> None:
    first, second = ask(stock, "T2_B1"), ask(stock, "T2*", copies=2, items=[f"{DATASET}#b1"])
    site, other, block = stock.site_ids["T2_B1"], stock.site_ids["T2xC"], stock.block_ids["b1"]
    for _ in range(2):
        plan(stock, 7, [(first, None, "T2_B1"), (second, "b1", "T2_B1"), (second, "b1", "T2xC")])
    assert actions(stock) == [
        (first, None, site, "queued", 7, 4000),
        (second, block, site, "queued", 7, 2000),
        (second, block, other, "queued", 7, 2000),
    ]
    assert set(states(stock).values()) == {"activated"}


def test_a_plan_recorded_again_does_not_undo_what_is_done(stock: Inventory) -> None:
    request = ask(stock, "T2*", copies=2)
    plan(stock, 7, [(request, None, "T2_B1")])
    stock.rows("UPDATE request_actions SET state = 'done'")
    plan(stock, 7, [(request, None, "T2_B1")])
    assert actions(stock)[0][3] == "done"
    plan(stock, 8, [(request, None, "T2_B1")])
    assert actions(stock)[0][3:5] == ("queued", 8)


def test_what_the_plugin_refuses_for_good_is_rejected_with_its_reasons(stock: Inventory) -> None:
    refused, served, waiting = ask(stock, "T2_B1"), ask(stock, "T2_A", "T2xC", copies=2), ask(stock, "T2xC")
    plan(stock, 7, [(served, None, "T2xC")], [(refused, "too large"), (refused, "no source"), (served, "too large")])
    assert states(stock) == {refused: "rejected", served: "activated", waiting: "new"}
    because = stock.scalar("SELECT closed_because FROM requests WHERE id = :r", r=refused)
    assert because == "no source; too large"


def test_a_request_is_not_rejected_while_its_copies_are_on_their_way(stock: Inventory) -> None:
    request = ask(stock, "T2_B1")
    plan(stock, 7, [(request, None, "T2_B1")])
    plan(stock, 8, [], [(request, "too large")])
    assert states(stock) == {request: "activated"}
    stock.rows("UPDATE request_actions SET state = 'done'")
    plan(stock, 9, [], [(request, "too large")])
    assert states(stock) == {request: "rejected"}
