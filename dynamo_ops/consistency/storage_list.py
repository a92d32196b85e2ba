"""The listing of one site's storage, to Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.storage.protocol import STORED_FILES, Storage

_ARROW = pa.schema([("lfn", pa.string()), ("size_bytes", pa.int64()), ("modified_at", pa.timestamp("us", "UTC"))])


@dataclass(frozen=True)
class StorageList:
    """A listing that was written whole. ``listed_at``: when it began."""

    path: Path
    num_files: int
    size_bytes: int
    listed_at: datetime


def write_storage_list(storage: Storage, prefixes: Sequence[str], path: Path) -> StorageList:
    """List everything below ``prefixes``. Columns: ``STORED_FILES``.

    The file gets its name only when the listing is whole. A prefix that is not there counts as empty, unless none is:
    then the storage is not the one we think, and ``PermanentRemoteError`` says so.
    """
    listed_at = datetime.now(UTC)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    num_files = size = found = 0
    with pq.ParquetWriter(unfinished, _ARROW) as writer:
        for prefix in _outermost(prefixes):
            try:
                for frame in storage.list_files(prefix):
                    writer.write_table(frame.select(list(STORED_FILES)).to_arrow().cast(_ARROW))
                    num_files += frame.height
                    size += int(frame["size_bytes"].sum())
            except PermanentRemoteError as error:
                if error.facts.get("status") != 404:
                    raise
                continue
            found += 1
    if not found:
        raise PermanentRemoteError(
            f"site {storage.endpoint.site}: none of {list(prefixes)} is there",
            service="storage",
            site=storage.endpoint.site,
            status=404,
        )
    unfinished.replace(path)
    return StorageList(path, num_files, size, listed_at)


def _outermost(prefixes: Sequence[str]) -> list[str]:
    """The prefixes that are not inside another one, so that no file is listed twice."""
    return [
        one
        for one in sorted(set(prefixes))
        if not any(one != other and one.startswith(other.rstrip("/") + "/") for other in prefixes)
    ]


def read_list(path: Path) -> pl.LazyFrame:
    """A list of either kind."""
    return pl.scan_parquet(path)
