"""Quotas of the database."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import all_rows
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.database.connect import running
from dynamo_ops.policy.quota import WantedQuota
from dynamo_ops.query.names import partition_names
from dynamo_ops.query.record.partition_use import check_partitions, partition_use
from dynamo_ops.query.record.quota import QUOTA_CHANGES, QUOTAS, QuotaChangeFilter, QuotaFilter
from dynamo_ops.request import unique_quota


def partitions() -> list[str]:
    """Names of partitions, for a shell that completes them."""
    return partition_names(running(settings()), settings())


def would_change(site: str, partition: str, amount: int | None, *, reason: str, by: str | None) -> Records:
    """What there is, and what would be, at the sites that are meant: site, partition, old_bytes, new_bytes."""
    del reason, by
    return WantedQuota(partition, [site], amount).changes(database(), settings())


def change(sites: Sequence[str], partition: str, amount: int | None, *, reason: str, by: str | None) -> Record:
    """At all these sites (names or globs), or at none: partition, sites, quota_bytes, num_changed."""
    return WantedQuota(partition, sites, amount).set(database(), settings(), by=who(by), reason=reason)


def change_of_group(name: str, amount: int, *, by: str | None) -> Record:
    """So much unique data it may own and ask for."""
    unique_quota.set_group_quota(database(), name, amount, by=who(by))
    return {"group": name, "quota_bytes": amount}


def change_of_user(name: str, amount: int, *, by: str | None) -> Record:
    """So much unique data they may ask for."""
    unique_quota.set_user_quota(database(), name, amount, by=who(by))
    return {"user": name, "quota_bytes": amount}


def listed(sites: Sequence[str], partitions: Sequence[str]) -> Records:
    """Quotas by site and partition."""
    check_partitions(database(), settings(), partitions)
    return all_rows(database(), QUOTAS, QuotaFilter(sites, partitions))


def used(sites: Sequence[str], partitions: Sequence[str]) -> Records:
    """Quotas beside what is there now."""
    return partition_use(database(), settings(), QuotaFilter(sites, partitions))


def changes(sites: Sequence[str], partitions: Sequence[str]) -> Records:
    """Who changed what, when and why, newest first."""
    check_partitions(database(), settings(), partitions)
    return all_rows(database(), QUOTA_CHANGES, QuotaChangeFilter(sites, partitions))


def of_groups() -> Records:
    """What groups may own and ask for, and how much of it they do."""
    return unique_quota.group_usage(database()).to_dicts()


def of_users() -> Records:
    """What people may ask for, and how much of it they do."""
    return unique_quota.user_usage(database()).to_dicts()
