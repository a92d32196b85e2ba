"""An FTS in memory, on the storages of a history: jobs move when a step says so (FTS_CONTRACT §3 to §7)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from dynamo_ops.fts.client import FILE_FIELDS, JobStatus, Submitted
from dynamo_ops.fts.identity import FtsIdentity
from tests.histories.kills import Point
from tests.histories.places import Content, Place

IDENTITY = FtsIdentity("/CN=test", str(uuid.UUID(int=1)), "cms", "c3a622c34b769920", "certificate")
ENDED = ("FINISHED", "FAILED", "CANCELED")
UNTRIED = "NOT_USED"
"""Of several sources of one file, one that FTS has not turned to."""


class Fate(StrEnum):
    """What becomes of a copy that FTS turns to."""

    WELL = "well"
    HALF = "half"
    """It breaks off, and half a file is left at the destination."""
    WRONG = "wrong"
    """The bytes arrive wrong; FTS compares checksums, and says so."""
    BROKEN = "broken"
    """It fails before anything is written, and may be tried again."""
    REFUSED = "refused"
    """It fails before anything is written, for good."""


@dataclass
class JobFile:
    """A file of a job."""

    source: str
    destination: str
    content: Content
    metadata: dict[str, Any]
    state: str = "SUBMITTED"
    reason: str = ""
    recoverable: bool | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    archiving_since: datetime | None = None


@dataclass
class Job:
    """A job, with the parameters that it was sent with."""

    job_id: str
    params: Mapping[str, Any]
    files: list[JobFile]

    @property
    def state(self) -> str:
        states = {file.state for file in self.files} - {UNTRIED}
        if not states <= set(ENDED):
            return "ACTIVE"
        is_one_file = len({file.destination for file in self.files}) == 1
        if is_one_file and "FINISHED" in states:
            return "FINISHED"
        return states.pop() if len(states) == 1 else "FINISHEDDIRTY"


@dataclass
class MemoryFts:
    """What Dynamo asks an ``FtsClient`` for; ``meanwhile`` is called before each answer: others are at work too."""

    places: Mapping[str, Place]
    point: Point
    meanwhile: Callable[[], None]
    url: str = "https://fts.invalid:8446"
    jobs: dict[str, Job] = field(default_factory=dict)

    # -- what Dynamo asks ------------------------------------------------------------------------------------------

    def whoami(self) -> FtsIdentity:
        return IDENTITY

    def ensure_delegation(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def submit(self, document: Mapping[str, Any], job_id: str | None = None) -> Submitted:
        self.point()
        self.meanwhile()
        number = str(IDENTITY.job_id(document["params"]["sid"]))
        assert job_id in (None, number)
        if number in self.jobs:
            return Submitted(number, was_found=True)
        files = [file for entry in document["files"] for file in _files(entry)]
        self.jobs[number] = Job(number, document["params"], files)
        self.point()
        return Submitted(number, was_found=False)

    def find_job(self, job_id: str) -> JobStatus | None:
        return self._status(self.jobs[job_id]) if job_id in self.jobs else None

    def job_statuses(self, job_ids: Iterable[str], fields: Sequence[str] = FILE_FIELDS) -> dict[str, JobStatus]:
        del fields
        self.meanwhile()
        return {
            job_id: self._status(self.jobs[job_id]) if job_id in self.jobs else JobStatus(job_id, 404)
            for job_id in map(str, job_ids)
        }

    def cancel(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        self.point()
        answers = {}
        for job_id in map(str, job_ids):
            job = self.jobs.get(job_id)
            is_open = job is not None and job.state == "ACTIVE"
            answers[job_id] = JobStatus(job_id, 200 if is_open else 304 if job else 404)
            for file in job.files if job else ():
                if file.state not in (*ENDED, UNTRIED):
                    _end(file, "CANCELED", "canceled by the user")
        return answers

    # -- what happens at FTS ---------------------------------------------------------------------------------------

    def open_files(self) -> list[tuple[Job, JobFile]]:
        """Files that have not ended."""
        return [(job, file) for job in self.jobs.values() for file in job.files if file.state not in (*ENDED, UNTRIED)]

    def move(self, job: Job, file: JobFile, fate: Fate) -> None:
        """Copy a file, or bring it onto the tape whose buffer has it. Of several sources the next one follows."""
        self._move(job, file, fate)
        others = [other for other in job.files if other.destination == file.destination and other.state == UNTRIED]
        if file.state == "FAILED" and others:
            others[0].state = "SUBMITTED"

    def _move(self, job: Job, file: JobFile, fate: Fate) -> None:
        (source, lfn), (destination, name) = self._at(file.source), self._at(file.destination)
        if file.archiving_since:
            stored = destination.files.get(name)
            if fate != Fate.WELL or stored is None or stored.content != file.content:
                return _end(file, "FAILED", "ARCHIVING [110] not on tape in time")
            destination.put(name, stored.content, is_on_tape=True)
            return _end(file, "FINISHED")
        file.started_at = file.started_at or datetime.now(UTC)
        stored = source.files.get(lfn)
        if fate in (Fate.BROKEN, Fate.REFUSED) or source.mode != "well" or destination.mode != "well":
            return _end(file, "FAILED", "TRANSFER [110] broken", recoverable=fate != Fate.REFUSED)
        if stored is None:
            return _end(file, "FAILED", "SOURCE [2] No such file or directory", recoverable=False)
        if stored.content != file.content:
            return _end(file, "FAILED", "SOURCE [5] checksum do not match", recoverable=False)
        if name in destination.files and not job.params["overwrite"]:
            return self._exists(file, destination, name)
        if fate == Fate.HALF:
            destination.put(name, Content(file.content.size_bytes // 2, "00000000"), is_on_tape=False)
            return _end(file, "FAILED", "TRANSFER [104] connection reset", recoverable=True)
        if fate == Fate.WRONG:
            destination.put(name, Content(file.content.size_bytes, "11111111"), is_on_tape=False)
            return _end(file, "FAILED", "DESTINATION [5] user and destination checksum do not match", recoverable=False)
        if destination.is_tape and job.params.get("archive_timeout"):
            destination.put(name, file.content, is_on_tape=False)
            file.state, file.archiving_since = "ARCHIVING", datetime.now(UTC)
            return None
        destination.put(name, file.content)
        return _end(file, "FINISHED")

    def _exists(self, file: JobFile, place: Place, name: str) -> None:
        stored = place.files[name]
        file.metadata["dst_file"] = {
            "file_size": stored.content.size_bytes,
            "checksum_type": "ADLER32",
            "checksum_value": stored.content.adler32,
            "file_on_tape": stored.is_on_tape,
            "file_on_disk": True,
        }
        _end(file, "FAILED", "DESTINATION [17] file exists and overwrite is not enabled", recoverable=False)

    def grow_older(self, by: timedelta) -> None:
        """Time has passed."""
        for job in self.jobs.values():
            for file in job.files:
                for name in ("started_at", "finished_at", "archiving_since"):
                    moment = getattr(file, name)
                    setattr(file, name, moment and moment - by)

    def _at(self, url: str) -> tuple[Place, str]:
        for place in self.places.values():
            for prefix in place.prefixes:
                if url.startswith(f"{prefix}/"):
                    return place, url.removeprefix(prefix)
        raise AssertionError(f"no storage is at {url}")

    def _status(self, job: Job) -> JobStatus:
        ended = [file.finished_at for file in job.files if file.finished_at]
        return JobStatus(
            job.job_id,
            200,
            job.state,
            metadata=job.params["job_metadata"],
            finished_at=_text(max(ended)) if ended and job.state != "ACTIVE" else None,
            files=[_answer(number, file) for number, file in enumerate(job.files)],
            archive_timeout=job.params.get("archive_timeout", 0),
        )


def _files(entry: Mapping[str, Any]) -> list[JobFile]:
    content = Content(entry["filesize"], entry["checksum"].removeprefix("adler32:"))
    states = ["SUBMITTED", *[UNTRIED] * (len(entry["sources"]) - 1)]
    return [
        JobFile(source, entry["destinations"][0], content, dict(entry["metadata"]), state)
        for source, state in zip(entry["sources"], states, strict=True)
    ]


def _answer(number: int, file: JobFile) -> dict[str, Any]:
    return {
        "file_index": number,
        "file_state": file.state,
        "reason": file.reason,
        "recoverable": file.recoverable,
        "filesize": file.content.size_bytes,
        "start_time": _text(file.started_at),
        "finish_time": _text(file.finished_at),
        "staging_start": None,
        "archive_start_time": _text(file.archiving_since),
        "file_metadata": file.metadata,
    }


def _end(file: JobFile, state: str, reason: str = "", *, recoverable: bool | None = None) -> None:
    file.state, file.reason, file.recoverable = state, reason, recoverable
    file.finished_at = datetime.now(UTC)


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") if moment else None
