"""Parts are fetched by threads, but never far ahead of who takes them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.sources.metadata.parts import fetched, joined
from dynamo_ops.sources.source import BLOCKS, FILES, Details
from tests.sources.told import MUONS, blocks_frame, files_frame


def test_results_come_in_order() -> None:
    with ThreadPoolExecutor(4) as threads:
        assert list(fetched(threads, lambda number: number * 2, range(50), 4)) == list(range(0, 100, 2))


def test_no_more_than_a_few_wait_for_a_slow_taker() -> None:
    started: list[int] = []
    with ThreadPoolExecutor(4) as threads:
        results = fetched(threads, started.append, range(100), 3)
        for taken in range(1, 20):
            next(results)
            threads.submit(lambda: None).result()  # whatever was submitted before has begun by now
            assert len(started) <= taken + 2
        results.close()  # type: ignore[attr-defined]
    assert len(started) < 25


def test_what_waits_is_given_up_with_the_first_error() -> None:
    started: list[int] = []
    go_on = threading.Event()

    def fetch(number: int) -> None:
        started.append(number)
        if number == 0:
            go_on.set()
            raise SourceDataError("catalogue: no")
        go_on.wait(10)

    with ThreadPoolExecutor(1) as threads, pytest.raises(SourceDataError):
        list(fetched(threads, fetch, range(100), 8))
    assert len(started) <= 8


def test_small_parts_are_joined_and_none_is_lost() -> None:
    part = Details(blocks_frame([MUONS]), files_frame([MUONS]))  # 2 blocks, 8 files
    parts = list(joined([part] * 7, num_rows=25))
    assert [found.files.height for found in parts] == [24, 24, 8]
    assert sum(found.blocks.height for found in parts) == 14
    assert dict(parts[0].blocks.schema) == dict(BLOCKS)
    assert dict(parts[0].files.schema) == dict(FILES)
    assert list(joined([])) == []
    empty = Details(pl.DataFrame(schema=dict(BLOCKS)), pl.DataFrame(schema=dict(FILES)))
    assert [found.files.height for found in joined([empty])] == [0]
