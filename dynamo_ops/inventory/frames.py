"""The inventory of one moment as Polars frames: what the pure decision functions of Detox and Dealer take.

Read from PostgreSQL (``inventory.replica.read``) or from a folder in the golden format (``inventory.folder``). Ids are
those of the inventory, or row numbers for a folder; names are unique. Times are ``Datetime('us', 'UTC')``, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from dynamo_ops.inventory.kinds import OwnershipLevel

Schema = Mapping[str, pl.DataType | type[pl.DataType]]

UTC: pl.DataType = pl.Datetime("us", "UTC")

SITES: Schema = {"site_id": pl.Int64, "site": pl.String, "storage_type": pl.String, "status": pl.String}
GROUPS: Schema = {"group_id": pl.Int64, "group": pl.String, "ownership_level": pl.String}
DATASETS: Schema = {
    "dataset_id": pl.Int64,
    "dataset": pl.String,
    "status": pl.String,
    "is_open": pl.Boolean,
    "software_release": pl.String,
    "last_update_at": UTC,
}
BLOCKS: Schema = {
    "block_id": pl.Int64,
    "dataset_id": pl.Int64,
    "block": pl.String,
    "size_bytes": pl.Int64,
    "num_files": pl.Int64,
    "last_update_at": UTC,
}
DATASET_REPLICAS: Schema = {
    "dataset_id": pl.Int64,
    "site_id": pl.Int64,
    "is_growing": pl.Boolean,
    "group_id": pl.Int64,
}
BLOCK_REPLICAS: Schema = {
    "block_id": pl.Int64,
    "dataset_id": pl.Int64,
    "site_id": pl.Int64,
    "group_id": pl.Int64,
    "size_bytes": pl.Int64,
    "is_complete": pl.Boolean,
    "is_custodial": pl.Boolean,
    "last_update_at": UTC,
}
QUOTAS: Schema = {"site_id": pl.Int64, "partition": pl.String, "quota_bytes": pl.Int64}
LOCKS: Schema = {"item": pl.String, "sites": pl.String, "groups": pl.String}
LOCKABLE: Schema = {"dataset_id": pl.Int64, "block_id": pl.Int64, "site_id": pl.Int64, "group_id": pl.Int64}
"""What a lock asks of a block replica."""
ATTRIBUTE_VALUES: Schema = {"dataset_id": pl.Int64, "name": pl.String, "value": pl.Float64}
ATTRIBUTES: Schema = {"name": pl.String, "produced_at": UTC}
PARTIAL_FILES: Schema = {"block_id": pl.Int64, "site_id": pl.Int64, "file_id": pl.Int64}
DOOMED_FILES: Schema = {**PARTIAL_FILES, "size_bytes": pl.Int64}
DOUBTED_FILES: Schema = PARTIAL_FILES
AWAITED: Schema = {"block_id": pl.Int64, "site_id": pl.Int64}
FORMER_OWNERS: Schema = {"block_id": pl.Int64, "site_id": pl.Int64, "group_id": pl.Int64}
REFUSED_SITES: Schema = {"site_id": pl.Int64}
SHARED_STORAGES: Schema = {"site_id": pl.Int64, "other_id": pl.Int64, "is_declared": pl.Boolean}

NULL_GROUP = "None"
"""What policies and locks call the group of what is being deleted or was never claimed."""


def empty(schema: Schema) -> pl.DataFrame:
    """A frame of no rows with the columns of ``schema``."""
    return pl.DataFrame(schema=dict(schema))


@dataclass(frozen=True)
class InventoryFrames:
    """One moment of the inventory.

    ``sites``: one row a site; ``storage_type`` disk, mss, buffer, unknown; ``status`` ready, waitroom, morgue, unknown.
    ``groups``: owners; ``ownership_level`` dataset or block. The null group has no row: it is a null ``group_id``.
    ``blocks.size_bytes`` is the full size, ``block_replicas.size_bytes`` the bytes on disk there.
    ``quotas``: per leaf partition; 0 nothing may be there, negative unlimited, no row unknown.
    ``locks``: those in force. ``attribute_values``: long, one row per (dataset, attribute) that has a value; times are
    unix seconds, booleans 0/1. ``attributes``: which attributes were produced at all, and when. ``partial_files``:
    files present of incomplete block replicas (the Dealer's sources); no row: none is known to be there.

    What is known against copies (SEMANTICS §10; ``inventory.replica.good`` asks): ``doomed_files``: present, with an
    open deletion; ``doubted_files``: present, and missed or found of another size by the newest check that judged them,
    or called bad or suspicious; ``refused_sites``: whose last check was refused as a whole. ``awaited``: blocks of
    which a file is to be copied to the site. ``former_owners``: who owned the block replicas that are being deleted and
    belong to nobody now.
    ``shared_storages``: two names of one storage, both ways; whether that is on purpose.
    """

    sites: pl.DataFrame
    groups: pl.DataFrame
    datasets: pl.DataFrame
    blocks: pl.DataFrame
    dataset_replicas: pl.DataFrame
    block_replicas: pl.DataFrame
    quotas: pl.DataFrame = field(default_factory=lambda: empty(QUOTAS))
    locks: pl.DataFrame = field(default_factory=lambda: empty(LOCKS))
    attribute_values: pl.DataFrame = field(default_factory=lambda: empty(ATTRIBUTE_VALUES))
    attributes: pl.DataFrame = field(default_factory=lambda: empty(ATTRIBUTES))
    partial_files: pl.DataFrame = field(default_factory=lambda: empty(PARTIAL_FILES))
    doomed_files: pl.DataFrame = field(default_factory=lambda: empty(DOOMED_FILES))
    doubted_files: pl.DataFrame = field(default_factory=lambda: empty(DOUBTED_FILES))
    refused_sites: pl.DataFrame = field(default_factory=lambda: empty(REFUSED_SITES))
    awaited: pl.DataFrame = field(default_factory=lambda: empty(AWAITED))
    former_owners: pl.DataFrame = field(default_factory=lambda: empty(FORMER_OWNERS))
    shared_storages: pl.DataFrame = field(default_factory=lambda: empty(SHARED_STORAGES))


def group_table(frames: InventoryFrames) -> pl.DataFrame:
    """One row a group by name, then the null group: ``group_id``, ``owner``, ``is_dataset_level``."""
    groups = frames.groups.sort("group").select(
        "group_id",
        pl.col("group").alias("owner"),
        (pl.col("ownership_level").str.to_lowercase() == OwnershipLevel.DATASET).alias("is_dataset_level"),
    )
    null_group = pl.DataFrame(
        {"group_id": [None], "owner": [NULL_GROUP], "is_dataset_level": [False]}, schema=groups.schema
    )
    return pl.concat([groups, null_group])
