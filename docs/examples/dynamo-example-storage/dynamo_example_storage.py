"""A site's files in a SQLite database: ``cupboard:///data/t3_lab.db``. Small files only: an upload waits in memory."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import polars as pl

from dynamo_ops.base.errors import DynamoError, InventoryError, PermanentRemoteError, RetryableRemoteError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.protocol import STORED_FILES, DeletionOutcome, StorageOptions, StoredFile, check_length

TABLE = "CREATE TABLE files (lfn TEXT PRIMARY KEY, content BLOB NOT NULL, modified_at REAL NOT NULL)"
PIECE_BYTES = 1 << 20


class Cupboard:
    """One site. There are no directories: what looks like one goes with its last file."""

    def __init__(self, endpoint: Endpoint, options: StorageOptions) -> None:
        self.endpoint = endpoint
        self._file = endpoint.prefix.partition("://")[2]
        self._timeout_s = options.read_timeout

    def close(self) -> None:
        """Nothing is kept open."""

    def list_files(self, prefix: str) -> Iterator[pl.DataFrame]:
        root = prefix.rstrip("/") + "/"
        with self._open() as database:
            rows = database.execute("SELECT lfn, length(content), modified_at FROM files").fetchall()
        files = [(lfn, size, datetime.fromtimestamp(at, UTC)) for lfn, size, at in rows if lfn.startswith(root)]
        if not files:
            raise self._error(PermanentRemoteError, f"{prefix} is not there", 404)
        yield pl.DataFrame(files, schema=STORED_FILES, orient="row")

    def stat(self, lfn: str) -> StoredFile | None:
        self.endpoint.pfn(lfn)  # refuses what is outside the managed prefix
        with self._open() as database:
            query = "SELECT length(content), modified_at FROM files WHERE lfn = ?"
            row = database.execute(query, (lfn,)).fetchone()
        return None if row is None else StoredFile(lfn, row[0], datetime.fromtimestamp(row[1], UTC))

    def checksum(self, lfn: str) -> str | None:
        return f"{zlib.adler32(self._content(lfn)):08x}"

    def read(self, lfn: str, start: int = 0) -> Iterator[bytes]:
        content = self._content(lfn)
        for begin in range(start, len(content), PIECE_BYTES):
            yield content[begin : begin + PIECE_BYTES]

    def upload(self, lfn: str, size_bytes: int) -> CupboardUpload:
        self.endpoint.pfn(lfn)
        return CupboardUpload(self, lfn, size_bytes)

    def put(self, lfn: str, content: bytes) -> None:
        """Write a whole file, in place of what was there."""
        with self._open() as database:
            row = (lfn, content, datetime.now(UTC).timestamp())
            database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", row)

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        return [self._delete_one(lfn) for lfn in lfns]

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:  # noqa: ARG002
        return 0

    def _delete_one(self, lfn: str) -> DeletionOutcome:
        try:
            self.endpoint.pfn(lfn)
            with self._open() as database:
                if database.execute("DELETE FROM files WHERE lfn = ?", (lfn,)).rowcount:
                    return DeletionOutcome(lfn, DeletionObservation.DELETED)
                query = "SELECT 1 FROM files WHERE substr(lfn, 1, length(?)) = ?"
                if database.execute(query, (f"{lfn}/", f"{lfn}/")).fetchone():
                    return DeletionOutcome(lfn, DeletionObservation.REFUSED, "it is a directory")
            return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
        except RetryableRemoteError as error:
            return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, error.message)
        except (InventoryError, PermanentRemoteError) as error:
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)

    def _content(self, lfn: str) -> bytes:
        self.endpoint.pfn(lfn)
        with self._open() as database:
            row = database.execute("SELECT content FROM files WHERE lfn = ?", (lfn,)).fetchone()
        if row is None:
            raise self._error(PermanentRemoteError, f"{lfn} is not there", 404)
        return bytes(row[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection, and SQLite's errors as Dynamo's. A database that is not there is away, and not empty."""
        try:
            place = f"file:{self._file}?mode=rw"
            with closing(sqlite3.connect(place, self._timeout_s, uri=True)) as connection, connection:
                yield connection
        except sqlite3.DatabaseError as error:  # operational: away, or in somebody's hands; any other is a refusal
            passes = isinstance(error, sqlite3.OperationalError) and "readonly" not in str(error)
            raise self._error(RetryableRemoteError if passes else PermanentRemoteError, str(error), None) from error

    def _error(self, kind: type[DynamoError], what: str, status: int | None) -> DynamoError:
        site = self.endpoint.site
        return kind(f"site {site}: {what}", service="storage", site=site, url=self.endpoint.prefix, status=status)


class CupboardUpload:
    """A file on its way: in memory until it is whole."""

    num_resumed_bytes = 0

    def __init__(self, cupboard: Cupboard, lfn: str, size_bytes: int) -> None:
        self._cupboard, self._lfn, self._size_bytes = cupboard, lfn, size_bytes
        self._content = bytearray()
        cupboard.stat(lfn)  # is anybody there?

    def write(self, piece: bytes) -> None:
        check_length(self._lfn, len(self._content) + len(piece), self._size_bytes, is_end=False)
        self._content += piece

    def finish(self) -> None:
        check_length(self._lfn, len(self._content), self._size_bytes, is_end=True)
        self._cupboard.put(self._lfn, bytes(self._content))

    def close(self) -> None:
        """What was not finished is forgotten."""
