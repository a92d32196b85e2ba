"""What Dynamo asks of a storage, whatever its protocol: list, stat, checksum, delete, read, write. Plugins implement
``Storage``.

A plugin registers a ``StorageFactory`` under its protocol's name in the entry point group ``dynamo_ops.storages``.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import polars as pl

from dynamo_ops.base.directory import Overlap
from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.base.settings import DELETION, MANAGED_PREFIX, PROTOCOLS
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation

STORED_FILES: dict[str, Any] = {"lfn": pl.String, "size_bytes": pl.Int64, "modified_at": pl.Datetime("us", "UTC")}


@dataclass(frozen=True)
class StorageOptions:
    """How we come to a storage and how hard we may press it.

    ``cert``/``key``/``token``: as for FTS. ``threads``: calls at the same time. ``calls_per_second``: 0 unlimited.
    ``protocols``: in order of preference.
    ``site_hosts``: those of all endpoints of the site.
    ``more``: what a plugin needs beyond these, under its protocol or, going before, under ``protocol:SITE``.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    token: str | None = field(default=None, repr=False)
    threads: int = DELETION.threads
    calls_per_second: float = 0.0
    connect_timeout: float = DELETION.connect_timeout_s
    read_timeout: float = DELETION.read_timeout_s
    managed_prefix: str = MANAGED_PREFIX
    protocols: tuple[str, ...] = PROTOCOLS.own
    site_hosts: frozenset[str] = frozenset()
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def credentials(self) -> Credentials:
        """Who we are to the storage, and whom we take it for."""
        return Credentials(self.ca, self.cert, self.key, self.token)

    def more_for(self, endpoint: Endpoint) -> dict[str, Any]:
        """What ``more`` has for an endpoint."""
        return {
            **self.more.get(endpoint.protocol, {}),
            **self.more.get(f"{endpoint.protocol}:{endpoint.site}", {}),
        }


def check_length(lfn: str, num_written: int, size_bytes: int, *, is_end: bool) -> int:
    """``num_written``, if an upload of ``size_bytes`` may have come so far; else ``PermanentRemoteError``."""
    if num_written > size_bytes or (is_end and num_written != size_bytes):
        raise PermanentRemoteError(
            f"upload of {lfn}: {num_written} bytes were written of a file of {size_bytes}: is its source whole?",
            service="storage",
            lfn=lfn,
            status=None,
        )
    return num_written


@dataclass(frozen=True)
class StoredFile:
    """One file on a storage."""

    lfn: str
    size_bytes: int
    modified_at: datetime | None


@dataclass(frozen=True)
class DeletionOutcome:
    """What became of one DELETE. ``reason``: the storage's own words, empty when the file is gone."""

    lfn: str
    observation: DeletionObservation
    reason: str = ""


@dataclass(frozen=True)
class Condition:
    """What a file must be like to be deleted; null: whatever. ``size_bytes`` and ``modified_at``: as it was listed,
    times to a second. ``not_after``: it was changed no later."""

    size_bytes: int | None = None
    modified_at: datetime | None = None
    not_after: datetime | None = None

    def objection(self, size_bytes: int, modified_at: datetime | None) -> str | None:
        """Why a file like this stays; None when it may go."""
        if self.size_bytes is not None and size_bytes != self.size_bytes:
            return f"it has {size_bytes} bytes now, not {self.size_bytes}: it was changed since it was listed"
        if modified_at is None:
            return None
        changed = f"it was changed at {modified_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if self.modified_at is not None and abs(modified_at - self.modified_at) >= timedelta(seconds=1):
            return f"{changed}, since it was listed"
        if self.not_after is not None and modified_at > self.not_after:
            return f"{changed}, later than its deletion was asked for"
        return None


UNCONDITIONAL = Condition()


class Upload(Protocol):
    """A file on its way into a storage. Nobody sees it under its LFN before ``finish``; it replaces what was there.

    Until then it stands under a name of its own in the same directory, where no other file can be: that of
    ``inventory.lfn.upload_lfn``, one and the same for every attempt.
    """

    num_resumed_bytes: int
    """How much of an earlier attempt is there and stays: the next piece written begins behind it. 0 where the storage
    cannot append."""

    def write(self, piece: bytes) -> None:
        """Append. Errors as of the other calls: RetryableRemoteError, PermanentRemoteError, CredentialError."""

    def finish(self) -> None:
        """All bytes are written: make them the file. An error leaves what was under the LFN before."""

    def close(self) -> None:
        """Give up without ``finish``; what was written may stay for the next attempt. Harmless after ``finish``."""


