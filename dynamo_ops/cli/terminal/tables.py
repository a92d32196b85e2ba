"""Wide tables for a shell: chosen columns with short headings, decimal sizes, percentages, times in UTC."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynamo_ops.cli.terminal.output import WIDTH, size

FOLDED = 30
"""Characters that a folded column keeps at least."""


def print_table(frame: pl.DataFrame, title: str, headings: Mapping[str, str], *, wrap: Collection[str] = ()) -> None:
    """Print the columns of ``headings`` in its order; columns of ``wrap`` are folded where the line is too short.

    Others are never cut: then the table is wider than the terminal. Without rows the title says so.
    """
    if frame.is_empty():
        typer.echo(f"{title}: none\n")
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    is_high = any("\n" in heading for heading in headings.values())
    for name, heading in headings.items():
        table.add_column(
            f"\n{heading}" if is_high and "\n" not in heading else heading,
            justify="right" if frame.schema[name].is_numeric() else "left",
            overflow="fold",
            no_wrap=name not in wrap,
        )
    cells = [
        [cell(name, value) for name, value in row.items()] for row in frame.select(*headings).iter_rows(named=True)
    ]
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.width = max(console.width, _least_width(headings, cells, wrap))
    console.print(table)
    typer.echo()


def _least_width(headings: Mapping[str, str], cells: list[list[str]], wrap: Collection[str]) -> int:
    """What the table needs if its columns of ``wrap`` are folded to ``FOLDED`` characters."""
    least = 0
    for number, (name, heading) in enumerate(headings.items()):
        longest = max(len(text) for text in [*heading.split("\n"), *(row[number] for row in cells)])
        least += 3 + (min(longest, FOLDED) if name in wrap else longest)
    return least


def cell(name: str, value: Any) -> str:
    """A value as people read it, by the name of its column and its type."""
    if name == "quota_bytes":
        return size(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") or name.startswith("bytes_"):
        return signed_size(value) if name == "freed_bytes" else size(value)
    if isinstance(value, float):
        return percent(value)
    if isinstance(value, datetime):
        return moment(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def signed_size(value: int) -> str:
    """Bytes more (+) or less (-) in decimal units."""
    sign = "" if value == 0 else "+" if value > 0 else "-"
    return sign + size(abs(value))


def percent(value: float) -> str:
    """A fraction in percent; infinite where nothing may be there."""
    return "inf" if math.isinf(value) else f"{100 * value:.1f} %"


def count(number: int, noun: str) -> str:
    """``1 site``, ``2 sites``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def moment(value: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def print_json(document: Any) -> None:
    """Print a JSON document; times in ISO form."""
    typer.echo(json.dumps(document, default=_iso, indent=1, allow_nan=False))


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
