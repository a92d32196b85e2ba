"""The inventory of one moment: as frames for the decisions of Detox and Dealer, and as figures for people."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory import frames
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.inventory.kept import LOCKS_IN_FORCE
from dynamo_ops.inventory.replica.copies import (
    AWAITED_BLOCKS,
    DOOMED_FILES,
    DOUBTED_FILES,
    REFUSED_SITES,
    present_among,
)
from dynamo_ops.inventory.replica.usage import PLACES
from dynamo_ops.inventory.site.shared import STORAGE_PAIRS


@dataclass(frozen=True)
class InventorySummary:
    """How much there is. ``size_bytes``: of all files, each counted once; ``bytes_on_disk``: of all block replicas.

    ``sites``: one row a site, by name: site, storage_type, status, num_block_replicas, bytes_on_disk, projected_bytes
    (what its block replicas will take once they are complete).
    """

    num_datasets: int
    num_blocks: int
    num_files: int
    size_bytes: int
    num_dataset_replicas: int
    num_block_replicas: int
    bytes_on_disk: int
    sites: pl.DataFrame

    @property
    def document(self) -> dict[str, object]:
        """All of it, plainly."""
        return {**vars(self), "sites": self.sites.to_dicts()}


@span("inventory.read")
def read_inventory(db: Database) -> InventoryFrames:
    """Everything that decisions are made of, as of one moment, in the columns of ``inventory.frames``.

    Locks that have expired or were removed are left out. Rows are in no particular order.
    """
    with db.snapshot() as snapshot:
        return InventoryFrames(**{name: _read(snapshot, sql, schema) for name, (sql, schema) in _QUERIES.items()})


def known_names(db: Database) -> tuple[pl.DataFrame, list[str]]:
    """What a policy may name: sites (name, storage_type, status), and the names of groups."""
    with db.snapshot() as snapshot:
        sites = snapshot.frame("SELECT name, storage_type, status FROM sites ORDER BY name")
        return sites, list(snapshot.frame("SELECT name FROM groups ORDER BY name")["name"])


def summary(db: Database) -> InventorySummary:
    """How much there is, all figures as of one moment."""
    with db.snapshot() as snapshot:
        totals = snapshot.frame(_TOTALS).row(0, named=True)
        return InventorySummary(**totals, sites=snapshot.frame(_OCCUPANCY))


def _read(snapshot: Snapshot, sql: str, schema: Schema) -> pl.DataFrame:
    return snapshot.frame(sql).select(pl.col(name).cast(kind) for name, kind in schema.items())


_QUERIES: dict[str, tuple[str, Schema]] = {
    "sites": ("SELECT id AS site_id, name AS site, storage_type, status FROM sites", frames.SITES),
    "groups": ('SELECT id AS group_id, name AS "group", ownership_level FROM groups', frames.GROUPS),
    "datasets": (
        """SELECT id AS dataset_id, name AS dataset, status, is_open, software_release, last_update_at
                    FROM datasets""",
        frames.DATASETS,
    ),
    "blocks": (
        "SELECT id AS block_id, dataset_id, name AS block, size_bytes, num_files, last_update_at FROM blocks",
        frames.BLOCKS,
    ),
    "dataset_replicas": (
        "SELECT dataset_id, site_id, is_growing, group_id FROM dataset_replicas",
        frames.DATASET_REPLICAS,
    ),
    "block_replicas": (
        """SELECT block_id, dataset_id, site_id, group_id, size_bytes, is_complete, is_custodial,
                          last_update_at FROM block_replicas""",
        frames.BLOCK_REPLICAS,
    ),
    "quotas": ("SELECT site_id, partition, quota_bytes FROM quotas", frames.QUOTAS),
    "locks": (
        LOCKS_IN_FORCE,
        frames.LOCKS,
    ),
    # What sources report of datasets (``inventory.properties``) is as fresh as the metadata are.
    "attribute_values": (
        """SELECT dataset_id, name, value FROM dataset_attributes
           UNION ALL SELECT dataset.id, property.key, CAST(property.value AS double precision)
           FROM datasets AS dataset CROSS JOIN LATERAL jsonb_each(dataset.properties) AS property
           WHERE dataset.properties <> '{}'""",
        frames.ATTRIBUTE_VALUES,
    ),
    "attributes": (
        """SELECT name, produced_at FROM attributes
           UNION ALL SELECT DISTINCT property.key,
                            coalesce((SELECT max(least(merged_until, updated_at)) FROM source_states), now())
           FROM datasets AS dataset CROSS JOIN LATERAL jsonb_object_keys(dataset.properties) AS property (key)
           WHERE dataset.properties <> '{}'""",
        frames.ATTRIBUTES,
    ),
    "partial_files": ("SELECT block_id, site_id, file_id FROM block_replica_files", frames.PARTIAL_FILES),
    "doomed_files": (present_among(DOOMED_FILES), frames.DOOMED_FILES),
    "doubted_files": (present_among(DOUBTED_FILES), frames.DOUBTED_FILES),
    "refused_sites": (f"SELECT refused.id AS site_id FROM {REFUSED_SITES} AS refused", frames.REFUSED_SITES),
    "awaited": (AWAITED_BLOCKS, frames.AWAITED),
    "former_owners": (
        """SELECT block_id, site_id, former_group_id AS group_id FROM block_replicas
           WHERE group_id IS NULL AND former_group_id IS NOT NULL""",
        frames.FORMER_OWNERS,
    ),
    "shared_storages": (f"SELECT site_id, other_id, is_declared FROM {STORAGE_PAIRS} AS pairs", frames.SHARED_STORAGES),
}

_OCCUPANCY = f"""
    SELECT s.name AS site, s.storage_type, s.status, coalesce(sum(u.num_blocks), 0)::bigint AS num_block_replicas,
           coalesce(sum(u.size_bytes), 0)::bigint AS bytes_on_disk,
           coalesce(sum(u.projected_bytes), 0)::bigint AS projected_bytes
    FROM sites AS s LEFT JOIN {PLACES} AS u ON u.site_id = s.id
    GROUP BY s.id ORDER BY s.name"""

_TOTALS = f"""
    SELECT d.num_datasets, d.num_blocks, d.num_files, d.size_bytes,
           (SELECT count(*) FROM dataset_replicas) AS num_dataset_replicas, r.num_block_replicas, r.bytes_on_disk
    FROM (SELECT count(*) AS num_datasets, coalesce(sum(num_blocks), 0)::bigint AS num_blocks,
                 coalesce(sum(num_files), 0)::bigint AS num_files, coalesce(sum(size_bytes), 0)::bigint AS size_bytes
          FROM datasets) AS d,
         (SELECT coalesce(sum(num_blocks), 0)::bigint AS num_block_replicas,
                 coalesce(sum(size_bytes), 0)::bigint AS bytes_on_disk FROM {PLACES} AS usage) AS r"""
