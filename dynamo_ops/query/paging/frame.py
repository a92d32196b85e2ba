"""Lists of rows that are no rows of the database, but of a frame that does not change: pages and streams of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.query.paging import cursor as cursors
from dynamo_ops.query.paging.cursor import Cursor
from dynamo_ops.query.paging.listing import COUNTED, LARGEST_LIMIT, Page, Window
from dynamo_ops.query.paging.stream import end_line

ROWS_A_PIECE = 20_000
GROUPS_A_PIECE = 4_000


@dataclass(frozen=True)
class Groups:
    """Rows that come group by group, so that a page or piece need not read the others. ``names``: a frame of one column
    (it gives the groups their name) with a row at least for each group of which there are rows. ``of``: the rows of the
    groups from one name to another, in the order of ``key``, whose first column is that of the groups."""

    names: pl.LazyFrame
    key: tuple[str, ...]
    of: Callable[[str, str], pl.LazyFrame]

    def windows(self, most: int, start: str | None = None) -> Iterator[tuple[str, str]]:
        """First and last names, of ``most`` groups each, from ``start`` on."""
        column = pl.col(self.key[0])
        names = self.names if start is None else self.names.filter(column >= start)
        sorted_names = names.unique().sort(column).collect()[self.key[0]]
        for number in range(0, len(sorted_names), most):
            window = sorted_names.slice(number, most)
            yield window[0], window[-1]

    def after(self, values: Sequence[Any]) -> pl.Expr:
        """Rows behind a key."""
        behind = pl.lit(False)
        for column, value in reversed(list(zip(self.key, values, strict=True))):
            behind = (pl.col(column) > value) | ((pl.col(column) == value) & behind)
        return behind


@dataclass(frozen=True)
class FrameListing:
    """``rows``: in their order, which is always the same. ``question``: what tells them from any other list: where
    they are from, and what is asked of them. ``groups``: how a part of many rows is read."""

    noun: str
    rows: pl.LazyFrame
    question: tuple[object, ...]
    groups: Groups | None = None

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

    def part(self, after: Sequence[Any], number: int) -> pl.DataFrame:
        """The first ``number`` rows behind ``after``: a row's number, or its key; empty: from the beginning."""
        if self.groups is None:
            return self.rows.slice(int(after[0]) if after else 0, number).collect()
        window = next(self.groups.windows(number + 1, after[0] if after else None), None)
        if window is None:
            return self.rows.head(0).collect()
        rows = self.groups.of(*window)  # a row of each group at least, and the first may be behind us
        return (rows.filter(self.groups.after(after)) if after else rows).head(number).collect()

    def key_of(self, part: pl.DataFrame, after: Sequence[Any]) -> tuple[Any, ...]:
        """Where a page ended: of its last row."""
        if self.groups is None:
            return ((int(after[0]) if after else 0) + part.height,)
        return part.select(self.groups.key).row(-1)

    def pieces(self, limit: int | None) -> Iterator[pl.DataFrame]:
        """All rows, or the first ``limit``, some at a time."""
        if self.groups is None:
            yield from (self.rows if limit is None else self.rows.head(limit)).collect().iter_slices(ROWS_A_PIECE)
            return
        left = limit
        for window in self.groups.windows(GROUPS_A_PIECE):
            piece = self.groups.of(*window).collect()
            piece = piece if left is None else piece.head(left)
            yield piece
            if left is not None:
                left -= piece.height
                if left <= 0:
                    return


def read_frame_page(database: Database, listing: FrameListing, window: Window) -> Page:
    """One page. Raises InventoryError as ``listing.read_page`` does; ``database`` has the key that cursors are signed
    by."""
    if not 1 <= window.limit <= LARGEST_LIMIT:
        raise InventoryError(f"limit {window.limit}: expected 1 to {LARGEST_LIMIT:,}", limit=window.limit)
    columns = listing.chosen(window.fields)
    question = cursors.digest(listing.noun, listing.question)
    with database.begin() as connection:
        start = cursors.read(connection, window.cursor, question) if window.cursor else None
        after = start.after if start else ()
        rows = listing.part(after, window.limit + 1)
        shown, following = rows.head(window.limit), None
        if rows.height > window.limit:
            as_of = start.as_of if start else datetime.now(UTC)
            following = cursors.written(connection, Cursor(question, as_of, listing.key_of(shown, after)))
    number = sum(piece.height for piece in listing.pieces(COUNTED + 1)) if window.with_count else None
    count = number if number is not None and number <= COUNTED else None
    return Page(columns, shown.select(columns).rows(), following, count, is_counted=window.with_count)


def frame_ndjson(listing: FrameListing, fields: Sequence[str] = (), *, limit: int | None = None) -> Iterator[str]:
    """As ``stream.ndjson``. Errors of what is asked are raised at once."""
    columns = listing.chosen(fields)

    def lines() -> Iterator[str]:
        num_rows = 0
        for piece in listing.pieces(limit):
            num_rows += piece.height
            yield piece.select(columns).write_ndjson()
        yield end_line(num_rows)

    return lines()


def frame_csv(listing: FrameListing, fields: Sequence[str] = (), *, limit: int | None = None) -> Iterator[str]:
    """As ``stream.csv_text``. Errors of what is asked are raised at once."""
    columns = listing.chosen(fields)

    def lines() -> Iterator[str]:
        yield ",".join(columns) + "\n"
        for piece in listing.pieces(limit):
            yield piece.select(columns).write_csv(include_header=False)

    return lines()
