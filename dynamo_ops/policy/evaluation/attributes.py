"""Datasets, sites and groups as tables of what policy variables ask of them, and the test that attributes are fresh."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl

from dynamo_ops.base.errors import PlanError
from dynamo_ops.inventory.frames import UTC, InventoryFrames

EPOCH = pl.lit(0).cast(UTC)


def require_attributes(frames: InventoryFrames, names: Iterable[str], *, now: datetime, max_age: timedelta) -> None:
    """PlanError naming the attributes that were never produced, or longer than ``max_age`` ago."""
    produced = dict(frames.attributes.select("name", "produced_at").iter_rows())
    wanted = sorted(set(names))
    missing = [name for name in wanted if produced.get(name) is None]
    stale = [name for name in wanted if name not in missing and produced[name] < now - max_age]
    if not missing and not stale:
        return
    reasons = [f"{name} was never produced" for name in missing]
    reasons += [
        f"{name} was produced at {produced[name]:%Y-%m-%d %H:%M}, more than {max_age} before now" for name in stale
    ]
    raise PlanError(f"dataset attributes cannot be used: {'; '.join(reasons)}", missing=missing, stale=stale)


def site_table(frames: InventoryFrames) -> pl.DataFrame:
    """One row a site, by name: ``site_id``, ``site``, ``site_status``, ``storage_type`` (capitals),
    ``is_ready_disk``, ``is_tape``."""
    return (
        frames.sites.select(
            "site_id",
            "site",
            pl.col("status").str.to_uppercase().alias("site_status"),
            pl.col("storage_type").str.to_uppercase(),
        )
        .with_columns(
            is_ready_disk=(pl.col("storage_type") == "DISK") & (pl.col("site_status") == "READY"),
            is_tape=pl.col("storage_type") == "MSS",
        )
        .sort("site")
    )


def dataset_table(
    frames: InventoryFrames, attributes: Iterable[str] = (), *, of: pl.Series | None = None, with_sizes: bool = True
) -> pl.DataFrame:
    """One row a dataset, by name, with what conditions ask of it. ``of``: only the datasets of these ids.

    Columns ``dataset_id``, ``dataset``, ``dataset_status`` (capitals), ``dataset_size_bytes``, ``num_blocks`` (both 0
    without ``with_sizes``), ``dataset_last_update_at``, ``software_release`` and ``attribute:<name>`` for each of
    ``attributes`` (0 without value).
    """
    blocks = frames.blocks if with_sizes else frames.blocks.clear()
    sizes = blocks.group_by("dataset_id").agg(
        pl.col("size_bytes").sum().alias("dataset_size_bytes"), pl.len().cast(pl.Int64).alias("num_blocks")
    )
    datasets = frames.datasets if of is None else frames.datasets.filter(pl.col("dataset_id").is_in(of.implode()))
    table = (
        datasets.select(
            "dataset_id",
            "dataset",
            pl.col("status").str.to_uppercase().alias("dataset_status"),
            pl.col("last_update_at").fill_null(EPOCH).alias("dataset_last_update_at"),
            pl.col("software_release").fill_null(""),
        )
        .join(sizes, on="dataset_id", how="left")
        .with_columns(pl.col("dataset_size_bytes", "num_blocks").fill_null(0))
    )
    for name in sorted(set(attributes)):
        attribute = frames.attribute_values.filter(pl.col("name") == name).select(
            "dataset_id", pl.col("value").alias(f"attribute:{name}")
        )
        table = table.join(attribute, on="dataset_id", how="left").with_columns(
            pl.col(f"attribute:{name}").fill_null(0.0)
        )
    return table.sort("dataset")
