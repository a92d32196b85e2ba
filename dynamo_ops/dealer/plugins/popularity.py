"""Plugin ``popularity``: datasets that jobs wait for get more copies, the heaviest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.base.config_file import Terabytes
from dynamo_ops.base.errors import PolicyError, SettingsError
from dynamo_ops.base.units import TB
from dynamo_ops.dealer.engine.config import checked_settings
from dynamo_ops.dealer.engine.plugin import ProposalContext
from dynamo_ops.dealer.plugins.names import group_ids, owned_by
from dynamo_ops.dealer.plugins.proposal import REPLICA, as_proposals
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.evaluation.dataset import matching_datasets
from dynamo_ops.policy.language.check import check_condition
from dynamo_ops.policy.language.parse import parse_condition
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.language.variables import Scope

KEY = "plugins.popularity"
CONDITION = f"{KEY}.condition"
WEIGHT = "request_weight"
ANY_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
MOST_ASKED = 1e15
"""Beyond that, what a weight asks for is not a number for people."""


class PopularitySettings(BaseModel):
    """More copies of what jobs wait for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source_groups: tuple[str, ...] = Field(min_length=1)
    """At least one block replica of the dataset is owned by one of them; `None` is the null group."""
    max_dataset_size: Terabytes | None = Field(default=None, gt=0)
    """Of the whole dataset; without it no limit."""
    max_replication: int = Field(ge=1)
    """Dataset replicas that are wanted at most."""
    request_to_replica_threshold: float = Field(gt=0)
    """Request weight (jobs, weighed by age) that asks for one more replica."""
    condition: str | None = None
    """On `dataset` variables; without it all datasets."""


class PopularityPlugin:
    """``min(max_replication, ceil(request_weight / threshold)) − replicas`` copies (SEMANTICS §4).

    Replicas are all dataset replicas, of any site, tape, owner or fill.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = checked_settings(PopularitySettings, settings, file="", below=KEY)
        self._of_condition = self._attributes_of_condition()

    def attributes(self) -> tuple[str, ...]:
        """``request_weight``, and those of the condition."""
        return tuple(sorted({WEIGHT, *self._of_condition}))

    def needs_detox(self) -> bool:
        """No."""
        return False

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """One copy of each dataset that lacks some, the heaviest first, then a second one of each that lacks two, and
        so on. Ties by name. The engine draws the destinations. SettingsError when a group is unknown."""
        groups = group_ids(frames, self.settings.source_groups, key=f"{KEY}.source_groups")
        wanted = self._wanted(frames)
        if self.settings.condition is not None:
            meeting = matching_datasets(
                frames, self.settings.condition, now=context.now, max_age=context.attribute_max_age, file=CONDITION
            )
            wanted = wanted.filter(pl.col("dataset_id").is_in(meeting.implode()))
        owned = frames.block_replicas.lazy().filter(owned_by(groups)).select("dataset_id").unique().collect()
        wanted = self._small_enough(frames, wanted.join(owned, on="dataset_id", how="semi"))
        lacking = (
            wanted.join(_num_replicas(frames, wanted), on="dataset_id", how="left")
            .with_columns(pl.col("num_replicas").fill_null(0))
            .with_columns(num_lacking=pl.col("num_wanted") - pl.col("num_replicas"))
            .filter(pl.col("num_lacking") > 0)
            .join(frames.datasets.select("dataset_id", "dataset"), on="dataset_id")
        )
        rounds = lacking.with_columns(round=pl.int_ranges("num_lacking")).explode("round")
        ordered = rounds.sort("round", "weight", "dataset", descending=[False, True, False])
        return as_proposals(ordered.with_columns(reason=self._reason()))

    def _wanted(self, frames: InventoryFrames) -> pl.DataFrame:
        """``dataset_id``, ``weight``, ``num_asked`` (by the weight alone), ``num_wanted``, where it is above 0."""
        weights = frames.attribute_values.filter((pl.col("name") == WEIGHT) & pl.col("value").is_finite())
        asked = (pl.col("value") / self.settings.request_to_replica_threshold).ceil().clip(upper_bound=MOST_ASKED)
        most = float(self.settings.max_replication)
        return weights.select(
            "dataset_id",
            weight="value",
            num_asked=asked,
            num_wanted=pl.min_horizontal(asked, pl.lit(most)).cast(pl.Int64),
        ).filter(pl.col("num_wanted") > 0)

    def _small_enough(self, frames: InventoryFrames, wanted: pl.DataFrame) -> pl.DataFrame:
        if self.settings.max_dataset_size is None:
            return wanted
        sizes = (
            frames.blocks.filter(pl.col("dataset_id").is_in(wanted["dataset_id"].implode()))
            .group_by("dataset_id")
            .agg(pl.col("size_bytes").sum())
        )
        small = sizes.filter(pl.col("size_bytes") <= self.settings.max_dataset_size * TB)
        return wanted.join(small, on="dataset_id", how="semi")

    def _reason(self) -> pl.Expr:
        return pl.format(
            "request weight {}, threshold {}: {} copies wanted (at most {}), {} there",
            pl.col("weight").round(2),
            pl.lit(f"{self.settings.request_to_replica_threshold:g}"),
            pl.col("num_asked").cast(pl.Int64),
            pl.lit(self.settings.max_replication),
            "num_replicas",
        )

    def _attributes_of_condition(self) -> tuple[str, ...]:
        if self.settings.condition is None:
            return ()
        source = SourceText(CONDITION, self.settings.condition)
        try:
            tree = parse_condition(source.text, source=source)
            checked = check_condition(tree, source=source, now=ANY_MOMENT, scopes=frozenset({Scope.DATASET}))
            return tuple(name for variable in checked.variables() for name in variable.attributes)
        except PolicyError as error:
            raise SettingsError(error.message, file="", key=CONDITION, reason=error.message) from error


def _num_replicas(frames: InventoryFrames, datasets: pl.DataFrame) -> pl.DataFrame:
    """``dataset_id``, ``num_replicas``: sites that have a dataset replica, also an empty one, or a block replica."""
    of_these = pl.col("dataset_id").is_in(datasets["dataset_id"].implode())
    tables = (frames.dataset_replicas.lazy(), frames.block_replicas.lazy())
    dataset_replicas = pl.concat([table.filter(of_these).select(REPLICA) for table in tables]).unique().collect()
    return dataset_replicas.group_by("dataset_id").agg(num_replicas=pl.len().cast(pl.Int64))
