"""Details in parts: fetched by several threads, never far ahead of who takes them, and joined where they are small."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

import polars as pl

from dynamo_ops.sources.source import Details

Key = TypeVar("Key")
Result = TypeVar("Result")

ROWS_PER_PART = 20_000


def fetched(threads: Executor, fetch: Callable[[Key], Result], keys: Iterable[Key], ahead: int) -> Iterator[Result]:
    """The results of ``fetch``, in order; at most ``ahead`` of them are under way or wait in memory.

    (The executor's own ``map`` would fetch everything while the first result is still being stored.)
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for key in keys:
            waiting.append(threads.submit(fetch, key))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def joined(parts: Iterable[Details], num_rows: int = ROWS_PER_PART) -> Iterator[Details]:
    """The same rows in fewer parts, of some ``num_rows`` rows each: each part costs its taker a transaction's steps."""
    kept: list[Details] = []
    num_kept = 0
    for part in parts:
        kept.append(part)
        num_kept += sum(frame.height for frame in part)
        if num_kept >= num_rows:
            yield _one(kept)
            kept, num_kept = [], 0
    if kept:
        yield _one(kept)


def _one(parts: list[Details]) -> Details:
    if len(parts) == 1:
        return parts[0]
    return Details(*(pl.concat(frames) for frames in zip(*parts, strict=True)))
