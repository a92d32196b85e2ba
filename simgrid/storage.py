"""The directory behind a site: files by LFN, written atomically, with adler32 checksums and a byte budget."""

from __future__ import annotations

import os
import tempfile
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path

_READ = 1 << 20


class OutsideStorageError(ValueError):
    """The path leads out of the site's directory."""


class StorageFullError(OSError):
    """The upload would exceed the site's capacity."""


class Storage:
    """One site's files. `root` holds them by LFN; `uploads` (same file system) holds unfinished ones."""

    def __init__(self, root: Path, uploads: Path, capacity_bytes: int | None = None) -> None:
        self.root = root
        self._uploads = uploads
        self._capacity = capacity_bytes
        self._lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        uploads.mkdir(parents=True, exist_ok=True)
        for leftover in uploads.iterdir():
            leftover.unlink()
        self._used = _bytes_below(root) if capacity_bytes is not None else 0

    def path(self, lfn: str) -> Path:
        """Where `lfn` lies. Raises OutsideStorageError for `..`, NUL and the like."""
        parts = lfn.split("/")
        if not lfn.startswith("/") or "\0" in lfn or any(part in (".", "..") for part in parts):
            raise OutsideStorageError(lfn)
        return self.root.joinpath(*[part for part in parts if part])

    def write(self, lfn: str, chunks: Iterable[bytes], corrupt: bool = False) -> bool:
        """Store a file whole or not at all; True if it is new. `corrupt` flips a byte on the way (a fault)."""
        path = self.path(lfn)
        descriptor, temporary = tempfile.mkstemp(dir=self._uploads)
        try:
            size = self._receive(descriptor, chunks, corrupt)
            with self._lock:
                previous = path.stat().st_size if path.exists() else None
                if self._capacity is not None and self._used + size - (previous or 0) > self._capacity:
                    raise StorageFullError(lfn)
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary, path)
                self._used += size - (previous or 0)
        except BaseException:
            os.unlink(temporary)
            raise
        return previous is None

    def delete(self, lfn: str) -> None:
        """Remove a file or an empty directory. Raises FileNotFoundError, or OSError for a directory in use."""
        path = self.path(lfn)
        with self._lock:
            if path.is_dir():
                path.rmdir()
                return
            size = path.stat().st_size
            path.unlink()
            self._used -= size

    def move(self, lfn: str, to_lfn: str) -> bool:
        """Rename a file, over what is there; True if the new name is new. FileNotFoundError for file or directory."""
        path, to_path = self.path(lfn), self.path(to_lfn)
        if path.is_dir() or to_path.is_dir():
            raise IsADirectoryError(to_lfn)
        with self._lock:
            previous = to_path.stat().st_size if to_path.exists() else None
            os.replace(path, to_path)
            self._used -= previous or 0
        return previous is None

    def adler32(self, lfn: str) -> str:
        """Eight hex digits."""
        value = 1
        with open(self.path(lfn), "rb") as handle:
            while piece := handle.read(_READ):
                value = zlib.adler32(piece, value)
        return f"{value:08x}"

    def _receive(self, descriptor: int, chunks: Iterable[bytes], corrupt: bool) -> int:
        size = 0
        with os.fdopen(descriptor, "wb") as handle:
            for piece in chunks:
                if corrupt and size == 0:
                    piece = bytes([piece[0] ^ 0xFF]) + piece[1:]
                size += handle.write(piece)
                if self._capacity is not None and size > self._capacity:
                    raise StorageFullError("upload larger than the site")
        return size


def _bytes_below(root: Path) -> int:
    return sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(root) for name in names)
