"""All jobs, in memory and in the journal: adding, moving files between states, cancelling. Safe from any thread."""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import Any

from simgrid.fts.jobs import Job, TransferFile, timestamp
from simgrid.fts.journal import Journal
from simgrid.fts.states import FILE_MOVES, FILE_TERMINAL, JOB_TERMINAL, IllegalMoveError, settled_state

JOB_FAILED = "One or more files failed. Please have a look at the details for more information"
CANCELED_BY_USER = "Job canceled by the user"
_FIRST_FILE_ID = 8872390001


class DuplicateJobError(ValueError):
    """A job with this id exists already."""


class JobStore:
    """`changed` is notified whenever there may be new work for the engine."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.jobs: dict[str, Job] = {}
        self.waiting: dict[int, TransferFile] = {}  # SUBMITTED
        self.staging: dict[int, TransferFile] = {}  # STAGING and STARTED
        self.archiving: dict[int, TransferFile] = {}
        self.dying: dict[int, TransferFile] = {}  # CANCELED while a copy ran; finish_time still to come
        self._sequence = count(1)
        self._file_ids = count(_FIRST_FILE_ID)
        self._restore()

    def job_of(self, file: TransferFile) -> Job:
        return self.jobs[file.job_id]

    def add(self, job: Job) -> None:
        """Take a new job: number its files and queue them. Raises DuplicateJobError."""
        with self.lock:
            if job.job_id in self.jobs:
                raise DuplicateJobError(job.job_id)
            job.sequence = next(self._sequence)
            for file in job.files:
                file.file_id = next(self._file_ids)
            job.count_files()
            self.journal.save(job, job.files)
            self.jobs[job.job_id] = job
            for file in job.files:
                self._shelve(file)
            self.changed.notify_all()

    def move(self, file: TransferFile, state: str, **changes: Any) -> bool:
        """Bring the file into `state` with these other fields, then the job into the state that follows.

        False, and nothing changed, when the file was cancelled meanwhile. Raises IllegalMoveError for what cannot be.
        """
        with self.lock:
            if file.file_state == "CANCELED":
                return False
            if state not in FILE_MOVES[file.file_state]:
                raise IllegalMoveError(f"file {file.file_id}: {file.file_state} to {state}")
            job = self.job_of(file)
            touched = [file]
            self._set_state(job, file, state)
            for name, value in changes.items():
                setattr(file, name, value)
            touched += self._wake_next(job, file)
            job_changed = self._settle(job, file)
            self.journal.save(job if job_changed else None, touched)
            self.changed.notify_all()
            return True

    def update(self, file: TransferFile, **changes: Any) -> None:
        """Change fields of a file that stays in its state."""
        with self.lock:
            for name, value in changes.items():
                setattr(file, name, value)
            self.journal.save(None, [file])

    def cancel_job(self, job: Job, reason: str = CANCELED_BY_USER) -> bool:
        """Cancel at once what is not terminal; False if the job already was."""
        with self.lock:
            if job.job_state in JOB_TERMINAL:
                return False
            touched = [file for file in job.files if file.file_state not in FILE_TERMINAL]
            for file in touched:
                self._cancel(job, file, reason)
            job.job_state, job.reason, job.cancel_job = "CANCELED", reason, True
            job.job_finished = timestamp(time.time())
            self.journal.save(job, touched)
            return True

    def cancel_file(self, file: TransferFile) -> None:
        """Cancel one file unless it is terminal; the job may become terminal by it."""
        with self.lock:
            if file.file_state in FILE_TERMINAL:
                return
            job = self.job_of(file)
            self._cancel(job, file, CANCELED_BY_USER)
            self._settle(job, file)
            self.journal.save(job, [file])

    def stamp_dying(self, file: TransferFile) -> None:
        """The copy of a cancelled file has ended."""
        with self.lock:
            self.dying.pop(file.file_id, None)
            self.update(file, finish_time=timestamp(time.time()))

    def set_priority(self, job: Job, priority: int) -> None:
        with self.lock:
            job.priority = priority
            for file in job.files:
                file.priority = priority
            self.journal.save(job, job.files)

    def _cancel(self, job: Job, file: TransferFile, reason: str) -> None:
        is_running = file.file_state == "ACTIVE"
        self._set_state(job, file, "CANCELED")
        file.reason = reason
        if is_running:
            self.dying[file.file_id] = file
        else:
            file.finish_time = timestamp(time.time())

    def _set_state(self, job: Job, file: TransferFile, state: str) -> None:
        for shelf in (self.waiting, self.staging, self.archiving):
            shelf.pop(file.file_id, None)
        job.counts[file.file_state] -= 1
        job.counts[state] += 1
        file.file_state = state
        self._shelve(file)

    def _shelve(self, file: TransferFile) -> None:
        if file.file_state == "SUBMITTED":
            self.waiting[file.file_id] = file
        elif file.file_state in ("STAGING", "STARTED"):
            self.staging[file.file_id] = file
        elif file.file_state == "ARCHIVING":
            self.archiving[file.file_id] = file

    def _wake_next(self, job: Job, file: TransferFile) -> list[TransferFile]:
        """The next source of a multi-source job after a failure, the next hop after a success."""
        cue = {"R": "FAILED", "H": "FINISHED"}.get(job.job_type)
        if file.file_state != cue:
            return []
        for candidate in job.files:
            if candidate.file_state == "NOT_USED":
                wants_staging = job.job_type == "R" and (job.bring_online > 0 or job.copy_pin_lifetime > 0)
                self._set_state(job, candidate, "STAGING" if wants_staging else "SUBMITTED")
                return [candidate]
        return []

    def _settle(self, job: Job, file: TransferFile) -> bool:
        """Let the job follow its file; True if it changed."""
        if job.job_state in JOB_TERMINAL:
            return False
        state = settled_state(job.job_type, job.counts)
        if state is not None:
            job.job_state = state
            job.reason = {"FINISHED": "", "CANCELED": CANCELED_BY_USER}.get(state, JOB_FAILED)
            job.job_finished = timestamp(time.time())
            if job.job_type == "R" and state == "FINISHED":
                job.source_se = file.source_se
            return True
        before = job.job_state
        if file.file_state in ("READY", "ACTIVE"):
            job.job_state = "ACTIVE"
        elif file.file_state == "ARCHIVING" and not any(job.counts[s] for s in ("SUBMITTED", "READY", "ACTIVE")):
            job.job_state = "ARCHIVING"
        return job.job_state != before

    def _restore(self) -> None:
        """Take up what the journal holds. Copies that ran when the service died are queued again."""
        for job in self.journal.load():
            self.jobs[job.job_id] = job
            self._sequence = count(job.sequence + 1)
            for file in job.files:
                if file.file_state in ("READY", "ACTIVE"):
                    file.resumed = True
                    self._set_state(job, file, "SUBMITTED")
                elif file.file_state == "CANCELED" and file.finish_time is None:
                    file.finish_time = timestamp(time.time())
                else:
                    self._shelve(file)
        last = max((file.file_id for job in self.jobs.values() for file in job.files), default=_FIRST_FILE_ID - 1)
        self._file_ids = count(last + 1)
