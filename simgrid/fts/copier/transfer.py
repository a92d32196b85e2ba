"""One copy: check the source, mind the destination, move the bytes, verify. The order and the texts are FTS's."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from simgrid.fts.copier.dav import Stat, StorageClient, StorageError
from simgrid.fts.copier.refusal import Refusal, Refusals
from simgrid.fts.copier.xroot import is_root
from simgrid.fts.jobs import Job, TransferFile


class CopyFailedError(Exception):
    """`scope` is SOURCE, DESTINATION or TRANSFER; `size` what the source's stat gave, 0 if it never did."""

    def __init__(
        self, scope: str, errno: int, text: str, is_recoverable: bool, size: int = 0, duration_s: float = 0.0
    ) -> None:
        super().__init__(f"{scope} [{errno}] {text}")
        self.errno = errno
        self.is_recoverable = is_recoverable
        self.size = size
        self.duration_s = duration_s  # of the moving of bytes


class CopyCancelledError(Exception):
    """The file was cancelled while its bytes moved."""


@dataclass(frozen=True, slots=True)
class Copied:
    size: int
    duration_s: float


class Copy:
    """The copy of `file`. `is_cancelled` is asked between pieces.

    `interfere` is called just before bytes move; it may take its time, or give the StorageError the transfer ends with.
    """

    def __init__(
        self,
        job: Job,
        file: TransferFile,
        client: StorageClient,
        refusals: Refusals,
        is_cancelled: Callable[[], bool],
        interfere: Callable[[], StorageError | None] = lambda: None,
    ) -> None:
        self._job = job
        self._file = file
        self._client = client
        self._refusals = refusals
        self._is_cancelled = is_cancelled
        self._interfere = interfere
        self._size = 0
        self._started = 0.0
        algorithm, _, value = file.checksum.partition(":")
        self._expected = _normal(value) if value and algorithm.lower() == "adler32" else None

    def run(self) -> Copied:
        """Raises CopyFailedError; after it nothing of ours is left at the destination, but where that tells no checksum
        of what came. Or CopyCancelledError: after that half of the file lies there (FTS_CONTRACT §12.6)."""
        if self._job.is_strict:
            return self._transfer(None)
        source = self._check_source()
        if self._is_already_done(source):
            return Copied(source.size, 0.0)
        self._clear_destination()
        return self._transfer(source)

    def _check_source(self) -> Stat:
        mode = self._job.verify_checksum
        self._heed("SOURCE", self._refusals.of_source(self._file.source_surl))
        try:
            source = self._client.stat(self._file.source_surl, with_digest=mode in ("b", "s"))
        except StorageError as error:
            text = f"Failed to stat file ({error.text})" if error.errno == 2 else error.text
            raise CopyFailedError("SOURCE", error.errno, text, error.is_recoverable) from error
        self._size = source.size
        if mode in ("b", "s") and source.adler32 is None:
            raise self._without_checksum("SOURCE", self._file.source_surl)
        if mode in ("b", "s") and self._expected and source.adler32 and _normal(source.adler32) != self._expected:
            raise self._failed(
                "SOURCE",
                5,
                "Source and user-defined adler32 checksum do not match "
                f"({_normal(source.adler32)} != {self._expected})",
                False,
            )
        return source

    def _is_already_done(self, source: Stat) -> bool:
        """After a restart: true if the whole file is at the destination, put there by this copy before it was cut."""
        if not self._file.resumed:
            return False
        try:
            there = self._client.stat(self._file.dest_surl, with_digest=True)
            origin = self._expected or self._client.stat(self._file.source_surl, with_digest=True).adler32
        except StorageError:
            return False
        return there.size == source.size and there.adler32 is not None and _normal(there.adler32) == origin

    def _clear_destination(self) -> None:
        """Remove the existing file if the job may overwrite it; nothing to do if there is none."""
        self._heed("DESTINATION", self._refusals.of_destination(self._file.dest_surl))
        try:
            self._client.stat(self._file.dest_surl)
        except StorageError as error:
            if error.errno == 2:
                return
            raise self._failed("DESTINATION", error.errno, error.text, error.is_recoverable) from error
        if not self._may_overwrite():
            raise self._failed("DESTINATION", 17, "Destination file exists and overwrite is not enabled", False)
        self._remove_destination()

    def _may_overwrite(self) -> bool:
        flag = self._job.overwrite_flag
        if flag == "Y":
            return True
        if flag == "R":
            return self._file.retry > 0
        if flag in ("M", "Q"):
            return self._file is not self._job.files[-1]
        return False

    def _remove_destination(self) -> None:
        try:
            self._client.delete(self._file.dest_surl)
        except StorageError as error:
            if error.errno != 2:
                raise self._failed("DESTINATION", error.errno, error.text, error.is_recoverable) from error

    def _transfer(self, source: Stat | None) -> Copied:
        self._started = time.monotonic()
        checksum = self._stream()
        duration = max(0.001, time.monotonic() - self._started)
        if source is not None:
            self._verify(source, checksum)
        return Copied(self._size, duration)

    def _stream(self) -> str:
        """Move the bytes; the adler32 of what passed."""
        value = 1

        def passing(pieces: Iterator[bytes]) -> Iterator[bytes]:
            nonlocal value
            for piece in pieces:
                if self._is_cancelled():
                    raise CopyCancelledError
                value = zlib.adler32(piece, value)
                yield piece

        try:
            injected = self._interfere()
            if injected is not None:
                raise injected
            size, pieces = self._client.get(self._file.source_surl)
            self._size = size
            self._client.put(self._file.dest_surl, size, passing(pieces))
        except CopyCancelledError:
            if self._file.file_state == "CANCELED":  # else FTS is being stopped, and will go on with it
                self._leave_half()
            raise
        except StorageError as error:
            last = f"copy HTTP {error.status} : {error.text}" if error.status else error.text
            raise self._failed(
                "TRANSFER",
                error.errno,
                f"TRANSFER ERROR: Copy failed (3rd pull). Last attempt: {last}",
                error.is_recoverable,
            ) from error
        return f"{value:08x}"

    def _leave_half(self) -> None:
        with suppress(StorageError):
            size, pieces = self._client.get(self._file.source_surl)
            half = b"".join(pieces)[: size // 2]
            self._client.put(self._file.dest_surl, len(half), [half])

    def _verify(self, source: Stat, passed: str) -> None:
        mode = self._job.verify_checksum
        try:
            there = self._client.stat(self._file.dest_surl, with_digest=mode in ("b", "t"))
        except StorageError as error:
            raise self._failed("DESTINATION", error.errno, error.text, error.is_recoverable) from error
        if there.size != source.size:
            self._remove_destination()
            raise self._failed(
                "DESTINATION", 22, f"Source and destination file size mismatch ({source.size} != {there.size})", False
            )
        if mode not in ("b", "t"):
            return
        self._heed("DESTINATION", self._refusals.of_checksum(self._file.dest_surl))
        if there.adler32 is None:
            self._remove_destination()
            raise self._without_checksum("DESTINATION", self._file.dest_surl)
        wanted = self._expected or (_normal(source.adler32) if source.adler32 else passed)
        if _normal(there.adler32) != wanted:
            self._remove_destination()
            whose = "User-defined" if self._expected else "Source"
            raise self._failed(
                "DESTINATION",
                5,
                f"{whose} and destination adler32 checksum do not match ({wanted} != {_normal(there.adler32)})",
                False,
            )

    def _heed(self, scope: str, refusal: Refusal | None) -> None:
        if refusal is not None:
            raise self._failed(scope, *refusal, False)

    def _without_checksum(self, side: str, url: str) -> CopyFailedError:
        """A storage that tells none: gfal2 compares with an empty one, and over root:// the query is refused."""
        if is_root(url):
            text = f"TRANSFER ERROR: {side} CHECKSUM Could not get the checksum: Operation not supported"
            return self._failed("TRANSFER", 95, text, True)
        what = f"{side} CHECKSUM MISMATCH User checksum and {side.lower()} checksum do not match"
        text = f"TRANSFER ERROR: Copy failed (3rd pull). Last attempt: {what}: {self._expected or '(null)'} != 00000000"
        return self._failed("TRANSFER", 5, text, True)

    def _failed(self, scope: str, errno: int, text: str, is_recoverable: bool) -> CopyFailedError:
        duration = time.monotonic() - self._started if self._started else 0.0
        return CopyFailedError(scope, errno, text, is_recoverable, self._size, duration)


def _normal(checksum: str) -> str:
    return checksum.strip().lower().rjust(8, "0")
