"""A list on a page: columns with units, a filter, the next page, all as CSV, and an address that shows it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
        """Where it leads."""
        return self.link(row) if self.link else None

    def sorted_by(self, row: Row) -> str:
        """What a script sorts rows of the page by."""
        value = row[self.name]
        return "" if value is None else str(value.isoformat() if hasattr(value, "isoformat") else value)


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
    is no row."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    following: str | None = None
    whole: str | None = None
    nothing: str = "Nothing."


@dataclass(frozen=True)
class Filter:
    """``chosen``: what is asked for now, by field."""

    action: str
    choices: Sequence[Choice]
    chosen: Mapping[str, str]


def globs(written: str | None) -> list[str]:
    """Names and globs as somebody types them: with spaces or commas between."""
    return [part for part in (written or "").replace(",", " ").split() if part]
