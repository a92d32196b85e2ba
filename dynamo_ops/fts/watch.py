"""How far jobs are, asked without blocking: what Airflow's triggerer polls while a sensor sleeps.

Arguments are plain and serialisable. TLS files are read at every call: a renewed proxy is picked up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import httpx

from dynamo_ops.base.http.redirect import check_secrecy
from dynamo_ops.base.http.remote import kind_of_status
from dynamo_ops.base.http.session import USER_AGENT
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.fts import errors
from dynamo_ops.fts.client import JobStatus, read_status

IDS_PER_GET = 50  # jobs of 200 files: about a megabyte an answer
ARCHIVE_GETS_AT_A_TIME = 8  # all at once would wait for a free connection until they time out
STAGING_STATES = frozenset({"STAGING", "STARTED", "ON_HOLD_STAGING"})
UNUSED_STATES = frozenset({"NOT_USED"})


class JobSummary(TypedDict):
    """One job in a few plain values. ``http_status`` 404: FTS does not know it (any more), which ends the wait too.

    ``is_staging``: some file still waits for tape. ``is_archiving``: all that is left is that files that have arrived
    get onto tape. ``is_ended``: nothing more will happen by itself.
    """

    http_status: int
    job_state: str
    is_ended: bool
    is_staging: bool
    is_archiving: bool
    num_files: int
    num_done: int
    num_failed: int


async def poll(
    url: str,
    *,
    ca: str,
    cert: str | None,
    key: str | None,
    job_ids: Sequence[str],
    token: str | None = None,
    timeout: float = 60.0,
) -> dict[str, JobSummary]:
    """The summaries of all jobs, by id. Errors as of the blocking client.

    Jobs that left the live tables are looked up in FTS's archive.
    """
    try:
        client = _client(url, Credentials(ca, cert, key, token), timeout)
    except httpx.InvalidURL as error:
        raise errors.from_transport(error, url) from error
    async with client:
        summaries: dict[str, JobSummary] = {}
        for start in range(0, len(job_ids), IDS_PER_GET):
            chunk = list(job_ids[start : start + IDS_PER_GET])
            summaries.update(await _poll_chunk(client, chunk))
        gone = [job_id for job_id in job_ids if job_id not in summaries or summaries[job_id]["http_status"] == 404]
        at_a_time = asyncio.Semaphore(ARCHIVE_GETS_AT_A_TIME)
        archived = await asyncio.gather(*(_archived(client, job_id, at_a_time) for job_id in gone))
        summaries.update(archived)
    return summaries


def all_ended(summaries: Mapping[str, JobSummary]) -> bool:
    """Whether every job has ended (or is unknown to FTS)."""
    return all(summary["is_ended"] for summary in summaries.values())


def summarise(status: JobStatus) -> JobSummary:
    """The summary of one job. A job unknown to FTS has ended: ``observe`` deals with it."""
    counts = Counter(str(file.get("file_state")) for file in status.files)
    waiting = sum(counts[state] for state in STAGING_STATES)
    num_files = sum(counts.values()) - sum(counts[state] for state in UNUSED_STATES)
    num_done, num_failed = counts["FINISHED"], counts["FAILED"] + counts["CANCELED"]
    has_arrived = counts["ARCHIVING"] > 0 and counts["ARCHIVING"] + num_done + num_failed == num_files
    return JobSummary(
        http_status=status.http_status,
        job_state=status.state,
        is_ended=status.is_ended or status.http_status == 404,
        is_staging=waiting > 0 and not status.is_ended,
        is_archiving=has_arrived and not status.is_ended,
        num_files=num_files,
        num_done=num_done,
        num_failed=num_failed,
    )


def _client(url: str, credentials: Credentials, timeout: float) -> httpx.AsyncClient:
    check_secrecy(url, credentials.headers)
    return httpx.AsyncClient(
        base_url=url.rstrip("/"),
        verify=credentials.context(),
        headers={"User-Agent": USER_AGENT, **credentials.headers},
        timeout=timeout,
        trust_env=False,
    )


async def _poll_chunk(client: httpx.AsyncClient, job_ids: Sequence[str]) -> dict[str, JobSummary]:
    response = await _get(client, "/jobs/" + ",".join(job_ids), {"files": "file_state"})
    body = _json(response)
    if isinstance(body, dict):
        body = [body | ({} if "job_id" in body else {"job_id": job_ids[0], "http_status": str(response.status_code)})]
    return {entry["job_id"]: summarise(read_status(entry)) for entry in body}


async def _archived(client: httpx.AsyncClient, job_id: str, at_a_time: asyncio.Semaphore) -> tuple[str, JobSummary]:
    async with at_a_time:
        response = await _get(client, f"/archive/{job_id}")
    if response.status_code == 404:
        return job_id, summarise(JobStatus(job_id, 404))
    return job_id, summarise(read_status({"http_status": "200 Ok"} | _json(response)))


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise errors.unreadable(response) from error


async def _get(client: httpx.AsyncClient, path: str, params: Mapping[str, str] | None = None) -> httpx.Response:
    try:
        response = await client.get(path, params=params)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # a refusal of TLS 1.3 comes as ssl's own
        raise errors.from_transport(error, f"{client.base_url}{path}") from error
    if kind_of_status(response.status_code) and response.status_code != 404:
        raise errors.error_for(response.status_code, errors.text_of(response.text), str(response.url))
    return response
