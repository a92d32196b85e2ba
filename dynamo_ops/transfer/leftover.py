"""What copies that failed or were cancelled left at their destinations (FTS_CONTRACT §12.6): looked at, and put right.

FTS leaves what it had written under the file's final name. While the copy is tried again it will be written over; where
it is not, a part of a file is removed, and a whole one is in the inventory. Never what is there by other means: what
the inventory has, what is older than the copy, what cannot be told from the file, what lies on tape or at a storage
with two names. Of those nothing is done here, and a consistency check sees them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import polars as pl
from sqlalchemy import text

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
from dynamo_ops.storage.protocol import Condition, Storage, StoredFile, delete_if
from dynamo_ops.storage.registry import SiteStorage

log = logging.getLogger(__name__)

FILES_PER_SITE = 200
"""Looked at in one run, at each site."""
IN_VAIN = 10
"""So many looks at a storage without an answer are enough for one run."""


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

SELECT = f"""
    WITH due AS (
        SELECT t.id AS transfer_id, s.file_id, s.site_id, t.started_at,
               row_number() OVER (PARTITION BY s.site_id ORDER BY random()) AS place
        FROM transfers AS t JOIN subscriptions AS s ON s.id = t.subscription_id
        WHERE t.is_leftover AND s.state NOT IN {QUEUED} AND s.state <> '{SubscriptionState.INBATCH}'
          AND s.site_id IN {WRITABLE}
          AND s.site_id NOT IN (SELECT site_id FROM {SAME_STORAGE} AS same)
          AND NOT EXISTS (SELECT FROM {OPEN_TRANSFERS} AS other
                          WHERE other.file_id = s.file_id AND other.site_id = s.site_id))
    SELECT due.transfer_id, due.file_id, due.site_id, due.started_at, f.lfn, f.size_bytes, f.adler32
    FROM due JOIN files AS f ON f.id = due.file_id WHERE due.place <= :most ORDER BY due.site_id, due.transfer_id"""


def look_at_leftovers(db: Database, open_storage: SiteStorage) -> LeftoverSummary:
    """Look at what ended copies have left, at each destination ``FILES_PER_SITE`` files in a run, and put it right.

    Only of copies that are not tried again as things stand. A storage that does not answer, or that there are no
    settings for, is left for a later run; nothing is removed while a person has stopped deletions. While another task
    is at it, nothing is done.
    """
    summary = LeftoverSummary()
    with alone(db, "leftovers of copies") as lock:
        if lock is None:
            return summary
        with db.begin() as connection:
            connection.execute(text(FORGET))
            due = connection.execute(text(SELECT), {"most": FILES_PER_SITE}).all()
        for site_id, share in groupby(due, lambda file: int(file.site_id)):
            try:
                storage = open_storage(site_id)
            except SettingsError as error:
                log.warning("what copies left at site %d is not looked at: %s", site_id, error.message)
                continue
            try:
                sights = _look_at_site(storage, list(share), summary, may_remove=_may_remove(db))
            finally:
                storage.close()
            _record(db, sights)
    return summary


def _may_remove(db: Database) -> bool:
    try:
        look(db, PauseKind.DELETIONS)
    except PausedError:
        return False
    return True


@dataclass(frozen=True)
class _Sight:
    """What was seen of one copy. ``said``: what its attempt shall say besides."""

    transfer_id: int
    file_id: int
    site_id: int
    is_whole: bool
    said: str | None


def _look_at_site(storage: Storage, due: Sequence[Any], summary: LeftoverSummary, *, may_remove: bool) -> list[_Sight]:
    sights, num_in_vain = [], 0
    for place, file in enumerate(due):
        try:
            sight = _look_at(storage, file, summary, may_remove=may_remove)
        except RemoteError as error:
            sight, num_in_vain = None, num_in_vain + 1
            if num_in_vain == IN_VAIN:
                summary.num_unseen += len(due) - place
                log.warning("what copies left at %s is looked at later: %s", storage.endpoint.site, error.message)
                break
        if sight is None:
            summary.num_unseen += 1
        else:
            sights.append(sight)
    return sights


def _look_at(storage: Storage, file: Any, summary: LeftoverSummary, *, may_remove: bool) -> _Sight | None:
    """None: to be looked at again."""

    def sight(said: str | None, *, is_whole: bool = False) -> _Sight:
        return _Sight(file.transfer_id, file.file_id, file.site_id, is_whole, said)

    stored = storage.stat(file.lfn)
    if stored is None:
        summary.num_none += 1
        return sight(None)
    is_whole = _is_whole(storage, file, stored)
    if is_whole:
        summary.num_whole += 1
        return sight("the file is at the destination all the same, whole", is_whole=True)
    if is_whole is None or stored.modified_at is None or stored.modified_at < file.started_at - CLOCK_SKEW:
        summary.num_kept += 1
        return sight("at the destination is a file of which nobody can say that this copy left it: it stays")
    return _removed(storage, file, stored, summary, sight) if may_remove else None


def _is_whole(storage: Storage, file: Any, stored: StoredFile) -> bool | None:
    """Whether what is stored is the file; None where nobody can tell."""
    if stored.size_bytes != file.size_bytes:
        return False
    told = adler32_text(storage.checksum(file.lfn)) if file.adler32 else None
    return None if told is None else told == file.adler32


def _removed(
    storage: Storage, file: Any, stored: StoredFile, summary: LeftoverSummary, sight: Callable[[str], _Sight]
) -> _Sight | None:
    """Delete what is there, as it was seen: a part of the file, or wrong bytes, written since the copy began."""
    condition = Condition(size_bytes=stored.size_bytes, modified_at=stored.modified_at)
    (outcome,) = delete_if(storage, {file.lfn: condition})
    what = "wrong bytes"
    if stored.size_bytes != file.size_bytes:
        what = f"{stored.size_bytes:,} bytes of {file.size_bytes:,}"
    match outcome.observation:
        case DeletionObservation.UNAVAILABLE:
            return None
        case DeletionObservation.REFUSED:
            summary.num_kept += 1
            return sight(f"{what} are left at the destination: {outcome.reason}")
    summary.num_removed += 1
    summary.removed_bytes += stored.size_bytes
    log.info("%s: %s: %s of a copy that has ended are removed", storage.endpoint.site, file.lfn, what)
    return sight(f"{what} were left at the destination, and are removed")


def _record(db: Database, sights: Sequence[_Sight]) -> None:
    """Whole files are in the inventory from now on; what is subscribed is fulfilled by the next run."""
    if not sights:
        return
    with db.begin() as connection:
        connection.execute(
            text(
                "CREATE TEMPORARY TABLE sights (transfer_id bigint, file_id bigint, site_id smallint,"
                " is_whole boolean, said text) ON COMMIT DROP"
            )
        )
        insert_frame(connection, "sights", pl.DataFrame([asdict(sight) for sight in sights], schema=_SIGHTS))
        connection.execute(
            text("""
            UPDATE transfers AS t SET is_leftover = false, reason = left(concat_ws('; ', t.reason, sights.said), 2000)
            FROM sights WHERE t.id = sights.transfer_id""")
        )
        connection.execute(
            text("""
            CREATE TEMPORARY TABLE changed ON COMMIT DROP AS
            SELECT DISTINCT file_id, site_id FROM sights WHERE is_whole""")
        )
        replicas.arrive(connection)


_SIGHTS = {
    "transfer_id": pl.Int64,
    "file_id": pl.Int64,
    "site_id": pl.Int64,
    "is_whole": pl.Boolean,
    "said": pl.String,
}
