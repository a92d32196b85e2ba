"""The usage rank, by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.popularity.ranks import produced_for, usage_ranks

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TB = 10**12
TIME = pl.Datetime("us", "UTC")


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def ranks(replicas: list[tuple[Any, ...]], accesses: list[tuple[Any, ...]]) -> dict[int, float]:
    frame = usage_ranks(
        pl.DataFrame(
            replicas,
            orient="row",
            schema={"dataset_id": pl.Int64, "site_id": pl.Int64, "size_bytes": pl.Int64, "last_update_at": TIME},
        ),
        pl.DataFrame(
            accesses, orient="row", schema={"dataset_id": pl.Int64, "site_id": pl.Int64, "last_access_at": TIME}
        ),
        NOW,
    )
    return dict(frame.iter_rows())


@pytest.mark.parametrize(
    ("replicas", "accesses", "rank"),
    [
        ([(1, 1, 0, days_ago(10))], [], 10),
        ([(1, 1, 0, days_ago(10))], [(1, 1, days_ago(4))], 4),
        ([(1, 1, 0, days_ago(10))], [(1, 1, days_ago(40))], 10),
        ([(1, 1, 3 * TB, days_ago(10))], [], 7),
        ([(1, 1, 20 * TB, days_ago(10))], [], -10),
        ([(1, 1, 0, days_ago(10)), (1, 2, 0, days_ago(2))], [(1, 1, days_ago(4))], 3),
        ([(1, 1, 0, days_ago(10))], [(1, 2, days_ago(1)), (2, 1, days_ago(1))], 10),
    ],
    ids=[
        "never accessed",
        "accessed since",
        "updated since",
        "size counts",
        "below zero",
        "mean over sites",
        "accesses without a replica do not count",
    ],
)
def test_rank_of_a_dataset(replicas: list[tuple[Any, ...]], accesses: list[tuple[Any, ...]], rank: float) -> None:
    assert ranks(replicas, accesses) == pytest.approx({1: rank})


def test_every_dataset_with_a_replica_has_a_rank() -> None:
    assert ranks([(1, 1, 0, days_ago(1)), (2, 1, 0, days_ago(2))], []) == pytest.approx({1: 1, 2: 2})
    assert ranks([], [(1, 1, days_ago(1))]) == {}


def test_attributes_describe_the_end_of_the_newest_day() -> None:
    assert produced_for(date(2026, 2, 28)) == NOW
