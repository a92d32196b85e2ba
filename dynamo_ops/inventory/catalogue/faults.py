"""What is wrong in a document that somebody hands in: each fault by its place, all of them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from reprlib import Repr
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.inventory.names import blocks_like, datasets_like, no_file

MAX_FAULTS = 20
MAX_PATH, MAX_MESSAGE = 300, 2_000
"""Characters that are shown: a key or a name can be as long as the document."""
CONTROL = r"[\x00-\x1f\x7f]"

Hint = Callable[[Connection, str], str]
"""Near names of one that is unknown, as the end of a message."""


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 4, 200, 60, 60


def shown(value: object, most: int = 60) -> str:
    """What stands in a document, in so many characters at most, however deep or long it is."""
    text = _SHORT.repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def text_fault(value: str, most_bytes: int | None = None) -> str | None:
    """Why a text of a document is none that can be kept, or None."""
    if not value:
        return "is empty"
    if re.search(CONTROL, value):
        return f"has control characters: {shown(value, 100)}"
    if not value.isprintable() and any(0xD800 <= ord(char) < 0xE000 for char in value):
        return f"is no text: {shown(value, 100)}"
    if most_bytes is not None and len(value.encode()) > most_bytes:
        return f"{shown(value, 200)} is longer than {most_bytes} bytes"
    return None


class Faults:
    """Collects faults: the first ``MAX_FAULTS`` are kept in words, the others are counted."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.number = 0

    def __bool__(self) -> bool:
        return self.number > 0

    @property
    def is_full(self) -> bool:
        """Further faults are only counted."""
        return len(self.shown) >= MAX_FAULTS

    def add(self, path: str, message: str) -> None:
        """One more. ``path``: its place in the document, such as ``datasets[3].name``; empty: the document itself."""
        self.number += 1
        if not self.is_full:
            self.shown.append(f"{_printable(path[:MAX_PATH]) or 'document'}: {_printable(message[:MAX_MESSAGE])}")

    def add_all(self, faults: Iterable[tuple[str, str]]) -> None:
        """One more for each (path, message)."""
        for path, message in faults:
            self.add(path, message)

    def query(self, connection: Connection, sql: str, hint: Hint | None = None, **params: Any) -> None:
        """One more for each row of ``sql``: columns ``path`` and ``message``, for a ``hint`` also ``name``: of what.

        Rows beyond those that are shown stay in the database.
        """
        faulty = connection.execute(
            text(f"SELECT q.*, count(*) OVER () AS number_of_rows FROM ({sql}) AS q LIMIT {MAX_FAULTS}"), params
        ).all()
        for fault in faulty:
            self.add(fault.path, fault.message + (hint(connection, fault.name) if hint and not self.is_full else ""))
        self.number += faulty[0].number_of_rows - len(faulty) if faulty else 0

    def refuse(self, what: str) -> None:
        """Raise InventoryError with all of them, if there are any. ``what``: injection, invalidation."""
        if not self:
            return
        num_hidden = self.number - len(self.shown)
        lines = [*self.shown, f"… and {num_hidden:,} more"] if num_hidden else self.shown
        raise InventoryError(
            f"{what} refused, nothing was written:\n" + "\n".join(lines), faults=lines, num_faults=self.number
        )


def _printable(text: str) -> str:
    """Keys and names are shown as they are, unless a terminal or UTF-8 would not take them."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def near_of(name: str, names: Iterable[str]) -> str:
    """``. Did you mean a, b?`` for names that look like ``name``, or nothing: a hint of ``Faults.query``."""
    hint = near(name, names)
    return f".{hint}" if hint else ""


def near_dataset(connection: Connection, name: str) -> str:
    """``near_of`` among the datasets."""
    return near_of(name, datasets_like(connection, name))


def near_block(connection: Connection, name: str) -> str:
    """``near_of`` among the blocks of the dataset in ``name``, which is ``dataset#block``; if there is no such
    dataset, among the datasets."""
    return near_of(name, blocks_like(connection, name))


def what_else(connection: Connection, name: str) -> str:
    """What else is called so as an unknown file: a hint of ``Faults.query``."""
    hint = no_file(connection, name)
    return f".{hint}" if hint else ""


def near_site(connection: Connection, name: str) -> str:
    """``near_of`` among the sites."""
    return near_of(name, connection.execute(text("SELECT name FROM sites")).scalars())
