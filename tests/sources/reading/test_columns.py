"""Values of records become the columns that we want, or an error that names them."""

from __future__ import annotations

from datetime import UTC as ZONE
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.inventory.frames import UTC
from dynamo_ops.sources.reading.columns import MISSING, Column, from_values, typed

MOMENT = datetime(2026, 3, 1, 12, tzinfo=ZONE)


def wrong(row: int, what: str) -> SourceDataError:
    return SourceDataError(f"{row}: {what}")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (Column("x", pl.Int64, "x"), [1, None, 2.0], [1, None, 2]),
        (Column("x", pl.Boolean, "x"), [True, False, None], [True, False, None]),
        (Column("x", pl.Boolean, "x"), [1, 0, None], [True, False, None]),
        (Column("x", pl.String, "x", default=None), ["a", MISSING], ["a", None]),
        (Column("x", pl.Boolean, "x", default=True, values={"ok": True, "no": False}), ["no", MISSING], [False, True]),
        (Column("x", pl.String, "x", values={7: "valid"}), [7, None], ["valid", None]),
        (
            Column("x", UTC, "x"),
            ["2026-03-01T12:00:00Z", "2026-03-01 14:00:00.0+02:00", "2026-03-01T12:00"],
            [MOMENT] * 3,
        ),
        (Column("x", UTC, "x"), ["2026-03-01"], [MOMENT.replace(hour=0)]),
        (Column("x", UTC, "x", "unix"), [1772366400, 1772366400.0, None], [MOMENT, MOMENT, None]),
        (Column("x", UTC, "x", "unix_ms"), [1772366400000], [MOMENT]),
        (Column("x", pl.Date, "x"), ["2026-03-01", "2026-03-01T23:00:00-02:00"], [date(2026, 3, 1), date(2026, 3, 2)]),
        (Column("x", pl.Date, "x", "unix"), [1772366400], [date(2026, 3, 1)]),
        (Column("x", pl.Int64, "x"), [], []),
    ],
)
def test_values_become_a_column(column: Column, values: list[Any], expected: list[Any]) -> None:
    found = from_values(values, column, wrong)
    assert found.dtype == column.dtype
    assert found.to_list() == expected


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        (Column("x", pl.Int64, "size"), [1, "2"], "1: size is '2', expected a whole number"),
        (Column("x", pl.Int64, "size"), [1, 2.5], "1: size is 2.5, expected a whole number"),
        (Column("x", pl.Int64, "size"), [1, 2**64], "1: size is 18446744073709551616, expected a whole number"),
        (Column("x", pl.Int64, "size"), [1.0, 2**53 + 2], "1: size is 9007199254740994, expected a whole number"),
        (Column("x", pl.Int64, "size"), [1, [2]], "1: size is [2], expected a whole number"),
        (Column("x", pl.String, "lfn"), ["a", 5], "1: lfn is 5, expected a text"),
        (Column("x", pl.String, "lfn"), ["a", MISSING], "1: lfn is missing"),
        (Column("x", pl.String, "lfn"), [{"a": 1}], "0: lfn is {'a': 1}, expected a text"),
        (Column("x", pl.Boolean, "open"), [True, "yes"], "1: open is 'yes', expected true or false"),
        (Column("x", pl.Boolean, "open"), [1, 2], "1: open is 2, expected true or false"),
        (Column("x", UTC, "t"), ["2026-02-30T00:00:00Z"], "0: t is '2026-02-30T00:00:00Z', expected an ISO 8601 time"),
        (Column("x", UTC, "t"), [1772366400], "0: t is 1772366400, expected an ISO 8601 time"),
        (Column("x", UTC, "t", "unix"), ["now"], "0: t is 'now', expected a time in unix seconds"),
        (Column("x", UTC, "t", "unix"), [0, -1], "1: t is -1, expected a time in unix seconds"),
        (Column("x", UTC, "t", "unix"), [1772366400000], "0: t is 1772366400000, expected a time in unix seconds"),
        (Column("x", pl.String, "s", values={"A": "b"}), ["A", "C"], "1: s is 'C', expected one of A"),
        (Column("x", pl.String, "s", values={"A": "b"}), [["A"]], "0: s is ['A'], expected one of A"),
    ],
)
def test_a_value_that_does_not_fit_is_named(column: Column, values: list[Any], told: str) -> None:
    with pytest.raises(SourceDataError) as caught:
        from_values(values, column, wrong)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("dtype", "texts", "expected"),
    [
        (pl.Int64, [" 5 ", None], [5, None]),
        (pl.Boolean, ["TRUE", "0", None], [True, False, None]),
        (pl.String, ["a"], ["a"]),
    ],
    ids=str,
)
def test_texts_of_csv_are_what_they_say(dtype: Any, texts: list[str | None], expected: list[Any]) -> None:
    assert typed(pl.Series(texts, dtype=pl.String), Column("x", dtype, "x"), wrong, text=True).to_list() == expected


def test_times_of_parquet_are_times_in_any_unit_and_zone() -> None:
    column = Column("x", UTC, "x")
    for dtype in (pl.Datetime("ns"), pl.Datetime("ms", "UTC"), pl.Datetime("us", "Europe/Zurich")):
        zone = dtype.time_zone or "UTC"
        told = pl.Series([MOMENT]).dt.convert_time_zone(zone).dt.replace_time_zone(dtype.time_zone).cast(dtype)
        assert typed(told, column, wrong).to_list() == [MOMENT]
    assert typed(pl.Series([MOMENT.date()]), column, wrong).to_list() == [MOMENT.replace(hour=0)]
