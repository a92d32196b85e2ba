"""The FTS REST service: its URLs, and what each does."""

# ruff: noqa: ARG001, ARG002, ARG005  all handlers share one signature

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simgrid.faults import Faults
from simgrid.fts.copier.names import check_stored
from simgrid.fts.delegation import Delegations
from simgrid.fts.errors import FtsError, bad_request, bad_value
from simgrid.fts.identity import User, bearer_refusal, require, user_of
from simgrid.fts.jobs import Document, Job
from simgrid.fts.query import Queries, answer, missing_entry, terminal_entry
from simgrid.fts.states import JOB_TERMINAL
from simgrid.fts.store import DuplicateJobError, JobStore
from simgrid.fts.submit import job_from
from simgrid.http import NoAnswerError, Request, Response, Routes, Service, json_response

_HERE = Path(__file__).parent
_NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your "
    "spelling and try again."
)


_NO_INTEGER = "Invalid value within the request: invalid literal for int() with base 10: '*'"
"""What a server of Python 3.11 with ``CheckDuplicates = *`` says of every document (FTS_CONTRACT §12)."""

_UNAVAILABLE = (
    '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>503 Service Unavailable</title>\n'
    "</head><body>\n<h1>Service Unavailable</h1>\n<p>The server is temporarily unable to service your request.</p>\n"
    "</body></html>\n"
)


