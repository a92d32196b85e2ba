"""Names that look like what somebody wrote: every message that refuses a name says which ones it may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.55
"""How much of two names must agree (``difflib``'s ratio): a letter lost or swapped, not another name."""


def close_names(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Names of ``known`` that look like ``word``, the most alike first; capitals do not count."""
    by_lower: dict[str, str] = {}
    for name in known:
        by_lower.setdefault(name.lower(), name)
    return [by_lower[name] for name in difflib.get_close_matches(word.lower(), by_lower, n=count, cutoff=ALIKE)]


def near(word: str, known: Iterable[str], count: int = 3) -> str:
    """`` Did you mean a, b?`` for names close to ``word``, or an empty string: the end of a message."""
    close = close_names(word, known, count)
    return f" Did you mean {', '.join(close)}?" if close else ""
