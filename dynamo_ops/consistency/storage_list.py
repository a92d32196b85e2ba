"""The listing of one site's storage, to a list (``matching``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import polars as pl

from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.spans import span
from dynamo_ops.consistency.clocks import Clocks, clock_fault
from dynamo_ops.consistency.matching.file_list import open_list
from dynamo_ops.consistency.matching.writer import ListWriter
from dynamo_ops.consistency.settings import AS_SHIPPED
from dynamo_ops.storage.protocol import STORED_FILES, Storage, TellsServers, TellsTime

STORAGE_LIST = "storage.parquet"
"""Its name in the folder of a check."""
EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""Before there were file systems that we could have: what tools write that know no time."""
IN_ADVANCE = timedelta(days=366)
_ENDED, _CLOCK_FAULT = "listing_ended_at", "clock_fault"
"""Names of what the list says of itself."""


@dataclass(frozen=True)
class StorageList:
    """A listing that was written whole. ``listed_at``: when it began. ``num_unnamed``: files and directories that have
    no LFN, and are not in it. ``servers``: the data servers that were listed, where the storage has several."""

    path: Path
    num_files: int
    size_bytes: int
    listed_at: datetime
    num_unnamed: int = 0
    servers: tuple[str, ...] = ()


@span("consistency.list_storage")
def write_storage_list(
    storage: Storage,
    prefixes: Sequence[str],
    path: Path,
    now: datetime | None = None,
    clock_tolerance: timedelta = AS_SHIPPED.clock_tolerance,
) -> StorageList:
    """List everything below ``prefixes``. Columns: ``STORED_FILES``.

    The list gets its name only when the listing is whole. A prefix that is not there counts as empty, unless none is:
    then the storage is not the one we think, and ``PermanentRemoteError`` says so. ``now``: by the database's clock,
    which all machines share; this one's and the storage's are compared with it, and the list keeps what differs.
    A file that was changed at a time that cannot be has none: it counts as new.
    """
    own_clock = datetime.now(UTC)
    listed_at, began_s = now or own_clock, monotonic()
    clocks = {"this machine": own_clock, f"the storage of {storage.endpoint.site}": _clock_of(storage)}
    fault = clock_fault(listed_at, clocks, clock_tolerance)
    path.parent.mkdir(parents=True, exist_ok=True)
    num_files = size = found = num_unnamed = 0
    with ListWriter(path, STORED_FILES) as writer:
        for prefix in _outermost(prefixes):
            try:
                for frame in storage.list_files(prefix):
                    num_unnamed += frame["lfn"].null_count()
                    frame = _dated(frame.drop_nulls("lfn"), listed_at)
                    writer.write(frame)
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
        ended_at = listed_at + timedelta(seconds=monotonic() - began_s)
        writer.notes = {_ENDED: ended_at.isoformat(), _CLOCK_FAULT: fault or ""}
    servers = storage.data_servers() if isinstance(storage, TellsServers) else ()
    return StorageList(path, num_files, size, listed_at, num_unnamed, servers)


def _dated(files: pl.DataFrame, listed_at: datetime) -> pl.DataFrame:
    """Clocks that are wrong are so by less than ``IN_ADVANCE``; what is further away says nothing, not even of them."""
    is_possible = pl.col("modified_at").is_between(EARLIEST, listed_at + IN_ADVANCE)
    return files.with_columns(modified_at=pl.when(is_possible).then("modified_at"))


def _outermost(prefixes: Sequence[str]) -> list[str]:
    """The prefixes that are not inside another one, so that no file is listed twice."""
    return [
        one
        for one in sorted(set(prefixes))
        if not any(one != other and one.startswith(other.rstrip("/") + "/") for other in prefixes)
    ]


def read_clocks(path: Path) -> Clocks:
    """What the storage list at ``path`` says of its time; nothing where it was written before lists said it."""
    notes = open_list(path).notes
    ended = notes.get(_ENDED)
    return Clocks(datetime.fromisoformat(ended) if ended else None, notes.get(_CLOCK_FAULT) or None)


def _clock_of(storage: Storage) -> datetime | None:
    return storage.clock() if isinstance(storage, TellsTime) else None
