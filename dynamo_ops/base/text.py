"""Words for people: names that look like what somebody wrote, for every message that refuses one; counts in a line."""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dynamo_ops.base.units import size_text

ALIKE = 0.55
"""How much of two names must agree (``difflib``'s ratio): a letter lost or swapped, not another name."""


COMPARED = 50
"""So many names are compared letter by letter: 2,000 long ones, of datasets, take ``difflib`` a second."""

_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_NO_TEXT = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u0000|" + _HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW + rb")"
)
"""What JSON can write and no text of PostgreSQL can hold: a NUL, and half a character (one of two surrogates). Not
behind a backslash that is itself written."""


def close_names(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Names of ``known`` that look like ``word``, the most alike first; capitals do not count."""
    by_lower: dict[str, str] = {}
    for name in known:
        by_lower.setdefault(name.lower(), name)
    lower, candidates = word.lower(), list(by_lower)
    if len(candidates) > COMPARED:
        wanted = _triples(lower)
        candidates = heapq.nlargest(COMPARED, candidates, key=lambda name: len(wanted & _triples(name)))
    return [by_lower[name] for name in difflib.get_close_matches(lower, candidates, n=count, cutoff=ALIKE)]


def _triples(name: str) -> set[str]:
    """What three letters stand beside each other; the ends of the name count as one."""
    closed = f" {name} "
    return {closed[at : at + 3] for at in range(len(closed) - 2)}


def near(word: str, known: Iterable[str], count: int = 3) -> str:
    """`` Did you mean a, b?`` for names close to ``word``, or an empty string: the end of a message."""
    close = close_names(word, known, count)
    return f" Did you mean {', '.join(close)}?" if close else ""


def counts_text(counts: Mapping[str, Any]) -> str:
    """What a step counted, for its log: ``{"num_done": 436, "bytes_done": 4_670_080, "num_failed": 0}`` is ``done 436,
    bytes done 4.67 MB``. Of a list its length. What is nothing is left out; ``nothing`` where all is."""
    return ", ".join(f"{name} {amount}" for name, amount in _counted(counts)) or "nothing"


def _counted(counts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in counts.items():
        name = key.removeprefix("num_").replace("_", " ")
        if isinstance(value, Mapping):
            yield from ((f"{name}: {inner}", amount) for inner, amount in _counted(value))
        elif value and not isinstance(value, bool):
            is_size = isinstance(value, int) and "bytes" in key
            number = len(value) if isinstance(value, list | tuple) else value
            yield name, size_text(value) if is_size else f"{number:,}" if isinstance(number, int) else str(number)


def is_storable(json: bytes | bytearray) -> bool:
    """Whether all texts in a document in JSON can be stored by PostgreSQL."""
    return _NO_TEXT.search(json) is None
