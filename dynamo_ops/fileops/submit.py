"""Batches → FTS: the job document from the recorded rows, one submit, and what its answer means."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from dynamo_ops.errors import CredentialError, InventoryError, PermanentRemoteError
from dynamo_ops.fileops.fts.client import FtsClient
from dynamo_ops.fileops.fts.job import DEFAULT_JOB_SETTINGS, FileCopy, JobSettings, staging_job, transfer_job
from dynamo_ops.fileops.limits import DEFAULT_TRANSFER_LIMITS, TransferLimits
from dynamo_ops.fileops.storage.mapping import Endpoint
from dynamo_ops.fileops.storage.registry import read_endpoints
from dynamo_ops.inventory.database import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubmitSummary:
    """``outcome``: submitted; found (an earlier submit had gone through); refused (wishes held); unwanted (all
    withdrawn or refused before); ended (the batch is finished or cancelled already).

    ``text``: FTS's own words when it refused.
    """

    batch_id: int
    job_id: str
    outcome: str
    num_files: int
    size_bytes: int
    text: str = ""


@dataclass(frozen=True)
class _Batch:
    id: int
    sid: str
    job_id: UUID
    site_id: int
    is_staging: bool
    activity: str
    state: str
    rows: list[Any]


def submit_batch(
    db: Database,
    client: FtsClient,
    batch_id: int,
    settings: JobSettings = DEFAULT_JOB_SETTINGS,
    limits: TransferLimits = DEFAULT_TRANSFER_LIMITS,
) -> SubmitSummary:
    """Have FTS take one recorded batch, once, however often this is run.

    Raises RetryableRemoteError (FTS does not have the job: run again) and CredentialError; both leave it planned.
    A document that FTS refuses is not retried: its wishes are held as ``refused``, with FTS's words.
    """
    batch, endpoints = _read(db, batch_id, limits.managed_prefix)
    if batch.state != "planned":
        return _summary(batch, batch.rows, "found" if batch.state == "submitted" else "ended")
    files, refused = _map(batch, endpoints, limits.protocols)
    if refused:
        _hold(db, refused)
    wanted = {row.transfer_id for row in batch.rows if row.wish_state == "inbatch"} - set(refused)
    if not wanted and client.find_job(str(batch.job_id)) is None:
        close_batch(db, batch_id, "the wishes were withdrawn or refused before the submit")
        return _summary(batch, [], "unwanted")
    make = staging_job if batch.is_staging else transfer_job
    urgency = replace(settings, priority=settings.priorities.get(batch.activity, settings.priority))
    try:
        submitted = client.submit(make(files, batch.sid, urgency, batch_id=batch_id), str(batch.job_id))
    except CredentialError:
        raise
    except PermanentRemoteError as error:
        if error.facts.get("status") not in (400, 409, 413):
            raise
        _give_up(db, batch, error)
        return _summary(batch, [], "refused", error.message)
    with db.begin() as connection:
        mark_submitted(connection, {batch_id: submitted.job_id})
    sent = [row for row in batch.rows if row.transfer_id not in refused]
    return _summary(batch, sent, "found" if submitted.was_found else "submitted")


def mark_submitted(connection: Connection, jobs: Mapping[int, str]) -> None:
    """FTS has these batches, under these job ids (which are the predicted ones, unless its base id has changed)."""
    connection.execute(
        text("""
        UPDATE transfer_batches b
        SET state = 'submitted', job_id = j.job_id, submitted_at = coalesce(submitted_at, now())
        FROM unnest(CAST(:ids AS bigint[]), CAST(:jobs AS uuid[])) AS j (id, job_id)
        WHERE b.id = j.id AND b.state = 'planned'"""),
        {"ids": list(jobs), "jobs": list(jobs.values())},
    )
    connection.execute(
        text("""
        UPDATE transfers SET state = 'submitted' WHERE batch_id = ANY(:ids) AND state = 'planned'"""),
        {"ids": list(jobs)},
    )


def _read(db: Database, batch_id: int, managed_prefix: str) -> tuple[_Batch, dict[int, dict[str, Endpoint]]]:
    with db.begin() as connection:
        head = connection.execute(
            text("SELECT id, sid, job_id, site_id, is_staging, activity, state FROM transfer_batches WHERE id = :id"),
            {"id": batch_id},
        ).one_or_none()
        if head is None:
            raise InventoryError(f"there is no transfer batch {batch_id}", batch_id=batch_id)
        rows = connection.execute(
            text("""
            SELECT t.id AS transfer_id, t.subscription_id, t.source_site_id, t.other_source_site_ids, f.lfn,
                   f.size_bytes, f.adler32, s.state AS wish_state
            FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id JOIN files f ON f.id = s.file_id
            WHERE t.batch_id = :id AND t.state <> 'failed' ORDER BY t.file_index"""),
            {"id": batch_id},
        ).all()
        return _Batch(**head._mapping, rows=list(rows)), read_endpoints(connection, managed_prefix)


def _map(
    batch: _Batch, endpoints: Mapping[int, Mapping[str, Endpoint]], protocols: tuple[str, ...]
) -> tuple[list[FileCopy], dict[int, str]]:
    """The files of the job with their PFNs, and by transfer id the reason why others have none."""
    files, refused = [], {}
    for row in batch.rows:
        try:
            source, destination = _pair(endpoints, row.source_site_id, batch.site_id, protocols)
            sources, to = [source.pfn(row.lfn)], destination.pfn(row.lfn)
        except InventoryError as error:
            refused[row.transfer_id] = error.message
            continue
        for site_id in row.other_source_site_ids or ():
            other = endpoints.get(site_id, {}).get(source.protocol)
            if other is not None:  # an alternative by another protocol would need another destination
                sources.append(other.pfn(row.lfn))
        copy = FileCopy(
            row.transfer_id, row.subscription_id, tuple(sources), to, row.size_bytes, row.adler32, batch.activity
        )
        files.append(copy)
    return files, refused


def _pair(
    endpoints: Mapping[int, Mapping[str, Endpoint]], source_id: int, destination_id: int, protocols: tuple[str, ...]
) -> tuple[Endpoint, Endpoint]:
    here, there = endpoints.get(source_id, {}), endpoints.get(destination_id, {})
    for protocol in protocols:
        if protocol in here and protocol in there:
            return here[protocol], there[protocol]
    raise InventoryError(f"sites {source_id} and {destination_id} share none of the protocols {list(protocols)}")


def _hold(db: Database, refused: Mapping[int, str]) -> None:
    with db.begin() as connection:
        params = {"ids": list(refused), "reasons": list(refused.values())}
        given = "unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[])) AS x (id, reason)"
        connection.execute(
            text(f"""
            UPDATE transfers t SET state = 'failed', is_recoverable = false, reason = x.reason, finished_at = now()
            FROM {given} WHERE t.id = x.id"""),
            params,
        )
        connection.execute(
            text(f"""
            UPDATE subscriptions s
            SET state = 'held', hold_reason = 'refused', last_error = x.reason, updated_at = now()
            FROM {given} JOIN transfers t ON t.id = x.id WHERE s.id = t.subscription_id AND s.state = 'inbatch'"""),
            params,
        )


def _give_up(db: Database, batch: _Batch, error: PermanentRemoteError) -> None:
    """FTS will never take this document (400), or its sid is another job's (409): then the files get a new one."""
    log.warning("batch %s refused by FTS: %s", batch.id, error.message)
    if error.facts.get("status") == 409:
        close_batch(db, batch.id, error.message)
    else:
        _hold(db, {row.transfer_id: error.message for row in batch.rows})
        close_batch(db, batch.id, error.message)


def close_batch(db: Database, batch_id: int, reason: str) -> None:
    """A batch that was never submitted is cancelled; wishes still in it are queued again."""
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE subscriptions s SET state = 'retry', last_error = :reason, updated_at = now() FROM transfers t
            WHERE t.batch_id = :id AND s.id = t.subscription_id AND s.state = 'inbatch'"""),
            {"id": batch_id, "reason": reason},
        )
        connection.execute(
            text("""
            UPDATE transfers SET state = 'cancelled', reason = :reason, finished_at = now()
            WHERE batch_id = :id AND state = 'planned'"""),
            {"id": batch_id, "reason": reason},
        )
        connection.execute(
            text("""
            UPDATE transfer_batches SET state = 'cancelled', finished_at = now()
            WHERE id = :id AND state = 'planned'"""),
            {"id": batch_id},
        )


def _summary(batch: _Batch, rows: list[Any], outcome: str, reason: str = "") -> SubmitSummary:
    return SubmitSummary(batch.id, str(batch.job_id), outcome, len(rows), sum(row.size_bytes for row in rows), reason)
