"""A list on a page: columns with units, a filter, the next page, all as CSV, and an address that shows it again."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import StringIO
from typing import Any

from dynamo_web.pages.part.cells import AMOUNTS, KINDS
from dynamo_web.pages.part.links import Row

Link = Callable[[Row], str | None]


@dataclass(frozen=True)
class Column:
    """``name``: the field. ``kind``: of ``cells.KINDS``, or ``state`` (a word with a colour). ``link``: where a row
    leads from it. ``note``: what the heading means, where the mouse rests."""

    name: str
    heading: str
    kind: str = "text"
    link: Link | None = None
    note: str = ""

    @property
    def is_amount(self) -> bool:
        """Whether it stands at the right."""
        return self.kind in AMOUNTS

    def written(self, row: Row) -> Any:
        """As people read it."""
        return KINDS.get(self.kind, KINDS["text"])(row[self.name])

    def href(self, row: Row) -> str | None:
        """Where it leads; nowhere, where there is none of it."""
        is_nothing = self.is_amount and not row[self.name]
        return self.link(row) if self.link and not is_nothing else None

    def plain(self, row: Row) -> str:
        """As programs read it: by this a script sorts and draws."""
        value = row[self.name]
        if value is None:
            return ""
        if isinstance(value, list | tuple):
            return " ".join(map(str, value))
        return str(value.isoformat() if isinstance(value, date | datetime) else value)


@dataclass(frozen=True)
class Choice:
    """A field of a filter. ``options``: of a choice; without any, text (names or globs)."""

    name: str
    label: str
    options: Sequence[str] = ()
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """``following``: the address of the next page. ``whole``: all of it, as CSV. ``nothing``: what is said where there
    is no row. ``most``: rows that are shown; the others are in the file. ``key``: what the page calls it."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    following: str | None = None
    whole: str | None = None
    nothing: str = "Nothing."
    most: int = 100
    key: str = ""

    @property
    def shown(self) -> Sequence[Row]:
        """The first rows."""
        return self.rows[: self.most]

    @property
    def num_hidden(self) -> int:
        """Rows that are not shown."""
        return max(0, len(self.rows) - self.most)

    def csv(self) -> str:
        """All rows, with the names of the fields."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows([[column.plain(row) for column in self.columns] for row in self.rows])
        return text.getvalue()


@dataclass(frozen=True)
class Filter:
    """``chosen``: what is asked for now, by field."""

    action: str
    choices: Sequence[Choice]
    chosen: Mapping[str, str]


def words(written: str | None) -> list[str]:
    """Words of ours (states, kinds, gates), which have no spaces: several of them are one or the other."""
    return (written or "").split()


def globs(written: str | None) -> list[str]:
    """The name or glob that somebody typed, as it is: there are names with spaces. Nothing typed asks for nothing."""
    return [written.strip()] if written and written.strip() else []
