"""What a check is: which rows it looks at, which of them are wrong, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

SHOWN = 3
CONNECTION = "dynamo_connection"
"""The option of an engine of Great Expectations that holds the connection over which rows are read."""
NAMING_COLUMNS = ("dataset", "block", "lfn", "name", "site", "partition")
LONGEST_SHOWN = 200
"""Characters of one value in a message: a name of a million characters is a fault, and must not hide others."""


@dataclass(frozen=True)
class SqlCheck:
    """A check of rows in PostgreSQL.

    ``rows``: query of the rows that are judged; checks of the same rows look at them together. ``condition``: true for
    a wrong row. ``shown``: the columns of a wrong row that a message shows (an expression has no comma). ``wrong``: the
    words for what is wrong, ``noun``: what one row is. ``note``: what is to be said although nothing is wrong.
    ``datasets``: SQL, the datasets (text[]) of a wrong row, which may be set aside for it; empty: it refuses.
    """

    key: str
    wrong: str
    noun: str
    rows: str
    condition: str
    shown: str
    note: str = ""
    datasets: str = ""


@dataclass(frozen=True)
class FrameCheck:
    """A check of one column of a frame: between ``lowest`` and ``highest``, or one of ``allowed``. Null is wrong too.

    ``shown``: columns that name a row in a message.
    """

    key: str
    wrong: str
    noun: str
    frame: pl.DataFrame
    column: str
    shown: tuple[str, ...]
    lowest: float | None = None
    highest: float | None = None
    allowed: tuple[Any, ...] | None = None
    note: str = ""


Check = SqlCheck | FrameCheck


@dataclass(frozen=True)
class Outcome:
    """What came of one check. ``examples``: up to three wrong rows, by column."""

    key: str
    wrong: str
    noun: str
    is_success: bool
    is_blocking: bool
    num_unexpected: int
    examples: Sequence[Mapping[str, Any]]
    note: str = ""

    def __str__(self) -> str:
        """For example: size_bytes is negative in 1 file: /A/B/C#1 /store/x.root size_bytes=-5."""
        counted = f"{self.num_unexpected:,} {self.noun}" + ("" if self.num_unexpected == 1 else "s")
        shown = "; ".join(example_text(example) for example in self.examples)
        dots = "; …" if self.num_unexpected > len(self.examples) > 0 else ""
        message = f"{self.wrong} in {counted}" + (f": {shown}{dots}" if shown else "")
        return f"{message} ({self.note})" if self.note else message


def example_text(row: Mapping[str, Any]) -> str:
    """One row in a message: names as they are (a block as dataset#block), all else as column=value."""
    names = {column: row[column] for column in NAMING_COLUMNS if row.get(column) not in (None, "")}
    rest = [f"{column}={_plain(cell)}" for column, cell in row.items() if column not in names]
    if "dataset" in names and "block" in names:
        names["dataset"] = f"{names['dataset']}#{names.pop('block')}"
    return " ".join([*map(_plain, names.values()), *rest])


def literal(value: str) -> str:
    """``value`` as SQL text; in hex, since quotes, colons and braces mean something to those who read the query."""
    return f"convert_from('\\x{value.encode().hex()}'::bytea, 'UTF8')"


def _plain(value: Any) -> str:
    """A value in one line: control characters are written as escapes, what is too long is cut, nothing is ''."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value))
    if not shown:
        return "''"
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}… ({len(shown):,} characters)"
