"""Which storages tell no checksums (``checksums: auto``): they are asked, once copies have failed for lack of one.

FTS says of a copy that failed that it was given none. The storages of its ends are asked for the checksum of a file
that they have; where that cannot be done, or they do tell Dynamo, FTS's word decides once it has said it several times.
What was found out is kept with its time, and asked again after some days. Safe to repeat at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.base.patience import Checksums
from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.site.usable import READABLE
from dynamo_ops.inventory.states import Backend, TransferState
from dynamo_ops.inventory.subscription.blame import NONE_TOLD
from dynamo_ops.storage.registry import SiteStorage

log = logging.getLogger(__name__)

RECENT = timedelta(days=1)
"""Only copies that failed so lately are looked at; and a storage that says that it tells is asked once in this time."""
WORTH_ASKING = rf"{NONE_TOLD}|[Cc]ould not get the ([a-z]+ )?checksum"
"""FTS's words after which a storage is asked. The last may be of a credential: it is no word against the storage."""
ENOUGH = 3
"""So many failed copies are FTS's word, where a storage cannot be asked or says otherwise."""
FILES_ASKED = 3
"""Of so many files a storage is asked at most: one that is not there after all says nothing."""


@dataclass
class _Site:
    """A site, what is known of it (``is_told`` null: nothing), and the copies that failed since it was last asked.
    ``num_failed``: those of which FTS does not say that it was the other end. ``num_without``: of these those that were
    given no checksum; ``num_against``: and FTS says that it was by this end."""

    id: int
    name: str
    is_told: bool | None
    asked_at: datetime | None
    is_readable: bool
    num_failed: int = 0
    num_without: int = 0
    num_against: int = 0
    words: str = ""


@dataclass(frozen=True)
class _Verdict:
    """``is_told`` null: nothing is known any more."""

    is_told: bool | None
    because: str


def find_out(db: Database, settings: TransferSettings, open_storage: SiteStorage, now: datetime) -> dict[str, bool]:
    """Ask the storages that are to be asked now; by site, whether they tell checksums. Errors of storages are none."""
    with db.begin() as connection:
        sites = _read_sites(connection, settings)
        _read_failures(connection, sites, now)
        due = [site for site in sites.values() if _is_due(site, now, settings)]
        lfns = {site.id: _files_there(connection, site.id) for site in due if site.is_readable}
    tells: dict[str, bool] = {}
    for site in due:
        verdict = _judge(site, _ask(site, lfns.get(site.id, []), open_storage))
        if verdict is None:
            continue
        with db.begin() as connection:
            _keep(connection, site, verdict, now)
        if verdict.is_told is not None:
            tells[site.name] = verdict.is_told
            log.warning("site %s tells %s: %s", site.name, "checksums" if verdict.is_told else "none", verdict.because)
    return tells


def _read_sites(connection: Connection, settings: TransferSettings) -> dict[int, _Site]:
    sites = connection.execute(
        text(f"""
        SELECT s.id, s.name, c.is_told, c.asked_at, s.id IN {READABLE} AS is_readable
        FROM sites s LEFT JOIN site_checksums c ON c.site_id = s.id ORDER BY s.id""")
    )
    return {int(site.id): _Site(*site) for site in sites if settings.at(site.name).checksums == Checksums.AUTO}


