"""The tasks of the DAGs ``transfers`` and ``deletions``: settings in, small summaries out. No logic of their own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from dynamo_ops.errors import DynamoError, RemoteError, SettingsError
from dynamo_ops.fileops import deletions, subscribe, transfers
from dynamo_ops.fileops.batches import PlanRules
from dynamo_ops.fileops.direct import DirectLimits
from dynamo_ops.fileops.fts.client import FtsClient
from dynamo_ops.fileops.fts.job import JobSettings
from dynamo_ops.fileops.limits import DeletionLimits, TransferLimits
from dynamo_ops.fileops.sources import DirectRule
from dynamo_ops.fileops.storage import StorageOptions
from dynamo_ops.fileops.storage.registry import SiteStorage, plugins, storages
from dynamo_ops.inventory.database import Database
from dynamo_ops.settings import Settings
from dynamo_ops.units import size_text

log = logging.getLogger(__name__)

BATCHES_PER_LOT = 25  # jobs of 200 files: one task submits 5000 of them
PATIENCE = timedelta(minutes=30)  # younger jobs are looked into once they have ended


@contextmanager
def fts_client(settings: Settings) -> Iterator[FtsClient | None]:
    """A client of the installation's FTS; None where there is none."""
    tls, fts = settings.tls, settings.fts
    if fts.url is None:
        yield None
        return
    token = fts.token_file.read_text().strip() if fts.token_file else None
    cert, key = (None, None) if token else (_text(tls.cert), _text(tls.key))
    with FtsClient(fts.url, ca=tls.authorities, cert=cert, key=key, token=token) as client:
        yield client


def transfer_limits(settings: Settings) -> TransferLimits:
    """How much may be under way."""
    given = settings.transfers
    return TransferLimits(
        files_per_job=settings.fts.files_per_job,
        files_per_staging_job=given.files_per_staging_job,
        files_per_cycle=given.files_per_cycle,
        files_in_flight=given.files_in_flight,
        files_to_site=given.files_to_site,
        files_from_site=given.files_from_site,
        files_per_link=given.files_per_link,
        files_staging_per_site=given.files_staging_per_site,
        backoff=timedelta(seconds=given.backoff_s),
        managed_prefix=settings.managed_prefix,
    )


def plan_rules(settings: Settings) -> PlanRules:
    """Which copies go first, and which Dynamo makes itself."""
    given = settings.transfers
    rules = tuple(DirectRule(tuple(rule.sources), tuple(rule.destinations)) for rule in given.direct)
    return PlanRules(
        head_starts={name: timedelta(hours=activity.head_start_h) for name, activity in given.activities.items()},
        direct=(DirectRule(),) if settings.fts.url is None else rules,
        direct_protocols=tuple(protocol for protocol in StorageOptions().protocols if protocol in plugins()),
    )


def deletion_limits(settings: Settings) -> DeletionLimits:
    """What one cycle of deletions may do."""
    given = settings.deletion
    return DeletionLimits(
        files_per_batch=given.files_per_batch,
        files_per_cycle=given.files_per_cycle,
        files_per_site=given.files_per_site,
        backoff=timedelta(seconds=given.backoff_s),
    )


def site_storages(database: Database, settings: Settings) -> SiteStorage:
    """Site id → its storage."""
    tls, given = settings.tls, settings.deletion
    return storages(
        database,
        StorageOptions(
            ca=tls.authorities,
            cert=_text(tls.cert),
            key=_text(tls.key),
            threads=given.threads,
            calls_per_second=given.calls_per_s,
            managed_prefix=settings.managed_prefix,
            more=settings.storages,
        ),
    )


def recover(database: Database, settings: Settings) -> dict[str, Any]:
    """Finish what killed runs left; take in jobs that have ended, give up those that hang; wish again for what
    incomplete replicas lack."""
    if not plan_rules(settings).direct:
        transfers.abandon_direct(database)
    if settings.fts.url is None:
        transfers.abandon_fts(database)
    with fts_client(settings) as client:
        recovered = transfers.recover(database, client)
        found: dict[str, Any] = {"recovered": asdict(recovered), "observed": None, "num_stuck_jobs": 0}
        if client:
            copying = timedelta(hours=settings.fts.stuck_after_h)
            staging = copying + timedelta(seconds=settings.fts.bring_online_s)
            found["num_stuck_jobs"] = transfers.cancel_stuck(database, client, copying, staging)
            found["observed"] = asdict(transfers.observe_and_apply(database, client, patience=PATIENCE))
    wished = subscribe.resubscribe_incomplete(database)
    return {**found, "wished_again": wished.num_created}


def hold_and_release(database: Database) -> dict[str, Any]:
    """Park the wishes that cannot be served now, free those that can be again."""
    return asdict(transfers.hold_and_release(database))


def plan_transfer_batches(database: Database, settings: Settings, unsubmitted: Sequence[int] = ()) -> list[list[int]]:
    """Lots of FTS jobs, one for each submitting task: those that an earlier run recorded and did not submit, and new
    ones. A lot reads from disk only, or from tape only. Batches of direct copies are recorded only."""
    with fts_client(settings) as client:
        if client:
            client.ensure_delegation()
        identity = client.whoami() if client else None
        planned = transfers.plan_batches(database, identity, transfer_limits(settings), plan_rules(settings))
    log.info(
        "%d files, %s, in %d jobs from disk, %d from tape, %d direct copies of ours",
        planned.num_files,
        size_text(planned.size_bytes),
        len(planned.disk),
        len(planned.tape),
        len(planned.direct),
    )
    tapes = transfers.staging_batches(database, unsubmitted)
    disks = [batch for batch in unsubmitted if batch not in tapes]
    return [*_lots([*disks, *planned.disk]), *_lots([*tapes, *planned.tape])]


