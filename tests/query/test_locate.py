"""Sites and PFNs of files, what can be read best first."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.site.downtime import drain
from dynamo_ops.query import locate as locating
from dynamo_ops.query.locate import locate
from tests.people import ADA
from tests.query.stock import FIRST, LOWER, Stock

LFN = "/store/a1/f0"


def order(stock: Stock, lfn: str = LFN) -> list[tuple[str, str, bool]]:
    (file,) = locate(stock.db, [lfn])
    return [(copy["site"], copy["standing"], copy["is_readable"]) for copy in file["copies"]]


def test_disk_comes_before_tape_and_each_has_its_pfn(stock: Stock) -> None:
    assert order(stock) == [("T2_A", "good", True), ("T2_B", "good", True), ("T1_Tape", "good", True)]
    (file,) = locate(stock.db, [LFN])
    assert file["copies"][0]["pfn"] == "davs://t2_a.invalid:443/dav/store/a1/f0"
    assert {copy["protocol"] for copy in file["copies"]} == {"davs"}


def test_good_comes_before_distant_doomed_and_doubtful_and_what_cannot_be_read_last(stock: Stock) -> None:
    stock.subscription("delete", [LFN], "T2_A")
    assert order(stock) == [("T2_B", "good", True), ("T1_Tape", "good", True), ("T2_A", "doomed", True)]
    stock.rows("UPDATE sites SET status = 'morgue' WHERE name = 'T2_B'")
    assert order(stock) == [("T1_Tape", "good", True), ("T2_B", "distant", True), ("T2_A", "doomed", True)]
    stock.rows("UPDATE sites SET status = 'unknown' WHERE name = 'T2_B'")
    drain(stock.db, "T1_Tape", by=ADA, reason="robots")
    assert order(stock) == [("T2_A", "doomed", True), ("T1_Tape", "good", False), ("T2_B", "doubtful", False)]


def test_a_file_that_is_nowhere_has_no_copies(stock: Stock) -> None:
    here, nowhere = locate(stock.db, dataset=LOWER)
    assert [copy["site"] for copy in here["copies"]] == ["T2_C"]
    assert nowhere["copies"] == []


def test_a_protocol_that_a_site_does_not_have_gives_no_pfn(stock: Stock) -> None:
    (file,) = locate(stock.db, [LFN], protocols=["root"])
    assert {(copy["protocol"], copy["pfn"]) for copy in file["copies"]} == {(None, None)}
    stock.rows(
        "INSERT INTO site_endpoints (site_id, protocol, prefix) VALUES (:s, 'root', 'root://a/')",
        s=stock.site_ids["T2_A"],
    )
    (file,) = locate(stock.db, [LFN], protocols=["root", "davs"])
    assert {copy["site"]: copy["protocol"] for copy in file["copies"]} == {
        "T2_A": "root",
        "T2_B": "davs",
        "T1_Tape": "davs",
    }


def test_a_dataset_or_a_block_of_it(stock: Stock) -> None:
    assert [file["lfn"] for file in locate(stock.db, dataset=FIRST)] == stock.files_of["a1"] + stock.files_of["a2"]
    assert [file["lfn"] for file in locate(stock.db, dataset=f"{FIRST}#a2")] == stock.files_of["a2"]


def test_what_is_not_known_or_too_much_is_told(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InventoryError, match="no file '/store/x', nor 1 more") as raised:
        locate(stock.db, [LFN, "/store/x", "/store/y"])
    assert raised.value.facts["lfns"] == ["/store/x", "/store/y"]
    with pytest.raises(InventoryError, match=r"there is no block 'a11'. Did you mean a1"):
        locate(stock.db, dataset=f"{FIRST}#a11")
    monkeypatch.setattr(locating, "MOST_FILES", 1)
    with pytest.raises(InventoryError, match="at most 1 files"):
        locate(stock.db, [LFN, "/store/a1/f1"])
    with pytest.raises(InventoryError, match="block by block"):
        locate(stock.db, dataset=FIRST)
