"""What the conditions of a plan saw: enough to evaluate any dataset of it again, exactly, whatever changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import polars as pl

from dynamo_ops.policy.evaluation.image import Image, assemble, index_of

PREFIX = "evidence_"
OF_DATASETS = ("block_replicas", "handovers", "datasets")


@dataclass(frozen=True)
class Evidence:
    """Frames that belong to a plan's decisions.

    ``block_replicas``: one row per block replica of the image: ``dataset_id``, ``site_id``, ``block_id``,
    ``is_complete``, ``is_sound`` (plans stored before there was doubt have it not: all that is complete is sound),
    ``last_update_at``, ``is_locked``. ``handovers``: each change of owner, with ``delete_order`` (its
    place among the deletions), ``group_id`` (the new owner) and ``leaves_image``. ``datasets``, ``sites``, ``groups``:
    the tables of ``policy.evaluation.image``, with all attributes that the policy asks for.
    """

    block_replicas: pl.DataFrame
    handovers: pl.DataFrame
    datasets: pl.DataFrame
    sites: pl.DataFrame
    groups: pl.DataFrame

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """The frames by the names that they are stored under."""
        return {PREFIX + name: getattr(self, name) for name in NAMES}

    @classmethod
    def of_dataset(cls, frames: Mapping[str, pl.LazyFrame], dataset_id: int) -> Evidence:
        """The evidence on one dataset, of stored ``frames`` (by field name); only its rows are read."""
        wanted = {
            name: frame.filter(pl.col("dataset_id") == dataset_id) if name in OF_DATASETS else frame
            for name, frame in frames.items()
        }
        return cls(**{name: frame.collect() for name, frame in wanted.items()})

    def image(self, decisions: pl.DataFrame) -> Image:
        """The image of the datasets that ``decisions`` (rows of the plan, in their order) are of."""
        ids = decisions["dataset_id"].unique(maintain_order=True)
        datasets = self.datasets.filter(pl.col("dataset_id").is_in(ids.implode())).sort("dataset")
        block_replicas = decisions.join(
            self.block_replicas, on=["dataset_id", "site_id", "block_id"], maintain_order="left"
        )
        block_replicas = block_replicas.select(
            "block_id",
            index_of(block_replicas["dataset_id"], datasets["dataset_id"]).alias("dataset"),
            index_of(block_replicas["site_id"], self.sites["site_id"]).alias("site"),
            index_of(block_replicas["group_id"], self.groups["group_id"]).alias("group"),
            "size_bytes",
            "is_complete",
            pl.col("is_sound" if "is_sound" in block_replicas.columns else "is_complete").alias("is_sound"),
            pl.col("last_update_at").dt.epoch("us").alias("last_update"),
            "is_locked",
            "is_placeholder",
        ).sort("dataset", "site", "block_id")
        return assemble(block_replicas, datasets, self.sites, self.groups)


NAMES = tuple(field.name for field in fields(Evidence))