def submit(database: Database, settings: Settings, batch_ids: Sequence[int]) -> dict[str, list[str]]:
    """Submit a lot of batches; the ids of their jobs, of ``disk`` and of ``tape``. Run again, it goes on where it was.

    One that FTS does not take keeps none of the others back; an error of the gravest kind names them, at the end.
    """
    job, limits = job_settings(settings), transfer_limits(settings)
    endpoints = transfers.all_endpoints(database, limits)
    tapes = set(transfers.staging_batches(database, batch_ids))
    jobs: dict[str, list[str]] = {"disk": [], "tape": []}
    failed: dict[int, RemoteError] = {}
    with fts_client(settings) as client:
        if client is None:
            raise SettingsError("fts.url is null, but there are batches for FTS", key="fts.url", reason="no FTS")
        for batch_id in batch_ids:
            try:
                summary = transfers.submit_batch(database, client, batch_id, job, limits, endpoints)
            except RemoteError as error:
                log.warning("batch %d: %s", batch_id, error.message)
                failed[batch_id] = error
                continue
            if summary.outcome in {"submitted", "found"}:
                jobs["tape" if batch_id in tapes else "disk"].append(summary.job_id)
    if failed:
        worst = min(failed.values(), key=lambda error: error.retryable)
        message = f"{len(failed)} of {len(batch_ids)} batches are not submitted, {sorted(failed)}: {worst.message}"
        raise type(worst)(message, **worst.facts)
    return jobs


def job_settings(settings: Settings) -> JobSettings:
    """The parameters of our FTS jobs."""
    fts = settings.fts
    return JobSettings(
        retries=fts.retries,
        retry_delay_seconds=fts.retry_delay_s,
        bring_online_seconds=fts.bring_online_s,
        priorities={name: activity.priority for name, activity in settings.transfers.activities.items()},
    )


def direct_workers(database: Database, settings: Settings) -> list[int]:
    """Numbers of the tasks that shall make direct copies: one for each batch that waits, up to ``direct_tasks``."""
    waiting = len(transfers.unfinished_direct(database))
    return list(range(min(waiting, settings.transfers.direct_tasks)))


def copy_directly(database: Database, settings: Settings) -> dict[str, Any]:
    """Copy the files of waiting batches ourselves, from storage to storage, batch by batch, until each is done or in
    another task's hands. One that fails keeps none of the others back; the gravest error is raised at the end.
    """
    limits = DirectLimits(files_at_once=settings.transfers.direct_files_at_once)
    storage = site_storages(database, settings)
    counts: Counter[str] = Counter()
    failed: dict[int, DynamoError] = {}
    for batch_id in transfers.unfinished_direct(database):
        try:
            done = transfers.execute_direct(database, batch_id, storage, limits)
        except DynamoError as error:
            log.warning("direct batch %d: %s", batch_id, error.message)
            failed[batch_id] = error
            continue
        counts.update({done.outcome: 1, "files": done.num_done, "bytes": done.bytes_done, "failed": done.num_failed})
    if failed:
        worst = min(failed.values(), key=lambda error: error.retryable)
        raise type(worst)(
            f"{len(failed)} direct batches were not finished, {sorted(failed)}: {worst.message}", **worst.facts
        )
    return dict(counts)


def apply_transfers(database: Database, settings: Settings) -> dict[str, Any]:
    """Take in the results of all jobs that have ended, whoever waited for them."""
    with fts_client(settings) as client:
        return asdict(transfers.observe_and_apply(database, client, patience=PATIENCE)) if client else {}


def _lots(batch_ids: Sequence[int]) -> list[list[int]]:
    return [list(batch_ids[n : n + BATCHES_PER_LOT]) for n in range(0, len(batch_ids), BATCHES_PER_LOT)]


def recover_deletions(database: Database) -> list[int]:
    """Deletion batches that an earlier run planned and did not finish."""
    return deletions.recover_deletions(database).unfinished


def plan_deletion_batches(database: Database, settings: Settings, unfinished: Sequence[int] = ()) -> list[list[int]]:
    """The batches to execute, unfinished ones and new ones, in one lot a site: so the rate is bounded at each site."""
    planned = deletions.plan_deletions(database, deletion_limits(settings))
    return deletions.by_site(database, [*unfinished, *planned])


def delete(database: Database, settings: Settings, batch_ids: Sequence[int]) -> dict[str, Any]:
    """Delete the files of a site's batches at its storage, and let the replicas shrink, chunk by chunk."""
    storage, limits = site_storages(database, settings), deletion_limits(settings)
    return asdict(
        deletions.total([deletions.execute_batch(database, batch_id, storage, limits) for batch_id in batch_ids])
    )


def clean_directories(database: Database, settings: Settings, lots: Sequence[Sequence[int]]) -> int:
    """Remove the directories that these batches left empty."""
    batch_ids = [batch_id for lot in lots for batch_id in lot]
    return deletions.clean_directories(database, batch_ids, site_storages(database, settings))


def _text(path: object) -> str | None:
    return None if path is None else str(path)
