"""The locks in force now, tried on what a transaction is about to delete. A dataset that is set aside, since its source
told a bad record of it, is as if locked: what has changed in it nobody knows."""

from __future__ import annotations

from bisect import bisect_left

import polars as pl
from sqlalchemy import Connection

from dynamo_ops.base.glob import literal_start
from dynamo_ops.database.connection import select_frame
from dynamo_ops.inventory.frames import (
    BLOCK_REPLICAS,
    DATASET_REPLICAS,
    GROUPS,
    LOCKABLE,
    LOCKS,
    SITES,
    InventoryFrames,
    empty,
)
from dynamo_ops.inventory.kept import LOCKS_IN_FORCE


def locked_rows(connection: Connection, table: str, block_replicas: pl.DataFrame) -> pl.DataFrame:
    """``block_id`` and ``site_id`` of those ``block_replicas`` that a lock covers.

    They have the columns dataset_id, block_id, site_id, group_id. ``table``: the table of the transaction that
    holds the same datasets and blocks; their names are looked up by it.
    """
    locks = select_frame(
        connection,
        LOCKS_IN_FORCE,
        LOCKS,
    )
    datasets = select_frame(
        connection,
        f"SELECT id, name FROM datasets WHERE id IN (SELECT dataset_id FROM {table})",
        {"dataset_id": pl.Int64, "dataset": pl.String},
    )
    locks = about_these(locks, datasets["dataset"])
    if locks.is_empty():
        return block_replicas.select("block_id", "site_id").clear()
    from dynamo_ops.lock.coverage import locked_expr  # needs NumPy; mostly no lock is about these datasets

    has_blocks = locks["item"].str.contains("#", literal=True).any()
    frames = InventoryFrames(
        sites=select_frame(connection, "SELECT id, name, storage_type, status FROM sites", SITES),
        groups=select_frame(connection, "SELECT id, name, ownership_level FROM groups", GROUPS),
        datasets=datasets,
        blocks=select_frame(
            connection,
            f"""SELECT id, dataset_id, name FROM blocks
                WHERE {has_blocks} AND id IN (SELECT block_id FROM {table})""",
            {"block_id": pl.Int64, "dataset_id": pl.Int64, "block": pl.String},
        ),
        dataset_replicas=empty(DATASET_REPLICAS),
        block_replicas=empty(BLOCK_REPLICAS),
        locks=locks,
    )
    return block_replicas.select(*LOCKABLE).filter(locked_expr(frames)).select("block_id", "site_id")


def about_these(locks: pl.DataFrame, dataset_names: pl.Series) -> pl.DataFrame:
    """Those ``locks`` that begin as one of the datasets does. Most do not, and each costs a look at all names."""
    names = sorted(dataset_names)

    def begins_one(item: str) -> bool:
        beginning = literal_start(item.partition("#")[0])
        at = bisect_left(names, beginning)
        return at < len(names) and names[at].startswith(beginning)

    return locks.filter(pl.Series([begins_one(item) for item in locks["item"]], dtype=pl.Boolean))
