"""What the engine must know of each proposed item: blocks, size, sources, and where it is complete already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames

VALID = ("valid", "production")


@dataclass(frozen=True)
class Item:
    """One proposal. ``block_sizes``: full sizes by block id. ``complete_at``: sites that have all its blocks
    complete, with the owner of each block there. ``is_covered``: the files present anywhere together make up every
    block.
    """

    plugin: str
    request_id: int | None
    dataset_id: int
    is_whole: bool
    block_sizes: Mapping[int, int]
    site_id: int | None
    candidate_site_ids: Sequence[int] | None
    group_id: int
    reason: str
    refused: str | None
    is_valid: bool
    has_source: bool
    is_covered: bool
    complete_at: Mapping[int, Mapping[int, int | None]]

    @property
    def block_ids(self) -> tuple[int, ...]:
        """Ids of its blocks, ascending."""
        return tuple(self.block_sizes)

    @property
    def size_bytes(self) -> int:
        """Full size: of blocks, not of what is on some disk."""
        return sum(self.block_sizes.values())


def describe_items(frames: InventoryFrames, proposals: pl.DataFrame, *, default_group: int) -> list[Item]:
    """One item per proposal, in the same order."""
    numbered = proposals.with_row_index("n").with_columns(pl.col("group_id").fill_null(default_group))
    blocks = _blocks(frames, numbered)
    replicas = blocks.select("n", "block_id").join(
        frames.block_replicas.select("block_id", "site_id", "group_id", "is_complete"), on="block_id"
    )
    sizes = _by_item(blocks, "block_id", "size_bytes")
    valid = set(frames.datasets.filter(pl.col("status").str.to_lowercase().is_in(list(VALID)))["dataset_id"])
    uncovered = set(blocks.filter(~pl.col("block_id").is_in(_covered(frames, blocks["block_id"]).implode()))["n"])
    sources = set(replicas["n"])
    complete = _complete_at(blocks, replicas)
    return [
        Item(
            plugin=row["plugin"],
            request_id=row["request_id"],
            dataset_id=-1 if row["dataset_id"] is None else row["dataset_id"],
            is_whole=row["block_ids"] is None,
            block_sizes=sizes.get(row["n"], {}),
            site_id=row["site_id"],
            candidate_site_ids=row["candidate_site_ids"],
            group_id=row["group_id"],
            reason=row["reason"] or "",
            refused=row["refused"],
            is_valid=row["dataset_id"] in valid,
            has_source=row["n"] in sources,
            is_covered=row["n"] not in uncovered,
            complete_at=complete.get(row["n"], {}),
        )
        for row in numbered.iter_rows(named=True)
    ]


def _blocks(frames: InventoryFrames, numbered: pl.DataFrame) -> pl.DataFrame:
    """``n``, ``block_id``, ``size_bytes``, by item and block."""
    known = frames.blocks.select("block_id", "dataset_id", "size_bytes")
    whole = numbered.filter(pl.col("block_ids").is_null()).select("n", "dataset_id").join(known, on="dataset_id")
    named = numbered.filter(pl.col("block_ids").is_not_null()).select("n", "dataset_id", block_id="block_ids")
    parts = (
        named.explode("block_id", empty_as_null=True)
        .drop_nulls("block_id")
        .unique()
        .join(known, on=["block_id", "dataset_id"])
    )
    columns = ["n", "block_id", "size_bytes"]
    return pl.concat([whole.select(columns), parts.select(columns)]).sort("n", "block_id")


def _by_item(frame: pl.DataFrame, key: str, value: str) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {}
    for n, k, v in frame.select("n", key, value).iter_rows():
        found.setdefault(n, {})[k] = v
    return found


def _covered(frames: InventoryFrames, block_ids: pl.Series) -> pl.Series:
    """Blocks that have a complete replica, or all of whose files are at some site."""
    wanted = block_ids.unique().implode()
    complete = frames.block_replicas.filter(pl.col("is_complete") & pl.col("block_id").is_in(wanted))[
        "block_id"
    ].unique()
    counted = (
        frames.partial_files.filter(pl.col("block_id").is_in(wanted))
        .group_by("block_id")
        .agg(pl.col("file_id").n_unique().alias("present"))
        .join(frames.blocks.select("block_id", "num_files"), on="block_id")
    )
    return pl.concat([complete, counted.filter(pl.col("present") >= pl.col("num_files"))["block_id"]]).unique()


def _complete_at(blocks: pl.DataFrame, replicas: pl.DataFrame) -> dict[int, dict[int, dict[int, int | None]]]:
    """By item and site that has every block of it complete: the owner of each block."""
    wanted = blocks.group_by("n").agg(pl.len().alias("wanted"))
    there = replicas.filter("is_complete").with_columns(there=pl.len().over("n", "site_id")).join(wanted, on="n")
    found: dict[int, dict[int, dict[int, int | None]]] = {}
    for n, site, block, group in (
        there.filter(pl.col("there") == pl.col("wanted")).select("n", "site_id", "block_id", "group_id").iter_rows()
    ):
        found.setdefault(n, {}).setdefault(site, {})[block] = group
    return found
