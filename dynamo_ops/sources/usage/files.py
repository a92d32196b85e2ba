"""Accesses and demand from drops of JSON lines, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Literal

import polars as pl
from pydantic import Field, model_validator

from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.frames import UTC
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.reading.columns import Column, Times
from dynamo_ops.sources.reading.drop import Drop
from dynamo_ops.sources.usage.day_files import DayPath, DropOptions, files_of, fingerprint_of, summed
from dynamo_ops.sources.usage.source import ACCESSES, DEMAND


class DayFilesOptions(DropOptions):
    """``path``: a file, folder, glob or URL, with ``{day}`` or ``{day:%Y/%m/%d}`` in it.

    ``columns``: what the records call our columns, and ``day`` or ``time``. ``day_from``: where the day of a record is:
    in its column ``day`` (as told if ``path`` names the day too, else only that day's records are taken), in its column
    ``time`` (only that day's are taken), or in the ``path``. ``times``: how days and times are written.
    ``one_per_record``: each record counts as one; there is no column of numbers.
    """

    path: DayPath
    columns: dict[str, str] = Field(default_factory=dict)
    day_from: Literal["day", "time", "path"] = "day"
    times: Times = "iso"
    one_per_record: bool = False

    @model_validator(mode="after")
    def _day_is_somewhere(self) -> DayFilesOptions:
        if self.day_from == "path" and not self.names_day:
            raise ValueError("path: {day} is missing, which day_from needs")
        return self

    @property
    def names_day(self) -> bool:
        """Whether each day has files of its own."""
        return "{day" in self.path

    def check_columns(self, allowed: set[str]) -> None:
        """Raises ValueError if ``columns`` names others than ``allowed``."""
        for name in self.columns:
            if name not in allowed:
                raise ValueError(f"columns: no column {name!r}; there are {', '.join(sorted(allowed))}")


class AccessFilesOptions(DayFilesOptions):
    """``level``: whether the records name datasets or files (LFNs)."""

    level: Literal["dataset", "file"] = "dataset"

    @model_validator(mode="after")
    def _known_columns(self) -> AccessFilesOptions:
        self.check_columns({"lfn" if self.level == "file" else "dataset", "site", "day", "time", "num_accesses"})
        return self


class DemandFilesOptions(DayFilesOptions):
    """As of accesses, but by dataset and without sites; the numbers are ``num_jobs``."""

    @model_validator(mode="after")
    def _known_columns(self) -> DemandFilesOptions:
        self.check_columns({"dataset", "day", "time", "num_jobs"})
        return self


class FilesAccessSource:
    """Drops as an AccessSource; records of the same day, dataset (or file) and site come as one row."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        del tls  # a storage has credentials of its own
        self.name = settings.name
        self._options = parse_options(settings, AccessFilesOptions)
        self._drop = Drop(settings.name, self._options.storage_options)

    def accesses(self, day: date) -> pl.DataFrame:
        """Accesses of the UTC day. SourceDataError if there is no file for it, or one that cannot be right."""
        of = "lfn" if self._options.level == "file" else "dataset"
        null_column = pl.lit(None, pl.String).alias("dataset" if of == "lfn" else "lfn")
        records = _records(self._drop, self._options, day, [of, "site"], "num_accesses")
        sites = self._options.sites
        frames = (
            frame.with_columns(null_column, pl.col("site").replace(sites)).select(list(ACCESSES)) for frame in records
        )
        totals = summed(frames, "num_accesses")
        return pl.DataFrame(schema=dict(ACCESSES)) if totals.width == 0 else totals

    def fingerprint(self, day: date) -> str | None:
        """Names, sizes and times of the files that hold the day."""
        return fingerprint_of(self._drop, [self._options.path], day)


class FilesDemandSource:
    """Drops as a DemandSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        del tls  # a storage has credentials of its own
        self.name = settings.name
        self._options = parse_options(settings, DemandFilesOptions)
        self._drop = Drop(settings.name, self._options.storage_options)

    def demand(self, day: date) -> pl.DataFrame:
        """Jobs submitted on the UTC day by dataset. SourceDataError as of accesses."""
        records = _records(self._drop, self._options, day, ["dataset"], "num_jobs")
        totals = summed((frame.select(list(DEMAND)) for frame in records), "num_jobs")
        return pl.DataFrame(schema=dict(DEMAND)) if totals.width == 0 else totals

    def fingerprint(self, day: date) -> str | None:
        """Names, sizes and times of the files that hold the day."""
        return fingerprint_of(self._drop, [self._options.path], day)


def _records(drop: Drop, options: DayFilesOptions, day: date, keys: list[str], number: str) -> Iterator[pl.DataFrame]:
    """The records of a day in batches, with their day, ``keys`` and ``number``."""
    columns = [Column(key, pl.String, options.columns.get(key, key)) for key in keys]
    if not options.one_per_record:
        columns.append(Column(number, pl.Int64, options.columns.get(number, number)))
    if options.day_from != "path":
        dtype = UTC if options.day_from == "time" else pl.Date
        field = options.columns.get(options.day_from, options.day_from)
        columns.append(Column(options.day_from, dtype, field, options.times))
    for file in files_of(drop, [options.path], day, options):
        for frame in drop.frames(file, columns):
            counted = frame.with_columns(pl.lit(1, pl.Int64).alias(number)) if options.one_per_record else frame
            yield _of_day(counted, options, day)


def _of_day(frame: pl.DataFrame, options: DayFilesOptions, day: date) -> pl.DataFrame:
    """The rows with their day, those of other days left out where the drop is not that of one day."""
    if options.day_from == "path":
        return frame.with_columns(day=pl.lit(day))
    if options.day_from == "time":
        frame = frame.with_columns(day=pl.col("time").dt.date())
    elif options.names_day:
        return frame
    return frame.filter(pl.col("day").is_null() | (pl.col("day") == day))
