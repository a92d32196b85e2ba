"""A client of FTS 3's REST interface: one TLS session, time-outs on every call, and no submission made twice.

Only GETs are repeated on their own. A submission whose fate is unknown is looked up by the id it must have; see
``FtsClient.submit``. Errors: ``RetryableRemoteError`` (wait), ``CredentialError`` (renew), ``PermanentRemoteError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.http.session import RemoteSession
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.fts import errors
from dynamo_ops.fts.identity import FtsIdentity, read_identity

MAX_IDS_PER_GET = 200  # Apache refuses a request line over 8190 bytes; an id takes 37
ARCHIVE_GETS_AT_A_TIME = 8  # the archive is asked for one job a call; the session's pool holds ten connections
FILE_FIELDS = (
    "file_index",
    "file_state",
    "reason",
    "recoverable",
    "filesize",
    "start_time",
    "finish_time",
    "staging_start",
    "archive_start_time",
    "file_metadata",
)
JOB_STATES_ENDED = frozenset({"FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED"})


@dataclass(frozen=True)
class JobStatus:
    """One job as FTS tells it. ``http_status`` is the entry's own: 404 neither live nor archived, 403 not ours.

    ``state`` and ``files`` mean nothing unless ``http_status`` is 200; ``text`` is FTS's own then. ``archive_timeout``
    above 0: files end when they are on tape, or that many seconds after they arrived.
    """

    job_id: str
    http_status: int
    state: str = ""
    reason: str = ""
    text: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    finished_at: str | None = None
    files: Sequence[Mapping[str, Any]] = ()
    archive_timeout: int = 0

    @property
    def is_known(self) -> bool:
        return self.http_status == 200

    @property
    def is_ended(self) -> bool:
        return self.is_known and self.state in JOB_STATES_ENDED


@dataclass(frozen=True)
class Submitted:
    """A job that FTS has. ``was_found``: it had it already, from an earlier submit whose answer was lost."""

    job_id: str
    was_found: bool


class FtsClient:
    """``url``: with scheme and port. ``cert``/``key``: PEM files of a certificate or proxy; ``token`` instead: a JWT.

    ``timeout``: seconds to connect and to wait for an answer. ``proxy_lifetime``: of the credential left with FTS.
    """

    def __init__(
        self,
        url: str,
        *,
        ca: str,
        cert: str | None = None,
        key: str | None = None,
        token: str | None = None,
        timeout: tuple[float, float] = (10.0, 60.0),
        proxy_lifetime: timedelta = timedelta(hours=12),
    ) -> None:
        self.url = url.rstrip("/")
        self._cert, self._key = cert, key or cert
        self._proxy_lifetime = proxy_lifetime
        self._identity: FtsIdentity | None = None
        self._session = RemoteSession(Credentials(ca, cert, key, token), timeout=timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def __enter__(self) -> FtsClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- who we are ------------------------------------------------------------------------------------------------

    def whoami(self) -> FtsIdentity:
        """Who FTS takes us for; asked once. ``CredentialError`` when it sees a stranger or knows no VO for us."""
        if self._identity is None:
            self._identity = read_identity(self._get("/whoami"), self.url)
        return self._identity

    def delegation_expires_at(self) -> datetime | None:
        """When the credential that we left with FTS expires; None when there is none (``null`` and ``[]`` both)."""
        answer = self._get(f"/delegation/{self.whoami().delegation_id}")
        if not isinstance(answer, dict) or not answer.get("termination_time"):
            return None
        return datetime.fromisoformat(answer["termination_time"]).replace(tzinfo=UTC)

    def ensure_delegation(self, now: datetime | None = None) -> bool:
        """Leave a new credential with FTS when less than a third of its lifetime is left. True if one was left."""
        if self._cert is None:
            return False  # tokens are not delegated
        expires_at = self.delegation_expires_at()
        remaining = (expires_at - (now or datetime.now(UTC))) if expires_at else timedelta(0)
        # FTS itself refuses jobs under one hour, whatever the lifetime.
        if remaining > max(self._proxy_lifetime / 3, timedelta(hours=1)):
            return False
        self.delegate()
        return True

    def delegate(self) -> None:
        """Sign a proxy for FTS's own key and leave it there."""
        assert self._cert is not None
        assert self._key is not None
        delegation_id = self.whoami().delegation_id
        request = self._call("GET", f"/delegation/{delegation_id}/request").text
        from dynamo_ops.fts.delegation import sign_proxy  # certificates are slow to import, and delegated once in hours

        proxy = sign_proxy(request, self._cert, self._key, self._proxy_lifetime)
        self._call("PUT", f"/delegation/{delegation_id}/credential", data=proxy.encode())

    # -- jobs ------------------------------------------------------------------------------------------------------

    def submit(self, job: Mapping[str, Any], job_id: str | None = None) -> Submitted:
        """Have FTS take ``job`` (deterministic, with a sid), once, however often this is called.

        A 409, a 5xx or no answer leave open whether FTS has it: it is then looked up by the id it must have (``job_id``
        when known, else predicted). Not there after a lost answer: ``RetryableRemoteError``, and a later call may
        submit again. Not there after a 409, or there but not with our metadata: ``PermanentRemoteError``. When FTS
        lacks our credential (419) nothing was taken: one is left and the job sent again.
        """
        try:
            return Submitted(self._post_with_delegation(job), was_found=False)
        except RemoteError as error:
            if not (error.retryable or error.facts.get("status") == 409):
                raise
            job_id = job_id or str(self.whoami().job_id(job["params"]["sid"]))
            found = self.find_job(job_id)
            if found is None and error.retryable:
                raise
            if found is None:
                raise PermanentRemoteError(
                    f"FTS says the sid of job {job_id} is taken, but has no such job",
                    service="fts",
                    url=self.url,
                    status=409,
                    job_id=job_id,
                ) from error
            _check_ours(found, job)
            return Submitted(job_id, was_found=True)

    def _post_with_delegation(self, job: Mapping[str, Any]) -> str:
        try:
            return self._post_job(job)
        except CredentialError as error:
            if error.facts.get("status") != 419 or self._cert is None:
                raise
        self.delegate()
        return self._post_job(job)

    def _post_job(self, job: Mapping[str, Any]) -> str:
        try:
            answer = self._call("POST", "/jobs", json=job).json()
        except ValueError as error:
            raise RetryableRemoteError(
                f"FTS {self.url}: unreadable answer to a submit", service="fts", url=self.url, status=200
            ) from error
        return str(answer["job_id"])

    def find_job(self, job_id: str) -> JobStatus | None:
        """The job, live or archived, without its files; None when FTS does not know it."""
        status = self.job_statuses([job_id], fields=())[job_id]
        if status.http_status == 404:
            return None
        if not status.is_known:
            raise errors.error_for(status.http_status, status.text, f"{self.url}/jobs/{job_id}")
        return status

    def job_statuses(self, job_ids: Iterable[str], fields: Sequence[str] = FILE_FIELDS) -> dict[str, JobStatus]:
        """Every job asked for, by id; those gone from the live tables are looked up in the archive.

        ``fields``: of the files; none: jobs without files. At most 200 ids a call; each entry of a 207 is its own.
        Of jobs that are gone the archive tells one a call: 10,000 of them take about a minute.
        """
        statuses: dict[str, JobStatus] = {}
        for chunk in _chunks([str(job_id) for job_id in job_ids], MAX_IDS_PER_GET):
            query = {"files": ",".join(fields)} if fields else None
            response = self._call("GET", "/jobs/" + ",".join(chunk), params=query, accept=(404,))
            entries = [read_status(entry) for entry in _entries(response, chunk)]
            statuses.update((entry.job_id, entry) for entry in entries)
            gone = [one for one in chunk if one not in statuses or statuses[one].http_status == 404]
            if gone:
                with ThreadPoolExecutor(min(ARCHIVE_GETS_AT_A_TIME, len(gone))) as threads:
                    statuses.update(zip(gone, threads.map(self._archived, gone), strict=True))
        return statuses

    def _archived(self, job_id: str) -> JobStatus:
        response = self._call("GET", f"/archive/{job_id}", accept=(404,))
        if response.status_code == 404:
            return JobStatus(job_id, 404, text=errors.message_of(response))
        return read_status({"http_status": "200 Ok"} | _json(response))

    def files(self, job_id: str) -> list[dict[str, Any]]:
        """All that FTS tells of the files of one live job."""
        answer = self._get(f"/jobs/{job_id}/files")
        return list(answer)

    def cancel(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        """Cancel jobs in bulk. An entry's ``http_status`` is 200 cancelled now, 304 ended before, 404 unknown."""
        statuses: dict[str, JobStatus] = {}
        for chunk in _chunks([str(job_id) for job_id in job_ids], MAX_IDS_PER_GET):
            response = self._call("DELETE", "/jobs/" + ",".join(chunk), accept=(404,))
            statuses.update((entry.job_id, entry) for entry in map(read_status, _entries(response, chunk)))
        return statuses

    # -- transport -------------------------------------------------------------------------------------------------

    def _get(self, path: str) -> Any:
        return _json(self._call("GET", path))

    def _call(self, method: str, path: str, *, accept: Sequence[int] = (), **arguments: Any) -> requests.Response:
        url = self.url + path
        try:
            response = self._session.call(method, url, **arguments)
        except requests.RequestException as error:
            raise errors.from_transport(error, url) from error
        if response.status_code not in accept:
            errors.raise_for(response)
        return response


def read_status(entry: Mapping[str, Any]) -> JobStatus:
    """A job entry of a status, archive or cancel answer."""
    return JobStatus(
        job_id=str(entry["job_id"]),
        http_status=int(str(entry.get("http_status") or "200").split()[0]),
        state=str(entry.get("job_state") or ""),
        reason=str(entry.get("reason") or ""),
        text=str(entry.get("http_message") or ""),
        metadata=entry["job_metadata"] if isinstance(entry.get("job_metadata"), dict) else {},
        finished_at=entry.get("job_finished"),
        files=entry.get("files") or (),
        archive_timeout=int(entry.get("archive_timeout") or 0),
    )


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise errors.unreadable(response) from error


def _entries(response: requests.Response, asked: Sequence[str]) -> list[dict[str, Any]]:
    """The entries of an answer: an array for several ids, one object for one id, of either error shape."""
    body = _json(response)
    if isinstance(body, list):
        return body
    if "job_id" not in body and len(asked) == 1:
        text = body.get("message", "")
        return [{"job_id": asked[0], "http_status": str(response.status_code), "http_message": text}]
    return [body] if "job_id" in body else []


def _check_ours(found: JobStatus, job: Mapping[str, Any]) -> None:
    """That a job found by its predicted id is the one we meant: FTS returns our metadata, with its own additions."""
    wanted = job["params"].get("job_metadata") or {}
    if any(found.metadata.get(name) != value for name, value in wanted.items()):
        raise PermanentRemoteError(
            f"FTS job {found.job_id} carries other metadata than ours: {dict(found.metadata)} instead of {wanted}",
            service="fts",
            status=409,
            job_id=found.job_id,
        )


def _chunks(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
