"""A list while it is written: Parquet parts of its lines, and the keys of these."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from dynamo_ops.consistency.matching.key import POLARS_KEY, KeyFunction, line_keys
from dynamo_ops.consistency.matching.manifest import Manifest, write_manifest
from dynamo_ops.consistency.matching.partitions import KeyFiles

NAME, SIZE = "lfn", "size_bytes"
"""Columns that every list has."""
KEYS = "keys"
LINES_A_GROUP = 50_000
LINES_A_PART = 20 * LINES_A_GROUP


def remove_list(path: Path) -> None:
    """What is at ``path``, a list of today or of before lists were folders, and what was being written there. A list
    that is being removed is none at once."""
    _remove(unfinished(path))
    if path.exists():
        path.replace(unfinished(path))
        _remove(unfinished(path))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """Where a list is until it is whole."""
    return path.with_suffix(".unfinished")


class ListWriter:
    """Writes a list to the folder ``path``, which gets its name, in place of what was there, only when the ``with``
    block ends without an error. ``schema``: its columns, ``NAME`` and ``SIZE`` among them. ``notes`` are kept."""

    def __init__(self, path: Path, schema: Mapping[str, Any], key: KeyFunction = POLARS_KEY) -> None:
        self._path, self._folder = path, unfinished(path)
        self._schema = pl.DataFrame(schema=schema)
        self._columns = [pl.col(name).cast(kind) for name, kind in schema.items()]
        self._key = key
        self._waiting: list[pl.DataFrame] = []
        self._num_waiting = 0
        self._parts: dict[str, int] = {}
        self._part: Any = None
        self.notes: dict[str, str] = {}

    def __enter__(self) -> ListWriter:
        import pyarrow.parquet  # noqa: F401  # slow to import, and most tasks of a check write no list

        _remove(self._folder)
        self._keys = KeyFiles(self._folder / KEYS)
        self._arrow_schema = self._schema.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        self._open_part()
        return self

    def write(self, lines: pl.DataFrame) -> None:
        """Add lines that have all columns of the schema. Those of a row group are held."""
        self._waiting.append(lines.select(self._columns))
        self._num_waiting += lines.height
        if self._num_waiting >= LINES_A_GROUP:
            self._write_groups(LINES_A_GROUP)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write_groups(1)
        finally:
            self._part.close()
            self._keys.close()
        if kind is not None:
            _remove(self._folder)
            return
        write_manifest(self._folder, Manifest(self._parts, self._key.identity, self._keys.num_keys, self.notes))
        _remove(self._path)
        self._folder.replace(self._path)

    def _write_groups(self, at_least: int) -> None:
        """What waits, in row groups, as long as there is enough for one."""
        lines = pl.concat(self._waiting) if self._waiting else self._schema
        begin = 0
        while lines.height - begin >= at_least:
            self._write_group(lines.slice(begin, LINES_A_GROUP))
            begin += LINES_A_GROUP
        left = lines.slice(begin)
        self._waiting, self._num_waiting = [left], left.height

    def _write_group(self, lines: pl.DataFrame) -> None:
        name = next(reversed(self._parts))
        if self._parts[name] >= LINES_A_PART:
            self._part.close()
            name = self._open_part()
        table = lines.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._arrow_schema)
        self._part.write_table(table, row_group_size=LINES_A_GROUP)
        self._parts[name] += lines.height
        self._keys.append(line_keys(self._key.hashes(lines[NAME]), lines[SIZE]))

    def _open_part(self) -> str:
        import pyarrow.parquet as pq

        name = f"part-{len(self._parts):05d}.parquet"
        self._part = pq.ParquetWriter(
            self._folder / name, self._arrow_schema, compression="zstd", compression_level=1, use_dictionary=False
        )
        self._parts[name] = 0
        return name
