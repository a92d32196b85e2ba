"""One file from one storage to another, compared with the catalogue on the way and at the end."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

from dynamo_ops.base.errors import CredentialError, DynamoError, SettingsError
from dynamo_ops.base.http.remote import GONE
from dynamo_ops.inventory.lfn import upload_lfn
from dynamo_ops.inventory.states import DeletionObservation, VerifiedBy
from dynamo_ops.inventory.states import TransferObservation as Seen
from dynamo_ops.storage.protocol import Storage, StoredFile, Upload, read_adler32

# Permission denied, of HTTP and of XRootD: a matter of the one file. Any other refusal is one of our credential.
FORBIDDEN = (403, 3010)
_GONE = {DeletionObservation.DELETED, DeletionObservation.NOT_FOUND}


@dataclass(frozen=True)
class FileToCopy:
    """What the catalogue knows of it. ``adler32``: eight lower-case hex digits, or None. ``refusal``: why it is not to
    be copied any more; a killed task may have brought it there all the same. ``is_distrusted``: what the destination
    has by its name is called bad, and its checksum may be one that was noted long ago: it is written anew, where that
    may be."""

    transfer_id: int
    file_index: int
    source_site_id: int
    lfn: str
    size_bytes: int
    adler32: str | None
    refusal: str | None = None
    is_distrusted: bool = False


@dataclass(frozen=True)
class CopyResult:
    """How an attempt ended; ``observation`` None: it was broken off and says nothing. ``was_there``: not copied, since
    the destination had it, whole and right."""

    transfer_id: int
    file_index: int
    observation: Seen | None
    size_bytes: int | None = None
    reason: str = ""
    is_recoverable: bool | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    was_there: bool = False
    verified_by: VerifiedBy | None = None


class CopyFailedError(Exception):
    """This attempt failed. ``is_recoverable``: the same source is worth another."""

    def __init__(self, reason: str, *, is_recoverable: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_recoverable = is_recoverable


class _OccupiedError(Exception):
    """The destination has something else by the name of the file, and keeps it."""


class _StoppedError(Exception):
    """The task ends; what was copied so far may stay for the next one."""


def copy_file(
    file: FileToCopy, source: Storage, destination: Storage, stop: Event, *, may_overwrite: bool = True
) -> CopyResult:
    """Copy one file, unless the destination has it already. Failures are results.

    Raises what would fail every file: a refused credential (``FORBIDDEN`` is of the one file), a wrong setting.
    ``stop``: break off soon. ``may_overwrite`` false: the destination is tape, and keeps whatever it has.
    """
    started_at = datetime.now(UTC)

    def ended(observation: Seen | None, **what: object) -> CopyResult:
        return CopyResult(
            file.transfer_id,
            file.file_index,
            observation,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            **what,  # type: ignore[arg-type]
        )

    try:
        expected = _expected(file, source)
        is_to_be_replaced = file.is_distrusted and may_overwrite
        if not is_to_be_replaced and (found := _found(file, expected, destination)):
            return ended(Seen.FINISHED, size_bytes=file.size_bytes, was_there=True, verified_by=found)
        if file.refusal is not None:
            _forget_upload(file, destination)
            return ended(Seen.CANCELLED, reason=file.refusal)
        if not may_overwrite:
            _check_free(file, destination)
        _check_source(file, source)
        passed = _stream(file, expected, source, destination, stop)
        verified_by = _verify(file, expected or passed, destination, was_resumed=passed is None)
    except _StoppedError:
        return ended(None)
    except _OccupiedError as occupied:
        return ended(Seen.OCCUPIED, reason=str(occupied), is_recoverable=False)
    except CopyFailedError as failure:
        return ended(Seen.FAILED, reason=failure.reason, is_recoverable=failure.is_recoverable)
    return ended(Seen.FINISHED, size_bytes=file.size_bytes, verified_by=verified_by)


@contextmanager
def _side(name: str) -> Iterator[None]:
    """Errors of a storage as failures of this file, with the side that had them."""
    try:
        yield
    except SettingsError:
        raise
    except CredentialError as error:
        if error.facts.get("status") is None:  # TLS failed: the site's certificate, as likely as ours
            raise CopyFailedError(f"{name} {error.message}", is_recoverable=True) from error
        if error.facts.get("status") not in FORBIDDEN:
            raise
        raise CopyFailedError(f"{name} [13] {error.message}", is_recoverable=False) from error
    except DynamoError as error:
        code = " [2]" if error.facts.get("status") in GONE else ""
        raise CopyFailedError(f"{name}{code} {error.message}", is_recoverable=error.retryable) from error


def _expected(file: FileToCopy, source: Storage) -> str | None:
    """The checksum that the file must have: the catalogue's, else the one that the source tells, else unknown."""
    if file.adler32 is not None:
        return file.adler32
    try:
        with _side("SOURCE"):
            return source.checksum(file.lfn)
    except CopyFailedError as failure:
        if failure.is_recoverable:
            raise
        return None  # not there, or not to be read: the next look at it will say


def _found(file: FileToCopy, expected: str | None, destination: Storage) -> VerifiedBy | None:
    """By what it shows that the destination has the file already; None when it has not."""
    with _side("DESTINATION"):
        stored = destination.stat(file.lfn)
        if stored is None or _has_other_size(stored, file):
            return None
        if expected is None:
            return VerifiedBy.SIZE if stored.size_bytes == file.size_bytes else None
        checksum, was_told = _checksum(file, destination)
    if checksum != expected:
        return None
    return VerifiedBy.DESTINATION if was_told else VerifiedBy.READ_BACK


