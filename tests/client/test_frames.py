"""Rows as frames: what is a time, and what only looks like one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import polars as pl
import pytest

from dynamo_ops.client import MissingPackageError, to_pandas, to_polars

ROWS = [
    {"name": "/A", "at": "2026-03-01T12:00:00.5+00:00", "reason": "2026-03-01T12:00:00+00:00", "size_bytes": 1},
    {"name": "/B", "at": None, "reason": "thesis", "size_bytes": 2**40, "sites": ["T2_A"]},
    {"name": "/C", "at": "2026-03-01T13:00Z", "reason": None, "size_bytes": None},
]
NOON = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)


def test_times_are_datetimes_in_utc() -> None:
    frame = to_polars(iter(ROWS))
    assert frame.columns == ["name", "at", "reason", "size_bytes", "sites"]
    assert frame.schema["at"] == pl.Datetime("us", "UTC")
    assert frame["at"].to_list() == [NOON, None, datetime(2026, 3, 1, 13, tzinfo=UTC)]
    assert frame["reason"].to_list()[0] == "2026-03-01T12:00:00+00:00"
    assert frame["size_bytes"].to_list() == [1, 2**40, None]
    assert to_polars([]).is_empty()
    assert ROWS[0]["at"] == "2026-03-01T12:00:00.5+00:00"


def test_so_they_are_in_pandas() -> None:
    frame = to_pandas(ROWS)
    assert str(frame["at"].dt.tz) == "UTC"
    assert frame["at"][0].to_pydatetime() == NOON
    assert list(frame["name"]) == ["/A", "/B", "/C"]


@pytest.mark.parametrize(("make", "package"), [(to_polars, "polars"), (to_pandas, "pandas")])
def test_a_package_that_is_not_there_is_named(make: object, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"{package} is not installed") as caught:
        make(ROWS)  # type: ignore[operator]
    assert isinstance(caught.value, ImportError)