class Storage(Protocol):
    """One site's storage by one protocol. Names in and out are LFNs."""

    endpoint: Endpoint

    def list_files(self, prefix: str) -> Iterator[pl.DataFrame]:
        """All files below the LFN directory ``prefix``, in frames (``STORED_FILES``), in no order. ``lfn`` is null for
        a file or directory whose name is no text, or none that the storage could be asked for: it counts as unnamed.

        Complete or an error: a directory that cannot be read fails the listing, since what is not listed is missing.
        """

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        """One outcome for each LFN, in order. Files that are not there are ``not_found``. Never a directory.

        Failures are outcomes, except a refused credential (``CredentialError``), which would fail every file.
        """

    def stat(self, lfn: str) -> StoredFile | None:
        """The file, or None when it is not there."""

    def checksum(self, lfn: str) -> str | None:
        """adler32 as eight lower-case hex digits; None when the storage does not give checksums."""

    def read(self, lfn: str, start: int = 0) -> Iterator[bytes]:
        """The bytes of the file from ``start`` on, in pieces. Not there: PermanentRemoteError, status 404."""

    def upload(self, lfn: str, size_bytes: int) -> Upload:
        """Begin to write the file, of this size, directories included; or go on where an earlier attempt stopped.

        What an earlier attempt left is taken up only if it is smaller than ``size_bytes``.
        """

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        """Remove those of these LFN directories that are empty, and their parents that thereby become so.

        Never one of ``keep``, the managed prefix or what is above it, and never with content. Returns how many went.
        """

    def close(self) -> None:
        """Give connections and threads back."""


def read_adler32(storage: Storage, lfn: str) -> tuple[str, int]:
    """adler32 of a file, all of which is read, and how many bytes it has."""
    adler, num_bytes = zlib.adler32(b""), 0
    for piece in storage.read(lfn):
        adler, num_bytes = zlib.adler32(piece, adler), num_bytes + len(piece)
    return f"{adler:08x}", num_bytes


@runtime_checkable
class LooksFirst(Protocol):
    """A ``Storage`` that looks at each file right before it deletes it, and deletes only what meets its condition."""

    def expect(self, conditions: Mapping[str, Condition]) -> None:
        """What the files of the next ``delete`` must be like, by LFN; that says ``refused`` of others, with the
        reason."""


def delete_if(storage: Storage, conditions: Mapping[str, Condition]) -> list[DeletionOutcome]:
    """Delete what meets its condition, at a storage that looks; at another what is named."""
    if isinstance(storage, LooksFirst):
        storage.expect(conditions)
    return storage.delete(list(conditions))


@runtime_checkable
class KnowsGone(Protocol):
    """A ``Storage`` that tells what is not there from what it cannot find just now."""

    def is_gone(self, lfn: str) -> bool:
        """Whether the file is certainly not there. RetryableRemoteError: nobody knows."""


def is_gone(storage: Storage, lfn: str) -> bool:
    """Whether the file is not there, as far as such a storage can tell. Errors as of ``stat``."""
    return storage.is_gone(lfn) if isinstance(storage, KnowsGone) else storage.stat(lfn) is None


@runtime_checkable
class TellsTime(Protocol):
    """A ``Storage`` that can say what time it is there. Without it nobody notices a clock there that is slow."""

    def clock(self) -> datetime | None:
        """The time at the storage now; None when it does not say."""


@runtime_checkable
class TellsServers(Protocol):
    """A ``Storage`` whose files lie at several servers, each with its own."""

    least_data_servers: int
    """So many there are, as people say; 0: they do not say."""

    def data_servers(self) -> tuple[str, ...]:
        """The servers that were listed, by address; none where the endpoint itself has all files."""


@runtime_checkable
class SeesDirectories(Protocol):
    """A ``Storage`` in a directory of this machine: it sees where links and mounts lead, as no endpoint tells."""

    endpoint: Endpoint

    def overlap(self, other: Endpoint) -> Overlap | None:
        """Whether another site's directory is this one's, or one lies in the other; None: as far as is seen."""


class StorageFactory(Protocol):
    """What an entry point of ``dynamo_ops.storages`` names."""

    def __call__(self, endpoint: Endpoint, options: StorageOptions) -> Storage: ...
