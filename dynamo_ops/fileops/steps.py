"""The tasks of the DAGs ``transfers`` and ``deletions``: settings in, small summaries out. No logic of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from dynamo_ops.fileops import deletions, subscribe, transfers
from dynamo_ops.fileops.fts.client import FtsClient
from dynamo_ops.fileops.fts.job import JobSettings
from dynamo_ops.fileops.limits import DeletionLimits, TransferLimits
from dynamo_ops.fileops.storage import StorageOptions
from dynamo_ops.fileops.storage.registry import SiteStorage, storages
from dynamo_ops.inventory.database import Database
from dynamo_ops.settings import Settings


def fts_client(settings: Settings) -> FtsClient:
    """A client of the installation's FTS. To be closed by the caller."""
    tls, fts = settings.tls, settings.fts
    if fts.token_file:
        return FtsClient(fts.url, ca=tls.authorities, token=fts.token_file.read_text().strip())
    return FtsClient(fts.url, ca=tls.authorities, cert=_text(tls.cert), key=_text(tls.key))


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
        ),
    )


def recover(database: Database, settings: Settings) -> dict[str, Any]:
    """Finish what killed runs left; take in jobs that have ended; wish again for what incomplete replicas lack."""
    with fts_client(settings) as client:
        recovered = transfers.recover(database, client)
        observed = transfers.observe_and_apply(database, client)
    wished = subscribe.resubscribe_incomplete(database)
    return {"recovered": asdict(recovered), "observed": asdict(observed), "wished_again": wished.num_created}


def hold_and_release(database: Database) -> dict[str, Any]:
    """Park the wishes that cannot be served now, free those that can be again."""
    return asdict(transfers.hold_and_release(database))


def plan_transfer_batches(database: Database, settings: Settings, unsubmitted: Sequence[int] = ()) -> list[int]:
    """The batches to submit: those that an earlier run recorded and did not submit, and new ones."""
    with fts_client(settings) as client:
        client.ensure_delegation()
        planned = transfers.plan_batches(database, client.whoami(), transfer_limits(settings))
    return [*unsubmitted, *planned]


def submit(database: Database, settings: Settings, batch_id: int) -> str:
    """Submit one batch; returns its job id, or an empty text when there is nothing to wait for."""
    fts = settings.fts
    job = JobSettings(
        retries=fts.retries, retry_delay_seconds=fts.retry_delay_s, bring_online_seconds=fts.bring_online_s
    )
    with fts_client(settings) as client:
        summary = transfers.submit_batch(database, client, batch_id, job, transfer_limits(settings))
    return summary.job_id if summary.outcome in {"submitted", "found"} else ""


def apply_transfers(database: Database, settings: Settings) -> dict[str, Any]:
    """Take in the results of all jobs that have ended, whoever waited for them."""
    with fts_client(settings) as client:
        return asdict(transfers.observe_and_apply(database, client))


def recover_deletions(database: Database) -> list[int]:
    """Deletion batches that an earlier run planned and did not finish."""
    return deletions.recover_deletions(database).unfinished


def plan_deletion_batches(database: Database, settings: Settings, unfinished: Sequence[int] = ()) -> list[int]:
    """The batches to execute: unfinished ones and new ones."""
    return [*unfinished, *deletions.plan_deletions(database, deletion_limits(settings))]


def delete(database: Database, settings: Settings, batch_id: int) -> dict[str, Any]:
    """Delete the files of one batch at its storage, and let the replicas shrink, chunk by chunk."""
    return asdict(
        deletions.execute_batch(database, batch_id, site_storages(database, settings), deletion_limits(settings))
    )


def clean_directories(database: Database, settings: Settings, batch_ids: Sequence[int]) -> int:
    """Remove the directories that these batches left empty."""
    return deletions.clean_directories(database, batch_ids, site_storages(database, settings))


def _text(path: object) -> str | None:
    return None if path is None else str(path)
