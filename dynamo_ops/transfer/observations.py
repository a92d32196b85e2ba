"""FTS's answers → one observation a file. Pure (FTS_CONTRACT §4).

Files are matched by the ``transfer_id`` that we put in their metadata: URLs come back altered, and alternatives of a
multi-source job are several rows for one file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from dynamo_ops.fts.client import JobStatus
from dynamo_ops.inventory.states import TransferObservation as Seen

OBSERVATIONS: dict[str, Any] = {
    "transfer_id": pl.Int64,
    "observation": pl.String,
    "size_bytes": pl.Int64,
    "reason": pl.String,
    "is_recoverable": pl.Boolean,
    "started_at": pl.Datetime("us", "UTC"),
    "finished_at": pl.Datetime("us", "UTC"),
}

FILE_STATES: Mapping[str, Seen | None] = {
    "TOKEN_PREP": Seen.QUEUED,
    "SUBMITTED": Seen.QUEUED,
    "ON_HOLD": Seen.QUEUED,
    "FORCE_START": Seen.QUEUED,
    "QOS_TRANSITION": Seen.RUNNING,
    "QOS_REQUEST_SUBMITTED": Seen.RUNNING,
    "STAGING": Seen.STAGING,
    "STARTED": Seen.STAGING,
    "ON_HOLD_STAGING": Seen.STAGING,
    "READY": Seen.RUNNING,
    "ACTIVE": Seen.RUNNING,
    "ARCHIVING": Seen.RUNNING,
    "FINISHED": Seen.FINISHED,
    "FAILED": Seen.FAILED,
    "CANCELED": Seen.CANCELLED,
    "NOT_USED": None,  # an alternative source not tried (yet): says nothing by itself
}
# Among the alternatives of one file the first of these that occurs speaks for the file.
PRECEDENCE = (Seen.FINISHED, Seen.RUNNING, Seen.STAGING, Seen.QUEUED, Seen.FAILED, Seen.CANCELLED)

# errno for which trying the same source again is in vain: EPERM, ENOENT, EACCES, EEXIST, ENOTDIR, EISDIR, ENAMETOOLONG.
PERMANENT_ERRNOS = frozenset({1, 2, 13, 17, 20, 21, 36})
_ERRNO = re.compile(r"^[A-Z_]+ \[(\d+)\]")
# FTS calls a wrong checksum irrecoverable wherever it finds it. Where the bytes were right at the source and wrong at
# the destination, the source is not to blame.
BAD_ARRIVAL = re.compile(r"^DESTINATION \[5\] .*checksum do not match")
# A cancelled copy whose process is still being killed may yet write; FTS stamps it within seconds (FTS_CONTRACT §7).
CANCEL_PATIENCE = timedelta(hours=1)


def is_recoverable(flag: bool | None, reason: str) -> bool:
    """Whether the same source is worth another attempt: FTS's own word, else the errno in its reason, else yes.

    FTS leaves the flag null for failures of staging. Bytes that arrived wrong (``BAD_ARRIVAL``) are worth another.
    """
    if BAD_ARRIVAL.match(reason):
        return True
    if flag is not None:
        return flag
    errno = _ERRNO.match(reason)
    return errno is None or int(errno.group(1)) not in PERMANENT_ERRNOS


def read_observations(statuses: Iterable[JobStatus], now: datetime) -> pl.DataFrame:
    """One row per file of the jobs that FTS knows (``OBSERVATIONS``). States that we do not know change nothing."""
    rows = [row for status in statuses if status.is_known for row in _job_rows(status, now)]
    return pl.DataFrame(rows, schema=OBSERVATIONS, orient="row")


def _job_rows(status: JobStatus, now: datetime) -> Iterable[tuple[Any, ...]]:
    by_file: dict[int, list[Mapping[str, Any]]] = {}
    for file in status.files:
        metadata = file.get("file_metadata")
        if isinstance(metadata, dict) and metadata.get("transfer_id") is not None:
            by_file.setdefault(int(metadata["transfer_id"]), []).append(file)
    for transfer_id, alternatives in by_file.items():
        row = _file_row(transfer_id, alternatives, status, now)
        if row is not None:
            yield row


def _file_row(
    transfer_id: int, alternatives: list[Mapping[str, Any]], status: JobStatus, now: datetime
) -> tuple[Any, ...] | None:
    seen = [(observe_file(file, status, now), file) for file in alternatives]
    for observation in PRECEDENCE:
        matching = [file for kind, file in seen if kind == observation]
        if matching:
            failed = observation in (Seen.FAILED, Seen.CANCELLED)
            if failed and len(alternatives) > 1 and not status.is_ended:
                return None  # FTS is about to turn to the next source
            file = matching[0] if failed else matching[-1]
            reason = str(file.get("reason") or "")
            others = [str(other.get("reason")) for other in matching[1:] if failed and other.get("reason")]
            return (
                transfer_id,
                observation.value,
                file.get("filesize"),
                "; then ".join([reason, *others]) or None,
                any(_is_worth_it(kind, each) for kind, each in seen) if failed else None,
                utc(file.get("start_time") or file.get("staging_start")),
                utc(file.get("finish_time")),
            )
    return None


def _is_worth_it(kind: Seen | None, file: Mapping[str, Any]) -> bool:
    """Whether one of the alternatives may serve another time: it failed for now, or was not tried to its end. If one
    may, none is refused: which of them failed for good shows when each is tried alone."""
    return kind != Seen.FAILED or is_recoverable(file.get("recoverable"), str(file.get("reason") or ""))


def observe_file(file: Mapping[str, Any], status: JobStatus, now: datetime) -> Seen | None:
    """What one row of FTS says; None when it says nothing of the file."""
    observation = FILE_STATES.get(str(file.get("file_state")))
    if observation is None and status.is_ended:
        return Seen.CANCELLED  # not used, or a state that we do not know: nothing more will come of it
    if observation == Seen.CANCELLED and file.get("start_time") and not file.get("finish_time"):
        ended = utc(status.finished_at)
        if ended is not None and now - ended < CANCEL_PATIENCE:
            return Seen.RUNNING
    return observation


def utc(value: str | None) -> datetime | None:
    """FTS's times are UTC without saying so."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if value else None
