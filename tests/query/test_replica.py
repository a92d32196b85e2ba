"""What is where, by dataset and by block."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.replica import BLOCK_REPLICAS, DATASET_REPLICAS, ReplicaFilter
from tests.inventory.factory import SIZE
from tests.query.stock import FIRST, LOWER, SECOND, THIRD, Stock


def by_dataset(stock: Stock, **asked: Any) -> dict[tuple[str, str], dict[str, Any]]:
    page = read_page(stock.db, DATASET_REPLICAS, ReplicaFilter(**asked), Window())
    return {(row["dataset"], row["site"]): row for row in page.records()}


def by_block(stock: Stock, **asked: Any) -> list[tuple[str, str]]:
    page = read_page(stock.db, BLOCK_REPLICAS, ReplicaFilter(**asked), Window())
    return [(row["block"], row["site"]) for row in page.records()]


def test_dataset_replicas_are_full_complete_or_neither(stock: Stock) -> None:
    replicas = by_dataset(stock)
    assert {key: (row["num_complete"], row["is_complete"], row["is_full"]) for key, row in replicas.items()} == {
        (FIRST, "T1_Tape"): (2, True, True),
        (FIRST, "T2_A"): (2, True, True),
        (FIRST, "T2_B"): (1, True, False),
        (SECOND, "T2_B"): (1, True, True),
        (LOWER, "T2_C"): (0, False, False),
    }
    assert list(replicas) == sorted(replicas), "by dataset and site"
    assert replicas[LOWER, "T2_C"]["groups"] == ["none"]
    assert replicas[LOWER, "T2_C"]["size_bytes"] == SIZE
    assert replicas[FIRST, "T2_B"]["full_size_bytes"] == 4 * SIZE


def test_a_dataset_replica_that_only_grows_is_there_with_nothing_in_it(stock: Stock) -> None:
    stock.rows(
        "INSERT INTO dataset_replicas (dataset_id, site_id, is_growing) VALUES (:d, :s, true)",
        d=stock.dataset_ids[THIRD], s=stock.site_ids["T2_C"],
    )  # fmt: skip
    replica = by_dataset(stock, datasets=[THIRD])[THIRD, "T2_C"]
    assert (replica["num_blocks"], replica["is_full"], replica["is_growing"]) == (0, False, True)
    assert (replica["size_bytes"], replica["groups"], replica["last_update_at"]) == (0, [], None)


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({"datasets": ["/A/*"], "sites": ["T2_*"]}, [(FIRST, "T2_A"), (FIRST, "T2_B"), (SECOND, "T2_B")]),
        ({"groups": ["users"]}, [(SECOND, "T2_B")]),
        ({"groups": ["none", "users"]}, [(SECOND, "T2_B"), (LOWER, "T2_C")]),
        ({"is_complete": False}, [(LOWER, "T2_C")]),
        ({"is_custodial": True}, []),
    ],
    ids=str,
)
def test_dataset_replicas_are_narrowed(stock: Stock, asked: dict[str, Any], keys: list[tuple[str, str]]) -> None:
    assert list(by_dataset(stock, **asked)) == keys


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({"datasets": [FIRST], "blocks": ["a2"]}, [("a2", "T1_Tape"), ("a2", "T2_A")]),
        ({"sites": ["T2_B"]}, [("a1", "T2_B"), ("b1", "T2_B")]),
        ({"groups": ["none"]}, [("c1", "T2_C")]),
        ({"groups": ["u*"]}, [("b1", "T2_B")]),
        ({"is_complete": False}, [("c1", "T2_C")]),
    ],
    ids=str,
)
def test_block_replicas_are_narrowed(stock: Stock, asked: dict[str, Any], keys: list[tuple[str, str]]) -> None:
    assert by_block(stock, **asked) == keys


def test_an_incomplete_block_replica_says_how_many_files_it_has(stock: Stock) -> None:
    page = read_page(stock.db, BLOCK_REPLICAS, ReplicaFilter([LOWER]), Window())
    assert [(row["num_files"], row["num_files_of_block"], row["group"]) for row in page.records()] == [(1, 2, None)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"datasets": ["/A/B-v1/AODD"]}, "Did you mean /A/B-v1/AOD"),
        ({"datasets": [FIRST], "groups": ["opps"]}, "Did you mean ops"),
        ({"datasets": [FIRST], "sites": ["T3*"]}, "no site matches"),
        ({"datasets": ["/A/*"], "blocks": ["a1"]}, "one dataset"),
        ({"blocks": ["a1"]}, "one dataset"),
    ],
    ids=str,
)
def test_what_means_nothing_is_told(stock: Stock, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        by_block(stock, **asked)


def test_blocks_are_asked_for_on_their_level(stock: Stock) -> None:
    with pytest.raises(InventoryError, match="on the level of blocks"):
        by_dataset(stock, datasets=[FIRST], blocks=["a1"])
