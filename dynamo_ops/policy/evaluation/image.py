"""Block replicas laid out for evaluation: columns of small integers in the order of names, one row a block replica."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.frames import InventoryFrames, group_table
from dynamo_ops.inventory.replica.good import doubtful_replicas, is_unknown_site
from dynamo_ops.lock.coverage import locked_expr
from dynamo_ops.policy.evaluation.attributes import EPOCH, dataset_table, site_table

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]

REQUIRED = ("size_bytes", "is_complete")
"""Columns that every block replica must have a value in: nothing is decided about what is not known."""


@dataclass(frozen=True)
class Image:
    """What conditions see. Row numbers of the tables are the indices that the columns use.

    ``sites``, ``groups`` (the null group last), ``datasets`` (those of the image): tables of ``attributes``, by name.

    By block replica, in the order of dataset, site, block id: ``block_id``; ``replica``, ``dataset``, ``site``,
    ``group`` (indices); ``size_bytes`` on disk; ``is_complete``; ``is_sound`` (complete, and none of its files is
    doubtful: what counts where copies are counted for others); ``last_update`` (microseconds since 1970, UTC);
    ``is_locked``; ``is_placeholder``. By dataset replica, in the same order: ``dataset_of_replica``,
    ``site_of_replica``, ``first_row`` (one more entry: rows of replica ``r`` are ``first_row[r]`` to
    ``first_row[r + 1]``). By dataset: ``first_replica``, likewise.
    """

    sites: pl.DataFrame
    groups: pl.DataFrame
    datasets: pl.DataFrame
    block_id: Indices
    replica: Small
    dataset: Small
    site: Small
    group: Small
    size_bytes: Indices
    is_complete: Flags
    is_sound: Flags
    last_update: Indices
    is_locked: Flags
    is_placeholder: Flags
    dataset_of_replica: Small
    site_of_replica: Small
    first_row: Indices
    first_replica: Indices

    @property
    def num_rows(self) -> int:
        """Block replicas."""
        return len(self.replica)

    @property
    def num_replicas(self) -> int:
        """Dataset replicas."""
        return len(self.dataset_of_replica)

    @cached_property
    def is_ready_disk(self) -> Flags:
        """By site: a disk site with status ready."""
        return np.asarray(self.sites["is_ready_disk"].to_numpy())

    @cached_property
    def is_tape(self) -> Flags:
        """By site: a tape site."""
        return np.asarray(self.sites["is_tape"].to_numpy())

    @cached_property
    def is_dataset_level(self) -> Flags:
        """By group: it owns whole datasets."""
        return np.asarray(self.groups["is_dataset_level"].to_numpy())

    @cached_property
    def is_all_sound(self) -> bool:
        """Nothing complete is doubtful."""
        return np.array_equal(self.is_sound, self.is_complete)

    @cached_property
    def num_blocks(self) -> Indices:
        """By dataset: blocks of the whole dataset, in the image or not."""
        return self.datasets["num_blocks"].to_numpy().astype(np.int64)

    @cached_property
    def blocks(self) -> tuple[Small, Indices]:
        """By row the number of its block, counted over all blocks of the image, those of a dataset one after another;
        and by dataset the number of its first one (with one more entry)."""
        order = np.lexsort((self.block_id, self.dataset))
        ids, datasets = self.block_id[order], self.dataset[order]
        is_new = np.ones(len(order), dtype=np.bool_)
        is_new[1:] = (ids[1:] != ids[:-1]) | (datasets[1:] != datasets[:-1])
        number = np.empty(len(order), dtype=np.int32)
        number[order] = np.cumsum(is_new, dtype=np.int32) - 1
        first = np.searchsorted(datasets[is_new], np.arange(self.datasets.height + 1))
        return number, first.astype(np.int64)

    def rows_of(self, datasets: Indices) -> Indices:
        """Row numbers of all block replicas of these datasets."""
        first = self._first_row_of_dataset
        return ranges(first[datasets], first[datasets + 1])

    @cached_property
    def _first_row_of_dataset(self) -> Indices:
        return self.first_row[self.first_replica]


def ranges(starts: Indices, ends: Indices) -> Indices:
    """The numbers from each start to its end (not included), one range after another."""
    counts = ends - starts
    until = counts.cumsum()
    total = int(until[-1]) if len(until) else 0
    return np.asarray((starts + counts - until).repeat(counts) + np.arange(total), dtype=np.int64)


def segments(replica: Small) -> tuple[Indices, Small, Indices]:
    """Where each replica begins in ascending ``replica``, the replicas, and each row's place among them."""
    is_first = np.ones(len(replica), dtype=np.bool_)
    is_first[1:] = replica[1:] != replica[:-1]
    starts = np.flatnonzero(is_first)
    return starts, replica[starts], is_first.cumsum() - 1


def distinct(numbers: Indices) -> Indices:
    """The numbers, each once, ascending (``np.unique`` goes by a hash table, several times slower on what is nearly
    sorted)."""
    if len(numbers) and (numbers[1:] < numbers[:-1]).any():
        numbers = np.sort(numbers)
    is_new = np.ones(len(numbers), dtype=np.bool_)
    is_new[1:] = numbers[1:] != numbers[:-1]
    return numbers[is_new]


def lay_out(
    frames: InventoryFrames,
    block_replicas: pl.DataFrame,
    *,
    attributes: Iterable[str] = (),
    protected_sites: Sequence[str] = (),
) -> Image:
    """The image of these block replicas: rows of ``frames.block_replicas`` and of :func:`tape_placeholders`.

    InventoryError when one of ``REQUIRED`` has no value somewhere, or a block replica names what is not in the frames.
    """
    _refuse_unknown(frames, block_replicas)
    sites, groups = site_table(frames), group_table(frames)
    ids = block_replicas["dataset_id"].unique()
    datasets = dataset_table(frames, attributes, of=ids)
    replica_rows = _rows(frames, block_replicas, sites, groups, datasets)
    return assemble(replica_rows, _with_protected(datasets, sites, replica_rows, protected_sites), sites, groups)


