"""Bring-online and archive monitoring: what the QoS daemon of FTS does around the copies.

Files of different jobs wait together and go to a storage as one request. An online file is noticed late, as in the
real service: polls come 1 s after the request, then after 300 s, then every 600 s, all scaled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from errno import ENOMSG
from typing import Any

from simgrid.faults import Faults
from simgrid.fts.copier.dav import StorageClient, StorageClients, StorageError
from simgrid.fts.copier.xroot import RootTape
from simgrid.fts.delegation import Delegations
from simgrid.fts.jobs import TransferFile, timestamp
from simgrid.fts.store import JobStore
from simgrid.fts.taperest import TapeClient, TapeRestClient

log = logging.getLogger(__name__)
POLLS_S = (1.0, 300.0, 600.0)
ARCHIVE_POLL_S = 300.0
_MOST_FILES = 200  # in one request: FTS's StagingBulkSize
_TICK_S = 0.05
Batch = dict[tuple[str, str], list[TransferFile]]


class StagingDaemon:
    """Started on construction."""

    def __init__(
        self,
        store: JobStore,
        delegations: Delegations,
        clients: StorageClients,
        faults: Faults,
        host: str,
        time_scale: float,
    ) -> None:
        self._store = store
        self._delegations = delegations
        self._clients = clients
        self._faults = faults
        self._host = host
        self._scale = time_scale
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="fts-staging")
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        held: dict[int, TransferFile] = {}  # STARTED when last seen
        while not self._stopping.wait(_TICK_S):
            if self._faults.fts.paused:
                continue
            try:
                self._start()
                self._poll()
                self._watch_archiving()
                held = self._abort_cancelled(held)
            except Exception:
                log.exception("staging failed; going on")

    def _start(self) -> None:
        with self._store.lock:
            batches = self._batches("STAGING")
        for files in batches.values():
            for first in range(0, len(files), _MOST_FILES):
                self._request(files[first : first + _MOST_FILES])

    def _batches(self, state: str) -> Batch:
        """Staging files in `state`, by storage endpoint and credential."""
        batches: Batch = defaultdict(list)
        for file in self._store.staging.values():
            if file.file_state == state:
                batches[_endpoint(file.source_surl), self._store.job_of(file).cred_id].append(file)
        return batches

    def _request(self, files: list[TransferFile]) -> None:
        now = time.time()
        started = {
            "staging_host": self._host,
            "transfer_host": self._host,
            "staging_started": now,
            "staging_start": timestamp(now),
            "start_time": timestamp(now),
        }
        try:
            token = self._tape(files[0]).stage([file.source_surl for file in files])
        except StorageError as error:
            if error.is_recoverable:
                return  # tried again at the next tick; the job's bring_online timeout does not run yet
            for file in files:
                self._fail(file, error.errno, error.text, **started)
            return
        for file in files:
            self._store.move(
                file, "STARTED", bringonline_token=token, polls=0, next_poll=now + POLLS_S[0] * self._scale, **started
            )

    def _poll(self) -> None:
        now = time.time()
        requests: dict[str, list[TransferFile]] = defaultdict(list)
        with self._store.lock:
            for file in self._store.staging.values():
                if file.file_state == "STARTED" and file.next_poll <= now and file.bringonline_token:
                    requests[file.bringonline_token].append(file)
        for token, files in requests.items():
            self._poll_request(token, files)

    def _poll_request(self, token: str, files: list[TransferFile]) -> None:
        try:
            tape = self._tape(files[0])
            progress = tape.progress(token, [file.source_surl for file in files])
        except StorageError as error:
            if error.errno == 2:
                for file in files:
                    self._fail(file, 2, f"{tape.label}the request {token} is unknown")
                return
            progress = {}
        failed = []
        for file in files:
            path = _path(file.source_surl)
            state = progress.get(path, {})
            if state.get("state") == "COMPLETED" and state.get("onDisk"):
                self._online(file)
            elif state.get("state") in ("FAILED", "CANCELLED"):
                failed.append(file)
                self._fail(file, *_failure(state, tape.label, path))
            elif self._is_overdue(file):
                failed.append(file)
                self._fail(file, 110, "bring-online timeout has been exceeded")
            else:
                self._poll_later(file)
        if failed:
            self._abort(token, failed)  # the others of the request go on

    def _online(self, file: TransferFile) -> None:
        now = timestamp(time.time())
        if file.is_stage_only:
            self._store.move(file, "FINISHED", staging_finished=now, finish_time=now, reason="")
        else:
            self._store.move(file, "SUBMITTED", staging_finished=now)

    def _fail(self, file: TransferFile, errno: int, text: str, **changes: object) -> None:
        now = timestamp(time.time())
        if file.file_state == "STAGING":
            changes["staging_finished"] = None
        else:
            changes["staging_finished"] = now
        self._store.move(file, "FAILED", reason=f"STAGING [{errno}] {text}", finish_time=now, **changes)

    def _is_overdue(self, file: TransferFile) -> bool:
        allowed = self._store.job_of(file).bring_online
        return allowed > 0 and time.time() > file.staging_started + allowed * self._scale

    def _poll_later(self, file: TransferFile) -> None:
        polls = file.polls + 1
        delay = POLLS_S[min(polls, len(POLLS_S) - 1)] * self._scale
        self._store.update(file, polls=polls, next_poll=time.time() + delay)

    def _watch_archiving(self) -> None:
        now = time.time()
        with self._store.lock:
            files = [file for file in self._store.archiving.values() if file.next_poll <= now]
        for file in files:
            self._check_archived(file, now)

    def _check_archived(self, file: TransferFile, now: float) -> None:
        try:
            locality = self._tape(file, file.dest_surl).locality(file.dest_surl)
        except StorageError as error:
            if not error.is_recoverable or error.errno == ENOMSG:
                self._end_archiving(file, "FAILED", f"ARCHIVING [{error.errno}] {error.text}")
                return
            locality = ""
        if "TAPE" in locality:
            self._end_archiving(file, "FINISHED", "")
        elif file.polls * ARCHIVE_POLL_S > self._store.job_of(file).archive_timeout:
            self._end_archiving(file, "FAILED", "ARCHIVING [110] archive timeout has been exceeded")
        else:
            self._store.update(file, polls=file.polls + 1, next_poll=now + ARCHIVE_POLL_S * self._scale)

    def _end_archiving(self, file: TransferFile, state: str, reason: str) -> None:
        now = timestamp(time.time())
        self._store.move(file, state, reason=reason, archive_finish_time=now, finish_time=now)

    def _abort_cancelled(self, held: dict[int, TransferFile]) -> dict[int, TransferFile]:
        """Tell the tape side of files cancelled since the last tick; the files STARTED now."""
        gone: dict[str, list[TransferFile]] = defaultdict(list)
        for file in held.values():
            if file.file_state == "CANCELED" and file.bringonline_token:
                gone[file.bringonline_token].append(file)
        for token, files in gone.items():
            self._abort(token, files)
        with self._store.lock:
            return {key: file for key, file in self._store.staging.items() if file.file_state == "STARTED"}

    def _abort(self, token: str, files: list[TransferFile]) -> None:
        try:
            self._tape(files[0]).cancel(token, [file.source_surl for file in files])
        except StorageError as error:
            log.info("could not abort staging request %s: %s", token, error.text)

    def _tape(self, file: TransferFile, url: str | None = None) -> TapeRestClient | RootTape:
        proxy = self._delegations.proxy_path(self._store.job_of(file).cred_id)
        client: StorageClient = self._clients.of(proxy)
        return TapeClient(client, url or file.source_surl)


def _failure(state: dict[str, Any], label: str, path: str) -> tuple[int, str]:
    """The error number and text of a file that the tape has not brought. Over root:// they are gfal2's."""
    text = state.get("error", "request cancelled")
    if "errno" in state:
        return state["errno"], text
    return 2 if "does not exist" in text else 5, f"{label}{text}: {path}"


def _endpoint(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _path(url: str) -> str:
    return "/" + "/".join(url.split("?")[0].split("/")[3:])
