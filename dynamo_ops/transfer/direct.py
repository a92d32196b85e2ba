"""Backend ``direct``: Dynamo copies the files of a batch itself, where there is no FTS between two sites.

Storage to storage, in pieces, through this task: bytes are summed as they pass, and what the destination has in the end
is compared with the catalogue before it counts. Results are recorded as they come, so that a killed task loses few; run
again, it finds what it had finished at the destination and copies only the rest.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import is_named
from dynamo_ops.base.settings import TRANSFERS, TransferSettings
from dynamo_ops.base.units import size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.replica.copies import is_called_bad
from dynamo_ops.inventory.site.shared import SAME_STORAGE
from dynamo_ops.inventory.site.usable import READABLE, WRITABLE
from dynamo_ops.inventory.states import (
    BATCH_MOVES,
    LIVE_TRANSFERS,
    Backend,
    BatchEvent,
    BatchState,
    SubscriptionState,
    moved_by,
)
from dynamo_ops.inventory.states import TransferObservation as Seen
from dynamo_ops.inventory.subscription.blame import Verdict, judge
from dynamo_ops.storage.protocol import Storage
from dynamo_ops.storage.registry import SiteStorage
from dynamo_ops.transfer.direct_copy import CopyResult, FileToCopy, copy_file
from dynamo_ops.transfer.observations import OBSERVATIONS, OCCUPIED
from dynamo_ops.transfer.observe import apply_observations
from dynamo_ops.transfer.server.closing import close_batch

log = logging.getLogger(__name__)

WITHDRAWN = "no longer subscribed"
_ENDABLE = moved_by(BATCH_MOVES, BatchEvent.ENDED)


@dataclass(frozen=True)
class DirectSummary:
    """``outcome``: finished; busy (another task is at this batch); ended (it was finished or cancelled before); refused
    (its destination is tape, which Dynamo does not copy to itself: its subscriptions are queued again).

    ``num_done`` files are at the destination; ``num_found`` of them were there already, whole and right.
    ``num_cancelled`` were not copied: no longer subscribed, or a site is not available any more, or both are one
    storage.
    """

    batch_id: int
    outcome: str
    num_done: int = 0
    bytes_done: int = 0
    num_found: int = 0
    num_failed: int = 0
    num_cancelled: int = 0


def execute_direct(
    db: Database, batch_id: int, open_storage: SiteStorage, limits: TransferSettings = TRANSFERS
) -> DirectSummary:
    """Copy the files of one planned batch with backend ``direct``, and record how each ended. Safe to run again.

    ``open_storage``: site id → storage. Failures of single files are recorded, not raised. Raises InventoryError (no
    such batch, or another backend's), SettingsError (a site has no usable storage), CredentialError (our own credential
    is refused) and RetryableRemoteError (the database); what was finished until then is recorded.
    """
    with alone(db, f"direct batch {batch_id}") as lock:
        if lock is None:
            return DirectSummary(batch_id, "busy")
        batch = _read_batch(db, batch_id)
        if batch.state != BatchState.PLANNED:
            return DirectSummary(batch_id, "ended")
        if batch.is_tape and not is_named(batch.site, limits.on_arrival):
            close_batch(db, batch_id, f"{batch.site} is tape: Dynamo does not copy there itself")
            return DirectSummary(batch_id, "refused")
        run = _Run(db, batch_id, batch.site_id, open_storage, limits, lock, may_overwrite=not batch.is_tape)
        try:
            run.copy_all()
        finally:
            run.close()
        _finish(db, batch_id)
    return run.summary


@dataclass
class _Run:
    """One task's work on one batch."""

    db: Database
    batch_id: int
    site_id: int
    open_storage: SiteStorage
    limits: TransferSettings
    lock: Connection
    may_overwrite: bool
    summary: DirectSummary = field(init=False)

    def __post_init__(self) -> None:
        self.summary = DirectSummary(self.batch_id, "finished")
        self._storages: dict[int, Storage] = {}
        self._stop = Event()
        self._results: list[CopyResult] = []
        self._started = self._recorded_at = time.monotonic()
        self._last_index = -1
        self._is_exhausted = False

    def copy_all(self) -> None:
        """Keep ``files_at_once`` copies going until none is left; what ended is recorded, whatever happens."""
        waiting: list[FileToCopy] = []
        running: set[Future[CopyResult]] = set()
        with ThreadPoolExecutor(self.limits.direct_files_at_once, thread_name_prefix="copy") as threads:
            try:
                while True:
                    waiting = waiting or self._next()
                    while waiting and len(running) < self.limits.direct_files_at_once:
                        running.add(self._start(threads, waiting.pop(0)))
                    if not running:
                        break
                    ended, running = wait(running, self.limits.direct_record_every_s, return_when=FIRST_COMPLETED)
                    self._collect(ended)
                    self._record_if_due()
            finally:
                self._stop.set()
                threads.shutdown(wait=True, cancel_futures=True)
                self._collect({future for future in running if not future.cancelled()}, quiet=True)
                self._record()

    def close(self) -> None:
        """Close the storages that were opened."""
        for storage in self._storages.values():
            storage.close()

    def _start(self, threads: ThreadPoolExecutor, file: FileToCopy) -> Future[CopyResult]:
        source, destination = self._storage(file.source_site_id), self._storage(self.site_id)
        return threads.submit(copy_file, file, source, destination, self._stop, may_overwrite=self.may_overwrite)

    def _storage(self, site_id: int) -> Storage:
        if site_id not in self._storages:
            self._storages[site_id] = self.open_storage(site_id)
        return self._storages[site_id]

    def _next(self) -> list[FileToCopy]:
        """The next files, judged anew: those that are not to be copied any more are recorded as cancelled."""
        while not self._is_exhausted:
            files, refused = _read_files(self.db, self.batch_id, self._last_index, self.limits.direct_files_per_record)
            self._last_index = max(
                [*(file.file_index for file in files), *(r.file_index for r in refused), self._last_index]
            )
            self._is_exhausted = not files and not refused
            self._results.extend(refused)
            if files:
                return files
        return []

    def _collect(self, ended: set[Future[CopyResult]], *, quiet: bool = False) -> None:
        """Take results. An error here is none of a single file: it goes on up, once the others' results are taken."""
        errors = [error for future in ended if (error := future.exception()) is not None]
        self._results.extend(future.result() for future in ended if future.exception() is None)
        if errors and not quiet:
            raise errors[0]

    def _record_if_due(self) -> None:
        """Record what has ended when it is much or long ago; and see that the lock still holds."""
        late = time.monotonic() - self._recorded_at >= self.limits.direct_record_every_s
        if late or len(self._results) >= self.limits.direct_files_per_record:
            self.lock.execute(text("SELECT 1"))
            self._record()

    def _record(self) -> None:
        self._recorded_at = time.monotonic()
        results = [result for result in self._results if result.observation is not None]
        if not results:
            return
        with self.db.begin() as connection:
            applied = apply_observations(connection, observations(results), illness=self.limits)
        self._results = []
        self.summary = replace(
            self.summary,
            num_done=self.summary.num_done + applied.num_done,
            bytes_done=self.summary.bytes_done + applied.bytes_done,
            num_found=self.summary.num_found + sum(result.was_there for result in results),
            num_failed=self.summary.num_failed + applied.num_failed,
            num_cancelled=self.summary.num_cancelled + applied.num_cancelled,
        )
        self._log()

    def _log(self) -> None:
        done, seconds = self.summary, max(time.monotonic() - self._started, 1e-3)
        log.info(
            "direct batch %d: %d files done (%s, %s/s), %d failed, %d cancelled",
            self.batch_id,
            done.num_done,
            size_text(done.bytes_done),
            size_text(int(done.bytes_done / seconds)),
            done.num_failed,
            done.num_cancelled,
        )


