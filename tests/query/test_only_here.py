"""What no other site has, by whole blocks and by files."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query.only_here import ONLY_HERE, OnlyHereFilter
from dynamo_ops.query.paging.listing import Window, read_page
from tests.inventory.factory import SIZE
from tests.query.stock import FIRST, SECOND, Stock


def only(stock: Stock, site: str, *datasets: str) -> list[tuple[str, int, int]]:
    page = read_page(stock.db, ONLY_HERE, OnlyHereFilter(site, datasets), Window())
    return [(row["block"], row["num_files"], row["size_bytes"]) for row in page.records()]


def test_blocks_that_are_whole_elsewhere_are_left_out(stock: Stock) -> None:
    assert only(stock, "T2_A") == []
    assert only(stock, "T2_B") == [("b1", 3, 3 * SIZE)]
    assert only(stock, "T2_C") == [("c1", 1, SIZE)]
    assert only(stock, "T2_B", "/A/B-v1/*") == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sites SET status = 'waitroom' WHERE name = 'T1_Tape'",
        "UPDATE block_replicas SET is_complete = false WHERE site_id = (SELECT id FROM sites WHERE name = 'T1_Tape')",
    ],
    ids=["distant", "nothing listed"],
)
def test_a_copy_that_counts_for_nothing_takes_no_place(stock: Stock, change: str) -> None:
    stock.rows(change)
    assert only(stock, "T2_A") == [("a2", 2, 2 * SIZE)]


def test_what_is_doomed_or_doubted_elsewhere_is_asked_by_file(stock: Stock) -> None:
    lfns = stock.files_of["a2"]
    stock.subscription("delete", lfns[:1], "T1_Tape")
    assert only(stock, "T2_A") == [("a2", 1, SIZE)]
    check = stock.scalar(
        "INSERT INTO consistency_checks (run_key, site_id, state) VALUES ('r', :s, 'compared') RETURNING id",
        s=stock.site_ids["T1_Tape"],
    )
    stock.rows(
        """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, file_id)
           VALUES (:c, 'missing', 'found', :l, 1, :f)""",
        c=check, l=lfns[1], f=stock.file_ids[lfns[1]],
    )  # fmt: skip
    assert only(stock, "T2_A") == [("a2", 2, 2 * SIZE)]


def test_files_that_several_sites_have_together_are_last_nowhere(stock: Stock) -> None:
    stock.dataset(SECOND)
    for site, numbers in (("T2_A", (0, 1)), ("T2_C", (2,))):
        stock.replica("b1", site, present=[stock.files_of["b1"][number] for number in numbers])
    assert only(stock, "T2_B") == []
    stock.rows("UPDATE sites SET status = 'morgue' WHERE name = 'T2_C'")
    assert only(stock, "T2_B") == [("b1", 1, SIZE)]


def test_what_means_nothing_is_told(stock: Stock) -> None:
    with pytest.raises(InventoryError, match="there is no site 'T2_X'"):
        only(stock, "T2_X")
    with pytest.raises(InventoryError, match="no dataset matches"):
        only(stock, "T2_A", "/Q/*")
    assert only(stock, "T2_A", FIRST) == []
