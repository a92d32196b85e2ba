"""Proposals made of columns: what plugins that work on whole frames have in common."""

from __future__ import annotations

import polars as pl

from dynamo_ops.base.units import size_text
from dynamo_ops.dealer.engine.plugin import PROPOSALS
from dynamo_ops.inventory.frames import InventoryFrames

ALL_BLOCKS = "*"
REPLICA = ["dataset_id", "site_id"]
SITE_IDS = 2**20
"""More than any site id: the inventory's are of two bytes, those of a folder row numbers."""


def as_proposals(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of ``PROPOSALS``, in the order of ``rows``; those that ``rows`` lacks are null."""
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in PROPOSALS.items()
    )


def count_texts(column: str, noun: str) -> pl.Expr:
    """``1 block``, ``2 blocks``."""
    return pl.format(f"{{}} {noun}{{}}", column, pl.when(pl.col(column) == 1).then(pl.lit("")).otherwise(pl.lit("s")))


def size_texts(column: str) -> pl.Expr:
    """Bytes for people, for the reasons of proposals."""
    return pl.col(column).map_elements(size_text, return_dtype=pl.String)


def by_replica(block_replicas: pl.LazyFrame, *aggregates: pl.Expr) -> pl.DataFrame:
    """``dataset_id``, ``site_id`` and ``aggregates``, one row per dataset replica that these block replicas make up.

    In no order. Grouping is by one number, which takes about half as long as by two columns.
    """
    key = (pl.col("dataset_id") * SITE_IDS + pl.col("site_id")).alias("replica")
    ids = {"dataset_id": pl.col("replica") // SITE_IDS, "site_id": pl.col("replica") % SITE_IDS}
    return block_replicas.group_by(key).agg(*aggregates).with_columns(**ids).drop("replica").collect()


def replica_items(frames: InventoryFrames, block_replicas: pl.DataFrame) -> pl.DataFrame:
    """These block replicas (``block_id``, ``dataset_id``, ``site_id``) as items: one row per dataset and site.

    ``dataset_id``, ``dataset``, ``site_id``, ``site``, ``block_ids`` (ascending; null: all blocks of the dataset),
    ``num_blocks``, ``size_bytes`` (full sizes). By names of dataset, blocks and site; all blocks go before some.
    """
    replicas = block_replicas.select("block_id", *REPLICA)
    blocks = (
        frames.blocks.lazy()
        .filter(pl.col("dataset_id").is_in(replicas["dataset_id"].unique().implode()))
        .select("block_id", "dataset_id", "block", "size_bytes")
        .collect()
    )
    dataset_replicas = by_replica(
        replicas.lazy().join(blocks.lazy().select("block_id", "size_bytes"), on="block_id"),
        pl.len().cast(pl.Int64).alias("num_blocks"),
        pl.col("size_bytes").sum(),
    ).join(blocks.group_by("dataset_id").agg(wanted=pl.len()), on="dataset_id")
    partial = dataset_replicas.filter(pl.col("num_blocks") < pl.col("wanted"))
    return (
        dataset_replicas.join(
            _blocks_of(replicas.join(partial, on=REPLICA, how="semi"), blocks), on=REPLICA, how="left"
        )
        .join(frames.datasets.select("dataset_id", "dataset"), on="dataset_id")
        .join(frames.sites.select("site_id", "site"), on="site_id")
        .with_columns(pl.col("blocks").fill_null(ALL_BLOCKS))
        .sort("dataset", "blocks", "site")
        .select("dataset_id", "dataset", "site_id", "site", "block_ids", "num_blocks", "size_bytes")
    )


def _blocks_of(replicas: pl.DataFrame, blocks: pl.DataFrame) -> pl.DataFrame:
    """``dataset_id``, ``site_id``, ``block_ids``, ``blocks`` (their names in one text), of items of some blocks."""
    named = replicas.lazy().join(blocks.lazy().select("block_id", "block"), on="block_id")
    names = pl.col("block").sort().str.join(";").alias("blocks")
    return by_replica(named, pl.col("block_id").sort().alias("block_ids"), names)
