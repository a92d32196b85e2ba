"""Downtimes of sites: said by a person, from then to then or until resumed; kept as history.

While one lasts nothing new is copied to or from the site, or deleted there (``sites``); what runs ends. Subscriptions
that wait for it are held as site_unavailable by the next run of transfers, and come back by themselves when it is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.times import time_text, too_far
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import find_site, names_like
from dynamo_ops.inventory.site.status import NO_SOURCE, OVERRIDE_IN_FORCE
from dynamo_ops.inventory.site.usable import READABLE, WRITABLE
from dynamo_ops.inventory.states import ACTIVE, LIVE_TRANSFERS, OPEN_BATCHES, SubscriptionAction, SubscriptionState

EARLIEST = timedelta(days=1)
"""A downtime may have begun this morning, or be given by today's date; an earlier begin is a slip."""
LONGEST_DAYS = 366
"""A year: sites plan their work by the year at most."""


@dataclass(frozen=True)
class Downtime:
    """One downtime of a site. ``ends_at`` None: until it is resumed. ``ended_by``: who resumed it."""

    id: int
    site: str
    begins_at: datetime
    ends_at: datetime | None
    reason: str
    created_by: str
    ended_by: str | None

    def __str__(self) -> str:
        begin = time_text(self.begins_at)
        end = f"until {time_text(self.ends_at)}" if self.ends_at else "until resumed"
        return f"downtime {self.id} of {self.site} from {begin} {end} ({self.reason})"


