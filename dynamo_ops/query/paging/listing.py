"""A list in pages: keyset on an indexed key, never an offset, no total; and all of it as a stream of constant memory.

A list is a SELECT of all columns that it can have. What is asked for is selected out of it: PostgreSQL merges the two,
so that a column that nobody asks for costs nothing, and conditions and order reach the indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database, stream_texts
from dynamo_ops.query.paging import cursor as cursors
from dynamo_ops.query.paging.condition import Conditions
from dynamo_ops.query.paging.cursor import Cursor

DEFAULT_LIMIT, LARGEST_LIMIT = 100, 1_000
COUNTED = 10_000
"""Up to how many rows are counted."""
ROWS_A_PIECE = 2_000
"""Of a stream: what is in memory at a time."""

Filter = TypeVar("Filter")
Rows = Sequence[Sequence[Any]]
Lines = Callable[[Connection, str, Mapping[str, Any]], str]
"""Of a statement and its parameters: the statement that gives each row as one text."""


def _nothing(_connection: Connection, _asked: object) -> None:
    """An empty list needs no explanation."""


@dataclass(frozen=True)
class Listing(Generic[Filter]):
    """What can be listed.

    ``sql``: a SELECT of all ``columns``. ``key``: columns of the order, together unique, in the order of an index.
    ``narrow``: the conditions (on columns of ``listed``) that a filter means at a moment; raises InventoryError with
    near names for a name that means nothing. ``explain_nothing``: asked when a first page is empty; raises
    InventoryError where that is because a name means nothing. ``on_request``: columns that a stream has only if they
    are asked for, since each row costs a look at much. ``work_mem``: for what is looked up in hash tables.
    ``is_newest_first``: the order is that of the key backwards.
    """

    noun: str
    sql: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    narrow: Callable[[Connection, Filter, datetime], Conditions]
    explain_nothing: Callable[[Connection, Filter], None] = _nothing
    on_request: frozenset[str] = frozenset()
    work_mem: str | None = None
    is_newest_first: bool = False

    def chosen(self, fields: Sequence[str], *, is_stream: bool = False) -> tuple[str, ...]:
        """``fields`` in their order, or all columns. InventoryError for one that there is not."""
        for field in fields:
            if field not in self.columns:
                raise InventoryError(
                    f"{self.noun} have no field {field!r}; fields are {', '.join(self.columns)}."
                    f"{near(field, self.columns)}",
                    field=field,
                )
        if fields:
            return tuple(dict.fromkeys(fields))
        return tuple(name for name in self.columns if not (is_stream and name in self.on_request))


@dataclass(frozen=True)
class Window:
    """Which part of a list. ``fields``: its columns (none: all). ``cursor``: where the page before ended.
    ``with_count``: also how many rows there are in all."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    fields: Sequence[str] = ()
    with_count: bool = False


