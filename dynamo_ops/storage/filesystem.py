"""Storages behind an fsspec file system: what POSIX directories and S3 buckets have in common.

fsspec says what is wrong with OSErrors; each subclass adds the errors of its own client.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import polars as pl

from dynamo_ops.base.errors import (
    CredentialError,
    InventoryError,
    PermanentRemoteError,
    RemoteError,
    RetryableRemoteError,
)
from dynamo_ops.base.http.remote import kind_of_status
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.protocol import UNCONDITIONAL, Condition, DeletionOutcome, StorageOptions, StoredFile, Upload
from dynamo_ops.storage.rate import RateLimit
from dynamo_ops.storage.tree import Entry, list_below, moment, remove_upwards

CHUNK_BYTES = 4 << 20
_STATUS_OF_ERROR: dict[type[OSError], int] = {
    FileNotFoundError: 404,
    NotADirectoryError: 404,
    PermissionError: 403,
    IsADirectoryError: 409,
    FileExistsError: 409,
}


class FsspecStorage(ABC):
    """One site behind ``fs``. Subclasses say how a file is written, and what their errors mean."""

    def __init__(self, endpoint: Endpoint, options: StorageOptions, fs: Any) -> None:
        self.endpoint = endpoint
        self.fs = fs
        self._threads = options.threads
        self._conditions: Mapping[str, Condition] = {}
        self._rate = RateLimit(options.calls_per_second)

    def close(self) -> None:  # noqa: B027  (some keep nothing open)
        """Nothing is kept open."""

    # -- list ------------------------------------------------------------------------------------------------------

    def list_files(self, prefix: str) -> Iterator[pl.DataFrame]:
        root = prefix.rstrip("/")
        if self._children(root) is None:
            raise self.error(f"{root} is not there", PermanentRemoteError, root, 404)
        yield from list_below(self.endpoint, root, self._children, self._threads)

    def _children(self, directory: str) -> list[Entry] | None:
        path = self.path(self.endpoint.directory_pfn(directory))
        self._rate.wait()
        try:
            with self.translated("list", directory):
                members = self.fs.ls(path, detail=True, refresh=True)
        except PermanentRemoteError as error:
            if error.facts["status"] == 404:
                return None
            raise
        own = path.rstrip("/")
        return [entry_of(member) for member in members if self.is_listed(member, own)]

    def is_listed(self, member: dict[str, Any], own: str) -> bool:
        """Whether a member of the directory ``own`` counts; S3 lists a directory's own marker too."""
        parent, _, name = str(member["name"]).rstrip("/").rpartition("/")
        return parent == own and bool(name)

    # -- one file --------------------------------------------------------------------------------------------------

    def stat(self, lfn: str) -> StoredFile | None:
        about = self._about(lfn)
        if about is None or about["type"] == "directory":
            return None
        return StoredFile(lfn, int(about["size"]), _modified(about))

    def _about(self, lfn: str) -> dict[str, Any] | None:
        """What fsspec says of a name; None when nothing is there."""
        path = self.path(self.endpoint.pfn(lfn))
        self._rate.wait()
        try:
            with self.translated("stat", lfn):
                about: dict[str, Any] = self.fs.info(path)
                return about
        except PermanentRemoteError as error:
            if error.facts["status"] == 404:
                return None
            raise

    def checksum(self, lfn: str) -> str | None:
        """None: it would have to be read."""
        self.endpoint.pfn(lfn)
        return None

    def read(self, lfn: str, start: int = 0) -> Iterator[bytes]:
        path = self.path(self.endpoint.pfn(lfn))
        self._rate.wait()
        with self.translated("read", lfn):
            file = self.fs.open(path, "rb", cache_type="none")
        with file:
            with self.translated("read", lfn):
                num_bytes = self.fs.info(path)["size"]
            while start < num_bytes:
                with self.translated("read", lfn):
                    file.seek(start)
                    piece = file.read(min(CHUNK_BYTES, num_bytes - start))
                if not piece:
                    raise self.error(f"{lfn} ended at {start} of {num_bytes} bytes", RetryableRemoteError, lfn, None)
                yield piece
                start += len(piece)

    @abstractmethod
    def upload(self, lfn: str, size_bytes: int) -> Upload:
        """As ``Storage.upload``."""

    # -- delete ----------------------------------------------------------------------------------------------------

    def expect(self, conditions: Mapping[str, Condition]) -> None:
        """As of ``LooksFirst``."""
        self._conditions = conditions

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        conditions, self._conditions = self._conditions, {}
        with ThreadPoolExecutor(self._threads) as threads:
            return list(threads.map(lambda lfn: self._delete_one(lfn, conditions.get(lfn, UNCONDITIONAL)), lfns))

    def _delete_one(self, lfn: str, condition: Condition) -> DeletionOutcome:
        try:
            if objection := self.objection(lfn):
                return DeletionOutcome(lfn, DeletionObservation.REFUSED, objection)
            about = self._about(lfn)
            if about is None:
                self.check_is_there()
                return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
            if about["type"] == "directory":
                return DeletionOutcome(lfn, DeletionObservation.REFUSED, "it is a directory")
            if objection := condition.objection(int(about["size"]), _modified(about)):
                return DeletionOutcome(lfn, DeletionObservation.REFUSED, objection)
            self._rate.wait()
            with self.translated("delete", lfn):
                self.fs.rm_file(self.path(self.endpoint.pfn(lfn)))
        except RetryableRemoteError as error:
            return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, error.message)
        except CredentialError as error:
            if error.facts["status"] != 403:
                raise
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)
        except (InventoryError, PermanentRemoteError) as error:
            if error.facts.get("status") == 404:
                return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)
        return DeletionOutcome(lfn, DeletionObservation.DELETED)

    def objection(self, lfn: str) -> str | None:  # noqa: ARG002  (some have none)
        """Why what has this name is not deleted, whatever it is; None where nothing speaks against it."""
        return None

    def check_is_there(self) -> None:  # noqa: B027  (some always know)
        """``RetryableRemoteError`` where "no such file" may mean that the storage as a whole is away."""

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        return remove_upwards(directories, keep, self.endpoint.managed_prefix, self.remove_if_empty)

    @abstractmethod
    def remove_if_empty(self, directory: str) -> bool:
        """Whether the directory was empty and is gone now."""

    # -- names and errors ------------------------------------------------------------------------------------------

    def path(self, pfn: str) -> str:
        """The file system's name for a PFN."""
        return unquote(pfn.partition("://")[2] or pfn)

    @contextmanager
    def translated(self, what: str, lfn: str) -> Iterator[None]:
        """Errors of the file system, as ours."""
        try:
            yield
        except Exception as error:
            kind, status = self.meaning(error)
            if kind is None:
                raise
            raise self.error(f"{what} {lfn}: {type(error).__name__}: {error}", kind, lfn, status) from error

    def meaning(self, error: Exception) -> tuple[type[RemoteError] | None, int | None]:
        """Our error and the HTTP status alike; None for what is not an error of the file system."""
        status = next((status for kind, status in _STATUS_OF_ERROR.items() if isinstance(error, kind)), None)
        if status is not None:
            return kind_of_status(status), status
        return (RetryableRemoteError, None) if isinstance(error, OSError) else (None, None)

    def error(self, text: str, kind: type[RemoteError], lfn: str, status: int | None) -> RemoteError:
        """One of our errors, with the facts that all have."""
        return kind(
            f"site {self.endpoint.site}: {text}",
            service="storage",
            site=self.endpoint.site,
            url=self.endpoint.prefix,
            lfn=lfn,
            status=status,
        )


def entry_of(member: dict[str, Any]) -> Entry:
    """One member of a listing of fsspec."""
    is_directory = member["type"] == "directory"
    name = str(member["name"]).rstrip("/").rpartition("/")[2]
    return Entry(name, is_directory, 0 if is_directory else int(member["size"]), _modified(member))


def _modified(about: dict[str, Any]) -> datetime | None:
    changed = about.get("mtime") or about.get("LastModified")
    return changed.astimezone(UTC) if isinstance(changed, datetime) else moment(changed)