def _read_failures(connection: Connection, sites: Mapping[int, _Site], now: datetime) -> None:
    """Note at both ends what failed since they were asked; of several sources nobody knows which it was."""
    failed = connection.execute(
        text(f"""
        WITH failed AS (
          SELECT t.source_site_id, b.site_id, t.reason, t.finished_at,
                 t.reason ~ :none_told AS is_without, t.reason ~ '^SOURCE |SOURCE CHECKSUM' AS is_of_source,
                 t.reason ~ '^DESTINATION |DESTINATION CHECKSUM' AS is_of_destination
          FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id
          WHERE t.state = '{TransferState.FAILED}' AND t.finished_at > :recent AND b.backend = '{Backend.FTS}'
            AND t.other_source_site_ids IS NULL AND t.reason ~ :worth_asking)
        SELECT place.site_id, count(*), count(*) FILTER (WHERE failed.is_without),
               count(*) FILTER (WHERE failed.is_without AND place.is_named), max(failed.reason)
        FROM failed CROSS JOIN LATERAL (VALUES
          (failed.source_site_id, failed.is_of_source, failed.is_of_destination),
          (failed.site_id, failed.is_of_destination, failed.is_of_source)) AS place (site_id, is_named, is_other_named)
        LEFT JOIN site_checksums c ON c.site_id = place.site_id
        WHERE (place.is_named OR NOT place.is_other_named) AND (c.asked_at IS NULL OR failed.finished_at > c.asked_at)
        GROUP BY place.site_id"""),
        {"recent": now - RECENT, "none_told": NONE_TOLD, "worth_asking": WORTH_ASKING},
    )
    for site_id, num_failed, num_without, num_against, words in failed:
        if site := sites.get(site_id):
            site.num_failed, site.num_without, site.num_against = int(num_failed), int(num_without), int(num_against)
            site.words = str(words)


def _is_due(site: _Site, now: datetime, settings: TransferSettings) -> bool:
    if site.asked_at is None:
        return site.num_failed > 0
    age = now - site.asked_at
    if site.is_told:
        return site.num_against >= ENOUGH or (site.num_failed > 0 and age > RECENT)
    return site.is_readable and age > timedelta(days=settings.checksums_asked_after_days)


def _files_there(connection: Connection, site_id: int) -> list[str]:
    """Names of some files that are at the site by the inventory, the newest blocks first."""
    return list(
        connection.execute(
            text(f"""
            SELECT f.lfn FROM (
              SELECT * FROM block_replicas WHERE site_id = :site ORDER BY block_id DESC LIMIT 20) AS r
            JOIN files f ON f.block_id = r.block_id
            WHERE {is_present("f.id", "r")} ORDER BY f.size_bytes LIMIT :files"""),
            {"site": site_id, "files": FILES_ASKED},
        ).scalars()
    )


def _ask(site: _Site, lfns: Iterable[str], open_storage: SiteStorage) -> tuple[bool | None, str]:
    """Whether the storage tells a checksum of one of these files, and of which; None: it cannot be asked."""
    silent_on = None
    try:
        storage = open_storage(site.id)
    except DynamoError as error:
        return None, error.message
    why = "no file is known to be there"
    try:
        for lfn in lfns:
            try:
                if storage.checksum(lfn) is not None:
                    return True, f"it told the adler32 of {lfn} over {storage.endpoint.protocol}"
                if storage.stat(lfn) is not None:
                    silent_on = silent_on or lfn
            except DynamoError as error:
                why = error.message
    finally:
        storage.close()
    if silent_on is None:
        return None, why
    return False, f"it told no adler32 of {silent_on} over {storage.endpoint.protocol}"


def _judge(site: _Site, asked: tuple[bool | None, str]) -> _Verdict | None:
    """What is known from now on; None: as before."""
    is_told, because = asked
    # FTS's word: where the storage cannot be asked, or goes on to say that it tells.
    num_against = site.num_without if is_told is None else site.num_against
    if num_against >= ENOUGH and (is_told is None or (is_told and site.is_told)):
        return _Verdict(False, f"{num_against} copies by FTS failed for lack of a checksum: {site.words}")
    if is_told is None:
        # FTS is not asked by hand: the next copies show it.
        return _Verdict(None, because) if site.is_told is False else None
    return _Verdict(is_told, because)


def _keep(connection: Connection, site: _Site, verdict: _Verdict, now: datetime) -> None:
    if verdict.is_told is None:
        connection.execute(text("DELETE FROM site_checksums WHERE site_id = :site"), {"site": site.id})
        return
    connection.execute(
        text("""
        INSERT INTO site_checksums (site_id, is_told, because, asked_at) VALUES (:site, :is_told, :because, :now)
        ON CONFLICT (site_id) DO UPDATE SET is_told = excluded.is_told, because = excluded.because,
          asked_at = excluded.asked_at"""),
        {"site": site.id, "is_told": verdict.is_told, "because": verdict.because, "now": now},
    )
