"""Replicas: what is where, by dataset or by block, with owner and completeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import is_glob
from dynamo_ops.inventory.replica.copies import num_files_present
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.query.dataset import check_named, dataset_condition, find_dataset
from dynamo_ops.query.group import find_groups
from dynamo_ops.query.paging.condition import Conditions, name_condition
from dynamo_ops.query.paging.listing import Listing

NOBODY = "none"
"""The group of what nobody owns, in a filter."""


@dataclass(frozen=True)
class ReplicaFilter:
    """Which replicas. ``datasets``, ``sites``, ``groups``: names or globs (``none``: what nobody owns); ``blocks``, of
    one dataset: names behind the ``#``. ``is_complete``: of a dataset replica, each block that is there.
    """

    datasets: Sequence[str] = ()
    blocks: Sequence[str] = ()
    sites: Sequence[str] = ()
    groups: Sequence[str] = ()
    is_complete: bool | None = None
    is_custodial: bool | None = None


# Names of owners are looked up once a replica, in the groups of its blocks as they come: to join or to sort these would
# cost thrice all the rest.
_DATASET_REPLICAS = """
    SELECT replica.dataset_id, replica.site_id, dataset.name COLLATE "C" AS dataset,
           site.name COLLATE "C" AS site, site.storage_type, site.status AS site_status,
           ARRAY(SELECT owner.name FROM groups AS owner WHERE owner.id = ANY(owned.group_ids) ORDER BY owner.name)
               || CASE WHEN owned.is_partly_nobodys THEN ARRAY['none'] ELSE '{}' END AS groups, owned.group_ids,
           owned.num_blocks, owned.num_complete, dataset.num_blocks AS num_blocks_of_dataset,
           owned.num_complete = owned.num_blocks AS is_complete,
           owned.num_complete = dataset.num_blocks AND owned.num_blocks > 0 AS is_full, replica.is_growing,
           owned.is_custodial, owned.size_bytes, dataset.size_bytes AS full_size_bytes, owned.last_update_at
    FROM dataset_replicas AS replica
    JOIN datasets AS dataset ON dataset.id = replica.dataset_id JOIN sites AS site ON site.id = replica.site_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS num_blocks, count(*) FILTER (WHERE part.is_complete) AS num_complete,
               coalesce(sum(part.size_bytes), 0)::bigint AS size_bytes,
               coalesce(bool_or(part.is_custodial), false) AS is_custodial, max(part.last_update_at) AS last_update_at,
               coalesce(array_agg(part.group_id), '{}') AS group_ids,
               coalesce(bool_or(part.group_id IS NULL), false) AS is_partly_nobodys
        FROM block_replicas AS part
        WHERE part.dataset_id = replica.dataset_id AND part.site_id = replica.site_id) AS owned"""

_BLOCK_REPLICAS = f"""
    SELECT replica.dataset_id, replica.block_id, replica.site_id, dataset.name COLLATE "C" AS dataset,
           block.name AS block, site.name COLLATE "C" AS site, site.storage_type, site.status AS site_status,
           replica.group_id, owner.name AS "group",
           replica.is_complete, replica.is_custodial, replica.size_bytes, block.size_bytes AS full_size_bytes,
           {num_files_present("replica", "block")} AS num_files,
           block.num_files AS num_files_of_block, replica.last_update_at
    FROM block_replicas AS replica JOIN blocks AS block ON block.id = replica.block_id
    JOIN datasets AS dataset ON dataset.id = replica.dataset_id JOIN sites AS site ON site.id = replica.site_id
    LEFT JOIN groups AS owner ON owner.id = replica.group_id"""


def _narrow(connection: Connection, asked: ReplicaFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    if asked.datasets:
        condition, params = dataset_condition(asked.datasets, "listed.dataset")
        conditions.add(condition, **params)
    if asked.sites:
        site_ids = [site.id for site in find_sites(connection, asked.sites)]
        conditions.add("listed.site_id = ANY(CAST(:site_ids AS smallint[]))", site_ids=site_ids)
    for name in ("is_complete", "is_custodial"):
        if (wanted := getattr(asked, name)) is not None:
            conditions.add(f"listed.{name} = :{name}", **{name: wanted})
    return conditions


def _narrow_datasets(connection: Connection, asked: ReplicaFilter, as_of: datetime) -> Conditions:
    conditions = _narrow(connection, asked, as_of)
    if asked.blocks:
        raise InventoryError("blocks are asked for on the level of blocks", block=asked.blocks[0])
    if asked.groups:
        group_ids = list(find_groups(connection, [name for name in asked.groups if name != NOBODY]))
        nobody = "'none' = ANY(listed.groups)" if NOBODY in asked.groups else "false"
        conditions.add(
            f"CAST(listed.group_ids AS smallint[]) && CAST(:group_ids AS smallint[]) OR {nobody}", group_ids=group_ids
        )
    return conditions


def _narrow_blocks(connection: Connection, asked: ReplicaFilter, as_of: datetime) -> Conditions:
    conditions = _narrow(connection, asked, as_of)
    if asked.blocks:
        if len(asked.datasets) != 1 or is_glob(asked.datasets[0]):
            raise InventoryError("blocks are asked for of one dataset: name it", block=asked.blocks[0])
        find_dataset(connection, asked.datasets[0])
        condition, params = name_condition("listed.block", asked.blocks, "block")
        conditions.add(condition, **params)
    if asked.groups:
        group_ids = list(find_groups(connection, [name for name in asked.groups if name != NOBODY]))
        nobody = "listed.group_id IS NULL" if NOBODY in asked.groups else "false"
        conditions.add(f"listed.group_id = ANY(CAST(:group_ids AS smallint[])) OR {nobody}", group_ids=group_ids)
    return conditions


DATASET_REPLICAS: Listing[ReplicaFilter] = Listing(
    "dataset replicas",
    _DATASET_REPLICAS,
    (
        "dataset",
        "site",
        "storage_type",
        "site_status",
        "groups",
        "num_blocks",
        "num_complete",
        "num_blocks_of_dataset",
        "is_complete",
        "is_full",
        "is_growing",
        "is_custodial",
        "size_bytes",
        "full_size_bytes",
        "last_update_at",
    ),
    key=("dataset", "site"),
    narrow=_narrow_datasets,
    work_mem="64MB",
    explain_nothing=lambda connection, asked: check_named(connection, asked.datasets),
)
"""As stored, what is being deleted included; by dataset and site. ``groups``: owners, ``none`` where nobody
owns some. ``is_complete`` and ``is_full``: SEMANTICS §1; a dataset replica without blocks is complete."""

BLOCK_REPLICAS: Listing[ReplicaFilter] = Listing(
    "block replicas",
    _BLOCK_REPLICAS,
    (
        "dataset",
        "block",
        "site",
        "storage_type",
        "site_status",
        "group",
        "is_complete",
        "is_custodial",
        "num_files",
        "num_files_of_block",
        "size_bytes",
        "full_size_bytes",
        "last_update_at",
    ),
    key=("dataset", "block", "site"),
    narrow=_narrow_blocks,
    explain_nothing=lambda connection, asked: check_named(connection, asked.datasets),
)
"""As stored, by dataset, block and site. ``group`` null: nobody owns it."""
