"""What copies that failed or were cancelled left at their destinations (FTS_CONTRACT §12.6): looked at, and put right.

FTS leaves what it had written under the file's final name. While the copy is tried again it will be written over; where
it is not, a part of a file is removed, and a whole one is in the inventory. Never what is there by other means: what
the inventory has, what is older than the copy, what cannot be told from the file, what lies on tape or at a storage
with two names. Of those nothing is done here, and a consistency check sees them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import PausedError, RemoteError, SettingsError
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import alone
from dynamo_ops.inventory.checksum import adler32_text
from dynamo_ops.inventory.freshness import CLOCK_SKEW
from dynamo_ops.inventory.replica import files as replicas
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.site.shared import SAME_STORAGE
from dynamo_ops.inventory.site.usable import WRITABLE
from dynamo_ops.inventory.states import LIVE_TRANSFERS, QUEUED, DeletionObservation, SubscriptionState
from dynamo_ops.inventory.subscription.under_way import OPEN_TRANSFERS
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.storage.protocol import UNCONDITIONAL, Condition, Storage, StoredFile, TellsTime, delete_if
from dynamo_ops.storage.registry import SiteStorage

log = logging.getLogger(__name__)

FILES_PER_SITE = 200
"""Looked at in one run, at each site."""
IN_VAIN = 10
"""So many looks at a storage without an answer are enough for one run."""
LONGEST = 2000
"""Characters that are kept of what an attempt says."""


@dataclass
class LeftoverSummary:
    """Files looked at: where nothing was left, whole ones taken into the inventory, parts removed, and others that are
    left as they are; ``num_unseen``: those whose storage did not answer, for a later run."""

    num_none: int = 0
    num_whole: int = 0
    num_removed: int = 0
    removed_bytes: int = 0
    num_kept: int = 0
    num_unseen: int = 0


NEWER = f"""EXISTS (SELECT FROM transfers AS newer WHERE newer.subscription_id = t.subscription_id AND newer.id > t.id
    AND (newer.is_leftover OR newer.state IN {LIVE_TRANSFERS}))"""
"""Another attempt at the same subscription says more than ``t``."""

FORGET = f"""
    UPDATE transfers AS t SET is_leftover = false
    FROM subscriptions AS s JOIN files AS f ON f.id = s.file_id
    WHERE t.is_leftover AND s.id = t.subscription_id AND ({NEWER} OR EXISTS (
        SELECT FROM block_replicas AS replica WHERE replica.block_id = f.block_id AND replica.site_id = s.site_id
          AND {is_present("f.id", "replica")}))"""
"""Where the inventory has the file by now, nothing is left of an attempt."""

_IS_DUE = f"""s.state NOT IN {QUEUED} AND s.state <> '{SubscriptionState.INBATCH}' AND s.site_id IN {WRITABLE}
    AND s.site_id NOT IN (SELECT site_id FROM {SAME_STORAGE} AS same)
    AND NOT EXISTS (SELECT FROM {OPEN_TRANSFERS} AS other WHERE other.file_id = s.file_id AND other.site_id = s.site_id)
    AND NOT EXISTS (SELECT FROM block_replicas AS replica WHERE replica.block_id = f.block_id
                    AND replica.site_id = s.site_id AND {is_present("f.id", "replica")})"""
"""The file ``f`` of the subscription ``s`` is not to be there as things stand: it is neither present nor on its way."""

DUE = f"""
    WITH due AS (
        SELECT t.id AS transfer_id, s.file_id, s.site_id, t.started_at, f.lfn, f.size_bytes, f.adler32,
               row_number() OVER (PARTITION BY s.site_id ORDER BY random()) AS place
        FROM transfers AS t JOIN subscriptions AS s ON s.id = t.subscription_id JOIN files AS f ON f.id = s.file_id
        WHERE t.is_leftover AND {_IS_DUE})
    SELECT * FROM due WHERE place <= :most ORDER BY site_id, transfer_id"""

CLAIM = f"""
    UPDATE transfers AS t SET reason = left(concat_ws('; ', t.reason, sights.said), {LONGEST})
    FROM sights JOIN files AS f ON f.id = sights.file_id, subscriptions AS s
    WHERE t.id = sights.transfer_id AND s.id = t.subscription_id AND t.is_leftover AND {_IS_DUE}
    RETURNING t.id"""
"""Judged again, and written down, before the storage is asked to delete."""


def look_at_leftovers(db: Database, open_storage: SiteStorage) -> LeftoverSummary:
    """Look at what ended copies have left, at each destination ``FILES_PER_SITE`` files in a run, and put it right.

    Only of copies that are not tried again as things stand. A storage that does not answer, or that there are no
    settings for, is left for a later run; nothing is removed while a person has stopped deletions. While another task
    is at it, nothing is done. Killed, it looks again, and what it was about to delete stands with the attempt.
    """
    summary = LeftoverSummary()
    with alone(db, "leftovers of copies") as lock:
        if lock is None:
            return summary
        with db.begin() as connection:
            connection.execute(text(FORGET))
            due = connection.execute(text(DUE), {"most": FILES_PER_SITE}).all()
        for site_id, share in groupby(due, lambda file: int(file.site_id)):
            try:
                storage = open_storage(site_id)
            except SettingsError as error:
                log.warning("what copies left at site %d is not looked at: %s", site_id, error.message)
                continue
            try:
                _put_right(db, storage, list(share), summary)
            finally:
                storage.close()
    return summary


class Sight(StrEnum):
    """What is at the destination of a copy that has ended."""

    NOTHING = "nothing"
    WHOLE = "whole"
    PART = "part"
    """Or wrong bytes: written since the copy began, and not the file."""
    UNKNOWN = "unknown"
    """Nobody can say that the copy left it."""


@dataclass(frozen=True)
class _Seen:
    """One file that was looked at. ``condition``: as it was seen. ``said``: what its attempt shall say besides."""

    transfer_id: int
    file_id: int
    site_id: int
    lfn: str
    sight: Sight
    size_bytes: int = 0
    condition: Condition = UNCONDITIONAL
    said: str | None = None


def _put_right(db: Database, storage: Storage, due: Sequence[Any], summary: LeftoverSummary) -> None:
    seen = _look(db, storage, due, summary)
    parts = {file.lfn: file for file in seen if file.sight is Sight.PART}
    _record(db, [file for file in seen if file.sight is not Sight.PART])
    for file in seen:
        summary.num_none += file.sight is Sight.NOTHING
        summary.num_whole += file.sight is Sight.WHOLE
        summary.num_kept += file.sight is Sight.UNKNOWN
    claimed = {lfn: parts[lfn] for lfn in _claim(db, parts)}
    summary.num_unseen += len(parts) - len(claimed)
    if not claimed:
        return
    settled = []
    for outcome in delete_if(storage, {lfn: file.condition for lfn, file in claimed.items()}):
        file = claimed[outcome.lfn]
        match outcome.observation:
            case DeletionObservation.UNAVAILABLE:
                summary.num_unseen += 1
                continue
            case DeletionObservation.REFUSED:
                summary.num_kept += 1
                settled.append(replace(file, said=f"it stays: {outcome.reason}"))
            case _:
                summary.num_removed += 1
                summary.removed_bytes += file.size_bytes
                settled.append(replace(file, said="removed"))
    _record(db, settled)


def _look(db: Database, storage: Storage, due: Sequence[Any], summary: LeftoverSummary) -> list[_Seen]:
    seen: list[_Seen] = []
    ahead, num_in_vain = None, 0
    for place, file in enumerate(due):
        try:
            ahead = _ahead(db, storage) if ahead is None else ahead
            seen.append(_sight(storage, file, ahead))
        except RemoteError as error:
            num_in_vain += 1
            summary.num_unseen += 1
            if num_in_vain == IN_VAIN:
                summary.num_unseen += len(due) - place - 1
                log.warning("what copies left at %s is looked at later: %s", storage.endpoint.site, error.message)
                break
    return seen


def _ahead(db: Database, storage: Storage) -> timedelta:
    """By how much the storage's clock is ahead: a file that was there before the copy seems younger by that."""
    clock = storage.clock() if isinstance(storage, TellsTime) else None
    return max(clock - db.clock(), timedelta(0)) if clock is not None else timedelta(0)