def observations(results: list[CopyResult]) -> pl.DataFrame:
    """``OBSERVATIONS`` of copies that ended."""
    rows = []
    for result in results:
        if result.observation is None:
            continue
        verdict = _verdict(result)
        rows.append(
            (
                result.transfer_id,
                result.observation.value,
                result.size_bytes,
                result.reason or None,
                verdict.is_worth_it if verdict else result.is_recoverable,
                verdict.blame.value if verdict else None,
                result.verified_by,
                result.started_at,
                result.finished_at,
            )
        )
    return pl.DataFrame(rows, schema=OBSERVATIONS, orient="row")


def _verdict(result: CopyResult) -> Verdict | None:
    if result.observation == Seen.FAILED:
        return judge(result.reason, result.is_recoverable)
    return OCCUPIED if result.observation == Seen.OCCUPIED else None


def _read_batch(db: Database, batch_id: int) -> Any:
    with db.begin() as connection:
        row = connection.execute(
            text(f"""
            SELECT batch.site_id, batch.state, batch.backend, site.name AS site,
                   site.storage_type = '{StorageType.MSS}' AS is_tape
            FROM transfer_batches AS batch JOIN sites AS site ON site.id = batch.site_id WHERE batch.id = :id"""),
            {"id": batch_id},
        ).one_or_none()
    if row is None:
        raise InventoryError(f"there is no transfer batch {batch_id}", batch_id=batch_id)
    if row.backend != Backend.DIRECT:
        raise InventoryError(
            f"transfer batch {batch_id} is for {row.backend}, not for direct copies", batch_id=batch_id
        )
    return row


