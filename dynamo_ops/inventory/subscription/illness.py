"""Sites (as destinations) and links at which nearly all copies fail: told by how the last ones ended, kept nowhere.

A site is ill when of the last copies to it, in the order in which they were begun, nearly all failed at it or by our
credential; a link, when nearly all over it failed at its source or on the way. It is over when later ones arrive: so a
few files are tried from time to time (``transfer.batches``), and what waits goes on without a person. What fails
meanwhile is not held against a copy (``excuse``). A file that is bad, or that arrives wrong, says nothing of a place.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.patience import Illness
from dynamo_ops.database.words import Words
from dynamo_ops.inventory.states import TransferState
from dynamo_ops.inventory.subscription.blame import EXPIRED, NO_PERMISSION, Blame

ILLNESS = Illness()
"""As shipped."""

OF_DESTINATION = Words((Blame.DESTINATION, Blame.CREDENTIAL))
"""Whose fault says of a destination that it is ill, …"""
OF_LINK = Words((Blame.SOURCE, Blame.LINK))
"""… and of a link. What is of the one file is in neither."""
OF_PLACES = Words((*OF_DESTINATION, *OF_LINK))
NEWEST_BATCHES = 500
"""Of a site, along which its last copies are looked for: more than are under way to it at a time."""
REFUSED = rf"^[A-Z]+ \[(1|13)\]|{NO_PERMISSION}|{EXPIRED}"
"""We were refused, in any case of letters: by the site, or since our credential is none any more."""


@dataclass(frozen=True)
class IllPlace:
    """``source_site_id`` None: the whole site ``site_id``; else the link from there. ``num_failed`` of the last
    ``num_copies`` copies failed so. ``is_refused``: most of them since we were refused. ``blame``, ``reason``: of the
    last. ``tried_at``: when the last batch for it was recorded."""

    site_id: int
    site: str
    source_site_id: int | None
    source: str | None
    num_copies: int
    num_failed: int
    is_refused: bool
    blame: Blame
    reason: str
    tried_at: datetime

    def is_probe_due(self, now: datetime, illness: Illness = ILLNESS) -> bool:
        """Whether some files are to be tried now."""
        return self.tried_at <= now - timedelta(minutes=illness.probe_every_min)


def _judged(refused: str) -> str:
    """Of the rows of ``ended``, by ``place`` from 1: figures of the failures, and whether we were refused."""
    return f"""
        count(*) AS num_copies, count(*) FILTER (WHERE NOT ended.is_done) AS num_failed,
        count(*) FILTER (WHERE NOT ended.is_done AND ended.reason ~* CAST({refused} AS text)) AS num_refused,
        (array_agg(ended.blame ORDER BY ended.place) FILTER (WHERE NOT ended.is_done))[1] AS blame,
        (array_agg(ended.reason ORDER BY ended.place) FILTER (WHERE NOT ended.is_done))[1] AS reason"""


def ill_query(window: str, least: str, most: str, refused: str) -> str:
    """SQL of what is ill (columns of ``IllPlace``). Its parameters, as the driver has them: how long ago, so many
    failures, of so many copies, and ``REFUSED``.

    Sites are looked at one by one, along their newest batches, which soon tells. Links are many: those of sites that
    are well, and where enough has failed, are looked at together.
    """
    return f"""
        WITH blamed AS MATERIALIZED (
            SELECT batch.site_id, attempt.source_site_id,
                   count(*) FILTER (WHERE attempt.blame IN {OF_LINK}) AS num_on_link,
                   count(*) FILTER (WHERE attempt.blame IN {OF_DESTINATION}) AS num_at_site
            FROM transfers AS attempt JOIN transfer_batches AS batch ON batch.id = attempt.batch_id
            WHERE attempt.blame IN {OF_PLACES} AND attempt.finished_at >= now() - CAST({window} AS interval)
            GROUP BY 1, 2),
        suspected AS (
            SELECT site_id FROM blamed GROUP BY 1 HAVING sum(num_at_site) >= CAST({least} AS bigint)),
        ill_sites AS MATERIALIZED (
            SELECT suspected.site_id, newest.* FROM suspected CROSS JOIN LATERAL (
                SELECT {_judged(refused)}
                FROM (
                    SELECT attempt.state = '{TransferState.DONE}' AS is_done, attempt.blame,
                           coalesce(attempt.reason, '') AS reason, row_number() OVER (ORDER BY batch.id DESC) AS place
                    FROM (SELECT id FROM transfer_batches WHERE site_id = suspected.site_id
                          ORDER BY id DESC LIMIT {NEWEST_BATCHES}) AS batch
                    CROSS JOIN LATERAL (
                        SELECT state, blame, reason FROM transfers
                        WHERE batch_id = batch.id AND finished_at >= now() - CAST({window} AS interval)
                          AND (state = '{TransferState.DONE}' OR blame IN {OF_DESTINATION})
                        ORDER BY file_index DESC LIMIT CAST({most} AS bigint)) AS attempt
                    LIMIT CAST({most} AS bigint)) AS ended) AS newest
            WHERE newest.num_failed >= CAST({least} AS bigint)),
        links AS (
            SELECT site_id, source_site_id FROM blamed
            WHERE num_on_link >= CAST({least} AS bigint) AND site_id NOT IN (SELECT site_id FROM ill_sites)),
        ended AS (
            SELECT links.site_id, links.source_site_id, attempt.state = '{TransferState.DONE}' AS is_done,
                   attempt.blame, coalesce(attempt.reason, '') AS reason,
                   row_number() OVER (PARTITION BY links.site_id, links.source_site_id
                     ORDER BY attempt.batch_id DESC, attempt.file_index DESC) AS place
            FROM transfers AS attempt JOIN transfer_batches AS batch ON batch.id = attempt.batch_id
            JOIN links ON links.site_id = batch.site_id AND links.source_site_id = attempt.source_site_id
            WHERE attempt.finished_at >= now() - CAST({window} AS interval)
              AND (attempt.state = '{TransferState.DONE}' OR attempt.blame IN {OF_LINK})),
        ill AS (
            SELECT site_id, NULL::smallint AS source_site_id, num_copies, num_failed, num_refused, blame, reason
            FROM ill_sites
            UNION ALL
            SELECT ended.site_id, ended.source_site_id, {_judged(refused)}
            FROM ended WHERE ended.place <= CAST({most} AS bigint) GROUP BY 1, 2
            HAVING count(*) FILTER (WHERE NOT ended.is_done) >= CAST({least} AS bigint))
        SELECT ill.site_id, site.name AS site, ill.source_site_id, source.name AS source, ill.num_copies,
               ill.num_failed, ill.num_refused * 2 > ill.num_failed AS is_refused, ill.blame, ill.reason,
               tried.at AS tried_at
        FROM ill JOIN sites AS site ON site.id = ill.site_id
        LEFT JOIN sites AS source ON source.id = ill.source_site_id
        CROSS JOIN LATERAL (
            SELECT max(batch.created_at) AS at FROM (
                SELECT batch.created_at FROM transfer_batches AS batch
                WHERE batch.site_id = ill.site_id AND (ill.source_site_id IS NULL OR EXISTS (
                    SELECT FROM transfers AS attempt
                    WHERE attempt.batch_id = batch.id AND attempt.source_site_id = ill.source_site_id))
                ORDER BY batch.id DESC LIMIT 1) AS batch) AS tried
