"""Quotas of partitions at sites, and their changes, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.query.paging.condition import Conditions, moment_asked
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class QuotaFilter:
    """Which quotas. ``sites``, ``partitions``: names or globs."""

    sites: Sequence[str] = ()
    partitions: Sequence[str] = ()


@dataclass(frozen=True)
class QuotaChangeFilter(QuotaFilter):
    """Which changes. ``since``: made from then on."""

    since: str | None = None


_QUOTAS = """
    SELECT site.name COLLATE "C" AS site, quota.site_id, quota.partition COLLATE "C" AS partition, quota.quota_bytes,
           quota.changed_by, quota.changed_at
    FROM quotas AS quota JOIN sites AS site ON site.id = quota.site_id"""

_CHANGES = """
    SELECT change.id, change.changed_at, site.name AS site, change.site_id, change.partition COLLATE "C" AS partition,
           change.old_bytes, change.new_bytes, change.changed_by, change.reason
    FROM quota_changes AS change JOIN sites AS site ON site.id = change.site_id"""


def _narrow(connection: Connection, asked: QuotaFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    if asked.sites:
        site_ids = [site.id for site in find_sites(connection, asked.sites)]
        conditions.add("listed.site_id = ANY(CAST(:site_ids AS smallint[]))", site_ids=site_ids)
    conditions.add_names("listed.partition", asked.partitions, "partition")
    return conditions


def _narrow_changes(connection: Connection, asked: QuotaChangeFilter, as_of: datetime) -> Conditions:
    conditions = _narrow(connection, asked, as_of)
    if asked.since is not None:
        conditions.add("listed.changed_at >= :since", since=moment_asked(asked.since, as_of))
    return conditions


QUOTAS: Listing[QuotaFilter] = Listing(
    "quotas",
    _QUOTAS,
    ("site", "partition", "quota_bytes", "changed_by", "changed_at"),
    key=("site", "partition"),
    narrow=_narrow,
)
"""By site and partition. Bytes: 0 nothing may be there, negative unlimited; without a row it is unknown."""

QUOTA_CHANGES: Listing[QuotaChangeFilter] = Listing(
    "changes of quotas",
    _CHANGES,
    ("id", "changed_at", "site", "partition", "old_bytes", "new_bytes", "changed_by", "reason"),
    key=("id",),
    narrow=_narrow_changes,
    is_newest_first=True,
)
"""Bytes: 0 nothing may be there, negative unlimited, null unknown."""
