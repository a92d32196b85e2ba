"""Lists of rows that are no rows of the database, but of a frame that does not change: pages and streams of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.query.paging import cursor as cursors
from dynamo_ops.query.paging.cursor import Cursor
from dynamo_ops.query.paging.listing import COUNTED, LARGEST_LIMIT, Page, Window
from dynamo_ops.query.paging.stream import end_line

ROWS_A_PIECE = 20_000


@dataclass(frozen=True)
class FrameListing:
    """``rows``: in their order, which is always the same. ``question``: what tells them from any other list: where
    they are from, and what is asked of them."""

    noun: str
    rows: pl.LazyFrame
    question: tuple[object, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that there are."""
        return tuple(self.rows.collect_schema().names())

    def chosen(self, fields: Sequence[str]) -> tuple[str, ...]:
        """``fields`` in their order, or all columns. InventoryError for one that there is not."""
        columns = self.columns
        for field in fields:
            if field not in columns:
                raise InventoryError(
                    f"{self.noun} have no field {field!r}; fields are {', '.join(columns)}.{near(field, columns)}",
                    field=field,
                )
        return tuple(dict.fromkeys(fields)) or columns


def read_frame_page(database: Database, listing: FrameListing, window: Window) -> Page:
    """One page, its rows told by their number. Raises InventoryError as ``listing.read_page`` does; ``database`` has
    the key that cursors are signed by."""
    if not 1 <= window.limit <= LARGEST_LIMIT:
        raise InventoryError(f"limit {window.limit}: expected 1 to {LARGEST_LIMIT:,}", limit=window.limit)
    columns = listing.chosen(window.fields)
    question = cursors.digest(listing.noun, listing.question)
    with database.begin() as connection:
        start = cursors.read(connection, window.cursor, question) if window.cursor else None
        first = int(start.after[0]) if start else 0
        rows = listing.rows.select(columns).slice(first, window.limit + 1).collect()
        following = None
        if rows.height > window.limit:
            as_of = start.as_of if start else datetime.now(UTC)
            following = cursors.written(connection, Cursor(question, as_of, (first + window.limit,)))
    number = int(listing.rows.select(pl.len()).collect().item()) if window.with_count else None
    count = number if number is not None and number <= COUNTED else None
    return Page(columns, rows.head(window.limit).rows(), following, count, is_counted=window.with_count)


def frame_ndjson(listing: FrameListing, fields: Sequence[str] = (), *, limit: int | None = None) -> Iterator[str]:
    """As ``stream.ndjson``. Errors of what is asked are raised at once."""
    frame = _all(listing, fields, limit)

    def lines() -> Iterator[str]:
        for piece in frame.iter_slices(ROWS_A_PIECE):
            yield piece.write_ndjson()
        yield end_line(frame.height)

    return lines()


def frame_csv(listing: FrameListing, fields: Sequence[str] = (), *, limit: int | None = None) -> Iterator[str]:
    """As ``stream.csv_text``. Errors of what is asked are raised at once."""
    frame = _all(listing, fields, limit)

    def lines() -> Iterator[str]:
        yield frame.head(0).write_csv()
        for piece in frame.iter_slices(ROWS_A_PIECE):
            yield piece.write_csv(include_header=False)

    return lines()


def _all(listing: FrameListing, fields: Sequence[str], limit: int | None) -> pl.DataFrame:
    rows = listing.rows.select(listing.chosen(fields))
    return (rows if limit is None else rows.head(limit)).collect()
