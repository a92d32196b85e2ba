"""Blocks of a dataset, and files of blocks or by name."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query import contents
from dynamo_ops.query.contents import BLOCKS, FILES, ContentFilter, files_by_name
from dynamo_ops.query.paging.listing import Listing, Window, read_page
from tests.inventory.factory import SIZE
from tests.query.stock import FIRST, LOWER, SECOND, THIRD, Stock


def read(stock: Stock, listing: Listing[ContentFilter], *asked: Any) -> list[dict[str, Any]]:
    return read_page(stock.db, listing, ContentFilter(*asked), Window()).records()


def test_blocks_say_how_many_sites_have_them(stock: Stock) -> None:
    blocks = {
        block["block"]: (block["num_files"], block["num_complete"], block["num_sites"])
        for block in read(stock, BLOCKS, FIRST)
    }
    assert blocks == {"a1": (2, 3, 3), "a2": (2, 2, 2)}
    assert [(block["num_complete"], block["num_sites"]) for block in read(stock, BLOCKS, LOWER)] == [(0, 1)]
    assert [block["size_bytes"] for block in read(stock, BLOCKS, FIRST, ["*2"])] == [2 * SIZE]


def test_files_are_those_of_the_dataset_and_block_alone(stock: Stock) -> None:
    assert [file["lfn"] for file in read(stock, FILES, FIRST)] == stock.files_of["a1"] + stock.files_of["a2"]
    assert [file["lfn"] for file in read(stock, FILES, FIRST, ["a2"])] == stock.files_of["a2"]
    assert [file["lfn"] for file in read(stock, FILES, FIRST, ["a?"], ["*f1"])] == ["/store/a1/f1", "/store/a2/f1"]
    assert read(stock, FILES, THIRD) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("/A/B-v1/AO",), "there is no dataset '/A/B-v1/AO'. Did you mean /A/B-v1/AOD"),
        ((FIRST, ["a11"]), "there is no block 'a11'. Did you mean a1"),
        ((FIRST, ["b*"]), "no block matches 'b"),
    ],
    ids=str,
)
@pytest.mark.parametrize("listing", [BLOCKS, FILES], ids=["blocks", "files"])
def test_what_means_nothing_is_told(stock: Stock, listing: Any, asked: Any, message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        read(stock, listing, *asked)


def test_files_by_name_come_in_the_order_asked(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    lfns = [stock.files_of["b1"][1], "/store/none", stock.files_of["a1"][0]]
    assert [(file["lfn"], file["dataset"], file["block"]) for file in files_by_name(stock.db, lfns)] == [
        (lfns[0], SECOND, "b1"),
        (lfns[2], FIRST, "a1"),
    ]
    monkeypatch.setattr(contents, "MOST_FILES", 2)
    with pytest.raises(InventoryError, match="at most 2 at once"):
        files_by_name(stock.db, lfns)
