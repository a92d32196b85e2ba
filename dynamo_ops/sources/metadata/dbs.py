"""DBS 3, the Dataset Bookkeeping Service of CMS, through its read-only REST interface.

DBS speaks of a dataset's ``dataset_access_type`` where we say status, and knows no open datasets: a dataset in
production counts as open. Its dataset times do not move when a block is added, which is why open datasets are asked for
their details on every pull (``inventory.staging.pull``). It has no pages: a list comes whole, so a huge dataset is
asked for block by block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import polars as pl
from pydantic import Field

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.checksum import adler32_digits
from dynamo_ops.inventory.frames import UTC
from dynamo_ops.inventory.kinds import DatasetStatus
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.metadata.parts import fetched, joined
from dynamo_ops.sources.reading.bad_records import BadRecords
from dynamo_ops.sources.reading.columns import Column
from dynamo_ops.sources.reading.http import HttpJson
from dynamo_ops.sources.reading.records import Records
from dynamo_ops.sources.source import BLOCKS, FILES, Details, dataset_columns

STATUSES = {
    "VALID": "valid",
    "PRODUCTION": "production",
    "INVALID": "invalid",
    "DEPRECATED": "deprecated",
    "DELETED": "deleted",
}
FILES_PER_REQUEST = 50_000
"""A dataset of more files is asked for block by block: some 45 MB of JSON, which DBS sends in half a minute."""

_NAMES = (Column("dataset", pl.String, "dataset"),)
_DATASETS = (
    Column("dataset", pl.String, "dataset"),
    Column("status", pl.String, "dataset_access_type", values=STATUSES),
    Column("software_release", pl.String, "release_version", default=None),
    Column("last_update_at", UTC, "last_modification_date", "unix", default=None),
)
_BLOCKS = (
    Column("block", pl.String, "block_name"),
    Column("is_open", pl.Int64, "open_for_writing"),
    Column("size_bytes", pl.Int64, "block_size"),
    Column("num_files", pl.Int64, "file_count"),
    Column("last_update_at", UTC, "last_modification_date", "unix"),
)
_FILES = (
    Column("lfn", pl.String, "logical_file_name"),
    Column("block", pl.String, "block_name"),
    Column("size_bytes", pl.Int64, "file_size"),
    Column("adler32", pl.String, "adler32"),
    Column("is_valid", pl.Int64, "is_file_valid"),
)


class DbsOptions(Strict):
    """``url``: up to and including ``DBSReader``. ``dataset``: a pattern that all datasets asked for must match.

    ``with_release``: ask for the software release as well. Off unless asked for: a DBS may then leave out the
    datasets that have none, which would look as if they had vanished.
    """

    url: str = Field(pattern=r"^https?://")
    dataset: str = "/*/*/*"
    with_release: bool = False
    threads: int = Field(4, ge=1, le=32)
    timeout_s: float = Field(120, gt=0)


class DbsSource:
    """A DBS 3 reader as a MetadataSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        self.name = settings.name
        self._options = parse_options(settings, DbsOptions)
        self._http = HttpJson(settings.name, tls, self._options.timeout_s, self._options.threads)
        self._names, self._datasets = Records(_NAMES), Records(_DATASETS, "dataset")
        self._blocks, self._files = Records(_BLOCKS, "block"), Records(_FILES, "lfn")

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        """Datasets of every status last changed in [since, until]; one of a status that nobody defined has a ``fault``.

        DBS knows whole seconds: what changed in the second of ``until`` counts as changed by then.
        """
        params: dict[str, Any] = {
            "dataset": self._options.dataset,
            "dataset_access_type": "*",
            "detail": 1,
            "max_ldate": math.floor(until.timestamp()),
        }
        if since is not None:
            params["min_ldate"] = math.ceil(since.timestamp())
        if self._options.with_release:
            params["release_version"] = "*"
        bad = BadRecords()
        datasets = self._http.frame(self._url("datasets"), self._datasets, params, bad)
        datasets = datasets.with_columns(is_open=pl.col("status") == DatasetStatus.PRODUCTION)
        return bad.beside(_one_release(datasets.select(dataset_columns(datasets))))

    def count_datasets(self) -> int:
        """All datasets of the pattern, of every status. DBS cannot count, so this lists their names."""
        params = {"dataset": self._options.dataset, "dataset_access_type": "*"}
        return self._http.frame(self._url("datasets"), self._names, params).height

    def details(self, datasets: Sequence[str]) -> Iterator[Details]:
        """Blocks and files of ``datasets``, ``threads`` requests at a time; of a huge dataset one request a block."""
        return joined(self._details(datasets))

    def _details(self, datasets: Sequence[str]) -> Iterator[Details]:
        ahead = self._options.threads
        with ThreadPoolExecutor(ahead) as threads:
            for details, left in fetched(threads, self._dataset, datasets, ahead):
                yield details
                yield from fetched(threads, self._of_block, left, ahead)

    def _dataset(self, dataset: str) -> tuple[Details, list[tuple[str, str]]]:
        """Blocks and files of a dataset; of a huge one the blocks only, and their names.

        Production may add a block between both questions. Its files are there then, so the blocks are asked for again;
        what has no block even so is for the gate.
        """
        bad = BadRecords()
        blocks = self._blocks_of(dataset, bad)
        if bad:
            return _only_faults(bad), []
        if _is_huge(blocks):
            left = [(dataset, block) for block in blocks["block"]]
            return Details(blocks, pl.DataFrame(schema=dict(FILES))), left
        files = self._files_of(dataset, {"dataset": dataset, "detail": 1}, bad)
        if not bad and not files["block"].is_in(blocks["block"].implode()).all():
            blocks = self._blocks_of(dataset, bad)
        return (_only_faults(bad) if bad else Details(blocks, files)), []

    def _blocks_of(self, dataset: str, bad: BadRecords) -> pl.DataFrame:
        blocks = self._http.frame(self._url("blocks"), self._blocks, {"dataset": dataset, "detail": 1}, bad, dataset)
        blocks = blocks.with_columns(is_open=pl.col("is_open") == 1)
        return self._named(dataset, blocks, bad).select(list(BLOCKS))

    def _of_block(self, name: tuple[str, str]) -> Details:
        (dataset, block), bad = name, BadRecords()
        files = self._files_of(dataset, {"block_name": f"{dataset}#{block}", "detail": 1}, bad)
        return _only_faults(bad) if bad else Details(pl.DataFrame(schema=dict(BLOCKS)), files)

    def _files_of(self, dataset: str, params: dict[str, Any], bad: BadRecords) -> pl.DataFrame:
        files = self._http.frame(self._url("files"), self._files, params, bad, dataset)
        is_valid = pl.col("is_valid").ne_missing(0)  # what DBS does not call invalid is kept
        return self._named(dataset, files.with_columns(adler32_digits(), is_valid=is_valid), bad).select(list(FILES))

    def _named(self, dataset: str, frame: pl.DataFrame, bad: BadRecords) -> pl.DataFrame:
        """The frame with its dataset, and blocks by the part of their name behind ``#``."""
        prefix = f"{dataset}#"
        name = pl.col("block")
        strange = frame.filter(~(name.str.starts_with(prefix) & (name.str.len_bytes() > len(prefix.encode()))))
        if not strange.is_empty():
            block_name = strange["block"][0]
            error = SourceDataError(
                f"{self.name}: {dataset}: block_name is {block_name!r}, expected '{dataset}#…'",
                source=self.name,
                dataset=dataset,
                value=block_name,
            )
            bad.note(dataset, error)
        return frame.with_columns(name.str.strip_prefix(prefix), dataset=pl.lit(dataset))

    def _url(self, api: str) -> str:
        return f"{self._options.url.rstrip('/')}/{api}"


def _only_faults(bad: BadRecords) -> Details:
    return Details(pl.DataFrame(schema=dict(BLOCKS)), pl.DataFrame(schema=dict(FILES)), bad.frame())


def _is_huge(blocks: pl.DataFrame) -> bool:
    return int(blocks["num_files"].sum()) > FILES_PER_REQUEST


def _one_release(frame: pl.DataFrame) -> pl.DataFrame:
    """DBS lists a dataset once for each release it was made with: keep the highest. Other differences stay visible."""
    keys = [name for name in frame.columns if name != "software_release"]
    return frame.group_by(keys, maintain_order=True).agg(pl.col("software_release").max()).select(frame.columns)
