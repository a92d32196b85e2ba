"""Storage in a directory of a mounted file system: ``file:///data/site`` holds ``/store/…``.

Links are not followed out of the endpoint's directory, and links to directories not at all when listing and deleting:
what lies behind one has another name. The prefix may be a link, or lie behind one. A directory that is not there at all
is taken for a file system that is not mounted: wait, and count nothing as gone.
"""

from __future__ import annotations

import os
import re
import secrets
import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from dynamo_ops.base.directory import Overlap, overlap
from dynamo_ops.base.errors import PermanentRemoteError, RetryableRemoteError, SettingsError
from dynamo_ops.inventory.lfn import UPLOAD_SUFFIX, upload_lfn
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.filesystem import FsspecStorage
from dynamo_ops.storage.protocol import DeletionOutcome, StorageOptions, Upload, check_length


class PosixStorage(FsspecStorage):
    """One site on a mounted file system."""

    def __init__(self, endpoint: Endpoint, options: StorageOptions) -> None:
        super().__init__(endpoint, options, LocalFileSystem(skip_instance_cache=True))
        self._root = super().path(endpoint.prefix)
        if not self._root.startswith("/"):
            raise SettingsError(
                f"site {endpoint.site}: the file endpoint needs an absolute prefix such as file:///data, "
                f"not {endpoint.prefix!r}",
                key="prefix",
                reason="not absolute",
            )
        self._real_root = os.path.realpath(self._root)
        self._links: dict[str, str | None] = {}

    def path(self, pfn: str) -> str:
        """The path, once it is certain that no link leads it out of the endpoint's directory."""
        self._check_mounted(self._root)
        path = super().path(pfn).rstrip("/")
        real = os.path.realpath(path)
        if real != self._real_root and not real.startswith(self._real_root.rstrip("/") + "/"):
            raise self.error(f"{path} leads to {real}, out of {self._root}", PermanentRemoteError, path, None)
        return path

    def is_listed(self, member: dict[str, Any], own: str) -> bool:
        is_file = member["type"] == "file" or (member["type"] == "other" and os.path.isfile(member["name"]))
        return super().is_listed(member, own) and (is_file or member["type"] == "directory")

    def check_is_there(self) -> None:
        self._check_mounted(super().path(self.endpoint.directory_pfn(self.endpoint.managed_prefix)))

    def _check_mounted(self, path: str) -> None:
        if not os.path.isdir(path):
            raise self.error(f"{path} is not there: is it mounted?", RetryableRemoteError, path, None)

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        self._links = {}
        return super().delete(lfns)

    def objection(self, lfn: str) -> str | None:
        link = self._link_above(super().path(self.endpoint.pfn(lfn)))
        return f"it lies behind a link: {link}; not deleted" if link else None

    def _link_above(self, path: str) -> str | None:
        """The link nearest to the prefix by which a path below it leads, and to where; the path itself is left out.
        Each directory is looked at once for the files of a call."""
        directory = os.path.dirname(path.rstrip("/"))
        if not directory.startswith(self._root.rstrip("/") + "/") or directory == "/":
            return None
        if directory not in self._links:
            self._links[directory] = self._link_above(directory) or _link(directory)
        return self._links[directory]

    def overlap(self, other: Endpoint) -> Overlap | None:
        found = {
            overlap(mine, theirs) for mine in self._directories(self.endpoint) for theirs in self._directories(other)
        }
        return next((how for how in (Overlap.NESTED, Overlap.SAME) if how in found), None)

    def _directories(self, endpoint: Endpoint) -> list[str]:
        """Where the files of an endpoint are: what its prefix, or its chains, put before names."""
        if not endpoint.chains:
            return [_behind_host(super().path(endpoint.prefix))]
        begins = [re.split(r"[$\\]", chain[-1][1])[0] for chain in endpoint.chains if chain]
        return [_behind_host((begin.partition("://")[2] or begin).rpartition("/")[0]) for begin in begins]

    def clock(self) -> datetime | None:
        """As of ``TellsTime``: by which a file is stamped that is written now, for that of a file server may be another
        than ours; None where nothing may be written."""
        try:
            name = f".clock-{secrets.token_hex(8)}{UPLOAD_SUFFIX}"  # no file can be called so
            path = self.path(self.endpoint.pfn(f"{self.endpoint.managed_prefix.rstrip('/')}/{name}"))
            with open(path, "wb") as file:
                file.write(b".")
            modified_at = os.stat(path).st_mtime
            os.unlink(path)
        except (OSError, PermanentRemoteError):
            return None
        return datetime.fromtimestamp(modified_at, UTC)

    def checksum(self, lfn: str) -> str | None:
        value = 1
        for piece in self.read(lfn):
            value = zlib.adler32(piece, value)
        return f"{value:08x}"

    def upload(self, lfn: str, size_bytes: int) -> Upload:
        path = self.path(self.endpoint.pfn(lfn))
        part = self.path(self.endpoint.pfn(upload_lfn(lfn)))
        with self.translated("upload", lfn):
            if os.path.isdir(path):
                raise IsADirectoryError(path)
            self.fs.makedirs(os.path.dirname(part), exist_ok=True)
            num_there = os.path.getsize(part) if os.path.exists(part) else 0
            is_resumed = 0 < num_there < size_bytes
            file = self.fs.open(part, "ab" if is_resumed else "wb")
        return PosixUpload(self, lfn, size_bytes, file, (part, path), num_there if is_resumed else 0)

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        self._links = {}
        return super().remove_empty_directories(directories, keep)

    def remove_if_empty(self, directory: str) -> bool:
        path = self.path(self.endpoint.directory_pfn(directory))
        if self._link_above(path):
            return False
        try:
            os.rmdir(path)  # refuses what is not empty, and links
        except OSError:
            return False
        return True


def _link(path: str) -> str | None:
    try:
        return f"{path} -> {os.readlink(path)}"
    except OSError:
        return None


def _behind_host(name: str) -> str:
    return f"/{name.partition('/')[2]}"


class PosixUpload:
    """A file that grows under another name, and is renamed over the LFN once it is safe on disk."""

    def __init__(
        self, storage: PosixStorage, lfn: str, size_bytes: int, file: Any, paths: tuple[str, str], num_there: int
    ) -> None:
        self.num_resumed_bytes = num_there
        self._storage = storage
        self._lfn = lfn
        self._size_bytes = size_bytes
        self._file = file
        self._paths = paths
        self._num_written = num_there

    def write(self, piece: bytes) -> None:
        num_after = check_length(self._lfn, self._num_written + len(piece), self._size_bytes, is_end=False)
        with self._storage.translated("write", self._lfn):
            self._file.write(piece)
        self._num_written = num_after

    def finish(self) -> None:
        check_length(self._lfn, self._num_written, self._size_bytes, is_end=True)
        with self._storage.translated("write", self._lfn):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(*self._paths)

    def close(self) -> None:
        if not self._file.closed:
            with self._storage.translated("close", self._lfn):
                self._file.close()