def _check_free(file: FileToCopy, destination: Storage) -> None:
    with _side("DESTINATION"):
        stored = destination.stat(file.lfn)
    if stored is not None:
        raise _OccupiedError(
            f"DESTINATION [17] {destination.endpoint.site} has another file by this name: {stored.size_bytes} bytes, "
            f"the inventory knows {file.size_bytes}, adler32 {file.adler32 or 'unknown'}; on tape nothing is "
            "overwritten"
        )


def _forget_upload(file: FileToCopy, destination: Storage) -> None:
    """What a killed task had written of a file that nobody subscribes to any more: no attempt will take it up."""
    with _side("DESTINATION"):
        destination.delete([upload_lfn(file.lfn)])


def _has_other_size(stored: StoredFile, file: FileToCopy) -> bool:
    """Whether it is another file, by its size. Some storages do not tell it (-1): then the checksum must do."""
    return stored.size_bytes >= 0 and stored.size_bytes != file.size_bytes


def _check_source(file: FileToCopy, source: Storage) -> None:
    with _side("SOURCE"):
        stored = source.stat(file.lfn)
    if stored is None:
        raise CopyFailedError(f"SOURCE [2] {file.lfn} is not at {source.endpoint.site}", is_recoverable=False)
    if _has_other_size(stored, file):
        raise CopyFailedError(
            f"SOURCE {file.lfn} at {source.endpoint.site} has {stored.size_bytes} bytes, the inventory knows "
            f"{file.size_bytes}",
            is_recoverable=False,
        )


def _stream(file: FileToCopy, expected: str | None, source: Storage, destination: Storage, stop: Event) -> str | None:
    """Read there, write here. Returns the checksum of what passed; None when an earlier attempt's bytes were kept."""
    with _side("DESTINATION"):
        upload = destination.upload(file.lfn, file.size_bytes)
    try:
        begin = upload.num_resumed_bytes
        adler, num_bytes = _pump(file, source, upload, stop)
        if begin + num_bytes != file.size_bytes:
            told = f"{begin + num_bytes} of {file.size_bytes} bytes"
            raise CopyFailedError(
                f"SOURCE {file.lfn} at {source.endpoint.site} ended after {told}", is_recoverable=True
            )
        passed = None if begin else f"{adler:08x}"
        if expected is not None and passed not in (None, expected):
            raise CopyFailedError(
                f"SOURCE [5] {file.lfn} at {source.endpoint.site} has the checksum {passed}, not {expected}",
                is_recoverable=False,
            )
        with _side("DESTINATION"):
            upload.finish()
        return passed
    except CopyFailedError as failure:
        upload.close()
        if not failure.is_recoverable:
            destination.delete([upload_lfn(file.lfn)])  # no later attempt may go on from a bad source's bytes
        raise
    finally:
        upload.close()


def _pump(file: FileToCopy, source: Storage, upload: Upload, stop: Event) -> tuple[int, int]:
    """adler32 and number of the bytes that passed: one piece is in memory at a time."""
    adler, num_bytes = zlib.adler32(b""), 0
    pieces = source.read(file.lfn, upload.num_resumed_bytes)
    try:
        while True:
            with _side("SOURCE"):
                piece = next(pieces, None)
            if piece is None:
                return adler, num_bytes
            if stop.is_set():
                raise _StoppedError
            adler, num_bytes = zlib.adler32(piece, adler), num_bytes + len(piece)
            if upload.num_resumed_bytes + num_bytes > file.size_bytes:
                raise CopyFailedError(
                    f"SOURCE {file.lfn} gives more than its {file.size_bytes} bytes", is_recoverable=False
                )
            with _side("DESTINATION"):
                upload.write(piece)
    finally:
        close = getattr(pieces, "close", None)
        if close:
            close()


def _verify(file: FileToCopy, expected: str | None, destination: Storage, *, was_resumed: bool) -> VerifiedBy:
    """Look at what the destination has now; what is wrong is removed, and worth another attempt. Returns by what it
    shows that it is right: of a resumed copy not all bytes were seen at the source."""
    with _side("DESTINATION"):
        stored = destination.stat(file.lfn)
        if stored is None:
            raise CopyFailedError(f"DESTINATION {file.lfn} is not there after its upload", is_recoverable=True)
        size_bytes = stored.size_bytes
        is_whole = not _has_other_size(stored, file)
        found, was_told = _checksum(file, destination) if is_whole and expected is not None else (expected, False)
    if is_whole and found == expected:
        if expected is None:
            return VerifiedBy.SIZE
        if not was_told:
            return VerifiedBy.READ_BACK
        return VerifiedBy.DESTINATION if was_resumed else VerifiedBy.BOTH_ENDS
    wrong = (
        f"[5] Source and destination checksum do not match: {found}, not {expected}"
        + (", after an earlier attempt was taken up" if was_resumed else "")
        if is_whole
        else f"it has {size_bytes} bytes, the inventory knows {file.size_bytes}"
    )
    with _side("DESTINATION"):
        (outcome,) = destination.delete([file.lfn])
    gone = "removed" if outcome.observation in _GONE else f"not removed: {outcome.reason}"
    raise CopyFailedError(f"DESTINATION {wrong} ({file.lfn}, {gone})", is_recoverable=True)


def _checksum(file: FileToCopy, storage: Storage) -> tuple[str, bool]:
    """adler32 of the file as the storage tells it, or of the bytes read back where it tells none; and whether it told
    it."""
    told = storage.checksum(file.lfn)
    return (told, True) if told is not None else (read_adler32(storage, file.lfn)[0], False)
