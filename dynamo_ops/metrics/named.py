"""Figures by site, partition and source: for a scraper that may read."""

from __future__ import annotations

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.freshness import accesses_ages, merged_sources, metadata_ages
from dynamo_ops.inventory.replica.usage import PLACES
from dynamo_ops.inventory.site.downtime import site_states
from dynamo_ops.metrics.metric import Metric, metrics_of
from dynamo_ops.plan.states import PlanKind

_USAGE = f"""
    SELECT site.name AS site, site.storage_type, sum(usage.size_bytes)::float8 AS size_bytes,
           sum(usage.projected_bytes)::float8 AS projected_bytes
    FROM {PLACES} AS usage JOIN sites AS site ON site.id = usage.site_id GROUP BY 1, 2 ORDER BY 1"""
_QUOTAS = """
    SELECT site.name AS site, quota.partition, nullif(greatest(quota.quota_bytes, -1), -1)::float8 AS quota_bytes
    FROM quotas AS quota JOIN sites AS site ON site.id = quota.site_id ORDER BY 1, 2"""
_OCCUPANCY = f"""
    SELECT site.name AS site, plan.partition, state.bytes_after::float8 AS after_bytes,
           state.protected_bytes::float8 AS protected_bytes
    FROM (SELECT DISTINCT ON (partition) partition, id FROM plans
          WHERE kind = '{PlanKind.DETOX}' AND committed_at IS NOT NULL
          ORDER BY partition, committed_at DESC, id DESC) AS plan
    JOIN detox_site_states AS state ON state.plan_id = plan.id JOIN sites AS site ON site.id = state.site_id
    ORDER BY 1, 2"""
_COMMITTED = """
    SELECT kind, partition, extract(epoch FROM now() - max(committed_at))::float8 AS age_s
    FROM plans WHERE committed_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""
_ACCESS_SOURCES = "SELECT DISTINCT source FROM aggregated_days ORDER BY source"


def by_name(database: Database) -> list[Metric]:
    """What ``overview`` does not tell apart. A quota that is unlimited or unknown is left out."""
    states = site_states(database)
    of_partition = ("site", "partition")
    metadata = metadata_ages(database, merged_sources(database))
    accesses = accesses_ages(database, list(database.frame(_ACCESS_SOURCES)["source"]))
    return [
        *metrics_of(
            database.frame(_USAGE),
            ("site", "storage_type"),
            {
                "size_bytes": ("dynamo_site_stored_bytes", "What is there."),
                "projected_bytes": ("dynamo_site_projected_bytes", "What will be there once all has come."),
            },
        ),
        *metrics_of(
            database.frame(_QUOTAS), of_partition, {"quota_bytes": ("dynamo_site_quota_bytes", "What may be there.")}
        ),
        *metrics_of(
            database.frame(_OCCUPANCY),
            of_partition,
            {
                "after_bytes": ("dynamo_site_after_detox_bytes", "What the newest committed cycle of Detox left."),
                "protected_bytes": ("dynamo_site_protected_bytes", "What that cycle's policy protects."),
            },
        ),
        *metrics_of(
            states,
            ("site",),
            {
                "num_copies_to": ("dynamo_site_copies_to_files", "Files that are to be copied there."),
                "bytes_to": ("dynamo_site_copies_to_bytes", "Their size."),
                "num_held": ("dynamo_site_copies_held_files", "Those of them that are held."),
                "num_copies_from": ("dynamo_site_copies_from_files", "Files that are copied from there now."),
                "num_deletions": ("dynamo_site_deletions_files", "Files that are to be deleted there."),
                "is_readable": ("dynamo_site_readable", "1: can be copied from now."),
                "is_writable": ("dynamo_site_writable", "1: can be copied to now."),
            },
        ),
        *metrics_of(
            database.frame(_COMMITTED),
            ("kind", "partition"),
            {"age_s": ("dynamo_partition_last_commit_seconds", "Since the last commit.")},
        ),
        *metrics_of(
            metadata.with_columns(age_s=metadata["age_h"] * 3600),
            ("source",),
            {"age_s": ("dynamo_source_metadata_age_seconds", "Age of what the source told last.")},
        ),
        *metrics_of(
            accesses.with_columns(age_s=accesses["age_h"] * 3600),
            ("source",),
            {"age_s": ("dynamo_source_accesses_age_seconds", "Since the end of its newest day.")},
        ),
    ]
