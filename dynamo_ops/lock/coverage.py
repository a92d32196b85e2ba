"""Locks in force, as a test on block replicas.

What a lock's parts mean is looked up once, in the small tables: datasets and blocks by joins, sites and groups as sets.
Each dataset and block that any lock names belongs to a *class*: those under the same scopes. A class is a table
of sites × groups, so that testing a block replica is two lookups, however many locks there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.base.glob import glob_regex, is_glob, texts_expr
from dynamo_ops.inventory.frames import LOCKABLE, InventoryFrames, group_table

Flags = npt.NDArray[np.bool_]
HITS = {"id": pl.Int64, "scope": pl.Int64}


def locked_expr(frames: InventoryFrames) -> pl.Expr:
    """True for block replicas (``dataset_id``, ``block_id``, ``site_id``, ``group_id``) that a lock covers; never null.

    A sites or groups part that is empty or matches nothing known means all of them: the safe side.
    """
    if frames.locks.is_empty():
        return pl.lit(False)
    table = lock_table(frames)
    return pl.struct(*LOCKABLE).map_batches(lambda keys: table.covers(keys.struct.unnest()), return_dtype=pl.Boolean)


@dataclass(frozen=True)
class LockTable:
    """Locks looked up in one inventory. ``datasets`` and ``blocks``: id and class of what is locked, here or there.

    ``sites`` and ``groups``: index by id, the null group under None; what is not known there has the last index.
    ``classes``: class × site × group.
    """

    datasets: pl.DataFrame
    blocks: pl.DataFrame
    sites: pl.DataFrame
    groups: pl.DataFrame
    classes: Flags

    def covers(self, block_replicas: pl.DataFrame) -> pl.Series:
        """One boolean a row: a lock covers it."""
        is_locked = np.zeros(block_replicas.height, dtype=np.bool_)
        for column, classes in (("dataset_id", self.datasets), ("block_id", self.blocks)):
            if classes.height:
                named = (
                    block_replicas.select(*LOCKABLE)
                    .with_row_index("row")
                    .filter(pl.col(column).is_in(classes["id"].implode()))
                )
                indexed = self._indexed(named.join(classes, left_on=column, right_on="id", how="left"))
                is_locked[indexed["row"].to_numpy()] |= self.classes[
                    indexed["class"].to_numpy(), indexed["site"].to_numpy(), indexed["group"].to_numpy()
                ]
        return pl.Series("is_locked", is_locked)

    def _indexed(self, block_replicas: pl.DataFrame) -> pl.DataFrame:
        """``row``, ``class``, ``site`` and ``group`` (indices)."""
        sites = block_replicas.join(self.sites, on="site_id", how="left")
        both = sites.join(self.groups, on="group_id", how="left", nulls_equal=True)
        return both.select(
            "row",
            "class",
            pl.col("site").fill_null(self.sites.height),
            pl.col("group").fill_null(self.groups.height),
        )


def lock_table(frames: InventoryFrames) -> LockTable:
    """The locks of ``frames``, looked up in its datasets, blocks, sites and groups."""
    sites, groups = frames.sites.select("site_id", "site"), group_table(frames).select("group_id", "owner")
    texts = frames.locks.select(pl.col("sites", "groups").fill_null("")).unique(maintain_order=True)
    scopes = _scopes(texts, sites, groups)
    items = _items(frames.locks, texts.with_columns(scope=pl.Series(scopes.number_of_text, dtype=pl.Int64)))
    whole = pl.col("block").str.strip_chars("*") == ""
    datasets = _datasets(frames, items.filter(whole.fill_null(True)))
    blocks = _blocks(frames, items.filter(~whole))
    of_datasets, of_blocks = _signed(datasets), _signed(blocks)
    signatures = pl.concat([of_datasets["signature"], of_blocks["signature"]]).unique(maintain_order=True)
    numbers = pl.DataFrame({"signature": signatures}).with_columns(pl.int_range(pl.len()).alias("class"))
    return LockTable(
        of_datasets.join(numbers, on="signature").select("id", "class"),
        of_blocks.join(numbers, on="signature").select("id", "class"),
        sites.select("site_id", site=pl.int_range(pl.len())),
        groups.select("group_id", group=pl.int_range(pl.len())),
        _classes(signatures, scopes),
    )


def covered_names(frames: InventoryFrames, sites: str, groups: str) -> Mapping[str, list[str]]:
    """What the sites and groups parts of a lock match: ``sites`` and ``groups`` by name (``None``: the null group).

    An empty list: the part is empty or matches nothing known, and so means all of them.
    """
    groups_known = group_table(frames).sort("owner")
    return {
        "sites": frames.sites.sort("site").filter(texts_expr([sites], pl.col("site")))["site"].to_list(),
        "groups": groups_known.filter(texts_expr([groups], pl.col("owner")))["owner"].to_list(),
    }


@dataclass(frozen=True)
class _Scopes:
    """Distinct (sites, groups) parts. ``number_of_text``: the scope of each pair of texts; rows of ``sites`` and
    ``groups`` are scopes, their last column stands for what is not known."""

    number_of_text: list[int]
    sites: Flags
    groups: Flags


def _scopes(texts: pl.DataFrame, sites: pl.DataFrame, groups: pl.DataFrame) -> _Scopes:
    of_sites = {text: _matching(text, sites["site"]) for text in texts["sites"].unique()}
    of_groups = {text: _matching(text, groups["owner"]) for text in texts["groups"].unique()}
    numbers: dict[tuple[bytes, bytes], int] = {}
    pairs, of_text = [], []
    for site_text, group_text in texts.iter_rows():
        pair = of_sites[site_text], of_groups[group_text]
        key = pair[0].tobytes(), pair[1].tobytes()
        if key not in numbers:
            numbers[key] = len(numbers)
            pairs.append(pair)
        of_text.append(numbers[key])
    return _Scopes(of_text, np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs]))


def _matching(pattern: str, names: pl.Series) -> Flags:
    """For each name, and for what is not known: the pattern means it. All, if it matches none."""
    matches = pl.DataFrame({"name": names}).select(texts_expr([pattern], pl.col("name"))).to_series()
    return np.append(matches.to_numpy(), False) if matches.any() else np.ones(len(names) + 1, dtype=np.bool_)


def _items(locks: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Distinct ``dataset``, ``block`` (null: the whole dataset) and ``scope``."""
    parts = pl.col("item").str.splitn("#", 2).struct.rename_fields(["dataset", "block"])
    scoped = locks.with_columns(pl.col("sites", "groups").fill_null("")).join(texts, on=["sites", "groups"])
    return scoped.select(parts.alias("parts"), "scope").unnest("parts").unique(maintain_order=True)


