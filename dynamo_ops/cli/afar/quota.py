"""Quotas over REST."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from dynamo_ops.cli.afar.server import put, rows, whole
from dynamo_ops.cli.terminal.tables import Record, Records


def partitions() -> list[str]:
    """Names of partitions, for a shell that completes them."""
    return [row["name"] for row in whole("/names/partitions")]


def would_change(site: str, partition: str, amount: int | None, *, reason: str, by: str | None) -> Records:
    """What there is, and what would be, at the sites that are meant: site, partition, old_bytes, new_bytes."""
    meant = put("/quotas/partitions", _wanted([site], partition, amount, reason), by=by, dry_run=True)["sites"]
    now = {row["site"]: row["quota_bytes"] for row in rows("/quotas/partitions", site=site, partition=partition)}
    return [{"site": name, "partition": partition, "old_bytes": now.get(name), "new_bytes": amount} for name in meant]


def change(sites: Sequence[str], partition: str, amount: int | None, *, reason: str, by: str | None) -> Record:
    """At all these sites (names or globs), or at none: partition, sites, quota_bytes, num_changed."""
    return put("/quotas/partitions", _wanted(sites, partition, amount, reason), by=by)


def change_of_group(name: str, amount: int, *, by: str | None) -> Record:
    """So much unique data it may own and ask for."""
    return put(f"/quotas/groups/{quote(name, safe='')}", {"quota": amount}, by=by)


def change_of_user(name: str, amount: int, *, by: str | None) -> Record:
    """So much unique data they may ask for."""
    return put(f"/quotas/users/{quote(name, safe='')}", {"quota": amount}, by=by)


def listed(sites: Sequence[str], partitions: Sequence[str]) -> Records:
    """Quotas by site and partition."""
    return rows("/quotas/partitions", site=sites, partition=partitions)


def used(sites: Sequence[str], partitions: Sequence[str]) -> Records:
    """Quotas beside what is there now."""
    return whole("/quotas/partitions/use", site=sites, partition=partitions)


def changes(sites: Sequence[str], partitions: Sequence[str]) -> Records:
    """Who changed what, when and why, newest first."""
    return rows("/quotas/partitions/changes", site=sites, partition=partitions)


def of_groups() -> Records:
    """What groups may own and ask for, and how much of it they do."""
    return whole("/quotas/groups")


def of_users() -> Records:
    """What people may ask for, and how much of it they do."""
    return whole("/quotas/users")


def _wanted(sites: Sequence[str], partition: str, amount: int | None, reason: str) -> Record:
    return {"partition": partition, "sites": list(sites), "quota": amount, "reason": reason}