class FtsRest(Service):
    server_header = "pocket-fts/3.13"

    def __init__(self, store: JobStore, delegations: Delegations, faults: Faults, vo: str) -> None:
        self._store = store
        self._delegations = delegations
        self._faults = faults
        self._vo = vo
        self._queries = Queries(
            store,
            lambda job: faults.fts.archived and job.job_state in JOB_TERMINAL,
            lambda job: job.job_id in faults.fts.forgotten,
        )
        self._root = json.loads((_HERE / "api_root.json").read_text(encoding="utf-8"))
        self._schema = json.loads((_HERE / "submit_schema.json").read_text(encoding="utf-8"))
        self._routes = self._table()

    def is_down(self) -> bool:
        return self._faults.fts.down

    def delay_s(self) -> float:
        return self._faults.fts.slow_s

    def handle(self, request: Request) -> Response:
        if self._faults.spend(self._faults.fts, "http_500"):
            return FtsError(500, "Internal Server Error").response()
        if self._faults.spend(self._faults.fts, "http_503"):
            return self._unavailable()
        refusal = bearer_refusal(request)
        if refusal is not None:
            return refusal
        path = "/" + request.path.strip("/")  # clients of the field write //jobs
        handler, arguments, is_known = self._routes.find(request.method, path)
        try:
            if handler is None:
                raise (
                    FtsError(405, "The method is not allowed for the requested URL.")
                    if is_known
                    else FtsError(404, _NOT_FOUND)
                )
            return handler(request, user_of(request, self._vo), **arguments)
        except FtsError as error:
            return error.response()

    def _unavailable(self) -> Response:
        """What the web server in front says when the service behind it is gone."""
        after = self._faults.fts.retry_after_s
        headers = {} if after is None else {"Retry-After": str(after)}
        return Response(503, _UNAVAILABLE.encode(), "text/html; charset=iso-8859-1", headers)

    def _table(self) -> Routes:
        routes = Routes()
        guarded: list[tuple[str, str, Callable[..., Response]]] = [
            ("GET", "/delegation/{dlg}", self._get_delegation),
            ("GET", "/delegation/{dlg}/request", self._get_request),
            ("PUT", "/delegation/{dlg}/credential", self._put_credential),
            ("DELETE", "/delegation/{dlg}", self._delete_delegation),
            ("POST", "/jobs", self._submit),
            ("PUT", "/jobs", self._submit),
            ("GET", "/jobs", self._list_jobs),
            ("DELETE", "/jobs/all", self._root_only),
            ("DELETE", "/jobs/vo/{vo}", self._root_only),
            ("GET", "/jobs/{ids}", self._get_jobs),
            ("DELETE", "/jobs/{ids}", self._cancel_jobs),
            ("POST", "/jobs/{ids}", self._modify_jobs),
            ("GET", "/jobs/{job_id}/files", self._get_files),
            ("GET", "/jobs/{job_id}/dm", self._get_dm),
            ("GET", "/jobs/{job_id}/files/{file_id}/retries", self._get_retries),
            ("DELETE", "/jobs/{job_id}/files/{file_ids}", self._cancel_files),
            ("GET", "/jobs/{job_id}/{name}", self._get_field),
            ("GET", "/files", self._list_files),
            ("GET", "/archive/{job_id}", self._get_archived),
        ]
        for method, pattern, handler in guarded:
            routes.add(method, pattern, _for_known_users(handler))
        routes.add("GET", "/", lambda request, user: json_response(self._root))
        routes.add("GET", "/whoami", lambda request, user: json_response(user.whoami()))
        routes.add("GET", "/optimizer/current", lambda request, user: json_response([]))
        routes.add("GET", "/api-docs/schema/submit", lambda request, user: json_response(self._schema))
        for pattern in ("/ban/se", "/ban/dn", "/status/hosts", "/config/audit"):
            for method in ("GET", "POST", "DELETE"):
                routes.add(method, pattern, _forbidden)
        return routes

    # --- delegation

    def _get_delegation(self, request: Request, user: User, dlg: str) -> Response:
        document = self._delegations.document(_own(user, dlg))
        agent = request.headers.get("User-Agent") or ""
        return json_response(document if document or not _knows_lists(agent) else [])

    def _get_request(self, request: Request, user: User, dlg: str) -> Response:
        pem = self._delegations.request(_own(user, dlg))
        return Response(200, pem.encode(), "text/plain; charset=utf-8", {"X-Delegation-ID": dlg})

    def _put_credential(self, request: Request, user: User, dlg: str) -> Response:
        self._delegations.accept(_own(user, dlg), user.dn, request.body())
        for mended in ("credential_expired", "proxy_expired"):
            self._faults.end(self._faults.fts, mended)
        return Response(201, b"", "text/html; charset=utf-8", reason="CREATED")

    def _delete_delegation(self, request: Request, user: User, dlg: str) -> Response:
        self._delegations.delete(_own(user, dlg))
        return Response(204, reason="NO CONTENT")

    # --- submission

    def _submit(self, request: Request, user: User) -> Response:
        faults = self._faults.fts
        if self._faults.spend(faults, "lost_submit"):
            raise NoAnswerError
        if faults.refuses_all:
            raise FtsError(400, _NO_INTEGER)
        job = job_from(_json_body(request), user)
        for url in (url for file in job.files for url in (file.source_surl, file.dest_surl)):
            check_stored(url)
            if any(part in url for part in faults.poisoned):
                raise FtsError(500, "Internal Server Error")
        self._delegations.require_hour(user.delegation_id, user.dn, faults.no_delegation or faults.credential_expired)
        for storage in faults.banned:
            if any(storage in (file.source_se, file.dest_se) for file in job.files):
                raise FtsError(403, f"{storage} is banned")
        try:
            self._store.add(job)
        except DuplicateJobError as error:
            raise FtsError(409, "The sid provided by the user is duplicated") from error
        if self._faults.spend(faults, "lost_reply"):
            raise NoAnswerError
        return json_response({"job_id": job.job_id})

    # --- reading

    def _get_jobs(self, request: Request, user: User, ids: str) -> Response:
        return self._queries.jobs(ids, request.first("files"))

    def _get_files(self, request: Request, user: User, job_id: str) -> Response:
        return json_response(self._queries.files_of(job_id))

    def _get_dm(self, request: Request, user: User, job_id: str) -> Response:
        self._queries.require(job_id)
        return json_response([])

    def _get_retries(self, request: Request, user: User, job_id: str, file_id: str) -> Response:
        return json_response(self._queries.retries(job_id, file_id))

    def _get_field(self, request: Request, user: User, job_id: str, name: str) -> Response:
        return json_response(self._queries.field(job_id, name))

    def _list_jobs(self, request: Request, user: User) -> Response:
        return json_response(self._queries.list_jobs(request, user))

    def _list_files(self, request: Request, user: User) -> Response:
        return json_response(self._queries.list_files(request))

    def _get_archived(self, request: Request, user: User, job_id: str) -> Response:
        return json_response(self._queries.archived(job_id))

    # --- changing

    def _cancel_jobs(self, request: Request, user: User, ids: str) -> Response:
        """The entries come in FTS's order: first what could not be cancelled, then what was."""
        entries = [self._cancel(job_id) for job_id in ids.split(",") if job_id]
        return answer(ids, sorted(entries, key=lambda entry: str(entry["http_status"]).startswith("200")))

    def _cancel(self, job_id: str) -> Document:
        with self._store.lock:
            job = self._queries.find(job_id)
            if job is None:
                return missing_entry(job_id)
            if not self._store.cancel_job(job):
                return terminal_entry(job)
            return {**job.document(), "http_status": "200 Ok", "http_message": None}

    def _cancel_files(self, request: Request, user: User, job_id: str, file_ids: str) -> Response:
        job = self._queries.require(job_id)
        if job.job_type != "N":
            raise bad_request(f"Multihop or reuse jobs must be cancelled at once ({job.job_type})")
        states = []
        with self._store.lock:
            files = {str(file.file_id): file for file in job.files}
            for file_id in file_ids.split(","):
                if file_id not in files:
                    states.append("File does not belong to the job")
                    continue
                self._store.cancel_file(files[file_id])
                states.append(files[file_id].file_state)
        return json_response(states if len(states) > 1 else states[0])

    def _modify_jobs(self, request: Request, user: User, ids: str) -> Response:
        params = _json_body(request).get("params") or {}
        try:
            priority = max(1, min(5, int(params["priority"]))) if params.get("priority") is not None else None
        except (ValueError, TypeError) as error:
            raise bad_value(error) from error
        return answer(ids, [self._modify(job_id, priority) for job_id in ids.split(",") if job_id])

    def _modify(self, job_id: str, priority: int | None) -> Document:
        with self._store.lock:
            job = self._queries.find(job_id)
            if job is None:
                return missing_entry(job_id)
            if job.job_state in JOB_TERMINAL:
                return terminal_entry(job)
            if priority is not None:
                self._store.set_priority(job, priority)
            return _with_files(job)

    def _root_only(self, request: Request, user: User, **_: str) -> Response:
        raise FtsError(403, "User does not have root privileges")