"""


ILL_SQL = ill_query(":window", ":least", ":most", ":refused")


def figures(illness: Illness) -> tuple[timedelta, int, int, str]:
    """The parameters of ``ill_query``."""
    least = math.ceil(illness.ill_after_copies * illness.ill_fraction)
    return timedelta(hours=illness.ill_window_h), least, illness.ill_after_copies, REFUSED


def ill_places(connection: Connection, illness: Illness = ILLNESS) -> list[IllPlace]:
    """What is ill now: sites first, then links to sites that are well. Empty, and cheap, where nothing has failed."""
    parameters = dict(zip(("window", "least", "most", "refused"), figures(illness), strict=True))
    return read_places(dict(row) for row in connection.execute(text(ILL_SQL), parameters).mappings())


def read_places(rows: Iterable[Mapping[str, Any]]) -> list[IllPlace]:
    """The places of ``ill_query``, in order: a site that is ill stands for its links."""
    names = [field.name for field in fields(IllPlace)]
    places = [IllPlace(**{**{name: row[name] for name in names}, "blame": Blame(row["blame"])}) for row in rows]
    return sorted(places, key=lambda place: (place.source is not None, place.site, place.source or ""))


def refusing(places: Collection[IllPlace], illness: Illness = ILLNESS) -> list[str]:
    """The sites that refuse us, where these are so many that it is our credential that is ill; else none."""
    names = {place.source or place.site for place in places if place.is_refused and place.blame == Blame.SOURCE}
    names |= {place.site for place in places if place.is_refused and place.blame != Blame.SOURCE}
    is_said = any(place.blame == Blame.CREDENTIAL for place in places)
    return sorted(names) if names and (is_said or len(names) >= illness.credential_after_sites) else []


def excuse(connection: Connection, illness: Illness = ILLNESS) -> int:
    """Of the attempts in the table ``moved`` those that failed since a place or our credential is ill are not counted
    against their copies. Returns how many."""
    is_common = text(f"SELECT EXISTS (SELECT FROM moved WHERE blame IN {OF_PLACES})")
    if not connection.execute(is_common).scalar_one():
        return 0
    places = ill_places(connection, illness)
    sites, links = split(places)
    return connection.execute(
        text(EXCUSE_SQL), {"sites": sites, "sources": [link[0] for link in links], "to": [link[1] for link in links]}
    ).rowcount


EXCUSE_SQL = f"""
    WITH excused AS (
      UPDATE transfers AS attempt SET is_excused = true
      FROM moved JOIN subscriptions AS copy ON copy.id = moved.subscription_id
      WHERE attempt.id = moved.transfer_id AND moved.state = '{TransferState.FAILED}' AND (
        moved.blame = '{Blame.CREDENTIAL}'
        OR moved.blame IN {OF_DESTINATION} AND copy.site_id = ANY(CAST(:sites AS smallint[]))
        OR moved.blame IN {OF_LINK} AND EXISTS (
          SELECT FROM unnest(CAST(:sources AS smallint[]), CAST(:to AS smallint[])) AS ill (source_site_id, site_id)
          WHERE ill.source_site_id = moved.source_site_id AND ill.site_id = copy.site_id))
      RETURNING attempt.subscription_id)
    UPDATE subscriptions AS copy SET num_excused = copy.num_excused + 1
    FROM excused WHERE copy.id = excused.subscription_id"""


def split(places: Sequence[IllPlace]) -> tuple[list[int], list[tuple[int, int]]]:
    """The ids of the sites, and of the links (source, destination)."""
    sites = [place.site_id for place in places if place.source_site_id is None]
    links = [(place.source_site_id, place.site_id) for place in places if place.source_site_id is not None]
    return sites, links
