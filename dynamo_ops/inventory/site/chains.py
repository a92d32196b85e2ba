"""Whether chains give every LFN a PFN of its own: shown, or taken for untrue (SEMANTICS §1).

Two LFNs with one PFN are one file, and what deletes the one deletes the other. Shown is what rules of sites look like:
text, and groups that are whole parts of a name, put elsewhere in the same order. What else a regular expression may do
is not looked into. Pure.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dynamo_ops.inventory.site.mapping import Endpoint

# Canonical LFNs have no double slashes: one or more of them are one.
_PATTERN = re.compile(
    r"(?P<slashes>/\+)|(?P<part>\(\[\^/\][*+]\))|(?P<tail>\(\.[*+]\))|(?P<end>\$\Z)"
    r"|\\(?P<escaped>[^\w\s])|(?P<text>[^\\.\[\]{}()|?*+^$])"
)
_REPLACEMENT = re.compile(r"\$(?P<dollar>\d+)|\\g<(?P<group>\d+)>|\\(?P<number>[1-9]\d?)(?!\d)|(?P<text>[^\\])")
_URL = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/\0]*))?(?P<path>/.*)", re.DOTALL)
# Where a question mark is a character of the name, or what SRM puts before it.
_TAKES_QUESTION_MARKS = frozenset({"file", "s3", "srm"})
_GROUP = "\0"


class _UnprovenError(Exception):
    """Why it cannot be shown, in words."""


@dataclass(frozen=True)
class _Step:
    """One (regex, replacement). ``texts``: what the regex has before each group that is a part of a name, and then.
    ``new_texts``: the same of the replacement. ``tail``: the last group, ``.*`` or ``.+``; else empty, and what follows
    the match stays. ``suffix``: behind the tail. ``is_closed``: nothing follows the match."""

    texts: tuple[str, ...]
    new_texts: tuple[str, ...]
    tail: str = ""
    suffix: str = ""
    is_closed: bool = False
    has_runs: bool = False

    @property
    def is_plain(self) -> bool:
        """It puts one beginning of names for another, and does nothing else."""
        return len(self.texts) == 1 and not self.suffix and not self.is_closed


@dataclass(frozen=True)
class _Area:
    """What chain ``number`` maps: LFNs that begin with ``lfn`` to ``path`` of ``host`` and below. ``is_plain``: the one
    beginning for the other. ``takes_all``: every LFN that begins so, and later chains get none of them."""

    number: int
    lfn: str
    host: str
    path: str
    is_plain: bool
    takes_all: bool

    def leaves_nothing_of(self, number: int, lfn: str) -> bool:
        """Whether chain ``number`` gets none of the LFNs that begin with ``lfn``."""
        return self.number < number and self.takes_all and lfn.startswith(self.lfn)


def why_not_one_to_one(endpoint: Endpoint) -> str | None:
    """Why two canonical LFNs of the managed area may have one PFN, in words; None when it is certain that none have.

    Names that differ in double slashes or ``.`` parts only are one name, as they are to storages. What the names of
    hosts hide is not known.
    """
    areas: list[_Area] = []
    for number, chain in enumerate(endpoint.chains, start=1):
        try:
            area = _area(endpoint, number, chain)
        except _UnprovenError as error:
            return f"chain {number}: {error}"
        if area and not any(earlier.leaves_nothing_of(number, area.lfn) for earlier in areas):
            areas.append(area)
    return next(
        (
            _both(one, other)
            for position, other in enumerate(areas)
            for one in areas[:position]
            if not _are_apart(one, other, areas)
        ),
        None,
    )


def _are_apart(one: _Area, other: _Area, areas: Sequence[_Area]) -> bool:
    """No two LFNs that these chains get come to one name."""
    inner, outer = (one, other) if one.path.startswith(other.path) else (other, one)
    if one.host != other.host or not inner.path.startswith(outer.path):
        return True
    if not (one.is_plain and other.is_plain):
        return False
    rival = outer.lfn + inner.path[len(outer.path) :]  # what would come to the inner place by the outer chain
    return any(area.leaves_nothing_of(outer.number, rival) for area in areas)


def _both(one: _Area, other: _Area) -> str:
    inner = max(one, other, key=lambda area: len(area.path))
    return (
        f"chain {one.number} (for {one.lfn}…) and chain {other.number} (for {other.lfn}…) may both lead to the same "
        f"name below {inner.host}{inner.path}"
    )


# -- one chain -----------------------------------------------------------------------------------------------------


def _area(endpoint: Endpoint, number: int, chain: Sequence[tuple[str, str]]) -> _Area | None:
    """What a chain maps to where, one to one; None when no LFN gets to its end."""
    steps = [_read(pattern, replacement) for pattern, replacement in chain]
    is_plain = all(step.is_plain for step in steps)
    if not is_plain and len(steps) > 1:
        raise _UnprovenError("of several steps, one does more than put one beginning of names for another")
    if is_plain or len(steps[0].texts) == 1:
        begins = _begins(steps, endpoint.managed_prefix.rstrip("/") + "/")
        if begins is None:
            return None
        lfn, template = begins
        last = lfn
    else:
        lfn, last = steps[0].texts[0], steps[0].texts[-1]
        template = _GROUP.join(steps[0].new_texts)
    host, path = _place(endpoint, template)
    end = path.rpartition("/")[2]
    if not last.endswith("/") and end in ("", ".", ".."):
        raise _UnprovenError(
            f"{last!r} may be the end of a part of an LFN or not: let pattern and replacement have a slash before the "
            "last group"
        )
    takes_all = is_plain and (lfn.endswith("/") or all(step.tail != ".+" for step in steps))
    return _Area(number, lfn, host, path.partition(_GROUP)[0], is_plain, takes_all)


def _begins(steps: Sequence[_Step], root: str) -> tuple[str, str] | None:
    """What the LFNs and the names of a chain begin with, from ``root`` on; the rest of the LFN follows as it is."""
    lfn = name = root
    for step in steps:
        begin, new = step.texts[0], step.new_texts[0]
        if step.has_runs and ("//" in name or (name.endswith("/") and not lfn.endswith("/"))):
            raise _UnprovenError("'/+' is applied to a name with double slashes")
        if name.startswith(begin):
            name = new + name[len(begin) :]
        elif begin.startswith(name):
            lfn, name = lfn + begin[len(name) :], new
        else:
            return None
    return lfn, name


def _place(endpoint: Endpoint, template: str) -> tuple[str, str]:
    """Host and path of what names begin with, in one spelling."""
    parts = _URL.fullmatch(template)
    if parts is None or (parts["scheme"] is None and endpoint.protocol != "file"):
        raise _UnprovenError("what it makes of an LFN does not begin with scheme://host/")
    if "?" in template and endpoint.protocol not in _TAKES_QUESTION_MARKS:
        raise _UnprovenError(
            f"a replacement has a question mark, where a server of {endpoint.protocol} may cut the name"
        )
    path = re.sub("/+", "/", parts["path"])
    if {".", ".."} & set(path.split("/")[1:-1]):
        raise _UnprovenError("a replacement has a '.' or '..' part")
    host = (parts["host"] or "").rpartition("@")[2].lower()
    return re.sub(r":\d*\Z", "", host).rstrip("."), path


# -- one step ------------------------------------------------------------------------------------------------------


def _read(pattern: str, replacement: str) -> _Step:
    texts, tail, is_closed, has_runs = _read_pattern(pattern)
    num_parts = len(texts) - 1
    new_texts, groups = _read_replacement(replacement)
    if groups != list(range(1, num_parts + bool(tail) + 1)):
        raise _UnprovenError(f"{replacement!r} does not use every group of {pattern!r} once, in the same order")
    suffix = new_texts.pop() if tail else ""
    if "/" in suffix:
        raise _UnprovenError(f"{replacement!r} has a slash behind the last group")
    for before, after in itertools.pairwise(texts):
        if not before.endswith("/") or not after.startswith("/"):
            raise _UnprovenError(f"in {pattern!r} a group that is not the last is not a whole part between slashes")
    if not all(text.startswith("/") for text in new_texts[1:]):
        raise _UnprovenError(f"in {replacement!r} a group that is not the last is not followed by a slash")
    return _Step(tuple(texts), tuple(new_texts), tail, suffix, is_closed, has_runs)


def _read_pattern(pattern: str) -> tuple[list[str], str, bool, bool]:
    """Texts, tail, whether it ends in ``$`` without one, whether it has ``/+``."""
    texts, tail, is_closed, has_runs = [""], "", False, False
    rest = pattern.removeprefix("^")
    while rest:
        token = _PATTERN.match(rest)
        if token is None:
            raise _UnprovenError(
                f"{pattern!r} has {rest!r}: only text (with '\\.' for a dot), '/+', '([^/]+)' and a last '(.*)' can be "
                "looked through"
            )
        if tail and not token["end"]:
            raise _UnprovenError(f"{pattern!r} goes on behind its '({tail})'")
        if token["tail"]:
            tail = token["tail"][1:-1]
        elif token["part"]:
            texts.append("")
        elif token["end"]:
            is_closed = not tail
        else:
            has_runs = has_runs or bool(token["slashes"])
            texts[-1] += "/" if token["slashes"] else token["escaped"] or token["text"]
        rest = rest[token.end() :]
    return texts, tail, is_closed, has_runs


def _read_replacement(replacement: str) -> tuple[list[str], list[int]]:
    """What is before, between and behind its groups, and their numbers."""
    texts, groups = [""], []
    rest = replacement
    while rest:
        token = _REPLACEMENT.match(rest)
        if token is None or token["text"] == _GROUP:
            raise _UnprovenError(f"{replacement!r} has a backslash that is no group")
        if token["text"]:
            texts[-1] += token["text"]
        else:
            groups.append(int(token["dollar"] or token["group"] or token["number"]))
            texts.append("")
        rest = rest[token.end() :]
    return texts, groups
