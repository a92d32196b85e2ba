"""Quotas of partitions beside what is there, by site; and which partitions somebody can mean."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.glob import glob_matches, is_glob
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.detox.report.describe import json_rows
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.site.quota import named_partitions, read_quotas
from dynamo_ops.policy.files import read_partitions
from dynamo_ops.policy.usage import partition_usage
from dynamo_ops.query.record.quota import QuotaFilter


def check_partitions(database: Database, settings: Settings, patterns: Sequence[str]) -> None:
    """Raises UnknownNameError, with near names, for a name or glob that matches no partition that is defined, or of
    which there is or was a quota."""
    if not patterns:
        return
    defined = read_partitions(settings, datetime.now(UTC))
    names = sorted({*defined.conditions, *defined.unions, *named_partitions(database)})
    for pattern in patterns:
        if not any(glob_matches(name, pattern) for name in names):
            problem = f"no partition matches {pattern!r}" if is_glob(pattern) else f"unknown partition {pattern!r}"
            raise UnknownNameError(f"{problem}; known: {', '.join(names)}.{near(pattern, names)}", partition=pattern)


def partition_use(database: Database, settings: Settings, asked: QuotaFilter) -> list[dict[str, Any]]:
    """Of sites and leaf partitions, and of a union that is named, by both: ``policy.usage.PARTITION_USAGE`` (an
    occupancy that is infinite is null), changed_by, changed_at (of the quota). Where there is neither a quota nor
    anything, there is no row. It reads the whole inventory. Raises InventoryError for what is not known."""
    if asked.sites:
        with database.begin() as connection:
            find_sites(connection, asked.sites)
    check_partitions(database, settings, asked.partitions)
    partitions = read_partitions(settings, datetime.now(UTC))
    names = [name for name in partitions.conditions if _is_asked(name, asked.partitions)]
    names += [name for name in partitions.unions if name in asked.partitions]
    used = partition_usage(read_inventory(database), partitions, names).filter(
        pl.col("quota_bytes").is_not_null() | (pl.col("projected_bytes") > 0)
    )
    stored = read_quotas(database)
    last_changes = stored.select("site", "partition", "changed_by", "changed_at")
    gone = [
        name
        for name in stored["partition"].unique()
        if name not in partitions.conditions and _is_asked(name, asked.partitions)
    ]
    rows = pl.concat(
        [
            used.join(last_changes, on=["site", "partition"], how="left"),
            stored.filter(pl.col("partition").is_in(gone)),
        ],
        how="diagonal",
    ).sort("site", "partition")
    sites = [site for site in rows["site"].unique() if _is_asked(site, asked.sites)]
    return json_rows(rows.filter(pl.col("site").is_in(sites)))


def _is_asked(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(glob_matches(name, pattern) for pattern in patterns)
