"""Rows of frames in pages and streams: by their number, or group by group; each once and in order, either way."""

from __future__ import annotations

import json
import random

import polars as pl
import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.query.paging import frame
from dynamo_ops.query.paging.frame import FrameListing, Groups, frame_csv, frame_ndjson, read_frame_page
from dynamo_ops.query.paging.listing import Window

KEY = ("dataset", "site", "block")


def rows(seed: int, number: int = 60) -> pl.DataFrame:
    """Few datasets with many rows and many with one, in the order of the key; names that bytes sort otherwise."""
    draw = random.Random(seed)
    datasets = ["/A", "/a", "/A_", "/A-", *(f"/D{n}" for n in range(12))]
    found = {
        (draw.choice(datasets[: draw.choice([2, 16])]), draw.choice(["T1", "T2"]), f"b{draw.randrange(30)}")
        for _ in range(number)
    }
    return pl.DataFrame(sorted(found), schema=list(KEY), orient="row").with_row_index("number")


def by_group(table: pl.DataFrame) -> FrameListing:
    def between(first: str, last: str) -> pl.LazyFrame:
        return table.lazy().filter(pl.col("dataset").is_between(pl.lit(first), pl.lit(last)))

    shuffled = table.sample(fraction=1, shuffle=True, seed=1).lazy()
    return FrameListing("rows", table.lazy(), ("here",), Groups(shuffled.select("dataset"), KEY, between))


def by_number(table: pl.DataFrame) -> FrameListing:
    return FrameListing("rows", table.lazy(), ("here",))


def walked(database: Database, listing: FrameListing, limit: int) -> list[int]:
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = read_frame_page(database, listing, Window(limit, cursor, ("number",)))
        assert len(page.rows) <= limit
        found += [row[0] for row in page.rows]
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("make", [by_group, by_number])
@pytest.mark.parametrize("limit", [1, 2, 7, 59, 60, 1000])
def test_pages_have_each_row_once_in_order(database: Database, make: object, limit: int) -> None:
    for seed in range(3):
        table = rows(seed)
        assert walked(database, make(table), limit) == list(range(table.height))  # type: ignore[operator]


@pytest.mark.parametrize("make", [by_group, by_number])
@pytest.mark.parametrize("limit", [None, 1, 10, 999])
def test_streams_have_the_same_rows(make: object, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "GROUPS_A_PIECE", 3)
    monkeypatch.setattr(frame, "ROWS_A_PIECE", 4)
    table = rows(4)
    expected = list(range(table.height))[:limit]
    listing = make(table)  # type: ignore[operator]
    *lines, end = "".join(frame_ndjson(listing, ["number"], limit=limit)).splitlines()
    assert [json.loads(line)["number"] for line in lines] == expected
    assert json.loads(end) == {"end": {"rows": len(expected)}}
    assert "".join(frame_csv(listing, ["number"], limit=limit)).splitlines() == ["number", *map(str, expected)]


@pytest.mark.parametrize("make", [by_group, by_number])
def test_of_nothing_there_is_one_empty_page(database: Database, make: object) -> None:
    listing = make(rows(1).head(0))  # type: ignore[operator]
    page = read_frame_page(database, listing, Window(with_count=True))
    assert (page.rows, page.next, page.count) == ([], None, 0)
    assert "".join(frame_ndjson(listing)) == '{"end": {"rows": 0}}\n'


@pytest.mark.parametrize("make", [by_group, by_number])
def test_rows_are_counted_up_to_some(database: Database, make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(2)
    page = read_frame_page(database, make(table), Window(1, with_count=True))  # type: ignore[operator]
    assert page.count == table.height
    monkeypatch.setattr(frame, "COUNTED", table.height - 1)
    page = read_frame_page(database, make(table), Window(1, with_count=True))  # type: ignore[operator]
    assert (page.count, page.is_counted) == (None, True)


def test_a_cursor_is_of_its_question(database: Database) -> None:
    table = rows(1)
    first = read_frame_page(database, by_group(table), Window(1)).next
    other = FrameListing("rows", table.lazy(), ("there",))
    with pytest.raises(InventoryError, match="of another question"):
        read_frame_page(database, other, Window(1, first))
    with pytest.raises(InventoryError, match=r"have no field 'numbr'.*Did you mean number"):
        frame_csv(other, ["numbr"])
