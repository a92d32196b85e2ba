"""Reading jobs and files: single, in bulk, and by filters."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from simgrid.fts.errors import FtsError, bad_request, bad_value, no_such_job
from simgrid.fts.identity import User
from simgrid.fts.jobs import JOB_FIELDS, Document, Job, TransferFile
from simgrid.fts.states import FILE_TERMINAL, JOB_TERMINAL
from simgrid.fts.store import JobStore
from simgrid.http import Request, Response, json_response

_MOST_FILES = 1000
_Judge = Callable[[Job], bool]


class Queries:
    """`is_archived` says whether a job has left the live tables, `is_forgotten` whether it is nowhere at all."""

    def __init__(self, store: JobStore, is_archived: _Judge, is_forgotten: _Judge = lambda _: False) -> None:
        self._store = store
        self._is_archived = is_archived
        self._is_forgotten = is_forgotten

    def find(self, job_id: str) -> Job | None:
        """The live job of this id."""
        job = self._store.jobs.get(job_id)
        return None if job is None or self._is_archived(job) or self._is_forgotten(job) else job

    def require(self, job_id: str) -> Job:
        job = self.find(job_id)
        if job is None:
            raise no_such_job(job_id)
        return job

    def jobs(self, job_ids: str, file_fields: str | None) -> Response:
        """One id gives a document, a comma anywhere gives a list; 207 as soon as one is missing."""
        names = file_fields.split(",") if file_fields else None
        with self._store.lock:
            documents = [self._entry(job_id, names) for job_id in job_ids.split(",") if job_id]
        return answer(job_ids, documents)

    def archived(self, job_id: str) -> Document:
        job = self._store.jobs.get(job_id)
        if job is None or not self._is_archived(job) or self._is_forgotten(job):
            raise no_such_job(job_id, " in the archive")
        return {**job.document(), "files": [file.document() for file in job.files]}

    def files_of(self, job_id: str) -> list[Document]:
        with self._store.lock:
            return [file.document() for file in self.require(job_id).files]

    def file_of(self, job_id: str, file_id: str) -> TransferFile:
        for file in self.require(job_id).files:
            if str(file.file_id) == file_id:
                return file
        raise FtsError(404, f'No file with the id "{file_id}" has been found')

    def field(self, job_id: str, name: str) -> Any:
        job = self.require(job_id)
        if name not in JOB_FIELDS:
            raise FtsError(404, "No such field")
        return getattr(job, name)

    def retries(self, job_id: str, file_id: str) -> list[Document]:
        file = self.file_of(job_id, file_id)
        return [{**attempt, "file": file.document()} for attempt in self._store.journal.attempts(file.file_id)]

    def list_jobs(self, request: Request, user: User) -> list[Document]:
        """Newest first with `limit`; without it and `time_window` only unfinished jobs, whatever `state_in` says."""
        limit = _limit(request)
        window = _window(request)
        if request.first("dlg_id") and request.first("dlg_id") != user.delegation_id:
            raise FtsError(403, "The provided delegation id does not match your delegation id")
        tests = {
            "vo_name": request.first("vo_name"),
            "user_dn": request.first("user_dn"),
            "source_se": request.first("source_se"),
            "dest_se": request.first("dest_se"),
        }
        states = (request.first("state_in") or "").split(",") if request.first("state_in") else None
        wanted = (request.first("fields") or "").split(",") if request.first("fields") else JOB_FIELDS
        with self._store.lock:
            jobs = [
                job
                for job in self._store.jobs.values()
                if not self._is_archived(job)
                and (states is None or job.job_state in states)
                and all(value is None or getattr(job, name) == value for name, value in tests.items())
                and _is_recent(job, limit, window)
            ]
            if limit is not None:
                jobs = sorted(jobs, key=lambda job: -job.sequence)[:limit]
            return [{name: getattr(job, name) for name in wanted if name in JOB_FIELDS} for job in jobs]

    def list_files(self, request: Request) -> list[Document]:
        """Unfinished files only, at most a thousand."""
        if request.first("time_window"):
            raise FtsError(
                500,
                "The server encountered an internal error and was unable to complete your request. "
                "Either the server is overloaded or there is an error in the application.",
            )
        tests = {name: request.first(name) for name in ("vo_name", "source_se", "dest_se", "dest_surl")}
        states = (request.first("state_in") or "").split(",") if request.first("state_in") else None
        found: list[Document] = []
        with self._store.lock:
            for job in self._store.jobs.values():
                if job.job_state in JOB_TERMINAL:
                    continue
                for file in job.files:
                    if file.file_state in FILE_TERMINAL or (states is not None and file.file_state not in states):
                        continue
                    if all(value is None or getattr(file, name) == value for name, value in tests.items()):
                        found.append(file.document())
                        if len(found) == _MOST_FILES:
                            return found
        return found

    def _entry(self, job_id: str, file_fields: list[str] | None) -> Document:
        job = self.find(job_id)
        if job is None:
            return missing_entry(job_id)
        document = job.document()
        if file_fields is not None:
            document["files"] = [file.some(file_fields) for file in job.files]
        return {**document, "http_status": "200 Ok"}


def missing_entry(job_id: str) -> Document:
    return {"job_id": job_id, "http_status": "404 Not Found", "http_message": no_such_job(job_id).message}


def terminal_entry(job: Job) -> Document:
    return {"http_status": "304 Not Modified", "http_message": "The job is in a terminal state", **job.document()}


def answer(job_ids: str, documents: list[Document]) -> Response:
    """Entries as one answer: an object for a single id, else an array, with 207 when one is missing."""
    found = [not document["http_status"].startswith("404") for document in documents]
    if "," not in job_ids and documents:
        if found[0]:
            return json_response(documents[0])
        return json_response(documents[0], 404, reason="Not Found")
    return json_response(documents) if all(found) else json_response(documents, 207, reason="MULTI STATUS")


def _limit(request: Request) -> int | None:
    text = request.first("limit")
    if text is None:
        return None
    try:
        limit = int(text)
    except ValueError as error:
        raise bad_value(error) from error
    if not 0 < limit <= 500:
        raise bad_request("The limit must be positive and less or equal than 500")
    return limit


def _window(request: Request) -> float | None:
    """`time_window=H[:M]` in seconds."""
    text = request.first("time_window")
    if text is None:
        return None
    try:
        hours, _, minutes = text.partition(":")
        return int(hours) * 3600 + int(minutes or 0) * 60
    except ValueError as error:
        raise bad_value(error) from error


def _is_recent(job: Job, limit: int | None, window: float | None) -> bool:
    if window is not None:
        if job.job_finished is None:
            return False
        ended = datetime.fromisoformat(job.job_finished).replace(tzinfo=UTC).timestamp()
        return ended >= time.time() - window
    return limit is not None or job.job_finished is None
