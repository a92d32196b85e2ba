"""Some words of an enum, for Python and for SQL alike."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

Word = TypeVar("Word", bound=StrEnum, covariant=True)


class Words(tuple[Word, ...]):
    """A tuple of members that formats as SQL, as a StrEnum formats as its word: ``f"state IN {OPEN}"``.

    Members of an enum only, so nothing needs escaping.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "(" + ", ".join(f"'{word.value}'" for word in self) + ")"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)