def _sight(storage: Storage, file: Any, ahead: timedelta) -> _Seen:
    """What is there. RemoteError: the storage does not say."""
    seen = _Seen(file.transfer_id, file.file_id, file.site_id, file.lfn, Sight.NOTHING)
    stored = storage.stat(file.lfn)
    if stored is None:
        return seen
    is_whole = _is_whole(storage, file, stored)
    if is_whole:
        return replace(seen, sight=Sight.WHOLE, said="the file is at the destination all the same, whole")
    if is_whole is None or stored.modified_at is None or stored.modified_at - ahead < file.started_at - CLOCK_SKEW:
        said = "at the destination is a file of which nobody can say that this copy left it: it stays"
        return replace(seen, sight=Sight.UNKNOWN, said=said)
    what = "wrong bytes"
    if stored.size_bytes != file.size_bytes:
        what = f"{stored.size_bytes:,} bytes of {file.size_bytes:,}"
    return replace(
        seen,
        sight=Sight.PART,
        size_bytes=stored.size_bytes,
        condition=Condition(size_bytes=stored.size_bytes, modified_at=stored.modified_at),
        said=f"{what} were left at the destination, and are to go",
    )


def _is_whole(storage: Storage, file: Any, stored: StoredFile) -> bool | None:
    """Whether what is stored is the file; None where nobody can tell."""
    if stored.size_bytes != file.size_bytes:
        return False
    checksum = adler32_text(storage.checksum(file.lfn)) if file.adler32 else None
    return None if checksum is None else checksum == file.adler32


