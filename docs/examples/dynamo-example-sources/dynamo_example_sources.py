"""Three sources over the SQLite catalogue of an imaginary experiment: an example of a package with plugins.

The catalogue has the tables sets(name, state, version, changed), blocks(set_name, name, is_open, bytes, files,
changed), files(set_name, block, lfn, bytes, adler32, is_good), places(name, kind, state, protocol, prefix) and
reads(day, set_name, place, number); times are unix seconds, days are ISO dates.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.errors import RetryableRemoteError, SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.reading.columns import Column, from_values
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES, SITES, Details
from dynamo_ops.sources.usage.source import ACCESSES

STATES = {"NEW": "production", "GOOD": "valid", "BAD": "invalid", "OLD": "deprecated"}

DATASETS_SQL = """
    SELECT name AS dataset, state AS status, state = 'NEW' AS is_open, version AS software_release,
           changed AS last_update_at FROM sets WHERE changed BETWEEN ? AND ?"""
BLOCKS_SQL = """
    SELECT set_name AS dataset, name AS block, is_open, bytes AS size_bytes, files AS num_files,
           changed AS last_update_at FROM blocks WHERE set_name = ?"""
FILES_SQL = """
    SELECT set_name AS dataset, block, lfn, bytes AS size_bytes, adler32, is_good AS is_valid FROM files
    WHERE set_name = ?"""
SITES_SQL = """
    SELECT name AS site, kind AS storage_type, state AS status,
           json_array(json_object('protocol', protocol, 'prefix', prefix)) AS endpoints FROM places"""
ACCESSES_SQL = """
    SELECT day, set_name AS dataset, NULL AS lfn, place AS site, number AS num_accesses FROM reads WHERE day = ?"""


class SqliteOptions(Strict):
    """``path`` of the catalogue. Strict: an option that does not exist is an error that names it."""

    path: Path


class Catalogue:
    """What the three sources share: answers as frames with exactly the columns that Dynamo wants."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        del tls  # for sources behind HTTPS
        self.name = settings.name
        self._path = parse_options(settings, SqliteOptions).path

    def _frame(self, sql: str, values: Sequence[Any], schema: Any) -> pl.DataFrame:
        """One row a record. A value of another type than its column is an error that names both."""
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
                rows = connection.execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            raise RetryableRemoteError(f"{self.name}: {self._path}: {error}", service=self.name) from error

        def wrong(row: int, what: str) -> SourceDataError:
            return SourceDataError(f"{self.name}: {rows[row][0]}: {what}", source=self.name)

        columns = [self._column(name, dtype) for name, dtype in schema.items()]
        return pl.DataFrame(
            [from_values([row[place] for row in rows], column, wrong) for place, column in enumerate(columns)]
        )

    def _column(self, name: str, dtype: Any) -> Column:
        """Times are in unix seconds here, and the words for a dataset's status are not ours."""
        values = STATES if name == "status" and self.status_is_mapped else None
        return Column(name, dtype, name, times="iso" if name == "day" else "unix", values=values)

    status_is_mapped = False


class SqliteMetadata(Catalogue):
    """A MetadataSource: datasets changed in an interval, then the blocks and files of those that are asked for."""

    status_is_mapped = True

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        """Both ends belong to the interval; without ``since`` it is everything up to ``until``."""
        return self._frame(DATASETS_SQL, (since.timestamp() if since else 0, until.timestamp()), DATASETS)

    def count_datasets(self) -> int:
        """All of them: a pull that tells far fewer than last time is stopped."""
        return self._frame("SELECT count(*) FROM sets", (), {"number": pl.Int64}).item()

    def details(self, datasets: Sequence[str]) -> Iterator[Details]:
        """A part a dataset: what is in memory at a time stays small."""
        for dataset in datasets:
            yield Details(self._frame(BLOCKS_SQL, (dataset,), BLOCKS), self._frame(FILES_SQL, (dataset,), FILES))


class SqliteSites(Catalogue):
    """A SiteSource: all sites, each time."""

    def sites(self) -> pl.DataFrame:
        """One row a site; the endpoints are JSON text."""
        return self._frame(SITES_SQL, (), SITES)


class SqliteAccesses(Catalogue):
    """An AccessSource: the accesses of one UTC day."""

    def accesses(self, day: date) -> pl.DataFrame:
        """As told: whether the numbers can be right is for the gate to judge."""
        return self._frame(ACCESSES_SQL, (day.isoformat(),), ACCESSES)

    def fingerprint(self, day: date) -> str | None:
        """Changes when reads of the day come in late, so that the day is aggregated again."""
        sql = "SELECT count(*) || ' ' || coalesce(sum(number), 0) FROM reads WHERE day = ?"
        return self._frame(sql, (day.isoformat(),), {"text": pl.String}).item()
