"""What a check is: which rows it looks at, which of them are wrong, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

SHOWN = 3
NAMING_COLUMNS = ("dataset", "block", "lfn", "site", "partition")


@dataclass(frozen=True)
class SqlCheck:
    """A check of rows in PostgreSQL.

    ``rows``: query of the rows that are judged. ``unexpected``: query of the wrong ones, with ``{batch}`` for ``rows``;
    its columns are what a message shows. ``wrong``: the words for what is wrong, ``noun``: what one row is.
    """

    key: str
    wrong: str
    noun: str
    rows: str
    unexpected: str


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

    def __str__(self) -> str:
        """For example: size_bytes is negative in 1 file: /A/B/C#1 /store/x.root size_bytes=-5."""
        counted = f"{self.num_unexpected:,} {self.noun}" + ("" if self.num_unexpected == 1 else "s")
        shown = "; ".join(example_text(example) for example in self.examples)
        more = "; …" if self.num_unexpected > len(self.examples) > 0 else ""
        return f"{self.wrong} in {counted}" + (f": {shown}{more}" if shown else "")


def example_text(row: Mapping[str, Any]) -> str:
    """One row in a message: names as they are (a block as dataset#block), all else as column=value."""
    names = {column: row[column] for column in NAMING_COLUMNS if row.get(column) is not None}
    if "dataset" in names and "block" in names:
        names["dataset"] = f"{names['dataset']}#{names.pop('block')}"
    rest = [f"{column}={value}" for column, value in row.items() if column not in NAMING_COLUMNS or value is None]
    return " ".join([*map(str, names.values()), *rest])


def literal(value: str) -> str:
    """``value`` as SQL text; in hex, since quotes, colons and braces mean something to those who read the query."""
    return f"convert_from('\\x{value.encode().hex()}'::bytea, 'UTF8')"
