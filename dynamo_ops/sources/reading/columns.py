"""From what a source calls its values to the columns of our frames, strictly: a value of another kind is an error.

Values come as Python objects (JSON), as text (CSV) or as typed columns (Parquet). Nothing is guessed: the text "12" is
no number in JSON, a number is no time unless the settings say of what kind.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import polars as pl

from dynamo_ops.inventory.frames import UTC

Times = Literal["iso", "unix", "unix_ms"]
Wrong = Callable[[int, str], Exception]
"""Makes the error for the row of that number, given what is wrong there ("size is 'big', expected …")."""

LATEST_S = 32_503_680_000  # the year 3000: a time in milliseconds lies beyond it
EXACT = 2**53  # beyond it a floating point number is not the number that was meant
SHOWN_CHARACTERS = 120


MISSING: Any = msgspec.UNSET
"""Stands for the value of a field that a record does not have."""


@dataclass(frozen=True)
class Column:
    """One of our columns. ``field``: what the source calls it. ``times``: how it writes times (and days).

    ``default``: the value where a record has no such field; MISSING: it must have it. ``values``: what each of its
    values means; one that is not named there is an error. ``no_value``: how a JSON text begins that stands for null.
    """

    name: str
    dtype: Any
    field: str
    times: Times = "iso"
    default: Any = MISSING
    values: Mapping[Any, Any] | None = None
    no_value: str | None = None

    @property
    def is_required(self) -> bool:
        """Whether each record must have it."""
        return self.default is MISSING


def from_values(values: Sequence[Any], column: Column, wrong: Wrong) -> pl.Series:
    """JSON values as a series of the column's type; MISSING becomes the default, or an error if there is none."""
    if MISSING in values and column.is_required:
        raise wrong(values.index(MISSING), f"{column.field} is missing")
    if column.values is not None:
        meant = [
            column.default if value is MISSING else _meaning(column, row, value, wrong)
            for row, value in enumerate(values)
        ]
        return pl.Series(column.name, meant, dtype=column.dtype)
    if MISSING in values:
        values = [column.default if value is MISSING else value for value in values]
    if (begin := column.no_value) is not None:
        values = [None if isinstance(value, str) and value.startswith(begin) else value for value in values]
    series = _series(values, column)
    if series is not None:
        return typed(series, column, lambda row, _: wrong(row, unexpected(column, values[row])))
    for row, value in enumerate(values):
        if _series([value], column) is None:
            raise wrong(row, unexpected(column, value))
    # the first that is of another kind than those before it
    row = bisect(range(1, len(values)), False, key=lambda row: _series(values[: row + 1], column) is None)
    raise wrong(row + 1, f"{column.field} is of several kinds, expected {expected(column)}")


def typed(series: pl.Series, column: Column, wrong: Wrong, *, text: bool = False) -> pl.Series:
    """``series`` as the column's type, nulls left alone. ``text``: all values are texts, as in CSV."""
    if series.dtype == pl.Null:
        return pl.Series(column.name, [None] * len(series), dtype=column.dtype)
    if column.values is not None:
        meant = [_meaning(column, row, value, wrong) for row, value in enumerate(series)]
        return pl.Series(column.name, meant, dtype=column.dtype)
    if series.dtype == column.dtype:
        return series.rename(column.name)
    made = _converted(series, column, text)
    if made is None:
        made = pl.Series(column.name, [None] * len(series), dtype=column.dtype)
    if made.null_count() > series.null_count():
        row = int((series.is_not_null() & made.is_null()).arg_max() or 0)
        raise wrong(row, unexpected(column, series[row]))
    return made.rename(column.name)


def expected(column: Column) -> str:
    """What values the column takes, in words."""
    if column.values is not None:
        return "one of " + ", ".join(str(value) for value in column.values)
    return _EXPECTED.get(column.dtype, "another value") if column.dtype not in (UTC, pl.Date) else _TIMES[column.times]


def unexpected(column: Column, value: object) -> str:
    """What is wrong with a value, in words."""
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "…"
    return f"{column.field} is {shown}, expected {expected(column)}"


_EXPECTED: dict[Any, str] = {
    pl.String: "a text",
    pl.Int64: "a whole number",
    pl.Float64: "a number",
    pl.Boolean: "true or false",
}
_TIMES: dict[str, str] = {
    "iso": "an ISO 8601 time",
    "unix": "a time in unix seconds",
    "unix_ms": "a time in unix milliseconds",
}


