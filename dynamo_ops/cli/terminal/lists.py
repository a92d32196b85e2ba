"""Lists that can be long: a table of the first rows, or all of them as NDJSON or CSV, streamed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import polars as pl
import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.cli.terminal.page import no_pager, say, write
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.database.connection import Database
from dynamo_ops.query.paging.listing import DEFAULT_LIMIT, Listing, stream
from dynamo_ops.query.paging.stream import csv_text, ndjson

FORMATS = {"ndjson": ndjson, "csv": csv_text}

AtMost = Annotated[
    int | None,
    typer.Option("--limit", min=1, help=f"At most so many. Without it {DEFAULT_LIMIT}; all with --format."),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", help="ndjson or csv: all rows, one a line, as they come. The last line of ndjson says how many."
    ),
]
Fields = Annotated[str | None, typer.Option("--fields", help="Only these, with commas between them.")]

Filter = TypeVar("Filter")


def print_list(
    database: Database,
    listing: Listing[Filter],
    asked: Filter,
    title: str,
    headings: Mapping[str, str],
    *,
    format_: str | None,
    fields: str | None,
    limit: int | None,
    as_json: bool,
    wrap: Collection[str] = (),
) -> None:
    """A list as it is wanted. ``headings``: columns of the table and how they are called, where no ``fields`` are."""
    chosen = [field.strip() for field in fields.split(",")] if fields else []
    if format_ is not None:
        _print_stream(database, listing, asked, chosen, _checked(format_), limit)
        return
    most = limit or DEFAULT_LIMIT
    columns = chosen or (list(listing.columns) if as_json else list(headings))
    columns_read, pieces = stream(database, listing, asked, columns, limit=most + 1)
    rows = [dict(zip(columns_read, row, strict=True)) for piece in pieces for row in piece]
    if as_json:
        print_json(rows[:most])
        return
    named = {name: headings.get(name, name.replace("_", " ")) for name in columns_read}
    print_table(frame_of(rows[:most], columns_read), title, named, wrap=wrap)
    if len(rows) > most:
        say(f"the first {most:,}; --limit shows more, --format ndjson all")


def frame_of(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pl.DataFrame:
    """Records as a frame of these columns, whatever they hold."""
    return pl.DataFrame({name: [record[name] for record in records] for name in columns}, strict=False)


def _print_stream(
    database: Database, listing: Listing[Filter], asked: Filter, fields: list[str], format_: str, limit: int | None
) -> None:
    pieces = FORMATS[format_](database, listing, asked, fields, limit=limit)
    no_pager()
    for text in pieces:
        write(text)


def _checked(format_: str) -> str:
    if format_ not in FORMATS:
        raise InventoryError(
            f"no format {format_!r}; there are {', '.join(FORMATS)}.{near(format_, FORMATS)}", format=format_
        )
    return format_
