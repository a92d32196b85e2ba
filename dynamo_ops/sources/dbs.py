"""DBS 3, the Dataset Bookkeeping Service of CMS, through its read-only REST interface.

DBS speaks of a dataset's ``dataset_access_type`` where we say status, and knows no open datasets: a dataset in
production counts as open. Its dataset times do not move when a block is added, which is why open datasets are asked for
their details on every pull (``inventory.staging``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Annotated, Any

import polars as pl
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from dynamo_ops.errors import SourceDataError
from dynamo_ops.settings import SourceSettings, Strict, Tls
from dynamo_ops.sources.http import HttpJson
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES, Details

STATUSES = {
    "VALID": "valid",
    "PRODUCTION": "production",
    "INVALID": "invalid",
    "DEPRECATED": "deprecated",
    "DELETED": "deleted",
}
NO_CHECKSUM = ("", "NOTSET", "NONE", "NULL")
LATEST_S = 32_503_680_000  # the year 3000: a time in milliseconds lies beyond it

Bytes = Annotated[int, Field(ge=-(2**63), lt=2**63)]
UnixTime = Annotated[float, Field(ge=0, le=LATEST_S)]


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


class _Name(TypedDict):
    dataset: str


class _Dataset(TypedDict, total=False):
    dataset: str
    dataset_access_type: str
    last_modification_date: UnixTime | None
    release_version: str | None


class _Block(TypedDict):
    block_name: str
    open_for_writing: int
    block_size: Bytes | None
    file_count: Bytes | None
    last_modification_date: UnixTime | None


class _File(TypedDict):
    logical_file_name: str
    block_name: str
    file_size: Bytes | None
    adler32: str | None
    is_file_valid: int | None


_NAMES = TypeAdapter(list[_Name])
_DATASETS = TypeAdapter(list[_Dataset])
_BLOCKS = TypeAdapter(list[_Block])
_FILES = TypeAdapter(list[_File])


class DbsSource:
    """A DBS 3 reader as a MetadataSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        self.name = settings.name
        self._options = parse_options(settings, DbsOptions)
        self._http = HttpJson(settings.name, tls, self._options.timeout_s, self._options.threads)

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        """Datasets of every status last changed in [since, until]. SourceDataError for a status nobody defined."""
        params: dict[str, Any] = {
            "dataset": self._options.dataset,
            "dataset_access_type": "*",
            "detail": 1,
            "max_ldate": math.ceil(until.timestamp()),
        }
        if since is not None:
            params["min_ldate"] = math.floor(since.timestamp())
        if self._options.with_release:
            params["release_version"] = "*"
        rows = self._http.rows(self._url("datasets"), _DATASETS, "dataset", params)
        return _one_release(_frame((self._dataset(row) for row in rows), DATASETS))

    def count_datasets(self) -> int:
        """All datasets of the pattern, of every status. DBS cannot count, so this lists their names."""
        params = {"dataset": self._options.dataset, "dataset_access_type": "*"}
        return len(self._http.rows(self._url("datasets"), _NAMES, "dataset", params))

    def details(self, datasets: Sequence[str]) -> Iterator[Details]:
        """Blocks and files of ``datasets``, two requests each, ``threads`` datasets at a time; a part is a dataset."""
        with ThreadPoolExecutor(self._options.threads) as threads:
            yield from threads.map(self._details, datasets)

    def _details(self, dataset: str) -> Details:
        params = {"dataset": dataset, "detail": 1}
        blocks = self._http.rows(self._url("blocks"), _BLOCKS, "block_name", params)
        files = self._http.rows(self._url("files"), _FILES, "logical_file_name", params)
        return Details(
            _frame((self._block(dataset, row) for row in blocks), BLOCKS),
            _frame((self._file(dataset, row) for row in files), FILES),
        )

    def _url(self, api: str) -> str:
        return f"{self._options.url.rstrip('/')}/{api}"

    def _dataset(self, row: _Dataset) -> dict[str, Any]:
        name, found = row.get("dataset"), row.get("dataset_access_type")
        if found not in STATUSES:
            raise SourceDataError(
                f"{self.name}: {name}: dataset_access_type is {found!r}, expected one of {', '.join(STATUSES)}",
                source=self.name,
                dataset=name,
                value=found,
            )
        status = STATUSES[found]
        return {
            "dataset": name,
            "status": status,
            "is_open": status == "production",
            "software_release": row.get("release_version"),
            "last_update_at": row.get("last_modification_date"),
        }

    def _block(self, dataset: str, row: _Block) -> dict[str, Any]:
        return {
            "dataset": dataset,
            "block": self._block_name(dataset, row["block_name"]),
            "is_open": row["open_for_writing"] == 1,
            "size_bytes": row["block_size"],
            "num_files": row["file_count"],
            "last_update_at": row["last_modification_date"],
        }

    def _file(self, dataset: str, row: _File) -> dict[str, Any]:
        return {
            "dataset": dataset,
            "block": self._block_name(dataset, row["block_name"]),
            "lfn": row["logical_file_name"],
            "size_bytes": row["file_size"],
            "adler32": normalised_adler32(row["adler32"]),
            "is_valid": row["is_file_valid"] != 0,
        }

    def _block_name(self, dataset: str, name: str) -> str:
        owner, _, block = name.partition("#")
        if owner != dataset or not block:
            raise SourceDataError(
                f"{self.name}: {dataset}: block_name is {name!r}, expected '{dataset}#…'",
                source=self.name,
                dataset=dataset,
                value=name,
            )
        return block


def normalised_adler32(text: str | None) -> str | None:
    """``text`` as eight lower-case hex digits; null for "no checksum"; unchanged when it is no checksum at all."""
    if text is None or text.strip().upper() in NO_CHECKSUM:
        return None
    digits = text.strip().lower().removeprefix("0x")
    return digits.zfill(8) if re.fullmatch(r"[0-9a-f]{1,8}", digits) else text


def _frame(rows: Iterable[dict[str, Any]], schema: dict[str, Any] | Any) -> pl.DataFrame:
    """The rows as a frame; ``last_update_at`` comes as unix seconds."""
    columns = dict(schema)
    if "last_update_at" not in columns:
        return pl.DataFrame(list(rows), schema=columns)
    frame = pl.DataFrame(list(rows), schema={**columns, "last_update_at": pl.Float64})
    micros = (pl.col("last_update_at") * 1_000_000).cast(pl.Int64)
    return frame.with_columns(micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("last_update_at"))


def _one_release(frame: pl.DataFrame) -> pl.DataFrame:
    """DBS lists a dataset once for each release it was made with: keep the highest. Other differences stay visible."""
    others = [name for name in frame.columns if name != "software_release"]
    return frame.group_by(others, maintain_order=True).agg(pl.col("software_release").max()).select(frame.columns)
