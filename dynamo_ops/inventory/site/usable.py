"""Which sites file operations may touch now: by status, and not while a downtime lasts."""

from __future__ import annotations

from dynamo_ops.inventory.kinds import READABLE_STATUSES, SiteStatus

IN_DOWNTIME = """(SELECT site_id FROM site_downtimes
    WHERE begins_at <= now() AND (ends_at IS NULL OR ends_at > now()))"""
"""Ids of the sites that are in a downtime at the start of the transaction."""

READABLE = f"""(SELECT id FROM sites WHERE status IN {READABLE_STATUSES} AND id NOT IN {IN_DOWNTIME})"""
"""Ids of the sites that files are read from. Those in the morgue are being emptied: a last resort."""

WRITABLE = f"(SELECT id FROM sites WHERE status = '{SiteStatus.READY}' AND id NOT IN {IN_DOWNTIME})"
"""Ids of the sites where files are written and deleted."""
