"""Which copies stay when others go, on frames: what ``doomed`` asks in SQL, for plans (SEMANTICS §1, §10).

``block_replicas``: as in ``InventoryFrames``; ``deleted``: the block replicas that go (columns block_id, site_id). Both
forms are held against each other by a test.
"""

from __future__ import annotations

import polars as pl

KEYS = ["block_id", "site_id"]


def staying_replicas(block_replicas: pl.DataFrame, deleted: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``block_replicas``: those of the blocks of ``deleted`` that are owned and do not go. What nobody owns is
    being deleted, or was never claimed: it is nobody's copy."""
    of_same_blocks = pl.col("block_id").is_in(deleted["block_id"].unique().implode())
    owned = block_replicas.filter(of_same_blocks & pl.col("group_id").is_not_null())
    return owned.join(deleted, on=KEYS, how="anti")


def complete_blocks(staying: pl.DataFrame) -> pl.Series:
    """Ids of the blocks of which a complete replica stays: the others are *alone*."""
    return staying.filter("is_complete")["block_id"].unique()


def awaited_blocks(staying: pl.DataFrame) -> pl.Series:
    """Ids of the blocks of which an owned replica that stays is incomplete: somebody waits for what it lacks."""
    return staying.filter(~pl.col("is_complete"))["block_id"].unique()
