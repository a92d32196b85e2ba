"""The tasks of the DAG ``deletions``: settings in, small summaries out. No logic of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.deletion import directories, execute, queue, waiting
from dynamo_ops.deletion.limits import deletion_limits
from dynamo_ops.storage.connect import site_storages


def recover_deletions(database: Database) -> list[int]:
    """Deletion batches that an earlier run planned and did not finish."""
    return queue.recover_deletions(database).unfinished


def take_back_what_must_stay(database: Database, settings: Settings) -> dict[str, int]:
    """Deletions that have waited too long since their files must stay: their owners have them again."""
    patience = timedelta(days=settings.deletion.max_wait_days)
    return asdict(waiting.take_back_what_must_stay(database, patience))


def plan_deletion_batches(database: Database, settings: Settings, unfinished: Sequence[int] = ()) -> list[list[int]]:
    """The batches to execute, unfinished ones and new ones, in one lot a site: so the rate is bounded at each site."""
    planned = queue.plan_deletions(database, deletion_limits(settings))
    return queue.by_site(database, [*unfinished, *planned])


def delete(database: Database, settings: Settings, batch_ids: Sequence[int]) -> dict[str, Any]:
    """Delete the files of a site's batches at its storage, and let the replicas shrink, chunk by chunk."""
    storage, limits = site_storages(database, settings), deletion_limits(settings)
    return asdict(execute.total([execute.execute_batch(database, batch_id, storage, limits) for batch_id in batch_ids]))


def clean_directories(database: Database, settings: Settings, lots: Sequence[Sequence[int]]) -> int:
    """Remove the directories that these batches left empty."""
    batch_ids = [batch_id for lot in lots for batch_id in lot]
    return directories.clean_directories(database, batch_ids, site_storages(database, settings))
