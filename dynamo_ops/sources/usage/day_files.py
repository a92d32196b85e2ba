"""Drops that hold days: which files are those of a day, and how their records become rows of that day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from string import Formatter
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, Field

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.sources.reading.drop import Drop, Found, fingerprint

ROWS_HELD = 2_000_000


def _template(path: str) -> str:
    """A path in which ``{day}`` may stand, with a format of its own. ValueError for anything else in braces."""
    try:
        names = {name for _, name, _, _ in Formatter().parse(path) if name is not None}
        path.format(day=date(2026, 3, 1))
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path!r}: {{day}} or {{day:%Y/%m/%d}} may stand in it, nothing else: {error}") from None
    if names - {"day"}:
        raise ValueError(f"{path!r}: {{day}} or {{day:%Y/%m/%d}} may stand in it, nothing else")
    return path


DayPath = Annotated[str, AfterValidator(_template)]
"""A path, folder, glob or URL, in which ``{day}`` is the day."""


class DropOptions(Strict):
    """``missing``: whether a day without a file is an error, or a day without records. ``storage_options``: fsspec's.

    ``sites``: our names of sites that the records call otherwise.
    """

    missing: Literal["error", "empty"] = "error"
    storage_options: dict[str, Any] = Field(default_factory=dict)
    sites: dict[str, str] = Field(default_factory=dict)


def files_of(drop: Drop, paths: Sequence[str], day: date, options: DropOptions) -> list[Found]:
    """The files of ``paths`` for ``day``. Raises SourceDataError for a path without any, unless that is allowed."""
    day_files = []
    for path in paths:
        place = path.format(day=day)
        files = drop.find(place)
        if not files and options.missing == "error":
            raise SourceDataError(
                f"{drop.source}: no file for day {day} at {place}; clear the task when it is there",
                source=drop.source,
                file=place,
                day=day,
            )
        day_files += files
    return day_files


def fingerprint_of(drop: Drop, paths: Sequence[str], day: date) -> str | None:
    """What the files of a day are: names, sizes and times. None without any: a drop that was cleaned up is no news."""
    files = [file for path in paths for file in drop.find(path.format(day=day))]
    return fingerprint(files) if files else None


def summed(frames: Iterator[pl.DataFrame], number: str) -> pl.DataFrame:
    """The rows of all frames, those with the same keys as one with the sum of ``number``.

    Rows that cannot be right (a null where there must be none, a number that is not positive) stay as they are, so that
    the gate sees them and counts them.
    """
    bad: list[pl.DataFrame] = []
    good: list[pl.DataFrame] = []
    held, most = 0, ROWS_HELD
    for frame in frames:
        is_good = _is_good(frame, number)
        bad.append(frame.filter(~is_good))
        good.append(frame.filter(is_good))
        held += good[-1].height
        if held > most:
            good = [_sum(good, number)]
            held = good[0].height
            most = max(ROWS_HELD, 2 * held)  # the work stays in proportion, however many keys there are
    if not good:
        return pl.DataFrame()
    total = _sum(good, number)
    return pl.concat([total.sort([name for name in total.columns if name != number]), *bad])


def _sum(frames: list[pl.DataFrame], number: str) -> pl.DataFrame:
    whole = pl.concat(frames)
    keys = [name for name in whole.columns if name != number]
    return whole.group_by(keys).agg(pl.col(number).sum()).select(whole.columns)


def _is_good(frame: pl.DataFrame, number: str) -> pl.Series:
    """Which rows may be added up. Of dataset and LFN one is given."""
    wanted = (pl.col(number) > 0) & pl.col("day").is_not_null()
    if "lfn" in frame.columns:
        wanted &= pl.col("site").is_not_null() & (pl.col("dataset").is_null() != pl.col("lfn").is_null())
    else:
        wanted &= pl.col("dataset").is_not_null()
    return frame.select(wanted.fill_null(False)).to_series()
