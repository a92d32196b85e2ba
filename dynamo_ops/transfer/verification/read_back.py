"""A sample of the copies that FTS could not compare at the destination is read back, and compared with the catalogue.

Which copies are of the sample is drawn by their number, so that it is the same in every run; how many bytes a run reads
is bounded. A copy that is not the file is called bad, where the source's checksum was right, and suspicious, where
nobody had looked. Tapes are not read. Safe to repeat at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, alone, hold
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from dynamo_ops.inventory.checks import BadState
from dynamo_ops.inventory.doubt.declare import BAD_BY_DATASET
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.replica import present_file
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.site.usable import READABLE
from dynamo_ops.inventory.states import ACTIVE, NOT_READ_BACK, TransferState, VerifiedBy
from dynamo_ops.storage.protocol import Storage, read_adler32
from dynamo_ops.storage.registry import SiteStorage

log = logging.getLogger(__name__)

RECENT = timedelta(days=2)
"""A copy that could not be read for so long is left as it is."""
BY_READING = "read-back"
"""Who calls a copy bad."""
FILES_PER_RUN = 20_000
"""However small they are."""
FILES_PER_RECORD = 100
"""What was read is recorded every so many files."""


@dataclass(frozen=True)
class ReadBackSummary:
    """``outcome``: finished, or busy (another task is at it). ``num_wrong`` of the ``num_read`` files are not as the
    catalogue knows them; ``num_unread`` could not be read, and are tried again."""

    outcome: str = "finished"
    num_read: int = 0
    bytes_read: int = 0
    num_wrong: int = 0
    num_unread: int = 0


@dataclass(frozen=True)
class _Copy:
    transfer_id: int
    file_id: int
    site_id: int
    lfn: str
    size_bytes: int
    adler32: str


def read_back(db: Database, settings: TransferSettings, open_storage: SiteStorage, now: datetime) -> ReadBackSummary:
    """Read copies of the sample that came lately, up to ``read_back_bytes_per_run``, and record what they are.

    Errors of storages are none of the run. Killed, it has recorded all but the last hundred.
    """
    if not settings.read_back_fraction or not settings.read_back_bytes_per_run:
        return ReadBackSummary()
    with alone(db, "read back of copies") as lock:
        if lock is None:
            return ReadBackSummary("busy")
        with db.begin() as connection:
            copies = _sample(connection, settings, now)
        run = _Run(open_storage)
        try:
            for start in range(0, len(copies), FILES_PER_RECORD):
                adlers = [(copy, run.adler32(copy)) for copy in copies[start : start + FILES_PER_RECORD]]
                with db.begin() as connection:
                    run.num_wrong += _record(connection, adlers)
        finally:
            run.close()
    return ReadBackSummary("finished", run.num_read, run.bytes_read, run.num_wrong, run.num_unread)


class _Run:
    """The storages that were opened, and what was read."""

    def __init__(self, open_storage: SiteStorage) -> None:
        self._open = open_storage
        self._storages: dict[int, Storage | None] = {}
        self.num_read = self.bytes_read = self.num_wrong = self.num_unread = 0

    def adler32(self, copy: _Copy) -> str | None:
        """Of the whole copy; None when it could not be read. One that is shorter or longer has another."""
        storage = self._storage(copy.site_id)
        if storage is None:
            self.num_unread += 1
            return None
        try:
            adler32, num_bytes = read_adler32(storage, copy.lfn)
        except DynamoError as error:
            log.info("%s at %s is not read back: %s", copy.lfn, storage.endpoint.site, error.message)
            self.num_unread += 1
            return None
        self.num_read += 1
        self.bytes_read += num_bytes
        return adler32

    def _storage(self, site_id: int) -> Storage | None:
        if site_id not in self._storages:
            try:
                self._storages[site_id] = self._open(site_id)
            except DynamoError as error:
                log.warning("copies to site %d are not read back: %s", site_id, error.message)
                self._storages[site_id] = None
        return self._storages[site_id]

    def close(self) -> None:
        for storage in self._storages.values():
            if storage is not None:
                storage.close()


def _sample(connection: Connection, settings: TransferSettings, now: datetime) -> list[_Copy]:
    """Copies to read now, in no order, so that what cannot be read keeps back nothing."""
    drawn = connection.execute(
        text(f"""
        SELECT t.id, f.id AS file_id, s.site_id, f.lfn, f.size_bytes, f.adler32 {_THERE}
          AND t.finished_at > :recent AND f.adler32 IS NOT NULL AND s.site_id IN {READABLE}
          AND site.storage_type <> '{StorageType.MSS}'
          AND (hashint8(t.id)::bigint & 65535) < :fraction * 65536
        ORDER BY random() LIMIT :most"""),
        {"recent": now - RECENT, "fraction": settings.read_back_fraction, "most": FILES_PER_RUN},
    )
    copies, num_bytes = [], 0
    for row in drawn:
        num_bytes += row.size_bytes
        if num_bytes > settings.read_back_bytes_per_run:
            break
        copies.append(_Copy(*row))
    return copies


_THERE = f"""
    FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id JOIN files f ON f.id = s.file_id
    JOIN sites site ON site.id = s.site_id
    JOIN block_replicas r ON r.block_id = f.block_id AND r.site_id = s.site_id
    WHERE t.verified_by IN {NOT_READ_BACK} AND t.state = '{TransferState.DONE}'
      AND {is_present("f.id", "r")}
      AND NOT EXISTS (SELECT FROM subscriptions other WHERE other.file_id = f.id AND other.site_id = s.site_id
                      AND (other.id > s.id OR other.state IN {ACTIVE}))"""
"""The copy that ``t`` made is what is at the site by the inventory: nothing was, or is to be, done to it since."""


def _record(connection: Connection, adlers: Sequence[tuple[_Copy, str | None]]) -> int:
    """Note what was read of copies that are still there; how many are wrong."""
    seen = [
        (copy.transfer_id, copy.file_id, copy.site_id, adler32 == copy.adler32, adler32)
        for copy, adler32 in adlers
        if adler32 is not None
    ]
    if not seen:
        return 0
    hold(connection, Lock.DELETIONS)
    connection.execute(text(_SEEN))
    columns = {
        "transfer_id": pl.Int64,
        "file_id": pl.Int64,
        "site_id": pl.Int16,
        "is_right": pl.Boolean,
        "adler32": pl.String,
    }
    insert_frame(connection, "read_copies", pl.DataFrame(seen, schema=columns, orient="row"))
    connection.execute(text("ANALYZE read_copies"))
    connection.execute(text(_NEW_WORDS))
    reason = "read back after its copy: its adler32 is not the catalogue's"
    num_wrong = present_file.call_bad(
        connection,
        "SELECT file_id, site_id, state, :reason || ', but ' || adler32 AS reason, :by AS created_by FROM new_words",
        over=f"('{BadState.SUSPICIOUS}', '{BadState.GOOD}')",
        parameters={"reason": reason, "by": BY_READING},
    )
    connection.execute(text(_NOTE))
    if num_wrong:
        log.warning("%d copies were read back, and are not the files: they count for nothing from now on", num_wrong)
        tell(connection, EventKind.FILE_BAD, BAD_BY_DATASET, {"by": BY_READING, "reason": reason})
    connection.execute(text("DROP TABLE read_copies, new_words"))
    return num_wrong


_SEEN = """
    CREATE TEMPORARY TABLE read_copies (transfer_id bigint, file_id bigint, site_id smallint, is_right boolean,
      adler32 text) ON COMMIT DROP"""
_NEW_WORDS = f"""
    CREATE TEMPORARY TABLE new_words ON COMMIT DROP AS
    SELECT read.file_id, read.site_id, read.adler32, read.transfer_id,
           CASE t.verified_by WHEN '{VerifiedBy.SOURCE}' THEN '{BadState.BAD}' ELSE '{BadState.SUSPICIOUS}' END AS state
    {_THERE.replace("WHERE", "JOIN read_copies AS read ON read.transfer_id = t.id WHERE NOT read.is_right AND", 1)}"""
_NOTE = f"""
    UPDATE transfers t SET verified_by = CASE WHEN read.is_right THEN '{VerifiedBy.READ_BACK}'
        ELSE '{VerifiedBy.WRONG}' END
    FROM read_copies AS read WHERE t.id = read.transfer_id
      AND (read.is_right OR EXISTS (SELECT FROM new_words WHERE new_words.transfer_id = t.id))"""
