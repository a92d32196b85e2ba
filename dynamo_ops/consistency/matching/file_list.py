"""A list that is whole: its lines batch by batch, its keys by the function that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from dynamo_ops.consistency.matching.key import KeyFunction, line_keys
from dynamo_ops.consistency.matching.manifest import Manifest, no_list, read_manifest
from dynamo_ops.consistency.matching.partitions import KeyFiles, KeyFolder
from dynamo_ops.consistency.matching.writer import KEYS, NAME, SIZE

LINES_A_BATCH = 25_000
"""Half a row group: what is made of a batch takes several times its memory."""


@dataclass(frozen=True)
class FileList:
    """``manifest``: None for a list of before lists were folders, a single Parquet file without keys."""

    path: Path
    parts: tuple[Path, ...]
    manifest: Manifest | None
    notes: dict[str, str] = field(default_factory=dict)

    def scan(self) -> pl.LazyFrame:
        """All lines, for small lists."""
        return pl.scan_parquet(list(self.parts))

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The lines, some at a time; one batch without lines where there are none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        num_batches = 0
        for part in self.parts:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(LINES_A_BATCH, columns=columns, use_threads=False):
                    yield _frame(pa.Table.from_batches([batch]))
                    num_batches += 1
                if not num_batches and part == self.parts[-1]:
                    yield _frame(file.schema_arrow.empty_table().select(columns or file.schema_arrow.names))
            pa.default_memory_pool().release_unused()  # else it keeps as much again as a batch needs

    @contextmanager
    def keyed(self, key: KeyFunction) -> Iterator[KeyFolder]:
        """The keys by ``key``: those that it has, or made anew where another function made them."""
        if self.manifest is not None and self.manifest.key == key.identity:
            yield KeyFolder(self.path / KEYS, self.manifest.num_keys)
            return
        with TemporaryDirectory(dir=self.path.parent, prefix=f"{self.path.stem}.{KEYS}.") as folder:
            files = KeyFiles(Path(folder) / KEYS)
            for lines in self.batches([NAME, SIZE]):
                files.append(line_keys(key.hashes(lines[NAME]), lines[SIZE]))
            files.close()
            yield KeyFolder(Path(folder) / KEYS, files.num_keys)


def open_list(path: Path) -> FileList:
    """The list at ``path``. ``InventoryError`` where it is not whole."""
    if path.is_dir():
        manifest = read_manifest(path)
        return FileList(path, tuple(path / name for name in manifest.parts), manifest, manifest.notes)
    if not path.exists():
        raise no_list(path, "it is not there")
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path).metadata or {}
    notes = {key.decode(): note.decode() for key, note in metadata.items() if key != b"ARROW:schema"}
    return FileList(path, (path,), None, notes)


def _frame(table: Any) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