@dataclass(frozen=True)
class Page:
    """Rows of ``columns``. ``next``: the cursor of the next page; None: this is the last one. ``count``: of all pages;
    None: not asked for, or more than ``COUNTED``, which ``is_counted`` tells apart."""

    columns: tuple[str, ...]
    rows: Rows
    next: str | None
    count: int | None = None
    is_counted: bool = False

    def records(self) -> list[dict[str, Any]]:
        """The rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def read_page(database: Database, listing: Listing[Filter], asked: Filter, window: Window) -> Page:
    """One page. Raises InventoryError for a limit out of range, a field or name that there is not, and a cursor that is
    forged or of another question."""
    if not 1 <= window.limit <= LARGEST_LIMIT:
        raise InventoryError(f"limit {window.limit}: expected 1 to {LARGEST_LIMIT:,}", limit=window.limit)
    columns = listing.chosen(window.fields)
    hidden = [name for name in listing.key if name not in columns]
    question = cursors.digest(listing.noun, listing.key, vars(asked))
    with database.begin() as connection:
        start = cursors.read(connection, window.cursor, question) if window.cursor else None
        as_of = start.as_of if start else datetime.now(UTC)
        conditions = listing.narrow(connection, asked, as_of)
        count = _count(connection, listing, conditions) if window.with_count else None
        if start is not None:
            conditions.add(_after(listing), **{f"after_{n}": value for n, value in enumerate(start.after)})
        _give_memory(connection, listing)
        conditions.params["page_rows"] = window.limit + 1
        statement = f"{_select(listing, (*columns, *hidden), conditions)} LIMIT :page_rows"
        rows = [tuple(row) for row in connection.execute(text(statement), conditions.params)]
        if not rows and start is None:
            listing.explain_nothing(connection, asked)
        following = None
        if len(rows) > window.limit:
            last = cursors.key_after(rows[window.limit - 1], (*columns, *hidden), listing.key)
            following = cursors.written(connection, Cursor(question, as_of, last))
    shown = [row[: len(columns)] for row in rows[: window.limit]]
    return Page(columns, shown, following, count, is_counted=window.with_count)


def stream(
    database: Database,
    listing: Listing[Filter],
    asked: Filter,
    fields: Sequence[str] = (),
    *,
    limit: int | None = None,
    rows_a_piece: int = ROWS_A_PIECE,
    as_lines: Lines | None = None,
) -> tuple[tuple[str, ...], Iterator[Rows]]:
    """The columns, and all rows as of one moment, piece by piece: read by a cursor of the server, so that neither side
    holds more than a piece. Errors of what is asked are raised at once, before the first piece is taken.

    ``as_lines``: a row is one text. PostgreSQL writes them at less than half the CPU that Python takes.
    """
    columns = listing.chosen(fields, is_stream=True)
    with database.begin() as connection:
        conditions = listing.narrow(connection, asked, datetime.now(UTC))
        statement = _select(listing, columns, conditions)
        if limit is not None:
            statement, conditions.params["page_rows"] = f"{statement} LIMIT :page_rows", limit
        if as_lines is not None:
            statement = as_lines(connection, statement, conditions.params)
    read = _pieces if as_lines is None else _texts
    pieces = read(database, listing, statement, conditions, rows_a_piece)
    first = next(pieces, None)
    if first is None:
        with database.begin() as connection:
            listing.explain_nothing(connection, asked)
        return columns, iter(())
    return columns, _chained(first, pieces)


def _chained(first: Rows, pieces: Generator[Rows]) -> Iterator[Rows]:
    with closing(pieces):  # whoever gives a stream up, gives its transaction back
        yield first
        yield from pieces


def _pieces(
    database: Database, listing: Listing[Any], statement: str, conditions: Conditions, rows_a_piece: int
) -> Generator[Rows]:
    with database.begin() as connection:
        _give_memory(connection, listing)
        connection.execute(text("SET LOCAL timezone TO 'UTC'"))
        of_server = {"stream_results": True, "max_row_buffer": rows_a_piece}
        rows = connection.execute(text(statement), conditions.params, execution_options=of_server)
        for piece in rows.partitions(rows_a_piece):
            yield [tuple(row) for row in piece]


def _texts(
    database: Database, listing: Listing[Any], statement: str, conditions: Conditions, rows_a_piece: int
) -> Generator[Rows]:
    with database.begin() as connection:
        _give_memory(connection, listing)
        connection.execute(text("SET LOCAL timezone TO 'UTC'"))
        yield from stream_texts(connection, statement, conditions.params, rows_a_piece)


def _give_memory(connection: Connection, listing: Listing[Any]) -> None:
    """Until the end of the transaction."""
    if listing.work_mem is not None:
        connection.execute(text("SELECT set_config('work_mem', :size, true)"), {"size": listing.work_mem})


def _select(listing: Listing[Any], columns: Sequence[str], conditions: Conditions) -> str:
    direction = " DESC" if listing.is_newest_first else ""
    return f"""SELECT {", ".join(f"listed.{name}" for name in columns)} FROM ({listing.sql}) AS listed
        WHERE {conditions.sql} ORDER BY {", ".join(f"listed.{name}{direction}" for name in listing.key)}"""


def _after(listing: Listing[Any]) -> str:
    """Rows behind the key. Its first column alone, too: an index serves that also where the others are of another
    table."""
    key, sign = listing.key, "<" if listing.is_newest_first else ">"
    names = ", ".join(f"listed.{name}" for name in key)
    values = ", ".join(f":after_{number}" for number in range(len(key)))
    return f"listed.{key[0]} {sign}= :after_0 AND ({names}) {sign} ({values})"


def _count(connection: Connection, listing: Listing[Any], conditions: Conditions) -> int | None:
    """How many rows; None: more than are counted."""
    number: int = connection.execute(
        text(f"""SELECT count(*) FROM (SELECT FROM ({listing.sql}) AS listed WHERE {conditions.sql}
                 LIMIT {COUNTED + 1}) AS counted"""),
        conditions.params,
    ).scalar_one()
    return number if number <= COUNTED else None
