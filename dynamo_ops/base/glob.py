"""Shell globs over whole names: ``*`` any characters (``/`` too), ``?`` one, ``[ab]`` and ``[!ab]`` one of a set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

PLAIN = re.compile(r"[A-Za-z0-9/_]")


@dataclass(frozen=True)
class OneOf:
    """One character out of ranges (first, last), or out of all others."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool


Part = str | OneOf
"""A piece of a glob: ``*``, ``?``, a set, or a literal character, which is written with a backslash before it."""


def is_glob(text: str) -> bool:
    """A ``[`` alone makes no glob: it is literal unless the value has ``*`` or ``?``."""
    return "*" in text or "?" in text


def glob_matches(value: str, text: str) -> bool:
    """Whether ``text``, a glob or a plain value, matches ``value``."""
    return fnmatchcase(value, text) if is_glob(text) else value == text


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a list of globs names it: each adds what it matches, ``!glob`` takes it away, later ones win."""
    named = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            named = not pattern.startswith("!")
    return named


def parts(glob: str) -> Iterator[Part]:
    """The pieces of a glob, in order."""
    at = 0
    while at < len(glob):
        char, at = glob[at], at + 1
        end = glob.find("]", at + 2 if glob[at : at + 1] == "!" else at + 1) if char == "[" else -1
        if end >= 0:
            yield _set(glob[at:end])
            at = end + 1
        else:
            yield char if char in "*?" else f"\\{char}"


def _set(inside: str) -> OneOf:
    is_negated, ranges = inside.startswith("!"), []
    chars = inside[1:] if is_negated else inside
    while chars:
        if len(chars) > 2 and chars[1] == "-":
            ranges.append((chars[0], chars[2]))
            chars = chars[3:]
        else:
            ranges.append((chars[0], chars[0]))
            chars = chars[1:]
    return OneOf(tuple((first, last) for first, last in ranges if first <= last), is_negated)


def glob_regex(glob: str) -> str:
    """The regular expression (of Polars) that matches as the shell glob does, over the whole value."""
    return "(?s)^(?:" + "".join(_regex(part, _RUST) for part in parts(glob)) + r")\z"


def glob_regex_sql(glob: str) -> str:
    """The regular expression, as PostgreSQL's ``~`` reads it, that matches as the shell glob does, over the whole
    value."""
    return "^(?:" + "".join(_regex(part, _POSTGRESQL) for part in parts(glob)) + ")$"


def glob_like(glob: str) -> str | None:
    """The pattern of SQL's LIKE that matches as the shell glob does; None where the glob has a set (``[ab]``), which
    LIKE cannot say."""
    pieces = list(parts(glob))
    if any(isinstance(piece, OneOf) for piece in pieces):
        return None
    return "".join({"*": "%", "?": "_"}.get(str(piece)) or like_literal(str(piece)[1:]) for piece in pieces)


def like_literal(text: str) -> str:
    """``text`` as LIKE matches just that."""
    return re.sub(r"([\\%_])", r"\\\1", text)


@dataclass(frozen=True)
class _Dialect:
    """How an engine writes what a glob needs. ``code``: a character by its hexadecimal number."""

    code: str
    nothing: str


_RUST = _Dialect(code=r"\x{{{:X}}}", nothing=r"[^\x{0}-\x{10FFFF}]")
_POSTGRESQL = _Dialect(code=r"\U{:08x}", nothing="(?!.).")


def _regex(part: Part, dialect: _Dialect) -> str:
    if not isinstance(part, OneOf):
        return {"*": ".*", "?": "."}.get(part) or _literal(part[1], dialect)
    if not part.ranges:
        return "." if part.is_negated else dialect.nothing
    ranges = (f"{_literal(first, dialect)}-{_literal(last, dialect)}" for first, last in part.ranges)
    return f"[{'^' * part.is_negated}{''.join(ranges)}]"


def _literal(char: str, dialect: _Dialect) -> str:
    return char if PLAIN.fullmatch(char) else dialect.code.format(ord(char))


def texts_expr(values: Sequence[str], column: pl.Expr) -> pl.Expr:
    """True where the value is one of ``values`` or matches one that is a glob."""
    import polars as pl  # who only matches a glob starts without it

    literals = [value for value in values if not is_glob(value)]
    tests = [column.str.contains(glob_regex(value)) for value in values if is_glob(value)]
    if literals:
        tests.append(column.is_in(literals))
    return pl.any_horizontal(tests)


def glob_includes(wide: str, narrow: str) -> bool:
    """Whether every value that ``narrow`` matches is matched by ``wide``, as far as that can be told without sets.

    True is certain; false may mean that it could not be told.
    """
    if wide == narrow:
        return True
    if not is_glob(narrow):
        return glob_matches(narrow, wide)
    if not is_glob(wide) or not literal_start(narrow).startswith(literal_start(wide)):
        return False
    patterns, symbols = list(parts(wide)), list(parts(narrow))
    if any(isinstance(part, OneOf) for part in (*patterns, *symbols)):
        return False
    return _absorbs(patterns, symbols)


def _absorbs(patterns: list[Part], symbols: list[Part]) -> bool:
    """The usual matching of a glob, where the text is itself the pieces of a glob: only a star takes a star."""
    reached = {0}
    for symbol in [None, *symbols]:
        if symbol is not None:
            stepped = {
                at if patterns[at] == "*" else at + 1
                for at in reached
                if at < len(patterns) and (patterns[at] == "*" or (symbol != "*" and patterns[at] in ("?", symbol)))
            }
            reached = stepped
        todo = list(reached)
        while todo:
            at = todo.pop()
            if at < len(patterns) and patterns[at] == "*" and at + 1 not in reached:
                reached.add(at + 1)
                todo.append(at + 1)
    return len(patterns) in reached


@lru_cache(maxsize=4096)
def literal_start(glob: str) -> str:
    """What every value begins with that the glob matches."""
    start = []
    for part in parts(glob):
        if isinstance(part, OneOf) or not part.startswith("\\"):
            break
        start.append(part[1:])
    return "".join(start)
