"""What is left out of a comparison: LFN directories, and regular expressions of the engine that uses them (Polars).

An entry that can match no LFN is refused when it is read: it would leave nothing alone, and nobody would notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl
from polars.exceptions import ComputeError

_NOT_IN_A_DIRECTORY = re.compile(r"[*?\s\[\](){}|^$+\\]|//|/\.{1,2}(/|$)")
_FLAGS = re.compile(r"\(\?[a-zA-Z]+\)")
_GROUP = re.compile(r"\((\?[a-zA-Z]*:|\?P?<\w+>)?")
_REPEATED = re.compile(r"[?*]|\{0")
_PLAIN_START = re.compile(r"[\w/.-]*")


def check_directory(value: str) -> str:
    """An LFN directory, without a slash at its end. ``ValueError`` for what names none."""
    if not value.startswith("/") or _NOT_IN_A_DIRECTORY.search(value):
        raise ValueError(
            f"{value!r} is no absolute LFN directory: it must begin with '/' and have no blank, '//', '..' or sign of "
            "a pattern (* ? + | ^ $ \\ or a bracket)"
        )
    return value.rstrip("/")


def check_ignored(value: str) -> str:
    """A directory, or a regular expression that begins with ``^`` and can match an LFN. ``ValueError`` for others."""
    if not value.startswith("^"):
        try:
            return check_directory(value)
        except ValueError as error:
            raise ValueError(f"{error}. For a pattern write a regular expression that begins with '^/'") from None
    try:
        pl.Series([""]).str.contains(regex_of(value))
    except ComputeError as error:
        reason = str(error).partition("\n\nThis error")[0]
        raise ValueError(f"{value!r} is no regular expression of Polars (Rust): {reason}") from None
    for alternative in _alternatives(value[1:]):
        if not _may_begin_an_lfn(alternative):
            raise ValueError(f"{value!r} can match no LFN: these begin with '/', {alternative!r} does not")
    return value


def regex_of(value: str) -> str:
    """The expression, all of whose alternatives are anchored at the start of the LFN."""
    return f"^(?:{value[1:]})"


def is_ignored(column: pl.Expr, entry: str) -> pl.Expr:
    """Whether an entry of ``ignore`` leaves the LFNs of the column out."""
    return column.str.contains(regex_of(entry)) if entry.startswith("^") else column.str.starts_with(f"{entry}/")


def reaches(entry: str, prefix: str) -> bool:
    """Whether files below ``prefix`` may be in the directory ``entry``, or match it: certain only when it says no."""
    inside = f"{prefix}/"
    if not entry.startswith("^"):
        return inside.startswith(f"{entry}/") or f"{entry}/".startswith(inside)
    start = _literal_start(entry[1:])
    return inside.startswith(start) or start.startswith(inside)


def _literal_start(pattern: str) -> str:
    """What every LFN begins with that the expression matches; perhaps less."""
    if len(list(_alternatives(pattern))) > 1:
        return ""
    start = _PLAIN_START.match(pattern)
    literal = (start.group() if start else "").partition(".")[0]
    return literal[:-1] if pattern[len(literal) : len(literal) + 1] in {"?", "*", "+", "{"} else literal


def _alternatives(pattern: str) -> Iterator[str]:
    """The alternatives of the expression: split at each ``|`` outside of groups and sets."""
    depth, begin, at, in_set = 0, 0, 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_set:
            in_set = char != "]"
        elif char == "[":
            in_set = True
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "|" and depth == 0:
            yield pattern[begin:at]
            begin = at + 1
        at += 1
    yield pattern[begin:]


def _may_begin_an_lfn(pattern: str) -> bool:
    """False when what the expression matches certainly begins with another character than a slash."""
    pattern = _FLAGS.sub("", pattern, count=1) if _FLAGS.match(pattern) else pattern
    if group := _GROUP.match(pattern):
        return any(_may_begin_an_lfn(alternative) for alternative in _alternatives(_inside(pattern[group.end() :])))
    literal, rest = (pattern[1:2], pattern[2:]) if pattern.startswith("\\") else (pattern[:1], pattern[1:])
    if pattern.startswith("\\") and literal.isalnum():
        return True  # a class of characters, or the like
    if not pattern.startswith("\\") and literal in {"", ".", "[", "^", "("}:
        return True
    return literal == "/" or bool(_REPEATED.match(rest))


def _inside(pattern: str) -> str:
    """What stands before the bracket that closes the group."""
    depth, at = 1, 0
    while at < len(pattern) and depth:
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] in "()":
            depth += 1 if pattern[at] == "(" else -1
        at += 1
    return pattern[: at - 1]
