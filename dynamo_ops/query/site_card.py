"""All about one site on one card: can it be used and why, what waits, how full it is, what it holds, its last check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.checks import COMPARED_CHECKS
from dynamo_ops.inventory.replica.usage import FIGURES, USAGE
from dynamo_ops.inventory.site.downtime import site_states
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.query.usage import usage_now

LARGEST = 10
"""Datasets on the card of a site."""


@dataclass(frozen=True)
class SiteCard:
    """``site``: as of ``downtime.site_states``, with num_datasets and the figures of ``usage.FIGURES``. ``partitions``:
    of those that have a quota there or that a committed Detox plan knew: partition, quota_bytes (null: unknown), and
    of the newest such plan plan_id, at, bytes_before, bytes_after, protected_bytes. ``groups``: group (``none``:
    nobody) and the figures. ``largest``: datasets with most on disk: dataset, num_blocks, size_bytes. ``downtimes``:
    that last or are to come. ``check``: the newest that came to something: state, refused_because, finished_at,
    num_inventory_files, num_storage_files, findings (number by kind); None: never checked. ``checksums``: whether its
    storage tells them, as was found out: is_told, because, asked_at; None: that was never in doubt."""

    site: dict[str, Any]
    partitions: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    largest: list[dict[str, Any]]
    downtimes: list[dict[str, Any]]
    check: dict[str, Any] | None
    checksums: dict[str, Any] | None


_SUMS = ", ".join(f"coalesce(sum(usage.{name}), 0)::bigint AS {name}" for name in FIGURES)
_TOTALS = f"""
    SELECT count(*) FILTER (WHERE usage.num_blocks > 0) AS num_datasets, {_SUMS}
    FROM (SELECT {_SUMS} FROM {USAGE} AS usage WHERE usage.site_id = CAST(:site AS smallint)
          GROUP BY usage.dataset_id) AS usage"""

_LARGEST = f"""
    SELECT dataset.name AS dataset, most.num_blocks, most.size_bytes
    FROM (SELECT usage.dataset_id, sum(usage.num_blocks)::bigint AS num_blocks,
                 sum(usage.size_bytes)::bigint AS size_bytes
          FROM {USAGE} AS usage WHERE usage.site_id = CAST(:site AS smallint)
          GROUP BY usage.dataset_id HAVING sum(usage.num_blocks) <> 0
          ORDER BY size_bytes DESC, usage.dataset_id LIMIT {LARGEST}) AS most
    JOIN datasets AS dataset ON dataset.id = most.dataset_id ORDER BY size_bytes DESC, dataset"""

_PARTITIONS = """
    SELECT coalesce(quota.partition, newest.partition) AS partition, quota.quota_bytes, newest.plan_id, newest.at,
           newest.bytes_before, newest.bytes_after, newest.protected_bytes
    FROM (SELECT partition, quota_bytes FROM quotas WHERE site_id = CAST(:site AS smallint)) AS quota
    FULL JOIN (
        SELECT DISTINCT ON (plan.partition) plan.partition, plan.id AS plan_id, plan.committed_at AS at,
               state.bytes_before, state.bytes_after, state.protected_bytes
        FROM detox_site_states AS state JOIN plans AS plan ON plan.id = state.plan_id
        WHERE state.site_id = CAST(:site AS smallint)
        ORDER BY plan.partition, plan.committed_at DESC NULLS LAST, plan.id DESC) AS newest
        ON newest.partition = quota.partition
    ORDER BY 1"""

_DOWNTIMES = """
    SELECT id, begins_at, ends_at, reason, created_by FROM site_downtimes
    WHERE site_id = CAST(:site AS smallint) AND (ends_at IS NULL OR ends_at > greatest(begins_at, now()))
    ORDER BY begins_at, id"""

_CHECKSUMS = "SELECT is_told, because, asked_at FROM site_checksums WHERE site_id = CAST(:site AS smallint)"

_CHECK = f"""
    SELECT id, state, refused_because, finished_at, storage_listed_at, num_inventory_files, num_storage_files
    FROM consistency_checks WHERE site_id = CAST(:site AS smallint) AND state IN {COMPARED_CHECKS}
    ORDER BY started_at DESC, id DESC LIMIT 1"""

_FINDINGS = (
    "SELECT kind, count(*) AS number FROM consistency_findings WHERE check_id = :check GROUP BY kind ORDER BY kind"
)


def site_card(database: Database, name: str) -> SiteCard:
    """The card of the site of that name. Raises InventoryError with near names."""
    with database.begin() as connection:
        key = {"site": find_site(connection, name).id}
        totals = _rows(connection, _TOTALS, key)[0]
        partitions, largest = _rows(connection, _PARTITIONS, key), _rows(connection, _LARGEST, key)
        downtimes, checks = _rows(connection, _DOWNTIMES, key), _rows(connection, _CHECK, key)
        checksums = next(iter(_rows(connection, _CHECKSUMS, key)), None)
        check = checks[0] if checks else None
        if check is not None:
            findings = _rows(connection, _FINDINGS, {"check": check.pop("id")})
            check["findings"] = {finding["kind"]: finding["number"] for finding in findings}
    state = site_states(database, name).row(0, named=True)
    groups = usage_now(database, ["group"], sites=[name]).to_dicts()
    return SiteCard({**state, **totals}, partitions, groups, largest, downtimes, check, checksums)


def _rows(connection: Connection, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(sql), dict(params)).mappings()]
