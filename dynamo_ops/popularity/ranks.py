"""Usage of datasets: ``usage_rank``, ``num_access`` and ``last_access`` from the aggregated days (SEMANTICS §5)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.popularity.attributes import Produced

BYTES_PER_TB = 1e12
SECONDS_PER_DAY = 86_400


def usage_ranks(replicas: pl.DataFrame, accesses: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """One row (dataset_id, usage_rank) a dataset that has a replica; the higher, the less it is used.

    The mean, over the dataset's sites, of the days since the later of its last access there and the last update of the
    replica, less the size of the replica in TB. ``replicas``: dataset_id, site_id, size_bytes (of its blocks in full),
    last_update_at. ``accesses``: dataset_id, site_id, last_access_at; sites without a replica do not count.
    """
    idle_since = pl.max_horizontal("last_update_at", "last_access_at")
    idle_days = (pl.lit(now) - idle_since).dt.total_microseconds() / (SECONDS_PER_DAY * 1e6)
    here = replicas.join(accesses, on=["dataset_id", "site_id"], how="left")
    ranked = here.with_columns(rank=idle_days - pl.col("size_bytes") / BYTES_PER_TB)
    in_order = ranked.sort("dataset_id", "site_id").group_by("dataset_id", maintain_order=True)
    return in_order.agg(usage_rank=pl.col("rank").mean())  # in a fixed order: the same mean to the last bit


def produced_for(newest_day: date) -> datetime:
    """The moment that attributes describe: the end of the newest aggregated day, whatever the clock says.

    So the order in which days are filled in does not change the result.
    """
    return datetime.combine(newest_day, time(), UTC) + timedelta(days=1)


class UsageProducer:
    """Produces usage_rank, num_access (all aggregated days) and last_access (00:00 of the last day, unix seconds)."""

    name = "usage"
    attributes = ("usage_rank", "num_access", "last_access")

    def produce(self, snapshot: Snapshot) -> Produced:
        """The attributes as of the end of the newest aggregated day. Raises InventoryError if there is no such day."""
        newest = snapshot.frame(f"SELECT max(day) AS day FROM aggregated_days WHERE kind = '{PullKind.ACCESSES}'")[
            "day"
        ].item()
        if newest is None:
            raise InventoryError("no day of accesses has been aggregated yet, so the usage of datasets is unknown")
        as_of = produced_for(newest)
        accesses = snapshot.frame(_ACCESSES)
        ranks = usage_ranks(snapshot.frame(_REPLICAS), accesses, as_of)
        totals = accesses.group_by("dataset_id").agg(pl.col("num_accesses").sum(), pl.col("last_access_at").max())
        last_s = pl.col("last_access_at").dt.epoch("s")
        return Produced(
            as_of,
            {
                "usage_rank": ranks.select("dataset_id", value=pl.col("usage_rank")),
                "num_access": totals.select("dataset_id", value=pl.col("num_accesses").cast(pl.Float64)),
                "last_access": totals.select("dataset_id", value=last_s.cast(pl.Float64)),
            },
        )


_REPLICAS = """
    SELECT r.dataset_id, r.site_id::bigint AS site_id, sum(b.size_bytes)::bigint AS size_bytes,
           max(r.last_update_at) AS last_update_at
    FROM block_replicas AS r JOIN blocks AS b ON b.id = r.block_id
    GROUP BY r.dataset_id, r.site_id"""

_ACCESSES = """
    SELECT dataset_id, site_id::bigint AS site_id, sum(num_accesses)::bigint AS num_accesses,
           max(day)::timestamp AT TIME ZONE 'UTC' AS last_access_at
    FROM accesses_daily WHERE num_accesses > 0
    GROUP BY dataset_id, site_id"""