def assemble(rows: pl.DataFrame, datasets: pl.DataFrame, sites: pl.DataFrame, groups: pl.DataFrame) -> Image:
    """The image of sorted ``rows``: its columns by block replica but ``replica``; ids are indices into the tables."""
    columns: dict[str, npt.NDArray[Any]] = {name: rows[name].to_numpy() for name in rows.columns}
    replica, first_row = _numbered(columns["dataset"], columns["site"])
    starts = first_row[:-1]
    dataset_of_replica = columns["dataset"][starts]
    return Image(
        sites=sites,
        groups=groups,
        datasets=datasets,
        replica=replica,
        dataset_of_replica=dataset_of_replica,
        site_of_replica=columns["site"][starts],
        first_row=first_row,
        first_replica=np.searchsorted(dataset_of_replica, np.arange(datasets.height + 1)).astype(np.int64),
        **columns,
    )


def _refuse_unknown(frames: InventoryFrames, block_replicas: pl.DataFrame) -> None:
    for column in REQUIRED:
        unknown = block_replicas.filter(pl.col(column).is_null()).head(1)
        if unknown.height:
            named = unknown.join(frames.datasets, on="dataset_id", how="left").join(
                frames.sites, on="site_id", how="left"
            )
            dataset, site = named.select("dataset", "site").row(0)
            raise InventoryError(
                f"a block replica of {dataset} at {site} has no {column}: nothing can be decided",
                dataset=dataset,
                site=site,
                column=column,
            )


def _rows(
    frames: InventoryFrames,
    block_replicas: pl.DataFrame,
    sites: pl.DataFrame,
    groups: pl.DataFrame,
    datasets: pl.DataFrame,
) -> pl.DataFrame:
    """The columns of the image by block replica, sorted."""
    is_doubtful = is_unknown_site(frames)
    if frames.doubted_files.height:
        doubtful = doubtful_replicas(frames).to_struct().implode()
        is_doubtful |= pl.struct("block_id", "site_id").is_in(doubtful)
    placeholder = pl.col("is_placeholder") if "is_placeholder" in block_replicas.columns else pl.lit(False)
    columns = block_replicas.select(
        "block_id",
        index_of(block_replicas["dataset_id"], datasets["dataset_id"]).alias("dataset"),
        index_of(block_replicas["site_id"], sites["site_id"]).alias("site"),
        index_of(block_replicas["group_id"], groups["group_id"]).alias("group"),
        "size_bytes",
        "is_complete",
        (pl.col("is_complete") & ~is_doubtful).alias("is_sound"),
        pl.col("last_update_at").fill_null(EPOCH).dt.epoch("us").alias("last_update"),
        locked_expr(frames).alias("is_locked"),
        placeholder.alias("is_placeholder"),
    )
    for column, id_column in (("dataset", "dataset_id"), ("site", "site_id"), ("group", "group_id")):
        if columns[column].null_count():
            lost = block_replicas.filter(columns[column].is_null())[id_column][0]
            raise InventoryError(f"a block replica names the unknown {id_column} {lost}", column=id_column, value=lost)
    return columns.sort("dataset", "site", "block_id")


def index_of(ids: pl.Series, table_ids: pl.Series) -> pl.Series:
    """For each id its row number in ``table_ids``; null where it is not there. The null group is an id like others."""
    table = pl.DataFrame({"id": table_ids, "index": pl.int_range(len(table_ids), dtype=pl.Int32, eager=True)})
    return pl.DataFrame({"id": ids}).join(table, on="id", how="left", nulls_equal=True, maintain_order="left")["index"]


def _numbered(dataset: Small, site: Small) -> tuple[Small, Indices]:
    """The number of each row's replica, and where each replica begins (with one more entry)."""
    is_new = np.ones(len(dataset), dtype=np.bool_)
    is_new[1:] = (dataset[1:] != dataset[:-1]) | (site[1:] != site[:-1])
    first = np.append(np.flatnonzero(is_new), len(dataset)).astype(np.int64)
    return np.cumsum(is_new, dtype=np.int32) - 1, first


def _with_protected(
    datasets: pl.DataFrame, sites: pl.DataFrame, replica_rows: pl.DataFrame, protected_sites: Sequence[str]
) -> pl.DataFrame:
    """``datasets`` with ``on_protected_site``: a replica of the image is at one of these sites."""
    is_protected = sites["site"].is_in(list(protected_sites)).to_numpy()
    is_on_protected = np.zeros(datasets.height, dtype=np.bool_)
    if is_protected.any():
        is_on_protected[replica_rows["dataset"].to_numpy()[is_protected[replica_rows["site"].to_numpy()]]] = True
    return datasets.with_columns(on_protected_site=pl.Series(is_on_protected))


def tape_placeholders(frames: InventoryFrames) -> pl.DataFrame:
    """Zero-size block replicas, one a block, for each tape dataset replica without any block replica.

    They have the columns of ``frames.block_replicas`` and ``is_placeholder``; owned by the null group and incomplete.
    """
    tape = frames.sites.filter(pl.col("storage_type").str.to_uppercase() == "MSS").select("site_id")
    bare = (
        frames.dataset_replicas.join(tape, on="site_id", how="semi")
        .select("dataset_id", "site_id")
        .join(frames.block_replicas.join(tape, on="site_id", how="semi"), on=["dataset_id", "site_id"], how="anti")
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
