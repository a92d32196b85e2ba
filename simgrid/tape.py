"""What makes a site a tape site: files are online (in the buffer) or nearline (on tape only), and staged on request.

States follow from the clock: a request taken at t is served at t + staging delay, so there are no timers and a
restarted grid goes on where it stood. The state is one small JSON file, rewritten at every change.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


class UnknownRequestError(KeyError):
    """No staging request has this id."""


class Tape:
    """Localities and staging requests of one site. Paths are LFNs; times unix seconds.

    A file nobody staged is nearline. Staged files stay online until every request that wanted them is released.
    """

    def __init__(
        self,
        state: Path,
        exists: Callable[[str], bool],
        staging_s: float,
        archive_s: float,
        is_stuck: Callable[[], bool],
        is_archive_stuck: Callable[[], bool] = lambda: False,
    ) -> None:
        self._state = state
        self._exists = exists
        self._staging_s = staging_s
        self._archive_s = archive_s
        self._is_stuck = is_stuck
        self._is_archive_stuck = is_archive_stuck
        self._lock = threading.RLock()
        self._requests: dict[str, dict[str, Any]] = {}
        self._archived_at: dict[str, float] = {}
        if state.exists():
            document = json.loads(state.read_text(encoding="utf-8"))
            self._requests, self._archived_at = document["requests"], document["archived_at"]
        self._wanted: dict[str, set[str]] = {}
        for identifier, request in self._requests.items():
            for lfn in request["files"]:
                self._wanted.setdefault(lfn, set()).add(identifier)

    def locality(self, lfn: str) -> str:
        """TAPE, DISK (not yet archived), DISK_AND_TAPE or NONE, in the words of the WLCG Tape REST API."""
        if not self._exists(lfn):
            return "NONE"
        if not self._is_archived(lfn):
            return "DISK"
        return "DISK_AND_TAPE" if self._staged(lfn) else "TAPE"

    def is_online(self, lfn: str) -> bool:
        return self.locality(lfn) in ("DISK", "DISK_AND_TAPE")

    def uploaded(self, lfn: str) -> None:
        """A new file arrived; it goes to tape after the archive delay and leaves the buffer."""
        with self._lock:
            self._forget(lfn)
            if self._archive_s > 0 or self._is_archive_stuck():
                self._archived_at[lfn] = time.time() + self._archive_s
                self._save()

    def deleted(self, lfn: str) -> None:
        with self._lock:
            self._forget(lfn)
            self._archived_at.pop(lfn, None)

    def stage(self, lfns: list[str]) -> str:
        """The id of a new staging request for these files, existing or not."""
        with self._lock:
            identifier = str(uuid.uuid4())
            now = time.time()
            files = {}
            for lfn in lfns:
                online = self.is_online(lfn)
                files[lfn] = {
                    "ready_at": now + self._staging_s,
                    "served": online,
                    "cancelled": False,
                    "missing": not self._exists(lfn),
                }
                self._wanted.setdefault(lfn, set()).add(identifier)
            self._requests[identifier] = {"created_at": now, "files": files}
            self._save()
            return identifier

    def request_document(self, identifier: str) -> dict[str, Any]:
        """The request's progress as the Tape REST API tells it. Raises UnknownRequestError."""
        with self._lock:
            request = self._request(identifier)
            now = time.time()
            files = [self._file_progress(lfn, file, now) for lfn, file in request["files"].items()]
            created = int(request["created_at"])
            document = {"id": identifier, "createdAt": created, "startedAt": created, "files": files}
            if all(file["state"] in ("COMPLETED", "FAILED", "CANCELLED") for file in files):
                document["completedAt"] = int(now)
            return document

    def release(self, identifier: str, lfns: list[str] | None) -> None:
        """The files (all when None) are no longer wanted by this request; unwanted ones leave the buffer."""
        with self._lock:
            request = self._request(identifier)
            for lfn in lfns if lfns is not None else list(request["files"]):
                self._wanted.get(lfn, set()).discard(identifier)
            self._save()

    def cancel(self, identifier: str, lfns: list[str] | None) -> None:
        with self._lock:
            request = self._request(identifier)
            for lfn in lfns if lfns is not None else list(request["files"]):
                file = request["files"].get(lfn)
                if file is None or self._file_progress(lfn, file, time.time())["state"] == "COMPLETED":
                    continue
                file["cancelled"] = True
                self._wanted.get(lfn, set()).discard(identifier)
            self._save()

    def drop(self, identifier: str) -> None:
        """Forget the request altogether."""
        with self._lock:
            for lfn in self._request(identifier)["files"]:
                self._wanted.get(lfn, set()).discard(identifier)
            del self._requests[identifier]
            self._save()

    def _is_archived(self, lfn: str) -> bool:
        """Once it is, it stays so, whatever gets stuck later."""
        with self._lock:
            if lfn in self._archived_at and not self._is_archive_stuck() and self._archived_at[lfn] <= time.time():
                del self._archived_at[lfn]
            return lfn not in self._archived_at

    def _staged(self, lfn: str) -> bool:
        now = time.time()
        with self._lock:
            for identifier in self._wanted.get(lfn, ()):
                if self._file_progress(lfn, self._requests[identifier]["files"][lfn], now)["onDisk"]:
                    return True
        return False

    def _file_progress(self, lfn: str, file: dict[str, Any], now: float) -> dict[str, Any]:
        if file["missing"]:
            return {"path": lfn, "onDisk": False, "state": "FAILED", "error": "File does not exist: no such file"}
        if file["cancelled"]:
            return {"path": lfn, "onDisk": False, "state": "CANCELLED"}
        if file["ready_at"] <= now and not self._is_stuck():
            file["served"] = True
        if file["served"]:
            return {"path": lfn, "onDisk": True, "state": "COMPLETED"}
        return {"path": lfn, "onDisk": False, "state": "STARTED"}

    def _request(self, identifier: str) -> dict[str, Any]:
        if identifier not in self._requests:
            raise UnknownRequestError(identifier)
        return self._requests[identifier]

    def _forget(self, lfn: str) -> None:
        if self._wanted.pop(lfn, None):
            self._save()

    def _save(self) -> None:
        temporary = self._state.with_suffix(".new")
        document = {"requests": self._requests, "archived_at": self._archived_at}
        temporary.write_text(json.dumps(document), encoding="utf-8")
        os.replace(temporary, self._state)
