"""The tasks of the DAG ``deletions``: settings in, small summaries out. No logic of their own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from dynamo_ops.base.settings import Settings
from dynamo_ops.base.spans import span
from dynamo_ops.base.text import counts_text
from dynamo_ops.database.connection import Database
from dynamo_ops.deletion import directories, execute, queue, waiting
from dynamo_ops.inventory.replica import usage
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.storage.connect import site_storages

log = logging.getLogger(__name__)


def recover_deletions(database: Database) -> list[int]:
    """Deletion batches that an earlier run planned and did not finish."""
    recovered = queue.recover_deletions(database)
    log.info("of earlier runs: %s", counts_text(asdict(recovered)))
    return recovered.unfinished


def take_back_what_must_stay(database: Database, settings: Settings) -> dict[str, int]:
    """Deletions that have waited too long since their files must stay: their owners have them again."""
    patience = timedelta(days=settings.deletion.max_wait_days)
    counts = asdict(waiting.take_back_what_must_stay(database, patience))
    log.info("given back to their owners: %s", counts_text(counts))
    return counts


def is_anything_to_delete(database: Database, settings: Settings, unfinished: Sequence[int] = ()) -> bool:
    """Whether a run would find something: batches that an earlier one did not finish, or subscriptions that can be
    served now. Changes nothing; PausedError where deletions stand still."""
    look(database, PauseKind.DELETIONS)
    return bool(unfinished) or queue.is_any_queued(database, settings.deletion)


def plan_deletion_batches(database: Database, settings: Settings, unfinished: Sequence[int] = ()) -> list[list[int]]:
    """The batches to execute, unfinished ones and new ones, in one lot a site: so the rate is bounded at each site."""
    look(database, PauseKind.DELETIONS)
    planned = queue.plan_deletions(database, settings.deletion)
    lots = queue.by_site(database, [*unfinished, *planned])
    log.info("%d new batches, %d unfinished ones, at %d sites", len(planned), len(unfinished), len(lots))
    return lots


def delete(database: Database, settings: Settings, batch_ids: Sequence[int]) -> dict[str, Any]:
    """Delete the files of a site's batches at its storage, and let the replicas shrink, chunk by chunk."""
    storage, limits = site_storages(database, settings), settings.deletion
    done = []
    for batch_id in batch_ids:
        with span("deletion.execute", batch=batch_id):
            done.append(execute.execute_batch(database, batch_id, storage, limits))
    total = asdict(execute.total(done))
    log.info("batches %s: %s", ", ".join(map(str, batch_ids)), counts_text(total))
    return total


def clean_directories(database: Database, settings: Settings, lots: Sequence[Sequence[int]]) -> int:
    """Remove the directories that these batches left empty."""
    look(database, PauseKind.DELETIONS)
    batch_ids = [batch_id for lot in lots for batch_id in lot]
    usage.fold(database)
    number = directories.clean_directories(database, batch_ids, site_storages(database, settings))
    log.info("%d directories that were empty are removed", number)
    return number