def _with_files(job: Job) -> Document:
    files = [file.document() for file in job.files]
    return {**job.document(), "files": files, "http_status": "200 Ok", "http_message": None}


def _for_known_users(handler: Callable[..., Response]) -> Callable[..., Response]:
    def guarded(request: Request, user: User, **arguments: str) -> Response:
        return handler(request, require(user), **arguments)

    return guarded


def _forbidden(request: Request, user: User) -> Response:
    raise FtsError(403, "Not enough permissions")


def _own(user: User, dlg: str) -> str:
    if dlg != user.delegation_id:
        raise FtsError(403, "The requested ID and the credentials ID do not match")
    return dlg


def _knows_lists(agent: str) -> bool:
    """Clients fts-.../3.12 and later get [] where older and unknown ones get null."""
    name, _, version = agent.partition("/")
    numbers = version.split(".")
    if not name.startswith("fts-") or len(numbers) < 2 or not all(part.isdigit() for part in numbers[:2]):
        return False
    return (int(numbers[0]), int(numbers[1])) >= (3, 12)


def _json_body(request: Request) -> Any:
    kind = (request.headers.get("Content-Type") or "").split(";")[0].strip()
    if request.method == "POST" and kind not in ("application/json", "application/x-www-form-urlencoded"):
        raise bad_request("Expecting application/json or application/x-www-form-urlencoded")
    try:
        document = json.loads(request.body())
    except ValueError as error:
        raise bad_request("Badly formatted JSON request") from error
    if not isinstance(document, dict):
        raise bad_request("Badly formatted JSON request")
    return document
