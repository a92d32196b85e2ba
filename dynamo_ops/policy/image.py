"""Block replicas laid out for evaluation: small integer indices in the order of names, one row per block replica."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.attributes import EPOCH, dataset_table, group_table, site_table
from dynamo_ops.policy.lock import locked_expr

INDEX = pl.Int32
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Image:
    """What conditions see. Row numbers of the frames are the indices that the other frames use.

    ``sites``, ``groups`` (the null group last), ``datasets`` (those of the image): tables of ``attributes``, by name.
    ``replicas``: one row per dataset replica by (dataset, site): ``replica``, ``dataset``, ``site``.
    ``blocks``: one row per block replica by (dataset, site, block name): ``row``, ``replica``, ``dataset``, ``site``,
    ``group``, ``block_id``, ``block``, ``size_bytes``, ``is_complete``, ``last_update_at``, ``is_locked``,
    ``is_placeholder``, ``is_ready_disk``, ``is_tape``.
    ``first_rows``: rows of dataset ``d`` are ``first_rows[d]`` to ``first_rows[d + 1]``.
    """

    sites: pl.DataFrame
    groups: pl.DataFrame
    datasets: pl.DataFrame
    replicas: pl.DataFrame
    blocks: pl.DataFrame
    first_rows: Indices

    def rows_of(self, datasets: Indices) -> Indices:
        """Row numbers of all block replicas of these datasets."""
        starts = self.first_rows[datasets]
        counts = self.first_rows[datasets + 1] - starts
        offsets = np.repeat(np.cumsum(counts) - counts, counts)
        return np.asarray(np.repeat(starts, counts) + np.arange(int(counts.sum())) - offsets, dtype=np.int64)


def lay_out(
    frames: InventoryFrames,
    block_replicas: pl.DataFrame,
    *,
    attributes: Iterable[str] = (),
    protected_sites: Sequence[str] = (),
) -> Image:
    """The image of these block replicas: rows of ``frames.block_replicas`` and of :func:`tape_placeholders`."""
    sites, groups = site_table(frames), group_table(frames)
    ids = block_replicas["dataset_id"].unique()
    datasets = dataset_table(frames, attributes).filter(pl.col("dataset_id").is_in(ids.implode()))
    blocks = _blocks(frames, block_replicas, sites, groups, datasets)
    replicas = blocks.select("replica", "dataset", "site").unique(maintain_order=True)
    seen = replicas.filter(_index_of(sites, pl.col("site").is_in(list(protected_sites)), "site"))["dataset"].unique()
    datasets = datasets.with_columns(on_protected_site=pl.int_range(pl.len(), dtype=INDEX).is_in(seen.implode()))
    first = np.searchsorted(blocks["dataset"].to_numpy(), np.arange(datasets.height + 1))
    return Image(sites, groups, datasets, replicas, blocks, first.astype(np.int64))


def _index_of(table: pl.DataFrame, test: pl.Expr, column: str) -> pl.Expr:
    indices = table.with_columns(i=pl.int_range(pl.len(), dtype=INDEX)).filter(test)["i"]
    return pl.col(column).is_in(indices.implode())


def _blocks(
    frames: InventoryFrames,
    block_replicas: pl.DataFrame,
    sites: pl.DataFrame,
    groups: pl.DataFrame,
    datasets: pl.DataFrame,
) -> pl.DataFrame:
    index = pl.int_range(pl.len(), dtype=INDEX)
    site_index = sites.select("site_id", index.alias("site"), "is_ready_disk", "is_tape")
    group_index = groups.select("group_id", index.alias("group"))
    dataset_index = datasets.select("dataset_id", index.alias("dataset"))
    names = frames.blocks.select("block_id", "block")
    placeholder = pl.col("is_placeholder") if "is_placeholder" in block_replicas.columns else pl.lit(False)
    joined = (
        block_replicas.with_columns(is_locked=locked_expr(frames), is_placeholder=placeholder)
        .join(dataset_index, on="dataset_id")
        .join(site_index, on="site_id")
        .join(group_index, on="group_id", how="left", nulls_equal=True)
        .join(names, on="block_id")
        .with_columns(pl.col("last_update_at").fill_null(EPOCH))
        .sort("dataset", "site", "block")
    )
    return joined.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        (pl.struct("dataset", "site").rle_id()).cast(INDEX).alias("replica"),
        "dataset",
        "site",
        "group",
        "block_id",
        "block",
        "size_bytes",
        "is_complete",
        "last_update_at",
        "is_locked",
        "is_placeholder",
        "is_ready_disk",
        "is_tape",
    )


def tape_placeholders(frames: InventoryFrames) -> pl.DataFrame:
    """Zero-size block replicas, one a block, for each tape dataset replica without any block replica.

    They have the columns of ``frames.block_replicas`` and ``is_placeholder``; owned by the null group and incomplete.
    """
    tape = frames.sites.filter(pl.col("storage_type").str.to_uppercase() == "MSS").select("site_id")
    bare = (
        frames.dataset_replicas.join(tape, on="site_id")
        .select("dataset_id", "site_id")
        .join(frames.block_replicas, on=["dataset_id", "site_id"], how="anti")
    )
    return bare.join(frames.blocks.select("dataset_id", "block_id"), on="dataset_id").select(
        pl.col("block_id").cast(pl.Int64),
        pl.col("dataset_id").cast(pl.Int64),
        pl.col("site_id").cast(pl.Int64),
        pl.lit(None, dtype=pl.Int64).alias("group_id"),
        pl.lit(0, dtype=pl.Int64).alias("size_bytes"),
        pl.lit(False).alias("is_complete"),
        pl.lit(False).alias("is_custodial"),
        EPOCH.alias("last_update_at"),
        pl.lit(True).alias("is_placeholder"),
    )
