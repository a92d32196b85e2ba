"""Regular expressions that others write, for Python's engine: refused where it could take for ever on some name.

Python's engine goes back and tries anew: two parts that can take the same text are tried in every division of it, and a
repetition of such parts twice as long with each character. ``steps`` counts that before anything is matched. Where an
expression can be put to Polars' engine, whose time grows with the name alone, none of this is asked.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

NAME_CHARACTERS = 500
"""Of a long name; names of datasets and blocks have no more bytes."""
MOST_STEPS = 10**9
"""Three parts such as ``.*`` one after the other are below it, four are not. Really it is a sixth of them at most:
a second on the worst name of that length."""
FOR_EVER = float("inf")
FEW = 3
"""Repetitions that are counted one by one."""

_parser: Any = importlib.import_module("re._parser")  # what ``re`` itself reads expressions with
_ALPHABET = "".join(map(chr, range(0x180))) + "\u0430\u2028\u20ac\U0001f600"
"""Two sets of characters that have none of these in common are taken for disjoint."""
_ALL = frozenset(_ALPHABET)
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


@dataclass(frozen=True)
class _Part:
    """A piece of an expression, in a row. ``chars``: what it can consist of. ``choices``: in how many ways it can end.
    ``is_needed``: it takes one character at least. ``forks``: alternatives of it that one text can satisfy, times
    each other. ``is_closed``: once it has matched it is not gone back into."""

    chars: frozenset[str]
    choices: float = 1
    is_needed: bool = False
    forks: float = 1
    is_closed: bool = False


@lru_cache(maxsize=1024)
def bounded(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled. ``ValueError``: Python cannot read it, or could take more than ``MOST_STEPS`` on a name of
    ``NAME_CHARACTERS``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern)
            number = steps(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if number > MOST_STEPS:
        how_many = "without end" if number == FOR_EVER else f"{number:.0e}"
        raise ValueError(
            f"it could take steps {how_many} on one name: parts of it that are repeated can take the same text"
            " (as in '(a+)+' or '.*.*.*.*'); write it so that each part ends where another begins, as in '([^/]+/)+'"
        )
    return compiled


def check_replacement(pattern: re.Pattern[str], replacement: str) -> None:
    """``ValueError`` for what ``pattern.sub`` could not put in the place of what it matches: a group that there is not,
    a backslash that means nothing."""
    try:
        _parser.parse_template(replacement, pattern)
    except (re.error, IndexError) as error:
        raise ValueError(f"{replacement!r} is no replacement for what it matches: {error}") from error


def steps(pattern: str) -> float:
    """How many ways to divide a name of ``NAME_CHARACTERS`` Python's engine may try before it says no; rather too many
    than too few."""
    parsed = _parser.parse(pattern)
    return _of_row(list(_parts(parsed, bool(parsed.state.flags & re.IGNORECASE))))


def _of_row(parts: Sequence[_Part]) -> float:
    """The worst run, and all alternatives that one text can satisfy."""
    return max((_run(parts, start) for start in range(len(parts))), default=1.0) * prod(part.forks for part in parts)


def _run(parts: Sequence[_Part], start: int) -> float:
    """From one part on, until a character says where what is before it ends: choices multiply."""
    worst, product, reach = 1.0, 1.0, parts[start].chars
    for part in parts[start:] if parts[start].choices > 1 else ():
        if part.is_closed:
            worst = max(worst, product * part.choices)
        elif part.choices > 1 and part.chars & reach:
            product *= part.choices
            reach |= part.chars
        elif part.is_needed and not part.chars & reach:
            break
    return max(worst, product)


def _parts(parsed: Iterable[Any], is_blind: bool) -> Iterator[_Part]:
    for operation, argument in parsed:
        name = str(operation)
        if name == "SUBPATTERN":
            yield from _parts(argument[3], is_blind or bool(argument[1] & re.IGNORECASE))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, body = argument
            part = _repeated(int(least), int(most), list(_parts(body, is_blind)))
            yield replace(part, is_closed=name == "POSSESSIVE_REPEAT")
        elif name == "BRANCH":
            yield _branch([list(_parts(branch, is_blind)) for branch in argument[1]])
        elif name in ("ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"):
            inner = list(_parts(argument if name == "ATOMIC_GROUP" else argument[1], is_blind))
            is_needed = name == "ATOMIC_GROUP" and _takes_any(inner)
            yield _Part(_of_all(inner), _of_row(inner), is_needed, is_closed=True)
        elif name in ("GROUPREF", "GROUPREF_EXISTS"):
            yield _Part(_ALL)
        elif name != "AT":
            yield _Part(_chars(name, argument, is_blind), is_needed=True)


def _repeated(least: int, most: int, parts: Sequence[_Part]) -> _Part:
    """A repetition: for itself as many choices as it can be long; for ever where its own parts are not clear of each
    other when it comes round again."""
    times = min(most, NAME_CHARACTERS)
    inner, twice = _of_row(parts), [*parts, *parts]
    is_clear = _takes_any(parts) and all(_run(twice, start) == _run(parts, start) for start in range(len(parts)))
    if times > 1 and inner > 1 and not (is_clear and all(part.forks == 1 for part in parts)):
        inner = _of_row(twice) ** (times / 2) if times <= FEW else FOR_EVER
    ways = times - min(least, times) + 1
    return _Part(_of_all(parts), inner * ways, least > 0 and _takes_any(parts))


def _branch(branches: Sequence[Sequence[_Part]]) -> _Part:
    """Alternatives: one choice where the first character says which of them it is."""
    starts = [_start(branch) for branch in branches]
    are_apart = all(not one & other for n, one in enumerate(starts) for other in starts[:n])
    chars = frozenset[str]().union(*map(_of_all, branches))
    forks = 1 if are_apart else len(branches)
    return _Part(chars, max(map(_of_row, branches)), all(map(_takes_any, branches)), forks)


def _of_all(parts: Iterable[_Part]) -> frozenset[str]:
    return frozenset[str]().union(*(part.chars for part in parts))


def _takes_any(parts: Iterable[_Part]) -> bool:
    return any(part.is_needed for part in parts)


def _start(parts: Sequence[_Part]) -> frozenset[str]:
    """What the first character can be."""
    start: frozenset[str] = frozenset()
    for part in parts:
        start |= part.chars
        if part.is_needed:
            return start
    return _ALL


def _chars(name: str, argument: Any, is_blind: bool) -> frozenset[str]:
    """The characters that one place takes. ``is_blind``: to capitals."""
    if name == "ANY":
        return _ALL
    if name == "IN":
        chars: frozenset[str] = frozenset()
        for inner, what in argument:
            chars |= _chars(str(inner), what, is_blind) if str(inner) != "NEGATE" else frozenset()
        return _ALL - chars if str(argument[0][0]) == "NEGATE" else chars
    if name in ("LITERAL", "NOT_LITERAL"):
        char = chr(argument)
        same = {char, char.lower(), char.upper()} if is_blind else {char}
        return frozenset(same) if name == "LITERAL" else _ALL - same
    if name == "RANGE":
        within = frozenset(char for char in _ALPHABET if argument[0] <= ord(char) <= argument[1])
        return within | {char.swapcase() for char in within} if is_blind else within
    if name == "CATEGORY" and str(argument) in _CATEGORIES:
        return frozenset(char for char in _ALPHABET if re.match(_CATEGORIES[str(argument)], char))
    return _ALL