def _read_files(db: Database, batch_id: int, after_index: int, limit: int) -> tuple[list[FileToCopy], list[CopyResult]]:
    """The next live transfers of the batch: files to copy, and results of those that are not to be copied."""
    with db.begin() as connection:
        rows = connection.execute(
            text(f"""
            SELECT t.id, t.file_index, t.source_site_id, f.lfn, t.size_bytes, f.adler32,
                   CASE WHEN s.state <> '{SubscriptionState.INBATCH}' THEN '{WITHDRAWN}'
                        WHEN b.site_id NOT IN {WRITABLE} THEN 'DESTINATION ' || d.name || ' is not available any more'
                        WHEN t.source_site_id NOT IN {READABLE} THEN 'SOURCE ' || o.name || ' is not available any more'
                        WHEN t.source_site_id IN (
                          SELECT same.site_id FROM {SAME_STORAGE} AS same
                          WHERE same.other_id = (SELECT site_id FROM transfer_batches WHERE id = :id))
                          THEN 'SOURCE ' || o.name || ' is the same storage as DESTINATION ' || d.name
                        END AS refusal,
                   {is_called_bad("f.id", "b.site_id")} AS is_distrusted
            FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id
            JOIN subscriptions s ON s.id = t.subscription_id JOIN files f ON f.id = s.file_id
            JOIN sites d ON d.id = b.site_id JOIN sites o ON o.id = t.source_site_id
            WHERE t.batch_id = :id AND t.file_index > :after AND t.state IN {LIVE_TRANSFERS}
            ORDER BY t.file_index LIMIT :limit"""),
            {"id": batch_id, "after": after_index, "limit": limit},
        ).all()
    now = datetime.now(UTC)
    files = [
        FileToCopy(
            row.id,
            row.file_index,
            row.source_site_id,
            row.lfn,
            row.size_bytes,
            row.adler32,
            row.refusal,
            is_distrusted=row.is_distrusted,
        )
        for row in rows
        if row.refusal in (None, WITHDRAWN)
    ]
    refused = [
        CopyResult(row.id, row.file_index, Seen.CANCELLED, reason=row.refusal, finished_at=now)
        for row in rows
        if row.refusal not in (None, WITHDRAWN)
    ]
    return files, refused


def _finish(db: Database, batch_id: int) -> None:
    with db.begin() as connection:
        connection.execute(
            text(f"""
            UPDATE transfer_batches b SET state = '{BatchState.FINISHED}', finished_at = now()
            WHERE b.id = :id AND b.state IN {_ENDABLE} AND NOT EXISTS (
              SELECT FROM transfers t WHERE t.batch_id = b.id AND t.state IN {LIVE_TRANSFERS})"""),
            {"id": batch_id},
        )
