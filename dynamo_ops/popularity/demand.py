"""Demand: ``request_weight``, jobs that were submitted to read a dataset, weighing less as they age (SEMANTICS §5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

import polars as pl

from dynamo_ops.base.settings import settings
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.popularity.attributes import Produced
from dynamo_ops.popularity.ranks import produced_for


def request_weights(demand: pl.DataFrame, newest: date, *, half_life_days: float, num_days: int) -> pl.DataFrame:
    """One row (dataset_id, request_weight) a dataset that jobs asked for in the last ``num_days`` before the end of
    ``newest``: the number of its jobs, those of ``newest`` with weight 1, halved for every ``half_life_days`` before.

    ``demand``: day, dataset_id, num_jobs.
    """
    age_days = (pl.lit(newest) - pl.col("day")).dt.total_days()
    recent = demand.filter((age_days >= 0) & (age_days < num_days))
    weighed = recent.with_columns(weight=pl.col("num_jobs") * (0.5 ** (age_days / half_life_days)))
    in_order = weighed.sort("dataset_id", "day").group_by("dataset_id", maintain_order=True)  # the same sum to the bit
    return in_order.agg(request_weight=pl.col("weight").sum())


@dataclass(frozen=True)
class DemandProducer:
    """Produces request_weight, in jobs. Says nothing as long as no day of demand has been aggregated."""

    half_life_days: float
    num_days: int
    name: ClassVar[str] = "demand"
    attributes: ClassVar[tuple[str, ...]] = ("request_weight",)

    def produce(self, snapshot: Snapshot) -> Produced | None:
        """The attribute as of the end of the newest aggregated day of demand."""
        newest = snapshot.frame(f"SELECT max(day) AS day FROM aggregated_days WHERE kind = '{PullKind.DEMAND}'")[
            "day"
        ].item()
        if newest is None:
            return None
        demand = snapshot.frame(_DEMAND, (newest, self.num_days))
        weights = request_weights(demand, newest, half_life_days=self.half_life_days, num_days=self.num_days)
        attribute = weights.select("dataset_id", value=pl.col("request_weight"))
        return Produced(produced_for(newest), {"request_weight": attribute})


def demand_producer() -> DemandProducer:
    """As the settings want it."""
    popularity = settings().popularity
    return DemandProducer(popularity.demand_half_life_days, popularity.demand_days)


_DEMAND = """
    SELECT day, dataset_id, sum(num_jobs)::bigint AS num_jobs FROM demand_daily
    WHERE day <= $1 AND day > $1::date - $2::int GROUP BY day, dataset_id ORDER BY day, dataset_id"""
