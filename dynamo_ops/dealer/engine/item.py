"""What the engine must know of each proposed item: blocks, size, sources, and where it is complete already.

On columns: whole datasets are looked up once, however often they are proposed. Ragged columns are one flat array and
the places where each row's part begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.dealer.engine.site import Flags, Ints
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.inventory.replica.good import counted, covered_blocks

VALID = ("valid", "production")
MIXED = -2
"""Owner of an item's blocks at a site that do not all have the same one."""
NULL_OWNER = -1

PRESENT: Schema = {"item": pl.Int64, "site_id": pl.Int64, "owner": pl.Int64}


@dataclass(frozen=True)
class Ragged:
    """Lists of whole numbers: row ``n`` is ``values[starts[n]:starts[n + 1]]``."""

    starts: Ints
    values: Ints

    def __getitem__(self, row: int) -> Ints:
        return self.values[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> Ints:
        """How many values each row has."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class Items:
    """The proposals, in their order. ``rows``: their frame, with ``number`` (from 1), ``item``, the number of what is
    proposed (a dataset, or the blocks of one proposal), and ``group_id`` the owner to be. ``item``: the same as array.

    By item: ``blocks`` (ids, ascending) and ``block_sizes`` (full sizes); ``size``: their sum; ``has_source``: some
    block has a replica; ``is_covered``: the files present anywhere together make up every block; ``is_valid``: the
    dataset is. ``complete_sites`` (ids of sites that have all of it complete) and ``complete_owners`` (a group,
    NULL_OWNER, MIXED). ``replicas``: block replicas of all these blocks. What is doomed or doubtful counts nowhere
    (SEMANTICS §10).
    """

    rows: pl.DataFrame
    item: Ints
    blocks: Ragged
    block_sizes: Ragged
    size: Ints
    is_valid: Flags
    has_source: Flags
    is_covered: Flags
    complete_sites: Ragged
    complete_owners: Ragged
    replicas: Replicas

    def present(self) -> pl.DataFrame:
        """Where items are complete already (``PRESENT``)."""
        counts = self.complete_sites.lengths
        return pl.DataFrame(
            {
                "item": np.repeat(np.arange(len(counts)), counts),
                "site_id": self.complete_sites.values,
                "owner": self.complete_owners.values,
            },
            schema=dict(PRESENT),
        )


class Replicas:
    """Block replicas, looked up by block and site."""

    def __init__(self, frame: pl.DataFrame) -> None:
        """``frame``: block_id, site_id, group_id (null: the null group), is_complete."""
        block_replicas = frame.sort("block_id", "site_id")
        self._block: Ints = block_replicas["block_id"].to_numpy()
        self._site: Ints = block_replicas["site_id"].to_numpy()
        self._owner: Ints = block_replicas["group_id"].fill_null(NULL_OWNER).to_numpy()
        self._is_complete: Flags = block_replicas["is_complete"].to_numpy()

    def complete_owner(self, block_id: int, site_id: int) -> int | None:
        """Who owns the complete replica of the block there; None if there is no complete one."""
        place = int(np.searchsorted(self._block, block_id))
        while place < len(self._site) and self._block[place] == block_id:
            if self._site[place] == site_id:
                return int(self._owner[place]) if self._is_complete[place] else None
            place += 1
        return None


def load_items(frames: InventoryFrames, proposals: pl.DataFrame, *, default_group: int) -> Items:
    """What ``proposals`` (columns of ``plugin.PROPOSALS`` and ``plugin``) propose, looked up in ``frames``."""
    numbered_proposals = _numbered(proposals).with_columns(pl.col("group_id").fill_null(default_group))
    asked = (
        numbered_proposals.unique("item", keep="first", maintain_order=True)
        .sort("item")
        .select("item", "dataset_id", "block_ids")
    )
    total = asked.height
    blocks = _blocks(frames, asked)
    replicas = (
        counted(frames)
        .block_replicas.filter(pl.col("block_id").is_in(blocks["block_id"].unique().implode()))
        .select("block_id", "site_id", "group_id", "is_complete")
    )
    there = blocks.select("item", "block_id").join(replicas, on="block_id")
    complete = _complete_at(blocks, there)
    starts = _starts(complete["item"], total)
    valid = frames.datasets.filter(pl.col("status").str.to_lowercase().is_in(list(VALID)))["dataset_id"]
    covered = blocks["block_id"].is_in(covered_blocks(frames, blocks["block_id"]).implode())
    block_starts = _starts(blocks["item"], total)
    return Items(
        rows=numbered_proposals,
        item=numbered_proposals["item"].to_numpy(),
        blocks=Ragged(block_starts, blocks["block_id"].to_numpy()),
        block_sizes=Ragged(block_starts, blocks["size_bytes"].to_numpy()),
        size=_sums(blocks, total),
        is_valid=asked["dataset_id"].is_in(valid.implode()).fill_null(False).to_numpy(),
        has_source=_flags(there["item"], total),
        is_covered=~_flags(blocks["item"].filter(~covered), total),
        complete_sites=Ragged(starts, complete["site_id"].to_numpy()),
        complete_owners=Ragged(starts, complete["owner"].to_numpy()),
        replicas=Replicas(replicas),
    )


def _numbered(proposals: pl.DataFrame) -> pl.DataFrame:
    """``proposals`` with ``number`` (from 1) and ``item``: one a dataset, and one for each proposal of blocks."""
    with_number = proposals.with_columns(number=pl.int_range(1, pl.len() + 1)).with_columns(
        own=pl.when(pl.col("block_ids").is_not_null()).then("number")
    )
    key = ["dataset_id", "own"]
    numbered = with_number.select(key).unique(maintain_order=True).with_columns(item=pl.int_range(pl.len()))
    return with_number.join(numbered, on=key, nulls_equal=True, maintain_order="left").drop("own")


def _blocks(frames: InventoryFrames, asked: pl.DataFrame) -> pl.DataFrame:
    """``item``, ``block_id``, ``size_bytes``, by item and block; blocks that are not the dataset's are left out."""
    datasets = asked["dataset_id"].unique().drop_nulls()
    dataset_blocks = frames.blocks.filter(pl.col("dataset_id").is_in(datasets.implode()))
    dataset_blocks = dataset_blocks.select("block_id", "dataset_id", "size_bytes")
    whole = (
        asked.filter(pl.col("block_ids").is_null()).select("item", "dataset_id").join(dataset_blocks, on="dataset_id")
    )
    named = asked.filter(pl.col("block_ids").is_not_null()).select("item", "dataset_id", block_id="block_ids")
    parts = (
        named.explode("block_id", empty_as_null=True)
        .drop_nulls("block_id")
        .unique()
        .join(dataset_blocks, on=["block_id", "dataset_id"])
    )
    columns = ["item", "block_id", "size_bytes"]
    return pl.concat([whole.select(columns), parts.select(columns)]).sort("item", "block_id")


def _complete_at(blocks: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """``item``, ``site_id``, ``owner``: where all blocks of an item are complete, by item and site."""
    wanted = blocks.group_by("item").agg(wanted=pl.len())
    owner = pl.col("group_id").fill_null(NULL_OWNER)
    complete_blocks = (
        there.filter("is_complete")
        .group_by("item", "site_id")
        .agg(present=pl.len(), owner=pl.when(owner.n_unique() == 1).then(owner.first()).otherwise(MIXED))
    )
    whole = complete_blocks.join(wanted, on="item").filter(pl.col("present") == pl.col("wanted"))
    return whole.select("item", "site_id", pl.col("owner").cast(pl.Int64)).sort("item", "site_id")


def _starts(item: pl.Series, total: int) -> Ints:
    """Where each item's part begins in rows sorted by item, and the end."""
    counts: npt.NDArray[np.int64] = np.bincount(item.to_numpy(), minlength=total)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


def _flags(item: pl.Series, total: int) -> Flags:
    flags = np.zeros(total, dtype=np.bool_)
    flags[item.to_numpy()] = True
    return flags


def _sums(blocks: pl.DataFrame, total: int) -> Ints:
    sums = np.zeros(total, dtype=np.int64)
    item_sizes = blocks.group_by("item").agg(pl.col("size_bytes").sum())
    sums[item_sizes["item"].to_numpy()] = item_sizes["size_bytes"].to_numpy()
    return sums
