"""Status of a site as a person says: at once, whatever the site's source tells, until a moment or until taken back.

Kept as history. A merge of sites leaves such a site alone; when it is over, the next merge (or housekeeping) gives the
site the status that follows from what its source tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.text import near
from dynamo_ops.base.times import time_text, too_far
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.site.lookup import names_like
from dynamo_ops.inventory.site.status import NO_SOURCE, OVERRIDE_IN_FORCE, apply_statuses

LONGEST_DAYS = 366
"""A year: what a source says of a site is not to be overruled for longer without a second look."""
STATUSES = (SiteStatus.READY, SiteStatus.WAITROOM, SiteStatus.MORGUE)


@dataclass(frozen=True)
class Override:
    """A status that a person gave to a site. ``ends_at`` None: until it is taken back.

    ``status_before``: what the site had; ``told_status``: what its source tells (None: nobody tells).
    ``warnings``: what its author may not have meant.
    """

    id: int
    site: str
    status: str
    ends_at: datetime | None
    reason: str
    created_by: str
    status_before: str
    told_status: str | None
    warnings: tuple[str, ...]


def set_status(
    db: Database, site: str, status: str, *, by: Person, reason: str, ends_at: datetime | None = None
) -> Override:
    """Give ``site`` this status from now on. One that was said before is over.

    Raises InventoryError: unknown site or status, no reason, or an end that is not after now or later than
    ``LONGEST_DAYS``.
    """
    reason = reason.strip()
    if not reason:
        raise InventoryError(f"status of {site}: say why (reason is empty)", site=site)
    if status not in STATUSES:
        message = f"status of {site}: {status!r} is none of {', '.join(STATUSES)}"
        hint = near(status, STATUSES)
        raise InventoryError(f"{message}.{hint}" if hint else message, site=site, status=status)
    end = f" until {time_text(ends_at)}" if ends_at else ""
    with acting(db, by, Action.OPERATE_SITE, f"{site} is {status}{end}", reason) as act:
        act.check(Target(sites=(site,)))
        connection = act.connection
        hold(connection, Lock.INVENTORY)
        known = _site(connection, site)
        if ends_at is not None and ends_at <= known.now:
            raise InventoryError(f"status of {site}: its end {time_text(ends_at)} is over", site=site)
        if ends_at is not None and (far := too_far(ends_at, known.now, LONGEST_DAYS)):
            raise InventoryError(
                f"status of {site}: its end {far}, the longest that one may be given for; without an end it lasts "
                "until it is taken back",
                site=site,
            )
        keys = {"site": known.id, "status": status, "end": ends_at, "reason": reason, "by": by.name}
        connection.execute(text(_NOTE_TOLD), {**keys, "source": NO_SOURCE})
        connection.execute(text(_END), keys)
        made = connection.execute(text(_INSERT), keys).scalar_one()
        connection.execute(text(_TAKE_STATUS), keys)
        act.ids.append(made)
    told = known.told_status if known.source != NO_SOURCE else None
    warnings = _warnings(status, told, known.source)
    return Override(made, site, status, ends_at, reason, by.name, known.status, told, warnings)


def unset_status(db: Database, site: str, *, by: Person, stable_h: float) -> str:
    """End what a person said of ``site``; returns the status that it has now. InventoryError if nobody said anything.

    ``stable_h``: as of ``merge_sites``.
    """
    with acting(db, by, Action.OPERATE_SITE, f"{site} is what its source says") as act:
        act.check(Target(sites=(site,)))
        connection = act.connection
        hold(connection, Lock.INVENTORY)
        known = _site(connection, site)
        if not connection.execute(text(_END), {"site": known.id, "by": by.name}).rowcount:
            raise InventoryError(f"the status of site {site} is what its source tells; nothing to end", site=site)
        apply_statuses(connection, stable_h)
        return str(_site(connection, site).status)


def overrides(db: Database, site: str | None = None, *, over: bool = False) -> pl.DataFrame:
    """What people said of sites and still holds, newest first; with ``over`` also what is over.

    Columns: id, site, status, is_in_force, created_at, ends_at (null: until it is taken back), reason, created_by,
    ended_by (null: it ended by itself, or lasts). ``site``: name or glob; InventoryError when it means none.
    """
    site_names = None if site is None else names_like(db, site)
    statuses = db.frame(
        f"""
        SELECT o.id, s.name AS site, o.status, {OVERRIDE_IN_FORCE} AS is_in_force, o.created_at, o.ends_at, o.reason,
               o.created_by, o.ended_by
        FROM site_overrides AS o JOIN sites AS s ON s.id = o.site_id
        WHERE $1::boolean OR {OVERRIDE_IN_FORCE} ORDER BY o.id DESC""",
        (over,),
    )
    return statuses if site_names is None else statuses.filter(pl.col("site").is_in(site_names))


def _site(connection: Connection, site: str) -> Any:
    """id, status, source and told_status (null: nobody tells), and now."""
    found = connection.execute(
        text("""
        SELECT s.id, s.status, t.source, t.told_status, now() AS now
        FROM sites AS s LEFT JOIN site_sources AS t ON t.site_id = s.id WHERE s.name = :site"""),
        {"site": site},
    ).one_or_none()
    if found is None:
        names = connection.execute(text("SELECT name FROM sites")).scalars()
        raise UnknownNameError(f"there is no site {site!r}.{near(site, names)}", site=site)
    return found


def _warnings(status: str, told: str | None, source: str | None) -> tuple[str, ...]:
    if told is None or told == status or (status, told) not in _DOUBTFUL:
        return ()
    return (f"source {source!r} says {told}: {_DOUBTFUL[status, told]}",)


_DOUBTFUL: Mapping[tuple[str, str], str] = {
    (SiteStatus.READY, SiteStatus.MORGUE): "data will be placed at a site that may be given up",
    (SiteStatus.READY, SiteStatus.WAITROOM): "data will be placed at, and deleted from, a site that may be broken",
    (
        SiteStatus.READY,
        SiteStatus.UNKNOWN,
    ): "data will be placed at a site that its source does not list, or knows nothing of",
    (SiteStatus.MORGUE, SiteStatus.READY): "what only this site has will be copied away, and nothing placed there",
}

# What the site is by itself must be known when the override is over, also of a site that no source has told of.
_NOTE_TOLD = """
    INSERT INTO site_sources AS old (site_id, source, told_status)
    SELECT id, :source, status FROM sites WHERE id = :site
    ON CONFLICT (site_id) DO UPDATE SET told_status = excluded.told_status WHERE old.told_status IS NULL"""

_END = f"""
    UPDATE site_overrides AS o SET ends_at = now(), ended_by = :by WHERE o.site_id = :site AND {OVERRIDE_IN_FORCE}"""

_TAKE_STATUS = """
    UPDATE sites SET status = :status, status_changed_at = now() WHERE id = :site AND status <> :status"""

_INSERT = """
    INSERT INTO site_overrides (site_id, status, ends_at, reason, created_by)
    VALUES (:site, :status, :end, :reason, :by) RETURNING id"""
