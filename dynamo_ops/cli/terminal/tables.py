"""The one table: chosen columns with short headings. A table that is wider than the terminal is folded, or told record
by record; no value is ever cut. What is piped has a line a row, however long."""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynamo_ops.cli.terminal.cells import cell, plain
from dynamo_ops.cli.terminal.page import say, width, write

Record = Mapping[str, Any]
Records = Sequence[Record]


class Frame(Protocol):
    """Rows as polars has them."""

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary a row."""


FOLDED = 24
"""Characters that a folded column keeps at least."""
GAP = 3
"""What a column takes beside its text."""


def print_table(
    table: Records | Frame, title: str, headings: Mapping[str, str] | None = None, *, wrap: Collection[str] = ()
) -> None:
    """Print the columns of ``headings`` in its order (without: all, by their names).

    On a terminal columns of ``wrap`` are folded where the line is too short; if that is not enough, each row becomes a
    record, a line a column. Without rows the title says so.
    """
    records: Records = table if isinstance(table, Sequence) else table.to_dicts()
    if not records:
        say(f"{title}: none\n")
        return
    headings = _headings(records[0]) if headings is None else headings
    numbers = {name for name in headings if _are_numbers(record[name] for record in records)}
    cells = [[cell(name, record[name]) for name in headings] for record in records]
    columns = width()
    whole = _width(headings, cells, ())
    say(title)
    if columns is None or whole <= columns:
        write(_table(numbers, headings, cells, (), whole))
    elif _width(headings, cells, wrap) <= columns:
        write(_table(numbers, headings, cells, wrap, columns))
    else:
        write(_records(headings, cells, columns))
    say()


def tell_cut(num_rows: int, limit: int) -> None:
    """Say that there may be more than ``--limit`` showed."""
    if num_rows == limit:
        say(f"the newest {limit:,}; --limit shows more")


def print_json(document: Any) -> None:
    """Print a JSON document; times in ISO form, UTC."""
    write(json.dumps(document, default=_iso, indent=1, allow_nan=False) + "\n")


def _iso(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) and value.tzinfo else str(value)


def _headings(record: Record) -> dict[str, str]:
    return {name: name.removesuffix("_bytes").replace("_", " ") for name in record}


def _are_numbers(values: Iterable[object]) -> bool:
    """Whether all that are known are, and any is."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _table(
    numbers: Collection[str],
    headings: Mapping[str, str],
    cells: Sequence[Sequence[str]],
    wrap: Collection[str],
    columns: int,
) -> str:
    table = Table(show_edge=False)
    is_high = any("\n" in heading for heading in headings.values())
    for name, heading in headings.items():
        table.add_column(
            Text(f"\n{heading}" if is_high and "\n" not in heading else heading),
            justify="right" if name in numbers else "left",
            overflow="fold",
            no_wrap=name not in wrap,
        )
    for row_cells in cells:
        table.add_row(*map(Text, row_cells))
    text = io.StringIO()
    Console(file=text, width=columns, color_system=None, markup=False, emoji=False, highlight=False).print(table)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _width(headings: Mapping[str, str], cells: Sequence[Sequence[str]], wrap: Collection[str]) -> int:
    """What the table needs if its columns of ``wrap`` are folded to ``FOLDED`` characters."""
    needed = 0
    for number, (name, heading) in enumerate(headings.items()):
        longest = max(cell_len(text) for text in [*heading.split("\n"), *(row_cells[number] for row_cells in cells)])
        needed += GAP + (min(longest, FOLDED) if name in wrap else longest)
    return needed


def _records(headings: Mapping[str, str], cells: Sequence[Sequence[str]], columns: int) -> str:
    """Each row as lines of heading and value, an empty line between two."""
    names = [plain(heading).strip() or name.replace("_", " ") for name, heading in headings.items()]
    longest = max(map(len, names))
    indent = " " * (longest + 4)
    records = []
    for row_cells in cells:
        lines = []
        for name, text in zip(names, row_cells, strict=True):
            folded = textwrap.wrap(
                text, max(columns - len(indent), FOLDED), break_on_hyphens=False, replace_whitespace=False
            )
            lines.append(f"\n{indent}".join([f"  {name:<{longest}}  {folded[0] if folded else ''}", *folded[1:]]))
        records.append("\n".join(lines) + "\n")
    return "\n".join(records)
