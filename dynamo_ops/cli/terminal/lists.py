"""Lists that can be long: a table of the first rows, or all of them as NDJSON or CSV, streamed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Protocol

import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.cli.terminal.page import no_pager, say, write
from dynamo_ops.cli.terminal.tables import Records, print_json, print_table

FORMATS = ("ndjson", "csv")
DEFAULT_LIMIT = 100

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


class Listed(Protocol):
    """A list of any length, as it was narrowed. ``fields``: columns and their order; none: all that it has."""

    def rows(self, fields: Sequence[str], limit: int) -> Records:
        """The first so many."""

    def text(self, form: str, fields: Sequence[str], limit: int | None) -> Iterator[str]:
        """All of them, or so many, as ``ndjson`` or ``csv``, piece by piece."""


def print_list(
    listed: Listed,
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
        pieces = listed.text(_checked(format_), chosen, limit)
        no_pager()
        for text in pieces:
            write(text)
        return
    most = limit or DEFAULT_LIMIT
    columns = chosen or ([] if as_json else list(headings))
    rows = listed.rows(columns, most + 1)
    if as_json:
        print_json(rows[:most])
        return
    named = {name: headings.get(name, name.replace("_", " ")) for name in columns}
    print_table(rows[:most], title, named, wrap=wrap)
    if len(rows) > most:
        say(f"the first {most:,}; --limit shows more, --format ndjson all")


def _checked(format_: str) -> str:
    if format_ not in FORMATS:
        raise InventoryError(
            f"no format {format_!r}; there are {', '.join(FORMATS)}.{near(format_, FORMATS)}", format=format_
        )
    return format_
