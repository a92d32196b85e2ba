"""FTS's answers → one observation a file. Pure (FTS_CONTRACT §4).

Files are matched by the ``transfer_id`` that we put in their metadata: URLs come back altered, and alternatives of a
multi-source job are several rows for one file. Whose fault a failure was: ``inventory.subscription.blame``. A tape
that has a file already is not overwritten (SEMANTICS §10): what
FTS tells of that file (``dst_file``) decides whether it is the copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from dynamo_ops.fts.client import JobStatus
from dynamo_ops.inventory.checksum import adler32_text
from dynamo_ops.inventory.states import TransferObservation as Seen
from dynamo_ops.inventory.states import VerifiedBy
from dynamo_ops.inventory.subscription.blame import Blame, Verdict, errno_of, judge, judge_all

OBSERVATIONS: dict[str, Any] = {
    "transfer_id": pl.Int64,
    "observation": pl.String,
    "size_bytes": pl.Int64,
    "reason": pl.String,
    "is_recoverable": pl.Boolean,
    "blame": pl.String,
    "verified_by": pl.String,
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
    "ARCHIVING": Seen.ARCHIVING,
    "FINISHED": Seen.FINISHED,
    "FAILED": Seen.FAILED,
    "CANCELED": Seen.CANCELLED,
    "NOT_USED": None,  # an alternative source not tried (yet): says nothing by itself
}
# Among the alternatives of one file the first of these that occurs speaks for the file.
PRECEDENCE = (
    Seen.FINISHED,
    Seen.ARCHIVING,
    Seen.RUNNING,
    Seen.STAGING,
    Seen.QUEUED,
    Seen.OCCUPIED,
    Seen.FAILED,
    Seen.CANCELLED,
)
_IN_VAIN = frozenset({Seen.OCCUPIED, Seen.FAILED, Seen.CANCELLED})

EXISTS = 17
# A cancelled copy whose process is still being killed may yet write; FTS stamps it within seconds (FTS_CONTRACT §7).
CANCEL_PATIENCE = timedelta(hours=1)
OCCUPIED = Verdict(Blame.DESTINATION, is_worth_it=False)
"""It has something else by the name of the file, and keeps it: no source can help."""
_LATE_TAPE = Verdict(Blame.TAPE, is_worth_it=True)
_NO_FAILURE = Verdict(Blame.NOBODY, is_worth_it=True)


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


@dataclass(frozen=True)
class _Look:
    """What one row of FTS says. ``verdict``: of what came to nothing. ``verified_by``: None, where it is as the job was
    asked to."""

    seen: Seen | None
    size_bytes: int | None
    reason: str
    verdict: Verdict
    started_at: datetime | None
    finished_at: datetime | None
    verified_by: VerifiedBy | None = None


def _file_row(
    transfer_id: int, alternatives: list[Mapping[str, Any]], status: JobStatus, now: datetime
) -> tuple[Any, ...] | None:
    looks = [_look(file, status, now) for file in alternatives]
    for observation in PRECEDENCE:
        matching = [look for look in looks if look.seen == observation]
        if matching:
            failed = observation in _IN_VAIN
            if failed and len(alternatives) > 1 and not status.is_ended:
                return None  # FTS is about to turn to the next source
            look = matching[0] if failed else matching[-1]
            others = [other.reason for other in matching[1:] if failed and other.reason]
            verdict = judge_all([each.verdict for each in looks]) if failed else None
            return (
                transfer_id,
                observation.value,
                look.size_bytes,
                "; then ".join([look.reason, *others]) or None,
                verdict.is_worth_it if verdict else None,
                verdict.blame.value if verdict and observation != Seen.CANCELLED else None,
                look.verified_by,
                look.started_at,
                look.finished_at,
            )
    return None


def _look(file: Mapping[str, Any], status: JobStatus, now: datetime) -> _Look:
    seen, reason = observe_file(file, status, now), str(file.get("reason") or "")
    verdict = judge(reason, file.get("recoverable")) if seen == Seen.FAILED else _NO_FAILURE
    size_bytes, archiving_since = file.get("filesize"), utc(file.get("archive_start_time"))
    verified_by = None
    if seen == Seen.FAILED and archiving_since:
        verdict = _LATE_TAPE  # the source gave the file: it is the tape that did not get it in time
    elif seen == Seen.FAILED and errno_of(reason) == EXISTS and _asked(file):
        seen, why = judge_existing(file, status)
        reason, verdict = f"{reason}: {why}" if why else "", _LATE_TAPE if seen == Seen.FAILED else OCCUPIED
        if seen == Seen.FINISHED:
            size_bytes = _asked(file)["size_bytes"]
            verified_by = VerifiedBy.DESTINATION if _asked(file).get("adler32") else VerifiedBy.SIZE
    return _Look(
        seen,
        size_bytes,
        reason,
        verdict,
        utc(file.get("start_time") or file.get("staging_start")),
        archiving_since if seen == Seen.ARCHIVING else utc(file.get("finish_time")),
        verified_by,
    )


def judge_existing(file: Mapping[str, Any], status: JobStatus) -> tuple[Seen, str]:
    """What a copy to tape has come to that found a file by its name there, by FTS's report on that file; and why.

    ``FINISHED``: it is the copy, and on tape. ``FAILED``: it is the copy, of an earlier attempt, and not on tape yet;
    another attempt will see. ``OCCUPIED``: it is something else, or nobody says what it is.
    """
    asked = _asked(file)
    report = asked.get("dst_file")
    if not isinstance(report, dict):
        return Seen.OCCUPIED, "FTS does not tell what it is, and on tape nothing is overwritten"
    size_bytes, checksum = str(report.get("file_size")), _adler32(report)
    is_on_tape = report.get("file_on_tape") is True
    where = "on tape" if is_on_tape else "in the disk buffer of the tape"
    if size_bytes != str(asked["size_bytes"]) or asked.get("adler32") not in (None, checksum):
        expected = f"{asked['size_bytes']} bytes, adler32 {asked.get('adler32') or 'unknown'}"
        told = f"{size_bytes} bytes, adler32 {checksum or 'unknown'}"
        return Seen.OCCUPIED, f"it has {told}, the inventory knows {expected}; it lies {where} and is not overwritten"
    if is_on_tape or status.archive_timeout <= 0:
        return Seen.FINISHED, ""
    return Seen.FAILED, "it is the copy, of an earlier attempt, and not on tape yet"


def _asked(file: Mapping[str, Any]) -> Mapping[str, Any]:
    """Our metadata of a copy to tape; nothing of any other."""
    metadata = file.get("file_metadata")
    return metadata if isinstance(metadata, dict) and "size_bytes" in metadata else {}


def _adler32(report: Mapping[str, Any]) -> str | None:
    return adler32_text(report.get("checksum_value")) if str(report.get("checksum_type")).lower() == "adler32" else None


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