def drain(
    db: Database,
    site: str,
    *,
    by: Person,
    reason: str,
    begins_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> Downtime:
    """Put a site into a downtime, from ``begins_at`` (None: now) to ``ends_at`` (None: until resumed).

    It may overlap others: the site is back when none lasts. InventoryError: unknown site, no reason, nothing is left of
    it, a begin that is over for longer than ``EARLIEST``, or a time in more than ``LONGEST_DAYS``.
    """
    reason = reason.strip()
    if not reason:
        raise InventoryError(f"downtime of {site}: say why (reason is empty)", site=site)
    times = "".join(f" {word} {time_text(at)}" for word, at in (("from", begins_at), ("until", ends_at)) if at)
    with acting(db, by, Action.OPERATE_SITE, f"downtime of {site}{times}", reason) as act:
        act.check(Target(sites=(site,)))
        connection = act.connection
        site_id = find_site(connection, site).id
        now: datetime = connection.execute(text("SELECT now()")).scalar_one()
        begins_at = begins_at or now
        if ends_at is not None and ends_at <= max(begins_at, now):
            end, begin = map(time_text, (ends_at, begins_at))
            raise InventoryError(
                f"downtime of {site}: its end {end} must be after its begin {begin} and after now", site=site
            )
        if begins_at < now - EARLIEST:
            raise InventoryError(
                f"downtime of {site}: its begin {time_text(begins_at)} is over; without one it begins now", site=site
            )
        if far := too_far(ends_at or begins_at, now, LONGEST_DAYS):
            raise InventoryError(
                f"downtime of {site}: {far}, the farthest that one may be planned; without an end it lasts until it is "
                "resumed",
                site=site,
            )
        row = connection.execute(
            text("""
            INSERT INTO site_downtimes (site_id, begins_at, ends_at, reason, created_by)
            VALUES (:site, :begin, :end, :reason, :by) RETURNING id"""),
            {"site": site_id, "begin": begins_at, "end": ends_at, "reason": reason, "by": by.name},
        ).one()
        act.ids.append(row.id)
    return Downtime(row.id, site, begins_at, ends_at, reason, by.name, None)


def resume(db: Database, site: str, *, by: Person, planned: bool = False) -> list[int]:
    """End the downtimes of a site that last now; with ``planned`` those to come too. Returns their ids.

    InventoryError when there is none to end.
    """
    with acting(db, by, Action.OPERATE_SITE, f"downtimes of {site} end{', planned ones too' * planned}") as act:
        act.check(Target(sites=(site,)))
        connection = act.connection
        site_id = find_site(connection, site).id
        ended = connection.execute(
            text("""
            UPDATE site_downtimes SET ends_at = greatest(begins_at, now()), ended_by = :by
            WHERE site_id = :site AND (ends_at IS NULL OR ends_at > greatest(begins_at, now()))
              AND (begins_at <= now() OR :planned) RETURNING id"""),
            {"site": site_id, "by": by.name, "planned": planned},
        )
        ids = sorted(ended.scalars())
        act.ids.extend(ids)
        if not ids:
            coming = connection.execute(
                text("SELECT count(*) FROM site_downtimes WHERE site_id = :site AND ends_at IS DISTINCT FROM begins_at"
                     " AND begins_at > now()"),
                {"site": site_id},
            ).scalar_one()  # fmt: skip
            told = f"; {coming} to come (--planned ends these too)" if coming else ""
            raise InventoryError(f"site {site} is in no downtime now{told}", site=site)
    return ids


def downtimes(db: Database, site: str | None = None, *, over: bool = False) -> pl.DataFrame:
    """Downtimes that last or are to come, newest begin first; with ``over`` also those that are over.

    Columns: id, site, state (now, planned, over), begins_at, ends_at, reason, created_by, ended_by. ``site``: name or
    glob; InventoryError when it means none.
    """
    site_names = None if site is None else names_like(db, site)
    site_downtimes = db.frame(
        """
        SELECT t.id, d.name AS site, t.state, t.begins_at, t.ends_at, t.reason, t.created_by, t.ended_by
        FROM (SELECT *, CASE WHEN ends_at <= now() OR ends_at = begins_at THEN 'over'
                             WHEN begins_at > now() THEN 'planned' ELSE 'now' END AS state FROM site_downtimes) t
        JOIN sites d ON d.id = t.site_id
        WHERE $1::boolean OR t.state <> 'over' ORDER BY t.begins_at DESC, t.id DESC""",
        [over],
    )
    return site_downtimes if site_names is None else site_downtimes.filter(pl.col("site").is_in(site_names))


def downtime_since(connection: Connection, site_id: int, since: datetime) -> Downtime | None:
    """A downtime of the site that lasted at some moment from ``since`` until now, the newest; None without one."""
    row = connection.execute(
        text("""
        SELECT downtime.id, site.name, downtime.begins_at, downtime.ends_at, downtime.reason, downtime.created_by,
               downtime.ended_by
        FROM site_downtimes AS downtime JOIN sites AS site ON site.id = downtime.site_id
        WHERE downtime.site_id = :site AND downtime.begins_at <= now()
          AND (downtime.ends_at IS NULL OR downtime.ends_at > greatest(downtime.begins_at, CAST(:since AS timestamptz)))
        ORDER BY downtime.begins_at DESC, downtime.id DESC LIMIT 1"""),
        {"site": site_id, "since": since},
    ).one_or_none()
    return None if row is None else Downtime(*row)


def site_states(db: Database, site: str | None = None) -> pl.DataFrame:
    """All sites by name, or the one of that name: can they be used now, and what waits there.

    Columns: site, storage_type, status, told_status (by its source; null: nobody tells), told_since (null: as long as
    it is known), said_by (who gave it another status by hand, or null), said_because, said_until (null: until taken
    back), is_readable, is_writable, downtime (the reasons of those that last, or null), downtime_until (null: no
    downtime, or until resumed), num_copies_to, bytes_to (active copy subscriptions), num_held (of these),
    num_copies_from, bytes_from (being copied from there now), num_deletions (active delete subscriptions).
    """
    return db.frame(
        f"""
        WITH lasting AS (
          SELECT site_id, string_agg(reason, '; ' ORDER BY id) AS reasons,
                 CASE WHEN bool_and(ends_at IS NOT NULL) THEN max(ends_at) END AS until
          FROM site_downtimes WHERE begins_at <= now() AND (ends_at IS NULL OR ends_at > now()) GROUP BY site_id),
        outstanding AS (
          SELECT s.site_id, count(*) FILTER (WHERE s.action = '{SubscriptionAction.COPY}') AS num_copies,
                 count(*) FILTER (WHERE s.action = '{SubscriptionAction.COPY}'
                   AND s.state = '{SubscriptionState.HELD}') AS num_held,
                 count(*) FILTER (WHERE s.action = '{SubscriptionAction.DELETE}') AS num_deletions
          FROM subscriptions s
          WHERE s.state IN {ACTIVE} AND ($1::text IS NULL OR s.site_id = (SELECT id FROM sites WHERE name = $1))
          GROUP BY s.site_id),
        coming AS (
          SELECT s.site_id, sum(f.size_bytes)::bigint AS bytes FROM subscriptions s JOIN files f ON f.id = s.file_id
          WHERE s.action = '{SubscriptionAction.COPY}' AND s.state IN {ACTIVE}
            AND ($1::text IS NULL OR s.site_id = (SELECT id FROM sites WHERE name = $1))
          GROUP BY s.site_id),
        reads AS (
          SELECT t.source_site_id AS site_id, count(*) AS num_files, sum(t.size_bytes)::bigint AS bytes
          FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
          WHERE b.state IN {OPEN_BATCHES} AND t.state IN {LIVE_TRANSFERS}
          GROUP BY 1)
        SELECT d.name AS site, d.storage_type, d.status,
               CASE WHEN t.source <> '{NO_SOURCE}' THEN t.told_status END AS told_status,
               CASE WHEN t.source <> '{NO_SOURCE}' THEN t.told_since_at END AS told_since,
               o.created_by AS said_by, o.reason AS said_because, o.ends_at AS said_until,
               d.id IN {READABLE} AS is_readable, d.id IN {WRITABLE} AS is_writable,
               l.reasons AS downtime, l.until AS downtime_until,
               coalesce(w.num_copies, 0) AS num_copies_to, coalesce(c.bytes, 0) AS bytes_to,
               coalesce(w.num_held, 0) AS num_held, coalesce(r.num_files, 0) AS num_copies_from,
               coalesce(r.bytes, 0) AS bytes_from, coalesce(w.num_deletions, 0) AS num_deletions
        FROM sites d LEFT JOIN lasting l ON l.site_id = d.id LEFT JOIN outstanding w ON w.site_id = d.id
        LEFT JOIN coming c ON c.site_id = d.id LEFT JOIN reads r ON r.site_id = d.id
        LEFT JOIN site_sources t ON t.site_id = d.id
        LEFT JOIN (SELECT DISTINCT ON (site_id) * FROM site_overrides o WHERE {OVERRIDE_IN_FORCE}
                   ORDER BY site_id, id DESC) o ON o.site_id = d.id
        WHERE $1::text IS NULL OR d.name = $1 ORDER BY d.name""",
        [site],
    )
