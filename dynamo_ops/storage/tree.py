"""Walking a storage's directories, whatever its protocol: listings in frames, and empty directories from below.

Names on a storage are bytes, and some are no text, or none that Dynamo could ask for. Such a name costs nothing but
itself: it is listed without an LFN, and never touched.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.base.errors import PermanentRemoteError, RetryableRemoteError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.protocol import STORED_FILES

log = logging.getLogger(__name__)

ROWS_PER_FRAME = 50_000
SHOWN_NAMES = 20
"""Of those that cannot be named, in the log."""
_OUT_OF_STEP = re.compile(r"\d+ \d+ \d+ \d{9,}( \d+ \d+ 0?[0-7]{3,4} \S+ \S+.*)?")
"""What XRootD says of a file (id, size, flags, times, mode, owner), where its name should be."""
_NO_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffd]")


@dataclass(frozen=True)
class Entry:
    """One member of a directory. ``size_bytes`` is 0 for directories."""

    name: str
    is_directory: bool
    size_bytes: int
    modified_at: datetime | None


Children = Callable[[str], list[Entry] | None]  # LFN directory → its members; None when it is not there


def list_below(endpoint: Endpoint, root: str, children: Children, num_threads: int) -> Iterator[pl.DataFrame]:
    """All files below ``root`` in frames of ``STORED_FILES``. Without an LFN, and told in the log: files that cannot be
    named, and directories, which are not looked into then."""
    return _frames(_named(endpoint, root, children, num_threads))


def _named(
    endpoint: Endpoint, root: str, children: Children, num_threads: int
) -> Iterator[tuple[str | None, int, datetime | None]]:
    num_odd = 0
    look = _Look(endpoint, root, children)
    for directory, entries in walk(root, look, num_threads, lambda name: _fault(endpoint, name) is None):
        for entry in entries:
            if _OUT_OF_STEP.fullmatch(entry.name):
                raise PermanentRemoteError(
                    f"site {endpoint.site}: the server lists {directory} wrongly, as XRootD does where a name has a "
                    f"line end (it gives {entry.name!r}): rename or remove that file on the server",
                    service="storage",
                    site=endpoint.site,
                    url=endpoint.prefix,
                    status=None,
                )
            lfn = f"{directory}/{entry.name}"
            fault = no_text(entry.name) or ((entry.is_directory or endpoint.chains) and _fault(endpoint, lfn))
            if fault:
                num_odd += 1
                if num_odd <= SHOWN_NAMES:
                    kind = "directory" if entry.is_directory else "file"
                    log.warning("%s: %s %s cannot be named: %s; it stays", endpoint.site, kind, ascii(lfn), fault)
                yield None, entry.size_bytes, entry.modified_at
            elif not entry.is_directory:
                yield endpoint.listed_lfn(directory, entry.name), entry.size_bytes, entry.modified_at
    look.again()


class _Look:
    """``children`` of a listing that believes in no loss: a directory is gone only where its parent, read again, does
    not name it any more; and in the end the root still has what it had. Mounts are lost in the middle, too."""

    def __init__(self, endpoint: Endpoint, root: str, children: Children) -> None:
        self._endpoint, self._root, self._children = endpoint, root, children
        self._at_first: set[str] = set()
        self._gone: set[str] = set()

    def __call__(self, directory: str) -> list[Entry] | None:
        entries = self._children(directory)
        if directory == self._root:
            self._at_first = self._names(entries)
        elif entries is None:
            parent, _, name = directory.rpartition("/")
            above = self._children(parent) if parent == self._root else self(parent)
            if (above is not None or parent == self._root) and name in self._names(above):
                raise self._void(f"{directory} is not there, and {parent} names it")
            self._gone.add(directory)
        return entries

    def again(self) -> None:
        """RetryableRemoteError where the root lacks what it had when it was listed first, but for what was seen to go;
        or all that it had: nobody empties a storage while it is listed."""
        gone = {name for name in self._at_first if f"{self._root}/{name}" in self._gone}
        lost = self._at_first - self._names(self._children(self._root))
        if lost and (lost == self._at_first or (lost := lost - gone)):
            names = ", ".join(sorted(lost)[:SHOWN_NAMES])
            raise self._void(f"{self._root} had {names} at first, and has not any more")

    def _names(self, entries: list[Entry] | None) -> set[str]:
        if entries is None:
            raise self._void(f"{self._root} is not there any more")
        return {entry.name for entry in entries if entry.is_directory}

    def _void(self, reason: str) -> RetryableRemoteError:
        return RetryableRemoteError(
            f"site {self._endpoint.site}: the storage changed too much while it was listed: {reason}",
            service="storage",
            site=self._endpoint.site,
            url=self._endpoint.prefix,
            status=None,
        )


def no_text(name: str) -> str | None:
    """Why a name is no text that could be kept: bytes that are no UTF-8 (as surrogates, or as what stands for them), or
    control characters. None where it is."""
    return "it is no text, or has control characters" if _NO_TEXT.search(name) else None


def _fault(endpoint: Endpoint, lfn: str) -> str | None:
    return no_text(lfn) or endpoint.name_fault(lfn)


def moment(seconds: float | None) -> datetime | None:
    """A time since 1970 as storages keep it; None for none, and for what no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None


def walk(
    root: str, children: Children, num_threads: int, is_entered: Callable[[str], bool]
) -> Iterator[tuple[str, list[Entry]]]:
    """(LFN directory, its members) of ``root`` and all below; several are read at the same time. ``is_entered``: of a
    directory below, by its LFN.

    A ``root`` that is not there is an empty walk: look first. An error of ``children`` ends the walk.
    """
    waiting = [root]
    running: dict[Future[list[Entry] | None], str] = {}
    with ThreadPoolExecutor(num_threads) as threads:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * num_threads:
                    directory = waiting.pop()  # depth first: few directories wait
                    running[threads.submit(children, directory)] = directory
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    directory = running.pop(future)
                    entries = future.result() or []  # removed since its parent was listed: empty
                    below = (f"{directory}/{entry.name}" for entry in entries if entry.is_directory)
                    waiting.extend(filter(is_entered, below))
                    yield directory, entries
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _frames(files: Iterable[tuple[str | None, int, datetime | None]]) -> Iterator[pl.DataFrame]:
    rows: list[tuple[str | None, int, Any]] = []
    for file in files:
        rows.append(file)
        if len(rows) >= ROWS_PER_FRAME:
            yield pl.DataFrame(rows, schema=STORED_FILES, orient="row")
            rows = []
    if rows:
        yield pl.DataFrame(rows, schema=STORED_FILES, orient="row")


def remove_upwards(
    directories: Iterable[str], keep: Collection[str], managed_prefix: str, remove_if_empty: Callable[[str], bool]
) -> int:
    """How many of the directories, and of their parents that became empty thereby, ``remove_if_empty`` removed.

    Deepest first, so that a parent is looked at after all its children. Never ``keep``, the managed prefix or above.
    """
    root, kept = managed_prefix.rstrip("/"), frozenset(keep)
    levels: defaultdict[int, set[str]] = defaultdict(set)
    for name in directories:
        levels[name.rstrip("/").count("/")].add(name.rstrip("/"))
    removed = 0
    for depth in range(max(levels, default=0), 0, -1):
        for directory in sorted(levels.pop(depth, ()), reverse=True):
            if directory.startswith(root + "/") and directory not in kept and remove_if_empty(directory):
                removed += 1
                levels[depth - 1].add(directory.rsplit("/", 1)[0])
    return removed
