"""Holds the installed example package to the checks that every source must pass: run in a process of its own.

What a package needs for that is a backend of each kind of source, which lets the source tell a given world.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from dynamo_ops.base.errors import DynamoError, RetryableRemoteError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import metadata_source, site_source
from dynamo_ops.sources.usage.source import access_source
from tests.sources.conformance import ACCESS_CHECKS, DAY, METADATA_CHECKS, SITE_CHECKS
from tests.sources.told import MUONS, Dataset, blocks_frame, files_frame

TABLES = """
    CREATE TABLE sets (name, state, version, changed);
    CREATE TABLE blocks (set_name, name, is_open, bytes, files, changed);
    CREATE TABLE files (set_name, block, lfn, bytes, adler32, is_good);
    CREATE TABLE places (name, kind, state, protocol, prefix);
    CREATE TABLE reads (day, set_name, place, number);"""
STATES = {"production": "NEW", "valid": "GOOD", "invalid": "BAD", "deprecated": "OLD"}


class Backend:
    """A new database for each world."""

    level = "dataset"
    counts_records = False
    faults = (({}, "path"), ({"path": "/x", "table": "sets"}, "table"))

    def __init__(self, name: str, make: Callable[[SourceSettings, Tls], Any], folder: Path) -> None:
        self.name = name
        self._make, self._folder = make, folder
        self._counter = count()

    def made(self, options: dict[str, Any]) -> Any:
        return self._make(SourceSettings(name="example", type="sqlite", options=options), Tls())

    def away(self) -> tuple[Any, type[DynamoError]]:
        return self.made({"path": str(self._folder / "nowhere.db")}), RetryableRemoteError

    def told(self, **tables: Sequence[Sequence[Any]]) -> Any:
        path = self._folder / f"{self.name}-{next(self._counter)}.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(TABLES)
            for table, rows in tables.items():
                for row in rows:
                    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
            connection.commit()
        return self.made({"path": str(path)})


class Metadata(Backend):
    def source(self, world: Sequence[Dataset], size: Any = None) -> Any:
        return self.told(
            sets=[(d.dataset, STATES[d.status], d.software_release, d.last_update_at.timestamp()) for d in world],
            blocks=[(*row[:-1], row[-1].timestamp()) for row in blocks_frame(world).iter_rows()],
            files=[(*row[:3], size or row[3], *row[4:]) for row in files_frame(world).iter_rows()],
        )

    def broken(self) -> tuple[Any, Sequence[str]]:
        return self.source([MUONS], "big"), ["size_bytes", MUONS.dataset]


class Sites(Backend):
    def source(self, sites: Sequence[tuple[str, str, str, str, str]]) -> Any:
        return self.told(places=sites)

    def broken(self) -> tuple[Any, Sequence[str]]:
        return self.told(places=[("T2_BB", 7, "ready", "davs", "davs://b")]), ["T2_BB", "storage_type is 7"]


class Accesses(Backend):
    def source(self, records: Sequence[tuple[Any, ...]]) -> Any:
        return self.told(reads=[(day.isoformat(), *more) for day, *more in records])

    def broken(self) -> tuple[Any, Sequence[str]]:
        return self.told(reads=[(DAY.isoformat(), MUONS.dataset, "T2_BB", "many")]), ["num_accesses is 'many'"]


def main(folder: Path) -> int:
    """Runs all checks; returns how many there were."""
    kinds: list[tuple[Any, Sequence[Callable[[Any], None]]]] = [
        (Metadata("metadata", metadata_source, folder), METADATA_CHECKS),
        (Sites("sites", site_source, folder), SITE_CHECKS),
        (Accesses("accesses", access_source, folder), ACCESS_CHECKS),
    ]
    for backend, checks in kinds:
        for check in checks:
            check(backend)
    return sum(len(checks) for _, checks in kinds)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(f"{main(Path(place))} checks passed by {sys.modules['dynamo_example_sources'].__file__}")
