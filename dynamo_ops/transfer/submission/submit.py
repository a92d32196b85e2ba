"""Batches → FTS: the job document from the recorded rows, one submit, and what its answer means."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, SmallInteger, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from dynamo_ops.base.errors import CredentialError, InventoryError, RemoteError
from dynamo_ops.base.glob import is_named
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.fts.job import DEFAULT_JOB_SETTINGS, FileCopy, JobSettings, VerifyChecksum, staging_job, transfer_job
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.site.shared import SAME_STORAGE
from dynamo_ops.inventory.site.usable import READABLE, WRITABLE
from dynamo_ops.inventory.states import LIVE_TRANSFERS, BatchState, SubscriptionState, TransferState
from dynamo_ops.storage.registry import read_endpoints
from dynamo_ops.transfer.server.closing import close_batch, hold_files
from dynamo_ops.transfer.submission import refusal
from dynamo_ops.transfer.submission.limits import DEFAULT_TRANSFER_LIMITS, TransferLimits
from dynamo_ops.transfer.submission.naming import SiteEndpoints, name_file

log = logging.getLogger(__name__)

# So long after a submit began no request of a task that was killed in it can still be on its way to FTS.
SETTLED = "interval '10 minutes'"
HELD_BY_PARTNER = (
    "another site on the same storage as the destination has the file, or is being sent it: FTS would write over it"
)


@dataclass(frozen=True)
class SubmitSummary:
    """``outcome``: submitted; found (an earlier submit had gone through); refused (FTS does not take this document; it
    stays planned, and ``lot`` finds out why); unwanted (all withdrawn or held before, a site is not available now, a
    source is the destination by another name, or the sid is another job's: its subscriptions are queued again); waiting
    (the same, but a killed task may just have submitted it: a later run will see); busy (another task is at it);
    ended (the batch is finished or cancelled already).

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
    site: str
    is_to_tape: bool
    verify_checksum: str
    state: str
    is_settled: bool
    is_available: bool
    is_onto_itself: bool
    rows: list[Any]
    taken_ids: frozenset[int]


def submit_batch(
    db: Database,
    client: FtsClient,
    batch_id: int,
    settings: JobSettings = DEFAULT_JOB_SETTINGS,
    limits: TransferLimits = DEFAULT_TRANSFER_LIMITS,
    endpoints: SiteEndpoints | None = None,
    *,
    may_send: bool = True,
) -> SubmitSummary:
    """Have FTS take one recorded batch, once, however often this is run and by how many.

    Files that are no longer subscribed, or are there by now, are left out, and nothing is sent for a site in a
    downtime, or from a storage onto itself; but what a killed task may just have sent is sent as it was. ``endpoints``:
    of all sites, where the caller has read them. ``may_send`` false: its server is to get no more jobs, and what it has
    not got is queued again, for another.

    Raises RetryableRemoteError (FTS does not have the job: run again) and CredentialError; both leave it planned. So
    does a refusal: whose fault it is, the server's or a file's, shows only by what else is taken (``lot``).
    """
    with alone(db, f"transfer batch {batch_id}") as lock:
        if lock is None:
            return SubmitSummary(batch_id, "", "busy", 0, 0)
        batch = _read(db, batch_id)
        if batch.state != BatchState.PLANNED:
            return _summary(batch, batch.rows, "found" if batch.state == BatchState.SUBMITTED else "ended")
        files, refused = _map(batch, endpoints or all_endpoints(db, limits), limits.protocols)
        if refused:
            hold_files(db, refused)
        withdrawn = {
            row.transfer_id for row in batch.rows if row.subscription_state != SubscriptionState.INBATCH or row.is_there
        } - refused.keys()
        is_possible = batch.is_available and not batch.is_onto_itself and may_send
        if (withdrawn or not files or not is_possible) and client.find_job(str(batch.job_id)) is None:
            wanted = [file for file in files if file.transfer_id not in withdrawn]
            if not wanted or not is_possible:
                return _let_go(db, batch, may_send=may_send)
            if batch.is_settled:
                _drop(db, withdrawn)
                files = wanted
        _keep_sources(db, batch, files)
        return _send(db, client, batch, files, settings)


def _let_go(db: Database, batch: _Batch, *, may_send: bool) -> SubmitSummary:
    """Nothing is to be sent, and FTS has nothing."""
    if not batch.is_settled:
        return _summary(batch, [], "waiting")
    why = "the subscriptions were withdrawn or refused before the submit"
    if not batch.is_available:
        why = "a site of this batch is not available now"
    elif batch.is_onto_itself:
        why = "a source and the destination are one storage under two names: the copy would overwrite what it reads"
    elif not may_send:
        why = "its FTS server is not in the settings any more"
    close_batch(db, batch.id, why)
    return _summary(batch, [], "unwanted")


def _send(
    db: Database, client: FtsClient, batch: _Batch, files: list[FileCopy], settings: JobSettings
) -> SubmitSummary:
    make = staging_job if batch.is_staging else transfer_job
    settings = replace(
        settings,
        priority=settings.priorities.get(batch.activity, settings.priority),
        verify_checksum=VerifyChecksum(batch.verify_checksum),
    )
    if batch.is_to_tape:
        settings = replace(settings, to_tape=True, on_arrival=is_named(batch.site, settings.on_arrival_at))
    with db.begin() as connection:
        connection.execute(
            text(f"UPDATE transfer_batches SET submitted_at = now() WHERE id = :id AND state = '{BatchState.PLANNED}'"),
            {"id": batch.id},
        )
    try:
        submitted = client.submit(make(files, batch.sid, settings, batch_id=batch.id), str(batch.job_id))
    except CredentialError:
        raise
    except RemoteError as error:
        if error.facts.get("status") == 409:  # its sid is another job's: the files get a new one
            close_batch(db, batch.id, error.message)
            return _summary(batch, [], "unwanted", error.message)
        if not refusal.is_refusal(error):
            raise
        num_refusals = refusal.note(db, batch.id)
        log.warning("batch %s refused by FTS, %d times by now: %s", batch.id, num_refusals, error.message)
        if not refusal.is_believed(error, num_refusals):
            raise
        return _summary(batch, _rows_of(batch, files), "refused", error.message)
    with db.begin() as connection:
        mark_submitted(connection, {batch.id: submitted.job_id})
    return _summary(batch, _rows_of(batch, files), "found" if submitted.was_found else "submitted")


def _rows_of(batch: _Batch, files: list[FileCopy]) -> list[Any]:
    sent = {file.transfer_id for file in files}
    return [row for row in batch.rows if row.transfer_id in sent]


def mark_submitted(connection: Connection, jobs: Mapping[int, str]) -> None:
    """FTS has these batches, under these job ids (which are the predicted ones, unless its base id has changed)."""
    connection.execute(
        text(f"""
        UPDATE transfer_batches b
        SET state = '{BatchState.SUBMITTED}', job_id = j.job_id, submitted_at = coalesce(submitted_at, now())
        FROM unnest(CAST(:ids AS bigint[]), CAST(:jobs AS uuid[])) AS j (id, job_id)
        WHERE b.id = j.id AND b.state = '{BatchState.PLANNED}'"""),
        {"ids": list(jobs), "jobs": list(jobs.values())},
    )
    connection.execute(
        text(f"""
        UPDATE transfers SET state = '{TransferState.SUBMITTED}' WHERE batch_id = ANY(:ids)
          AND state = '{TransferState.PLANNED}'"""),
        {"ids": list(jobs)},
    )


def _read(db: Database, batch_id: int) -> _Batch:
    with db.begin() as connection:
        head = connection.execute(
            text(f"""
            SELECT b.id, b.sid, b.job_id, b.site_id, b.is_staging, b.activity, d.name AS site,
                   d.storage_type = '{StorageType.MSS}' AS is_to_tape, b.state,
                   coalesce(b.verify_checksum, '{VerifyChecksum.BOTH}') AS verify_checksum,
                   coalesce(b.submitted_at < now() - {SETTLED}, true) AS is_settled,
                   b.site_id IN {WRITABLE} AND NOT EXISTS (
                     SELECT FROM transfers t WHERE t.batch_id = b.id AND t.state = '{TransferState.PLANNED}'
                       AND t.source_site_id NOT IN {READABLE}) AS is_available,
                   EXISTS (
                     SELECT FROM {SAME_STORAGE} AS same JOIN transfers t ON t.source_site_id = same.site_id
                       OR same.site_id = ANY(t.other_source_site_ids)
                     WHERE same.other_id = b.site_id AND t.batch_id = b.id
                       AND t.state = '{TransferState.PLANNED}') AS is_onto_itself,
                   ARRAY(SELECT same.other_id FROM {SAME_STORAGE} AS same WHERE same.site_id = b.site_id) AS partner_ids
            FROM transfer_batches b JOIN sites d ON d.id = b.site_id WHERE b.id = :id"""),
            {"id": batch_id},
        ).one_or_none()
        if head is None:
            raise InventoryError(f"there is no transfer batch {batch_id}", batch_id=batch_id)
        taken: set[int] = set()
        if head.partner_ids:
            key = {"id": batch_id, "partners": head.partner_ids}
            taken = set(connection.execute(text(_TAKEN_BY_PARTNERS), key).scalars())
        rows = connection.execute(
            text(f"""
            SELECT t.id AS transfer_id, t.subscription_id, t.source_site_id, t.other_source_site_ids, f.lfn,
                   f.size_bytes, f.adler32, s.state AS subscription_state, EXISTS (
                     SELECT FROM block_replicas AS own WHERE own.block_id = f.block_id AND own.site_id = s.site_id
                       AND {is_present("f.id", "own")}) AS is_there
            FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id JOIN files f ON f.id = s.file_id
            WHERE t.batch_id = :id AND t.state NOT IN ('{TransferState.FAILED}', '{TransferState.CANCELLED}')
              ORDER BY t.file_index"""),
            {"id": batch_id},
        ).all()
        known = {name: column for name, column in head._mapping.items() if name != "partner_ids"}
        return _Batch(**known, rows=list(rows), taken_ids=frozenset(taken))


# The transfers whose files another site on the destination's storage has, or is being sent. Asked for all at once:
# where tables are young, a plan file by file reads them whole for each.
_TAKEN_BY_PARTNERS = f"""
    SELECT t.id AS transfer_id
    FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id JOIN files f ON f.id = s.file_id
    JOIN block_replicas AS other ON other.block_id = f.block_id AND other.site_id = ANY(CAST(:partners AS smallint[]))
    WHERE t.batch_id = :id AND {is_present("f.id", "other")}
    UNION
    SELECT t.id FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
    JOIN subscriptions w ON w.file_id = s.file_id AND w.site_id = ANY(CAST(:partners AS smallint[]))
    JOIN transfers x ON x.subscription_id = w.id
    WHERE t.batch_id = :id AND x.state IN {LIVE_TRANSFERS} AND x.id < t.id"""


def all_endpoints(db: Database, limits: TransferLimits = DEFAULT_TRANSFER_LIMITS) -> SiteEndpoints:
    """The endpoints of all sites, by site id and protocol."""
    with db.begin() as connection:
        return read_endpoints(connection, limits.managed_prefix)


def _map(batch: _Batch, endpoints: SiteEndpoints, protocols: tuple[str, ...]) -> tuple[list[FileCopy], dict[int, str]]:
    """The files of the job with their PFNs, and by transfer id the reason why others are not copied: they have no PFN,
    or another site on the destination's storage has them (half a copy would be all that is left of its file)."""
    files, refused = [], {}
    for row in batch.rows:
        if row.transfer_id in batch.taken_ids:
            refused[row.transfer_id] = HELD_BY_PARTNER
            continue
        try:
            naming = name_file(
                row.lfn,
                row.source_site_id,
                batch.site_id,
                row.other_source_site_ids or (),
                endpoints,
                protocols,
                is_staging=batch.is_staging,
            )
        except InventoryError as error:
            refused[row.transfer_id] = error.message
            continue
        copy = FileCopy(
            row.transfer_id,
            row.subscription_id,
            (naming.source, *naming.others.values()),
            naming.destination,
            row.size_bytes,
            row.adler32,
            batch.activity,
            tuple(naming.others),
        )
        files.append(copy)
    return files, refused


def _keep_sources(db: Database, batch: _Batch, files: list[FileCopy]) -> None:
    """Record the alternatives that are really sent: only these can have failed afterwards."""
    recorded = {row.transfer_id: tuple(row.other_source_site_ids or ()) for row in batch.rows}
    changed = [file for file in files if recorded[file.transfer_id] != file.other_site_ids]
    if changed:
        with db.begin() as connection:
            connection.execute(
                text("UPDATE transfers SET other_source_site_ids = nullif(:sites, '{}') WHERE id = :id").bindparams(
                    bindparam("sites", type_=ARRAY(SmallInteger))
                ),
                [{"id": file.transfer_id, "sites": list(file.other_site_ids)} for file in changed],
            )


def _drop(db: Database, transfer_ids: set[int]) -> None:
    if transfer_ids:
        with db.begin() as connection:
            connection.execute(
                text(f"""
                UPDATE transfers SET state = '{TransferState.CANCELLED}', finished_at = now(),
                  reason = 'no longer subscribed, or held, before the submit' WHERE id = ANY(:ids)"""),
                {"ids": list(transfer_ids)},
            )


def _summary(batch: _Batch, rows: list[Any], outcome: str, reason: str = "") -> SubmitSummary:
    return SubmitSummary(batch.id, str(batch.job_id), outcome, len(rows), sum(row.size_bytes for row in rows), reason)
