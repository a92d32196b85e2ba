"""The daemon side of FTS: takes queued files, copies them with a few threads, and decides what failures lead to."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from simgrid.faults import Faults
from simgrid.fts.copier.dav import StorageClients, StorageError
from simgrid.fts.copier.refusal import Refusals
from simgrid.fts.copier.transfer import Copied, Copy, CopyCancelledError, CopyFailedError
from simgrid.fts.delegation import Delegations
from simgrid.fts.jobs import Job, TransferFile, timestamp
from simgrid.fts.store import JobStore
from simgrid.fts.taperest import TapeClient
from simgrid.scenario import FtsSettings

log = logging.getLogger(__name__)
CANCEL_CHECK_S = 10.0  # scaled
_TICK_S = 0.02
_OVERDUE = "Job has been canceled because it stayed in the queue for too long"


class Engine:
    """Started on construction. All waiting times are multiplied by `time_scale`."""

    def __init__(
        self,
        store: JobStore,
        delegations: Delegations,
        clients: StorageClients,
        faults: Faults,
        refusals: Refusals,
        settings: FtsSettings,
        time_scale: float,
    ) -> None:
        self._store = store
        self._delegations = delegations
        self._clients = clients
        self._faults = faults
        self._refusals = refusals
        self._settings = settings
        self._scale = time_scale
        self._ready: queue.SimpleQueue[TransferFile | None] = queue.SimpleQueue()
        self._links: Counter[tuple[str, str]] = Counter()  # READY and ACTIVE files by source and destination
        self._claimed = 0
        self._pids = itertools.count(1000)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"fts-copy-{n}") for n in range(settings.workers)
        ]
        self._threads.append(threading.Thread(target=self._schedule, daemon=True, name="fts-schedule"))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stopping.set()
        for _ in range(self._settings.workers):
            self._ready.put(None)
        with self._store.lock:
            self._store.changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    # --- choosing

    def _schedule(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._faults.fts.paused:
                    self._expire_queued()
                    self._claim()
            except Exception:
                log.exception("scheduling failed; going on")
            with self._store.lock:
                self._store.changed.wait(_TICK_S if self._store.waiting else 0.2)
            time.sleep(_TICK_S / 10)

    def _claim(self) -> None:
        """Make the most urgent waiting files READY: as many as twice the workers, within the links' limits."""
        with self._store.lock:
            room = 2 * self._settings.workers - self._claimed
            if room <= 0 or not self._store.waiting:
                return
            now = time.time()
            due = [file for file in self._store.waiting.values() if file.not_before <= now]
            for file in heapq.nsmallest(4 * room, due, key=lambda file: (-file.priority, file.file_id)):
                link = (file.source_se, file.dest_se)
                if room == 0 or self._links[link] >= 2 * self._settings.per_link:
                    continue
                if self._store.move(file, "READY"):
                    room -= 1
                    self._claimed += 1
                    self._links[link] += 1
                    self._ready.put(file)

    def _expire_queued(self) -> None:
        now = time.time()
        with self._store.lock:
            jobs = {file.job_id for file in self._store.waiting.values()}
            for job_id in jobs:
                job = self._store.jobs[job_id]
                if job.max_time_in_queue is not None and job.max_time_in_queue < now:
                    self._store.cancel_job(job, _OVERDUE)

    # --- copying

    def _work(self) -> None:
        while True:
            file = self._ready.get()
            if file is None or self._stopping.is_set():
                return
            try:
                self._process(file)
            except Exception:
                log.exception("file %d: the copy process crashed", file.file_id)
                self._fail(file, CopyFailedError("GENERAL", 70, "copy process crashed", False), {})
            finally:
                with self._store.lock:
                    self._claimed -= 1
                    self._links[(file.source_se, file.dest_se)] -= 1
                    self._store.changed.notify_all()

    def _process(self, file: TransferFile) -> None:
        job = self._store.job_of(file)
        started = time.time()
        if not self._store.move(
            file,
            "ACTIVE",
            pid=next(self._pids),
            start_time=timestamp(started),
            transfer_host=self._settings.transfer_host,
        ):
            return
        common = {"log_file": _log_file(file, started), "log_debug": 0}
        try:
            copied = self._copy(job, file)
        except CopyCancelledError:
            self._bury(file)
            return
        except CopyFailedError as error:
            self._fail(file, error, common)
            return
        self._succeed(job, file, copied, common)

    def _copy(self, job: Job, file: TransferFile) -> Copied:
        proxy = self._delegations.proxy_path(job.cred_id)
        client = self._clients.of(proxy)
        copy = Copy(job, file, client, self._refusals, lambda: self._is_cancelled(file), lambda: self._interfere(file))
        copied = copy.run()
        link = self._faults.fts.link(file.source_se, file.dest_se)
        least = max(self._settings.min_copy_s * self._scale, link.least_s(copied.size))
        if copied.duration_s < least:
            self._wait(file, least - copied.duration_s)
        return copied

    def _interfere(self, file: TransferFile) -> StorageError | None:
        """The faults that strike a copy: fail it, or let it hang."""
        link = self._faults.fts.link(file.source_se, file.dest_se)
        for faults in (self._faults.fts, link):
            if self._faults.strikes(faults.fail_fraction):
                return StorageError(112, "Server Error ", 400)
            if self._faults.strikes(faults.refuse_fraction):
                return StorageError(13, "Permission denied", 403)
        if self._faults.spend(self._faults.fts, "hang_active"):
            version = self._faults.version
            while self._faults.version == version:
                if self._is_cancelled(file) or self._stopping.wait(0.05):
                    raise CopyCancelledError
        return None

    def _wait(self, file: TransferFile, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not self._is_cancelled(file):
            if self._stopping.wait(min(0.05, seconds)):
                raise CopyCancelledError

    def _is_cancelled(self, file: TransferFile) -> bool:
        return file.file_state == "CANCELED" or self._stopping.is_set()

    # --- what follows from a copy

    def _succeed(self, job: Job, file: TransferFile, copied: Copied, common: dict[str, Any]) -> None:
        size = file.user_filesize if job.is_strict else copied.size
        speed = round(size / copied.duration_s / (1 << 20), 6) if copied.duration_s else 0.0
        changes = {
            **common,
            "filesize": size,
            "tx_duration": round(copied.duration_s, 3),
            "throughput": speed,
            "recoverable": False,
            "reason": "",
            "internal_file_params": _internal_params(job, 601),
        }
        if job.archive_timeout > 0:
            moved = self._store.move(
                file,
                "ARCHIVING",
                archive_start_time=timestamp(time.time()),
                next_poll=0.0,
                **{**changes, "reason": None},
            )
        else:
            moved = self._store.move(file, "FINISHED", finish_time=timestamp(time.time()), **changes)
        if not moved:
            self._bury(file)
        if file.staged and file.bringonline_token:
            self._release(job, file)

    def _fail(self, file: TransferFile, error: CopyFailedError, common: dict[str, Any]) -> None:
        job = self._store.job_of(file)
        changes = {
            **common,
            "filesize": error.size,
            "tx_duration": round(error.duration_s, 3),
            "throughput": 0.0,
            "reason": str(error),
            "recoverable": error.is_recoverable,
            "internal_file_params": _internal_params(job, 601 if error.size else 0),
        }
        if error.errno == 17 and job.dst_file_report:
            changes["file_metadata"] = self._with_destination(job, file)
        if error.is_recoverable and file.retry < job.retry:
            self._retry(job, file, changes)
        elif not self._store.move(file, "FAILED", finish_time=timestamp(time.time()), **changes):
            self._bury(file)

    def _retry(self, job: Job, file: TransferFile, changes: dict[str, Any]) -> None:
        attempt = file.retry + 1
        moved = self._store.move(
            file,
            "SUBMITTED",
            retry=attempt,
            resumed=False,
            pid=None,
            not_before=time.time() + job.retry_delay * self._scale,
            **changes,
        )
        if not moved:
            self._bury(file)
            return
        self._store.journal.add_attempt(
            file.file_id,
            attempt,
            {
                "reason": changes["reason"],
                "file_id": file.file_id,
                "attempt": attempt,
                "log_file": changes.get("log_file"),
                "datetime": timestamp(time.time()),
                "transfer_host": self._settings.transfer_host,
            },
        )

    def _bury(self, file: TransferFile) -> None:
        """A cancelled copy has ended; the daemon notices at its next check. While stopping nothing is settled."""
        if self._stopping.is_set():
            return
        self._stopping.wait(min(1.0, CANCEL_CHECK_S * self._scale))
        self._store.stamp_dying(file)

    def _release(self, job: Job, file: TransferFile) -> None:
        """Evict the source from the tape buffer, as the copy process does after a staged copy."""
        try:
            tape = TapeClient(self._clients.of(self._delegations.proxy_path(job.cred_id)), file.source_surl)
            tape.release(file.bringonline_token or "", [file.source_surl])
        except StorageError as error:
            log.info("file %d: could not release the source: %s", file.file_id, error.text)

    def _with_destination(self, job: Job, file: TransferFile) -> dict[str, Any] | None:
        """The file's metadata with `dst_file`, where the destination is tape; unchanged for a disk."""
        client = self._clients.of(self._delegations.proxy_path(job.cred_id))
        try:
            locality = TapeClient(client, file.dest_surl).locality(file.dest_surl)
            there = client.stat(file.dest_surl, with_digest=True)
        except StorageError:
            return file.file_metadata
        report = {
            "file_size": there.size,
            "checksum_type": "ADLER32",
            "checksum_value": there.adler32,
            "file_on_tape": "TAPE" in locality,
            "file_on_disk": "DISK" in locality,
        }
        return {**(file.file_metadata or {}), "dst_file": report}


def _internal_params(job: Job, timeout: int) -> str:
    return f"nostreams:{1 if job.is_strict else 0},timeout:{timeout},buffersize:0"


def _log_file(file: TransferFile, started: float) -> str:
    link = f"{urlsplit(file.source_se).hostname}__{urlsplit(file.dest_se).hostname}"
    day, clock = time.strftime("%Y-%m-%d", time.gmtime(started)), time.strftime("%Y-%m-%d-%H%M", time.gmtime(started))
    return f"/var/log/fts3/transfers/{day}/{link}/{clock}__{link}__{file.file_id}__{file.job_id}"
