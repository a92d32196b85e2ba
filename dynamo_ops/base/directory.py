"""Whether two paths of this machine are one directory, through links and bind mounts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

MOUNTS = "/proc/self/mountinfo"
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Overlap(StrEnum):
    """How two directories have files in common."""

    SAME = "same"
    NESTED = "nested"


@dataclass(frozen=True)
class _Mount:
    """``point``: where it is; ``place``: which directory of which file system that is."""

    point: str
    place: tuple[str, str]


@dataclass(frozen=True)
class _Directory:
    """``ids``: device and inode of the directory and of those above it, null where nothing can be seen. ``place``: of
    which file system it is which directory, null where that is not told. ``mounted``: the places mounted below it."""

    real: str
    ids: tuple[tuple[int, int] | None, ...]
    place: tuple[str, str] | None
    mounted: tuple[tuple[str, str], ...]


def overlap(one: str, other: str) -> Overlap | None:
    """Whether two paths lead to one directory, or one of them into the other, by whatever links and mounts of this
    machine; None as far as can be seen from here. What is not there is compared by what is above it."""
    mounts = _mounts()
    first, second = _look(one, mounts), _look(other, mounts)
    if first.real == second.real or (first.ids[0] is not None and first.ids[0] == second.ids[0]):
        return Overlap.SAME
    if first.place is not None and first.place == second.place:
        return Overlap.SAME
    is_nested = (
        _lies_in(first.real, second.real)
        or _lies_in(second.real, first.real)
        or (first.ids[0] is not None and first.ids[0] in second.ids)
        or (second.ids[0] is not None and second.ids[0] in first.ids)
        or any(
            mine[0] == theirs[0] and (_lies_in(mine[1], theirs[1]) or _lies_in(theirs[1], mine[1]))
            for mine in _places(first)
            for theirs in _places(second)
        )
    )
    return Overlap.NESTED if is_nested else None


def _lies_in(one: str, other: str) -> bool:
    return one == other or one.startswith(other.rstrip("/") + "/")


def _places(directory: _Directory) -> list[tuple[str, str]]:
    return [*([directory.place] if directory.place else []), *directory.mounted]


def _look(path: str, mounts: list[_Mount]) -> _Directory:
    real = "/" + os.path.realpath(path).lstrip("/")
    above = [mount for mount in mounts if _lies_in(real, mount.point)]
    place = None
    if above:
        mount = max(enumerate(above), key=lambda numbered: (len(numbered[1].point), numbered[0]))[1]
        below = real[len(mount.point.rstrip("/")) :]
        place = (mount.place[0], (mount.place[1].rstrip("/") + below) or "/")
    return _Directory(
        real,
        tuple(_id(directory) for directory in _upwards(real)),
        place,
        tuple(mount.place for mount in mounts if mount.point != real and _lies_in(mount.point, real)),
    )


def _upwards(path: str) -> Iterator[str]:
    yield path
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _id(path: str) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _mounts() -> list[_Mount]:
    """What is mounted, as Linux tells it; nothing elsewhere. A later one hides an earlier one at the same point."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split(" ") for line in file]
    except OSError:
        return []
    return [_Mount(_unescaped(fields[4]), (fields[2], _unescaped(fields[3]))) for fields in lines]


def _unescaped(name: str) -> str:
    return _ESCAPED.sub(lambda code: chr(int(code[1], 8)), name)