def _meaning(column: Column, row: int, value: object, wrong: Wrong) -> object:
    """What a value means by ``column.values``; null stays null."""
    if value is None:
        return None
    try:
        return (column.values or {})[value]
    except (KeyError, TypeError):  # not named there, or a list
        raise wrong(row, unexpected(column, value)) from None


def _series(values: Sequence[Any], column: Column) -> pl.Series | None:
    """The values in a type that they all have and that the column can be made from; None: there is none."""
    for dtype in _sources(column):
        try:
            return pl.Series(column.name, values, dtype=dtype, strict=True)
        except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
            continue
    return None


def _sources(column: Column) -> tuple[Any, ...]:
    if column.dtype in (UTC, pl.Date):
        return (pl.String,) if column.times == "iso" else (pl.Float64,)
    if column.dtype == pl.Int64:
        return (pl.Int64, pl.Float64)
    return (pl.Boolean, pl.Int64) if column.dtype == pl.Boolean else (column.dtype,)


def _converted(series: pl.Series, column: Column, text: bool) -> pl.Series | None:
    """The series in the column's type, null where a value does not fit; None if no value of its type does."""
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.String)
    if column.dtype in (UTC, pl.Date):
        return _times(series, column, text)
    if column.dtype == pl.String:
        return series if series.dtype == pl.String else None
    if column.dtype == pl.Int64:
        return _whole(series.str.strip_chars() if text else series, text)
    if column.dtype == pl.Float64:
        number = series.str.strip_chars() if text else series
        return number.cast(pl.Float64, strict=False) if text or series.dtype.is_numeric() else None
    if column.dtype == pl.Boolean:
        return _flags(series, text)
    raise AssertionError(column.dtype)


def _whole(series: pl.Series, text: bool) -> pl.Series | None:
    if series.dtype.is_float():
        value = pl.col("made")
        is_whole = (value == value.round()) & (value.abs() <= EXACT)
        return series.to_frame("made").select(pl.when(is_whole).then(value.cast(pl.Int64, strict=False))).to_series()
    if series.dtype.is_integer() or text:
        return series.cast(pl.Int64, strict=False)
    return None


def _flags(series: pl.Series, text: bool) -> pl.Series | None:
    if series.dtype == pl.Boolean:
        return series
    if text:
        words = series.str.strip_chars().str.to_lowercase()
        known = {"true": True, "false": False, "1": True, "0": False}
        return words.replace_strict(known, default=None, return_dtype=pl.Boolean)
    if series.dtype.is_integer():
        return series.cast(pl.Int64).replace_strict({0: False, 1: True}, default=None, return_dtype=pl.Boolean)
    return None


def _times(series: pl.Series, column: Column, text: bool) -> pl.Series | None:
    """Times and days in UTC; those without a zone are taken for UTC."""
    made: pl.Series | None = None
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        made = _in_utc(series)
    elif column.times == "iso":
        made = _iso(series) if series.dtype == pl.String else None
    elif text or series.dtype.is_numeric():
        micros = pl.col("made").cast(pl.Float64, strict=False) * (1_000 if column.times == "unix_ms" else 1_000_000)
        kept = pl.when(micros.is_between(0, LATEST_S * 1_000_000)).then(micros.round().cast(pl.Int64, strict=False))
        made = series.to_frame("made").select(kept.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")).to_series()
    return made.dt.date() if made is not None and column.dtype == pl.Date else made


def _in_utc(series: pl.Series) -> pl.Series:
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
        return series.dt.convert_time_zone("UTC").cast(UTC)
    return series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _iso(series: pl.Series) -> pl.Series:
    plain = series.str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T").str.replace("[Zz]$", "+00:00")
    day = "%Y-%m-%d"
    made = plain.str.to_datetime(f"{day}T%H:%M:%S%.f%z", strict=False, time_unit="us")
    made = made.cast(UTC) if made.dtype == pl.Null else made.dt.convert_time_zone("UTC")
    for short in (f"{day}T%H:%M:%S%.f", f"{day}T%H:%M"):
        if made.null_count() == series.null_count():
            return made
        naive = plain.str.to_datetime(short, strict=False, time_unit="us")
        made = _filled(made, naive.dt.replace_time_zone("UTC"))
    if made.null_count() == series.null_count():
        return made
    days = plain.str.to_date(day, strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return _filled(made, days)


def _filled(first: pl.Series, second: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(first.alias("first"), second.alias("second"))).to_series()
