"""Job documents of FTS: what to copy, from where, under which sid (FTS_CONTRACT §3, §5). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.settings import FTS, ActivitySettings, FtsSettings
from dynamo_ops.fts.url import fts_url


class VerifyChecksum(StrEnum):
    """At which end FTS compares the checksum of a copy: its own words (FTS_CONTRACT §3)."""

    BOTH = "both"
    SOURCE = "source"
    TARGET = "target"
    NONE = "none"


@dataclass(frozen=True)
class FileCopy:
    """One file of a job.

    ``transfer_id`` comes back in FTS's ``file_metadata``: answers are matched by it, never by URL.
    ``sources``: one PFN, or several alternatives for the same bytes (then the job may hold this one file only), those
    after the first at ``other_site_ids``.
    """

    transfer_id: int
    subscription_id: int
    sources: tuple[str, ...]
    destination: str
    size_bytes: int
    adler32: str | None
    activity: str = "default"
    other_site_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class JobSettings:
    """Parameters of the jobs we submit: ``fts``, as the settings say, and what is not the same for all jobs.

    ``priority``: 1 (low) to 5; ``priorities``: of jobs for these activities. ``to_tape``: of jobs to a tape site; with
    ``on_arrival`` nobody waits until a file is on tape, as at the tape sites ``on_arrival_at`` (globs,
    ``glob.is_named``). ``verify_checksum``: at which ends FTS compares checksums.
    """

    fts: FtsSettings = FTS
    priority: int = ActivitySettings().priority
    priorities: Mapping[str, int] = field(default_factory=dict)
    to_tape: bool = False
    on_arrival: bool = False
    on_arrival_at: tuple[str, ...] = ()
    verify_checksum: VerifyChecksum = VerifyChecksum.BOTH


DEFAULT_JOB_SETTINGS = JobSettings()


def choose_sid(attempts: Iterable[tuple[int, ...]], *, salt: str = "") -> str:
    """The sid of a job from its (subscription id, attempt number) pairs: their order does not matter.

    A new attempt at the same files gives a new sid, as it must: FTS refuses the sid of a job that ended, too. ``salt``
    keeps apart two inventories, or one that was set up anew, whose subscription ids both start at 1.
    """
    text = salt + ";" + ",".join(f"{subscription}:{attempt}" for subscription, attempt in sorted(attempts))
    return hashlib.sha256(text.encode()).hexdigest()


def transfer_job(
    files: Sequence[FileCopy], sid: str, settings: JobSettings, *, batch_id: int | None = None
) -> dict[str, Any]:
    """A job that copies each file from its one source, or one file from the first of several sources that works.

    It overwrites, since a former attempt may have left half a file, and the destination is ours to write; but not where
    that is tape. InventoryError where a PFN cannot be given to FTS (``fts.url``).
    """
    _check(files)
    params: dict[str, Any] = {
        "id_generator": "deterministic",
        "sid": sid,
        "overwrite": True,
        "verify_checksum": settings.verify_checksum.value,
        "retry": settings.fts.retries,
        "retry_delay": settings.fts.retry_delay_s,
        "priority": settings.priority,
        "max_time_in_queue": settings.fts.max_time_in_queue_h,
        "job_metadata": {"issuer": "dynamo"} | ({"batch_id": batch_id} if batch_id is not None else {}),
    }
    if settings.to_tape:
        params |= _tape_params(settings)
    return {"files": [_file_entry(file, settings) for file in files], "params": params}


def staging_job(
    files: Sequence[FileCopy], sid: str, settings: JobSettings, *, batch_id: int | None = None
) -> dict[str, Any]:
    """A job that brings each file online at its tape source first, then copies it."""
    job = transfer_job(files, sid, settings, batch_id=batch_id)
    job["params"]["bring_online"] = settings.fts.bring_online_s
    job["params"]["copy_pin_lifetime"] = settings.fts.pin_s
    return job


def _tape_params(settings: JobSettings) -> dict[str, Any]:
    """Nothing is ever overwritten on tape. What lies there already, FTS tells (``dst_file_report``).

    ``overwrite_when_only_on_disk`` is not asked for: nobody has seen the real service do it (FTS_CONTRACT §3), and what
    the buffer holds may be on its way to tape.
    """
    params: dict[str, Any] = {"overwrite": False, "dst_file_report": True}
    if not settings.on_arrival:
        params["archive_timeout"] = settings.fts.archive_timeout_s
    return params


def _check(files: Sequence[FileCopy]) -> None:
    if not files:
        raise PermanentRemoteError("a job needs at least one file", service="fts")
    if len(files) > 1 and any(len(file.sources) > 1 for file in files):
        raise PermanentRemoteError("a multi-source job may hold one file only (FTS_CONTRACT §3)", service="fts")


def _file_entry(file: FileCopy, settings: JobSettings) -> dict[str, Any]:
    """``metadata`` comes back with each answer; of a copy to tape with what the file must be that FTS finds there. A
    checksum that is given is compared with the destination's, also where none is to be (FTS_CONTRACT §3)."""
    entry: dict[str, Any] = {
        "sources": [fts_url(source) for source in file.sources],
        "destinations": [fts_url(file.destination)],
        "filesize": file.size_bytes,
        "activity": file.activity,
        "metadata": {"subscription_id": file.subscription_id, "transfer_id": file.transfer_id},
    }
    if settings.to_tape:
        entry["metadata"] |= {"size_bytes": file.size_bytes, "adler32": file.adler32}
    if file.adler32 and settings.verify_checksum != VerifyChecksum.NONE:
        entry["checksum"] = f"adler32:{file.adler32}"
    if len(file.sources) > 1:
        entry["selection_strategy"] = "orderly"
    return entry
