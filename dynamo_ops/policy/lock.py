"""Locks in force, as a test on block replicas."""

from __future__ import annotations

import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.attributes import group_table
from dynamo_ops.policy.compile import is_glob, texts_expr


def locked_expr(frames: InventoryFrames) -> pl.Expr:
    """True for block replicas (``dataset_id``, ``block_id``, ``site_id``, ``group_id``) that a lock covers.

    A sites or groups part that is empty or matches nothing known means all of them: the safe side.
    """
    tests = []
    for (sites, groups), locks in frames.locks.group_by(["sites", "groups"], maintain_order=True):
        covered = _items(frames, locks["item"].to_list())
        tests.append(covered & _sites(frames, str(sites or "")) & _groups(frames, str(groups or "")))
    return pl.any_horizontal(tests) if tests else pl.lit(False)


def _items(frames: InventoryFrames, items: list[str]) -> pl.Expr:
    datasets = [item for item in items if "#" not in item]
    tests = [pl.lit(False)]
    if datasets:
        ids = frames.datasets.filter(texts_expr(datasets, pl.col("dataset")))["dataset_id"]
        tests.append(pl.col("dataset_id").is_in(ids.implode()))
    blocks = [item.split("#", 1) for item in items if "#" in item]
    if blocks:
        tests.append(pl.col("block_id").is_in(_block_ids(frames, blocks).implode()))
    return pl.any_horizontal(tests)


def _block_ids(frames: InventoryFrames, blocks: list[list[str]]) -> pl.Series:
    exact = [pair for pair in blocks if not is_glob(pair[0]) and not is_glob(pair[1])]
    globs = [pair for pair in blocks if pair not in exact]
    named = pl.DataFrame(exact, schema={"dataset": pl.String, "block": pl.String}, orient="row")
    known = frames.blocks.select("block_id", "dataset_id", "block")
    names = frames.datasets.select("dataset_id", "dataset")
    found = [named.unique().join(names, on="dataset").join(known, on=["dataset_id", "block"])["block_id"]]
    for dataset, block in globs:
        ids = names.filter(texts_expr([dataset], pl.col("dataset")))["dataset_id"]
        found.append(
            known.filter(pl.col("dataset_id").is_in(ids.implode()) & texts_expr([block], pl.col("block")))["block_id"]
        )
    return pl.concat(found)


def _sites(frames: InventoryFrames, pattern: str) -> pl.Expr:
    ids = frames.sites.filter(texts_expr([pattern], pl.col("site")))["site_id"]
    return pl.col("site_id").is_in(ids.implode()) if len(ids) else pl.lit(True)


def _groups(frames: InventoryFrames, pattern: str) -> pl.Expr:
    ids = group_table(frames).filter(texts_expr([pattern], pl.col("owner")))["group_id"]
    if not len(ids):
        return pl.lit(True)
    return pl.col("group_id").is_in(ids.drop_nulls().implode()).fill_null(ids.null_count() > 0)
