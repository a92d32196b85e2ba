"""Datasets, blocks and files from drops: a table of each in JSON lines, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.checksum import adler32_digits
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.metadata.parts import joined
from dynamo_ops.sources.metadata.tables import MAY_LACK, STATUSES, TABLES, changed_in, with_open
from dynamo_ops.sources.reading.bad_records import BadRecords
from dynamo_ops.sources.reading.columns import MISSING, Column, Times
from dynamo_ops.sources.reading.drop import Drop, Found
from dynamo_ops.sources.source import BLOCKS, FILES, Details


class FilesOptions(Strict):
    """``path``: a folder or URL; ``datasets``, ``blocks``, ``files``: names or globs in it, of at least one file each.

    ``columns``: by table, what the drop calls our columns. ``times``: how text and numbers tell times. ``statuses``:
    what its words for a dataset's status mean; without it they are ours. ``storage_options``: for fsspec.
    ``datasets_per_page``: each page of a pull reads the drop once, so pages are large.
    """

    path: str
    datasets: str = "datasets*"
    blocks: str = "blocks*"
    files: str = "files*"
    columns: dict[Literal["datasets", "blocks", "files"], dict[str, str]] = Field(default_factory=dict)
    times: Times = "iso"
    statuses: dict[str, Literal[STATUSES]] | None = None  # type: ignore[valid-type]
    storage_options: dict[str, Any] = Field(default_factory=dict)
    datasets_per_page: int = Field(20_000, ge=1)

    @model_validator(mode="after")
    def _known_columns(self) -> FilesOptions:
        for table, names in self.columns.items():
            for name in names:
                if name not in TABLES[table]:
                    raise ValueError(f"columns.{table}: no column {name!r}; there are {', '.join(TABLES[table])}")
        return self


class FilesSource:
    """Drops of three tables as a MetadataSource. Rows are as the drop has them when they are read: replace it whole."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        del tls  # a storage has credentials of its own
        self.name = settings.name
        self._options = parse_options(settings, FilesOptions)
        self._drop = Drop(settings.name, self._options.storage_options)
        self.datasets_per_page = self._options.datasets_per_page

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        """Datasets last changed in [since, until]; one without a time is always among them. One without ``is_open`` is
        open while it is in production."""
        bad = BadRecords()
        datasets = pl.concat([pl.DataFrame(schema=dict(TABLES["datasets"])), *self._frames("datasets", bad)])
        return bad.beside(with_open(changed_in(datasets, since, until)))

    def count_datasets(self) -> int:
        """All datasets of the drop."""
        column = self._column("datasets", "dataset")
        return sum(frame.height for file in self._files("datasets") for frame in self._drop.frames(file, [column]))

    def details(self, datasets: Sequence[str]) -> Iterator[Details]:
        """Blocks and files of ``datasets``; the drop is read once, a batch at a time."""
        return joined(self._details(frozenset(datasets)))

    def _details(self, names: Collection[str]) -> Iterator[Details]:
        no_blocks, no_files = pl.DataFrame(schema=dict(BLOCKS)), pl.DataFrame(schema=dict(FILES))
        bad = BadRecords(names)
        for blocks in self._frames("blocks", bad, names):
            yield Details(blocks, no_files)
        for files in self._frames("files", bad, names):
            yield Details(no_blocks, files.with_columns(adler32_digits()))
        if bad:
            yield Details(no_blocks, no_files, bad.frame())

    def _frames(self, table: str, bad: BadRecords, names: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        columns = [self._column(table, name) for name in TABLES[table]]
        for file in self._files(table):
            for frame in self._drop.frames(file, columns, names, bad):
                if names is not None and frame["dataset"].null_count():
                    raise self._nameless(file, frame)
                if frame.height or names is None:
                    yield frame

    def _column(self, table: str, name: str) -> Column:
        field = self._options.columns.get(table, {}).get(name, name)  # type: ignore[call-overload]
        statuses = self._options.statuses or dict.fromkeys(STATUSES)
        meanings = {word: ours or word for word, ours in statuses.items()} if name == "status" else None
        default = MAY_LACK[table].get(name, MISSING)
        return Column(name, TABLES[table][name], field, self._options.times, default, meanings)

    def _files(self, table: str) -> list[Found]:
        place = f"{self._options.path.rstrip('/')}/{getattr(self._options, table)}"
        files = self._drop.find(place)
        if not files:
            raise SourceDataError(f"{self.name}: no file of {table} at {place}", source=self.name, file=place)
        return files

    def _nameless(self, file: Found, frame: pl.DataFrame) -> SourceDataError:
        record = frame.filter(pl.col("dataset").is_null()).row(0, named=True)
        shown = record.get("lfn") or record["block"]
        return SourceDataError(
            f"{self.name}: {file.path}: {shown}: dataset is null", source=self.name, file=file.path, value=shown
        )
