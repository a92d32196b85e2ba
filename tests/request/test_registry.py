"""The list of requests, and one of them in full."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.request.advance import advance
from dynamo_ops.request.cancel import cancel
from dynamo_ops.request.registry import request_details
from tests.inventory.factory import SIZE
from tests.people import ADA, BOB
from tests.request.stock import DATASET, OTHER, Stock, list_requests


def found(stock: Stock, **given: str) -> list[int]:
    return list_requests(stock.db, **{f"{name}s": [word] for name, word in given.items()})["id"].to_list()


def test_requests_are_found_by_state_kind_person_and_dataset(asked: Stock) -> None:
    asked.other_dataset("c1")
    first = asked.ask()
    second = asked.ask(OTHER, by=BOB, sites=("T2_A",))
    third = asked.delete().request_id
    cancel(asked.db, first, by=ADA, reason="mistake")
    assert found(asked) == [third, second, first]
    assert found(asked, state="open") == [third, second]
    assert found(asked, state="cancelled") == [first]
    assert found(asked, kind="deletion") == [third]
    assert found(asked, user="bob") == found(asked, dataset=OTHER) == found(asked, dataset="/C/*") == [second]
    assert found(asked, dataset=DATASET, kind="copy") == [first]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state": "done"}, "'done' is no state of a request: these are new, activated, completed, rejected"),
        ({"kind": "move"}, "'move' is no kind of a request: these are copy, deletion"),
        ({"dataset": "/A/B-v2/AOD"}, r"there is no dataset '/A/B-v2/AOD'\. Did you mean /A/B-v1/AOD\?"),
        ({"dataset": "/X*"}, r"no dataset matches '/X\*'"),
    ],
)
def test_a_wrong_filter_is_named(asked: Stock, given: dict[str, str], message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        found(asked, **given)


def test_a_long_list_of_items_is_shortened_in_the_list_and_whole_in_full(asked: Stock) -> None:
    for number in range(3, 6):
        asked.block(f"b{number}", 1)
    names = [f"{DATASET}#b{number}" for number in range(1, 6)]
    request = asked.ask(*names)
    assert list_requests(asked.db)["items"].to_list() == [f"{' '.join(names[:3])} and 2 more"]
    assert request_details(asked.db, request).request["items"] == names


def test_a_copy_is_shown_with_what_is_there(asked: Stock) -> None:
    request = asked.ask(f"{DATASET}#b1", f"{DATASET}#b2")
    assert request_details(asked.db, request).actions.is_empty()
    asked.dealt(request, ("b1", "T2_C"), ("b2", "T2_C"))
    asked.arrive("T2_C", *asked.files_of["b1"], asked.files_of["b2"][0])
    advance(asked.db)
    shown = request_details(asked.db, request).actions
    columns = ["item", "site", "state", "num_files_done", "num_files", "done_bytes", "size_bytes"]
    assert shown.select(columns).rows() == [
        (f"{DATASET}#b1", "T2_C", "done", 3, 3, 3 * SIZE, 3 * SIZE),
        (f"{DATASET}#b2", "T2_C", "queued", 1, 3, SIZE, 3 * SIZE),
    ]


def test_a_whole_dataset_is_one_row_a_site(asked: Stock) -> None:
    request = asked.ask(num_copies=0, sites=("T2_B", "T2_C"))
    asked.dealt(request, (None, "T2_C"))
    asked.arrive("T2_C", *asked.files_of["b1"])
    assert request_details(asked.db, request).actions.drop("reason").rows() == [
        (DATASET, "T2_C", "queued", 2, 6, 3, 6 * SIZE, 3 * SIZE)
    ]


def test_a_deletion_is_shown_with_what_is_gone_and_what_was_refused(asked: Stock) -> None:
    asked.rows("DELETE FROM block_replicas WHERE block_id = :b AND site_id = 2", b=asked.block_ids["b2"])
    request = asked.delete(sites=("T2_A", "T2_C")).request_id
    assert request is not None
    asked.vanish("T2_A", asked.files_of["b1"][0])
    columns = [
        "item",
        "site",
        "state",
        "reason",
        "num_blocks",
        "num_files_done",
        "num_files",
        "done_bytes",
        "size_bytes",
    ]
    assert request_details(asked.db, request).actions.select(columns).rows() == [
        (DATASET, "T2_A", "queued", None, 1, 1, 3, SIZE, 3 * SIZE),
        (DATASET, "T2_A", "refused", "it is the last copy", 1, 0, 3, 0, 3 * SIZE),
        (DATASET, "T2_C", "refused", "it is not there", 0, 0, 0, 0, 0),
    ]
    asked.vanish("T2_A", *asked.files_of["b1"][1:])
    advance(asked.db)
    assert request_details(asked.db, request).actions.select(columns).rows()[0] == (
        DATASET,
        "T2_A",
        "done",
        None,
        1,
        3,
        3,
        3 * SIZE,
        3 * SIZE,
    )


def test_a_request_that_is_not_there_is_told(asked: Stock) -> None:
    with pytest.raises(InventoryError, match="there is no request 4711"):
        request_details(asked.db, 4711)