def _claim(db: Database, parts: Mapping[str, _Seen]) -> list[str]:
    """The LFNs of those that may go: judged once more, and none while deletions stand still."""
    if not parts:
        return []
    try:
        look(db, PauseKind.DELETIONS)
    except PausedError:
        return []
    with db.begin() as connection:
        _make_sights(connection, list(parts.values()))
        claimed = set(connection.execute(text(CLAIM)).scalars())
    return [lfn for lfn, file in parts.items() if file.transfer_id in claimed]


def _record(db: Database, seen: Sequence[_Seen]) -> None:
    """Whole files are in the inventory from now on; what is subscribed is fulfilled by the next run."""
    if not seen:
        return
    with db.begin() as connection:
        _make_sights(connection, seen)
        connection.execute(
            text(f"""
            UPDATE transfers AS t SET is_leftover = false,
              reason = left(concat_ws('; ', t.reason, sights.said), {LONGEST})
            FROM sights WHERE t.id = sights.transfer_id""")
        )
        connection.execute(
            text(f"""
            CREATE TEMPORARY TABLE changed ON COMMIT DROP AS
            SELECT DISTINCT file_id, site_id FROM sights WHERE sight = '{Sight.WHOLE}'""")
        )
        replicas.arrive(connection)


def _make_sights(connection: Connection, seen: Sequence[_Seen]) -> None:
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE sights (transfer_id bigint, file_id bigint, site_id smallint, sight text, said text)
        ON COMMIT DROP""")
    )
    columns = {"transfer_id": pl.Int64, "file_id": pl.Int64, "site_id": pl.Int64, "sight": pl.String, "said": pl.String}
    sights = [(file.transfer_id, file.file_id, file.site_id, file.sight.value, file.said) for file in seen]
    insert_frame(connection, "sights", pl.DataFrame(sights, schema=columns, orient="row"))
    connection.execute(text("ANALYZE sights"))
