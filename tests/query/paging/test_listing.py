"""Pages by key, whatever is inserted meanwhile; cursors that are ours and of the same question; streams."""

from __future__ import annotations

import csv
import io
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.query.contents import FILES, ContentFilter
from dynamo_ops.query.dataset import DATASETS, DatasetFilter
from dynamo_ops.query.paging import listing as paging
from dynamo_ops.query.paging.condition import Conditions
from dynamo_ops.query.paging.listing import Listing, Page, Window, read_page, stream
from dynamo_ops.query.paging.stream import csv_text, ndjson
from tests.query.stock import FIRST, LOWER, SECOND, THIRD, Stock

ALL = DatasetFilter()
IN_ORDER = [FIRST, SECOND, THIRD, LOWER]
"""By bytes: a hyphen before an underscore, capitals before small letters."""


def names(page: Page) -> list[str]:
    return [record["name"] for record in page.records()]


def walked(db: Database, asked: DatasetFilter, limit: int, **window: object) -> list[str]:
    """The names of all pages."""
    found, cursor = list[str](), None
    while True:
        page = read_page(db, DATASETS, asked, Window(limit, cursor, **window))  # type: ignore[arg-type]
        assert len(page.rows) <= limit
        found += names(page)
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_have_each_row_once_in_the_order_of_bytes(stock: Stock, limit: int) -> None:
    assert walked(stock.db, ALL, limit) == IN_ORDER


def test_a_key_of_two_columns_is_followed_within_and_across_the_first(stock: Stock) -> None:
    lfns, cursor = [], None
    for _ in range(4):
        page = read_page(stock.db, FILES, ContentFilter(FIRST), Window(1, cursor))
        lfns += [record["lfn"] for record in page.records()]
        cursor = page.next
    assert cursor is None
    assert lfns == stock.files_of["a1"] + stock.files_of["a2"]


def test_what_is_inserted_meanwhile_neither_repeats_a_row_nor_hides_one(stock: Stock) -> None:
    first = read_page(stock.db, DATASETS, ALL, Window(2))
    stock.dataset("/A/A-v0/AOD")
    stock.dataset("/B/B-v1/AOD")
    second = read_page(stock.db, DATASETS, ALL, Window(5, first.next))
    assert names(second) == ["/B/B-v1/AOD", THIRD, LOWER]


def test_only_what_is_asked_for_is_answered_and_the_key_is_kept_all_the_same(stock: Stock) -> None:
    page = read_page(stock.db, DATASETS, ALL, Window(2, fields=("status", "size_bytes")))
    assert page.columns == ("status", "size_bytes")
    assert page.records()[0] == {"status": "valid", "size_bytes": 4000}
    assert walked(stock.db, ALL, 1, fields=("name",)) == IN_ORDER
    with pytest.raises(InventoryError, match=r"no field 'nmae'.*Did you mean name"):
        read_page(stock.db, DATASETS, ALL, Window(fields=("nmae",)))


def test_counts_are_exact_or_more(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    page = read_page(stock.db, DATASETS, ALL, Window(1, with_count=True))
    assert (page.count, page.is_counted) == (4, True)
    monkeypatch.setattr(paging, "COUNTED", 3)
    page = read_page(stock.db, DATASETS, ALL, Window(1, with_count=True))
    assert (page.count, page.is_counted) == (None, True)
    assert not read_page(stock.db, DATASETS, ALL, Window(1)).is_counted


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(stock: Stock, limit: int) -> None:
    with pytest.raises(InventoryError, match="expected 1 to 1,000"):
        read_page(stock.db, DATASETS, ALL, Window(limit))


def cursor_of(stock: Stock, asked: DatasetFilter = ALL) -> str:
    cursor = read_page(stock.db, DATASETS, asked, Window(1)).next
    assert cursor is not None
    return cursor


def forged(cursor: str) -> str:
    raw = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-3] ^= 1
    return urlsafe_b64encode(bytes(raw)).decode()


@pytest.mark.parametrize("cursor", ["", "x", "rubbish", "/A/B", "ä", "A" * 10_000])
def test_what_is_no_cursor_is_refused(stock: Stock, cursor: str) -> None:
    if not cursor:
        assert names(read_page(stock.db, DATASETS, ALL, Window(9, cursor))) == IN_ORDER
        return
    with pytest.raises(InventoryError, match="not made by this installation"):
        read_page(stock.db, DATASETS, ALL, Window(9, cursor))


def test_a_cursor_is_signed_by_the_installation(stock: Stock) -> None:
    cursor = cursor_of(stock)
    with pytest.raises(InventoryError, match="not made by this installation"):
        read_page(stock.db, DATASETS, ALL, Window(9, forged(cursor)))
    stock.rows("UPDATE signing_keys SET key = '\\x00'")
    with pytest.raises(InventoryError, match="not made by this installation"):
        read_page(stock.db, DATASETS, ALL, Window(9, cursor))


