"""Walking a storage's directories, whatever its protocol: listings in frames, and empty directories from below."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from dynamo_ops.storage.protocol import STORED_FILES

ROWS_PER_FRAME = 50_000


@dataclass(frozen=True)
class Entry:
    """One member of a directory. ``size_bytes`` is 0 for directories."""

    name: str
    is_directory: bool
    size_bytes: int
    modified_at: datetime | None


Children = Callable[[str], list[Entry] | None]  # LFN directory → its members; None when it is not there


def walk(root: str, children: Children, num_threads: int) -> Iterator[tuple[str, list[Entry]]]:
    """(LFN directory, its members) of ``root`` and all below; several are read at the same time.

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
                    waiting.extend(f"{directory}/{entry.name}" for entry in entries if entry.is_directory)
                    yield directory, entries
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def frames(files: Iterable[tuple[str, int, datetime | None]]) -> Iterator[pl.DataFrame]:
    """Files as (LFN, bytes, modified) in frames of ``STORED_FILES``."""
    rows: list[tuple[str, int, Any]] = []
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
