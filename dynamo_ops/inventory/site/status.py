"""Sites from staging into the inventory, and which status each has: what its source tells, or what a person says.

A source is followed with patience, since feeds flap: what it tells must hold for a while before a site is used, or
given up. A person is followed at once, whatever the source says (``site_override``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from dynamo_ops.base.settings import SiteStatusSettings
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.upsert import new_and_changed
from dynamo_ops.inventory.kinds import READABLE_STATUSES, SiteStatus
from dynamo_ops.inventory.site import endpoint
from dynamo_ops.inventory.staging.pull import staged_pull

SILENT_AT_MOST = timedelta(hours=3)
"""A source that told nothing for longer (and missed a run) did not tell the same status without a break."""

NO_SOURCE = "injection"
"""What ``site_sources`` names for a site that no feed tells of."""

OVERRIDE_IN_FORCE = "(o.ended_by IS NULL AND (o.ends_at IS NULL OR o.ends_at > now()))"
"""The row ``o`` of ``site_overrides`` holds at the start of the transaction."""


@dataclass(frozen=True)
class SiteSummary:
    """What a merge of sites did. ``lost``: sites that the source told before and no longer tells, now ``unknown``.

    ``damped``: sites told to be ready or in the morgue, but not for long enough yet: they are in the waitroom.
    ``overridden``: sites whose status a person said.
    """

    new: int
    changed: int
    lost: int
    damped: int = 0
    overridden: int = 0


@span("metadata.merge_sites")
def merge_sites(
    db: Database,
    run_key: str,
    source: str,
    *,
    stable_h: float = SiteStatusSettings().stable_h,
    every: timedelta = timedelta(0),
) -> SiteSummary:
    """Merge the sites that (run_key, source) staged. Raises InventoryError if no gate accepted what is staged.

    ``stable_h``: hours for which ``ready`` or ``morgue`` must be told without a break before the site becomes so, from
    the first telling to the newest; until then it is in the ``waitroom``. ``every``: the time between two runs, so that
    a source asked once a day can be without a break at all; a silence of two of them, or three hours, is one. A site
    that was not known follows at once; ``unknown`` and ``waitroom`` count at once. The hours are those of the
    database's clock, whatever interval a run owns: a feed has no history and always tells of now, so a backfill of many
    runs is no proof that a site was ready for long.
    """
    key = {"run_key": run_key, "source": source}
    silent = {"silent": max(SILENT_AT_MOST, 2 * every)}
    with db.begin() as connection:
        hold(connection, Lock.INVENTORY)
        staged_pull(connection, run_key, source, "sites")
        connection.execute(text(_SITES_OF_RUN), key)
        connection.execute(text("CREATE TEMPORARY TABLE sites_before ON COMMIT DROP AS SELECT * FROM sites"))
        apply_statuses(connection, stable_h)  # what a person said and is over must not pass for the site's own status
        connection.execute(text(_LOSE_SITES), key)
        new, _ = new_and_changed(connection, _UPSERT_SITES)
        connection.execute(text(_UPSERT_SITE_SOURCES), {**key, **silent})
        apply_statuses(connection, stable_h)
        endpoint.follow(connection, _TOLD_ENDPOINTS)
        connection.execute(text(_NOTE_SITES), key)
        counts = connection.execute(text(_COUNT), key).one()
        connection.execute(text("DROP TABLE merged_sites, sites_before"))
    return SiteSummary(new, *counts)


def refresh_statuses(db: Database, *, stable_h: float) -> int:
    """Give every site the status that follows from what was told and said, as of now: what a person said may be over.

    Returns how many changed. Safe to repeat; every merge of sites does it too.
    """
    with db.begin() as connection:
        hold(connection, Lock.INVENTORY)
        return apply_statuses(connection, stable_h)


def apply_statuses(connection: Connection, stable_h: float) -> int:
    """``refresh_statuses`` inside a transaction."""
    return connection.execute(text(_APPLY_STATUSES), {"stable_h": stable_h}).rowcount


_SITES_OF_RUN = """
    CREATE TEMPORARY TABLE merged_sites ON COMMIT DROP AS
    SELECT DISTINCT ON (site) site, storage_type, status, endpoints FROM staged_sites
    WHERE run_key = :run_key AND source = :source AND site IS NOT NULL
    ORDER BY site, id DESC"""

_LOSE_SITES = f"""
    UPDATE site_sources AS o SET told_status = '{SiteStatus.UNKNOWN}', told_since_at = now(), told_last_at = now()
    FROM sites AS s
    WHERE o.site_id = s.id AND o.source = :source AND o.told_status IS DISTINCT FROM '{SiteStatus.UNKNOWN}'
      AND NOT EXISTS (SELECT FROM merged_sites AS m WHERE m.site = s.name)"""

_UPSERT_SITES = """
    INSERT INTO sites AS old (name, storage_type, status)
    SELECT site, storage_type, status FROM merged_sites ORDER BY site
    ON CONFLICT (name) DO UPDATE SET storage_type = excluded.storage_type
    WHERE old.storage_type <> excluded.storage_type"""

# A site seen first, or known with this status before anybody noted what is told, has had it as long as we know it.
_UPSERT_SITE_SOURCES = """
    INSERT INTO site_sources AS old (site_id, source, told_status, told_since_at, told_last_at)
    SELECT s.id, :source, m.status, CASE WHEN s.status <> m.status THEN now() END, now()
    FROM merged_sites AS m JOIN sites AS s ON s.name = m.site
    ON CONFLICT (site_id) DO UPDATE
    SET source = excluded.source, told_status = excluded.told_status, told_last_at = excluded.told_last_at,
        told_since_at = CASE WHEN old.told_status IS NULL THEN excluded.told_since_at
                             WHEN old.told_status = excluded.told_status
                                  AND (old.told_since_at IS NULL OR old.told_last_at >= now() - :silent)
                             THEN old.told_since_at ELSE now() END"""

# A site keeps the status that it has and is told, however short; one that a person gave it is not its own.
_APPLY_STATUSES = f"""
    UPDATE sites AS s SET status = n.status, status_changed_at = now()
    FROM (SELECT s.id, coalesce(
                     (SELECT o.status FROM site_overrides AS o WHERE o.site_id = s.id AND {OVERRIDE_IN_FORCE}
                      ORDER BY o.id DESC LIMIT 1),
                     CASE WHEN t.told_status IN ('{SiteStatus.UNKNOWN}', '{SiteStatus.WAITROOM}')
                       OR t.told_since_at IS NULL
                               OR t.told_last_at - t.told_since_at >= make_interval(secs => :stable_h * 3600)
                               OR t.told_status = s.status
                                  AND NOT EXISTS (SELECT FROM site_overrides AS o
                                                  WHERE o.site_id = s.id AND o.ends_at > t.told_since_at)
                          THEN t.told_status ELSE '{SiteStatus.WAITROOM}' END) AS status
          FROM sites AS s LEFT JOIN site_sources AS t ON t.site_id = s.id) AS n
    WHERE n.id = s.id AND n.status IS NOT NULL AND n.status <> s.status"""

_COUNT = f"""
    SELECT (SELECT count(*) FROM sites AS s JOIN sites_before AS b USING (id)
            WHERE (s.storage_type, s.status) IS DISTINCT FROM (b.storage_type, b.status)
              AND s.name IN (SELECT site FROM merged_sites)),
           (SELECT count(*) FROM sites_before AS b JOIN site_sources AS o ON o.site_id = b.id AND o.source = :source
            WHERE b.status <> '{SiteStatus.UNKNOWN}' AND b.name NOT IN (SELECT site FROM merged_sites)
              AND o.told_since_at = now()),
           (SELECT count(*) FROM merged_sites AS m JOIN sites AS s ON s.name = m.site
            WHERE s.status = '{SiteStatus.WAITROOM}' AND m.status IN {READABLE_STATUSES}
              AND NOT EXISTS (SELECT FROM site_overrides AS o WHERE o.site_id = s.id AND {OVERRIDE_IN_FORCE})),
           (SELECT count(*) FROM merged_sites AS m JOIN sites AS s ON s.name = m.site
            WHERE EXISTS (SELECT FROM site_overrides AS o WHERE o.site_id = s.id AND {OVERRIDE_IN_FORCE}))"""

_TOLD_ENDPOINTS = """
    SELECT DISTINCT ON (s.id, e.protocol) s.id AS site_id, e.protocol, e.prefix,
           nullif(e.mapping, 'null'::jsonb) AS mapping
    FROM merged_sites AS m JOIN sites AS s ON s.name = m.site,
         jsonb_to_recordset(m.endpoints) AS e(protocol text, prefix text, mapping jsonb)
    WHERE e.protocol IS NOT NULL AND e.prefix IS NOT NULL"""

_NOTE_SITES = f"""
    INSERT INTO source_states (source, num_sites_ready, updated_at)
    SELECT :source, count(*) FILTER (WHERE status = '{SiteStatus.READY}'), now() FROM merged_sites
    ON CONFLICT (source) DO UPDATE SET num_sites_ready = excluded.num_sites_ready, updated_at = now()"""