def test_a_cursor_of_another_question_is_refused(stock: Stock) -> None:
    of_all = cursor_of(stock)
    with pytest.raises(InventoryError, match="of another question"):
        read_page(stock.db, DATASETS, DatasetFilter(statuses=["valid"]), Window(9, of_all))
    with pytest.raises(InventoryError, match="of another question"):
        read_page(stock.db, FILES, ContentFilter(FIRST), Window(9, of_all))
    assert names(read_page(stock.db, DATASETS, DatasetFilter(names=()), Window(9, of_all))) == IN_ORDER[1:]


def test_three_days_ago_is_the_same_moment_on_each_page(stock: Stock) -> None:
    """Else what becomes old between two pages would shift them; the cursor of the same words is still taken."""
    stock.rows("UPDATE datasets SET last_update_at = now() - interval '2 days'")
    recent = DatasetFilter(updated_since="3d")
    second = read_page(stock.db, DATASETS, recent, Window(9, cursor_of(stock, recent)))
    assert names(second) == IN_ORDER[1:]


def test_a_stream_has_all_rows_in_pieces_and_ends_with_their_number(stock: Stock) -> None:
    columns, pieces = stream(stock.db, DATASETS, ALL, rows_a_piece=3)
    lists = list(pieces)
    assert [len(piece) for piece in lists] == [3, 1]
    assert "num_copies" not in columns, "a look at every file: only on request"
    lines = [json.loads(line) for line in "".join(ndjson(stock.db, DATASETS, ALL)).splitlines()]
    assert [line["name"] for line in lines[:-1]] == IN_ORDER
    assert lines[-1] == {"end": {"rows": 4}}
    assert lines[0]["last_update_at"].endswith("+00:00")
    rows = list(csv.DictReader(io.StringIO("".join(csv_text(stock.db, DATASETS, ALL)))))
    assert [row["name"] for row in rows] == IN_ORDER
    assert rows[0]["release"] == ""


QUOTE = chr(34)
ODD: Listing[DatasetFilter] = Listing(
    "odd values",
    r"""
    SELECT number AS id, word AS "group", number % 2 = 0 AS is_on, ARRAY[number, 7]::smallint[] AS ids,
           ARRAY['a,b', word, 'c'] AS names, 1e30::float8 / number AS rate, CAST(NULL AS bigint) AS nothing,
           CAST('{}' AS text[]) AS none, date '2026-02-03' + number AS day,
           timestamptz '2026-01-02 03\:04\:05+02' + number % 2 * interval '0.6 ms' AS at
    FROM (VALUES (1, 'plain'), (2, 'with "quotes", and commas'), (3, E'two\nlines'), (4, E'a\rreturn'),
                 (5, 'ä 100 % \: \\ '' ;'), (6, ''), (7, ' ')) AS odd (number, word)
    UNION ALL SELECT 8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL""",
    ("id", "group", "is_on", "at", "ids", "names", "rate", "nothing", "none", "day"),
    key=("id",),
    narrow=lambda _connection, _asked, _as_of: Conditions(),
)
"""A column whose name is a word of SQL; quotes, commas and lines in texts; all kinds of values, and none."""


def test_csv_is_read_as_what_it_was(stock: Stock) -> None:
    columns, pieces = stream(stock.db, ODD, ALL)
    expected = [[cell(value) for value in row] for piece in pieces for row in piece]
    text = "".join(csv_text(stock.db, ODD, ALL))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [list(columns), *expected]
    assert text.count(QUOTE) == 7 * 2 + 3 * 2 + 2 * 4, "seven lists, three words, and what one has twice"


def test_a_row_of_one_empty_cell_is_a_line_that_is_read(stock: Stock) -> None:
    text = "".join(csv_text(stock.db, ODD, ALL, ("nothing",)))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["nothing"], *[[""]] * 8]


def cell(value: object) -> str:
    """As Python writes it, null as nothing, a list with spaces."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return "" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def test_an_empty_stream_ends_as_well_and_an_unknown_name_is_an_error_before_it_begins(stock: Stock) -> None:
    assert list(ndjson(stock.db, DATASETS, DatasetFilter(statuses=["deleted"]))) == ['{"end": {"rows": 0}}\n']
    with pytest.raises(InventoryError, match="Did you mean /A/B-v1/AOD"):
        ndjson(stock.db, DATASETS, DatasetFilter(names=["/A/B-v1/AODD"]))


def test_a_stream_is_of_one_moment_and_leaves_nothing_open_when_it_is_given_up(stock: Stock) -> None:
    _, pieces = stream(stock.db, DATASETS, ALL, ("name",), rows_a_piece=1)
    assert next(pieces) == [(FIRST,)]
    stock.dataset("/B/B-v1/AOD")
    assert [row for piece in pieces for row in piece] == [(SECOND,), (THIRD,), (LOWER,)]
    _, pieces = stream(stock.db, DATASETS, ALL, ("name",), rows_a_piece=1)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert stock.scalar("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == 0