def _datasets(frames: InventoryFrames, items: pl.DataFrame) -> pl.DataFrame:
    """``id`` of each dataset that an item names, and ``scope``."""
    return _named(frames, items).select("scope", id="dataset_id").select("id", "scope")


def _blocks(frames: InventoryFrames, items: pl.DataFrame) -> pl.DataFrame:
    """``id`` of each block that an item names, and ``scope``."""
    if items.is_empty():
        return pl.DataFrame(schema=HITS)
    within = _named(frames, items)
    block_names = frames.blocks.select("block_id", "dataset_id", name="block")
    block_names = block_names.filter(pl.col("dataset_id").is_in(within["dataset_id"].unique().implode()))
    glob = pl.col("block").str.contains(r"[*?]")
    hits = [within.filter(~glob).join(block_names, left_on=["dataset_id", "block"], right_on=["dataset_id", "name"])]
    for (pattern,), globbed in within.filter(glob).group_by("block"):
        matching = block_names.join(globbed, on="dataset_id").filter(
            pl.col("name").str.contains(glob_regex(str(pattern)))
        )
        hits.append(matching.select(hits[0].columns))
    return pl.concat(hits).select("scope", id="block_id").select("id", "scope")


def _named(frames: InventoryFrames, items: pl.DataFrame) -> pl.DataFrame:
    """``items`` with ``dataset_id``, one row for each dataset that the item's dataset part matches."""
    names = frames.datasets.select("dataset_id", "dataset").sort("dataset")
    glob = pl.col("dataset").str.contains(r"[*?]")
    matches = [items.filter(~glob).join(names, on="dataset").select("dataset_id", "block", "scope")]
    for (pattern,), globbed in items.filter(glob).group_by("dataset"):
        ids = _ids_by_glob(names, str(pattern)).rename("dataset_id")
        matches.append(globbed.join(ids.to_frame(), how="cross").select("dataset_id", "block", "scope"))
    return pl.concat(matches)


def _ids_by_glob(names: pl.DataFrame, pattern: str) -> pl.Series:
    """Ids of the datasets that match; ``names`` is sorted, so only those with the pattern's beginning are tried."""
    beginning = pattern[: min(pattern.find(char) for char in "*?[" if char in pattern)] if is_glob(pattern) else pattern
    first = names["dataset"].search_sorted(beginning, "left")
    last = names["dataset"].search_sorted(beginning + chr(0x10FFFF), "right")
    candidates = names[first:last]
    return candidates.filter(pl.col("dataset").str.contains(glob_regex(pattern)))["dataset_id"]


def _signed(hits: pl.DataFrame) -> pl.DataFrame:
    """One row an id: ``signature`` lists its scopes, as text."""
    return (
        hits.unique()
        .sort("id", "scope")
        .group_by("id", maintain_order=True)
        .agg(signature=pl.col("scope").cast(pl.String).str.join(" "))
    )


def _classes(signatures: pl.Series, scopes: _Scopes) -> Flags:
    """Class × site × group: one of the class's scopes has both."""
    table = np.zeros((len(signatures), scopes.sites.shape[1], scopes.groups.shape[1]), dtype=np.bool_)
    for number, signature in enumerate(signatures):
        for scope in map(int, signature.split()):
            table[number] |= scopes.sites[scope][:, None] & scopes.groups[scope][None, :]
    return table
