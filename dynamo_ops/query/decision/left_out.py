"""What a plan of Detox deletes and its commit kept after all, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.inventory.names import EVER_KNOWN_BLOCKS, EVER_KNOWN_DATASETS
from dynamo_ops.query.paging.condition import Conditions
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class LeftOutFilter:
    """Of which plan. ``sites``, ``datasets``: names or globs."""

    plan_id: int
    sites: Sequence[str] = ()
    datasets: Sequence[str] = ()


_LEFT_OUT = f"""
    SELECT kept.plan_id, kept.block_id, dataset.name COLLATE "C" AS dataset,
           coalesce(block.name, kept.block_id::text) COLLATE "C" AS block, site.name COLLATE "C" AS site,
           kept.size_bytes, kept.reason
    FROM detox_left_out AS kept JOIN {EVER_KNOWN_DATASETS} AS dataset ON dataset.id = kept.dataset_id
    LEFT JOIN {EVER_KNOWN_BLOCKS} AS block ON block.id = kept.block_id JOIN sites AS site ON site.id = kept.site_id"""


def _narrow(_connection: Connection, asked: LeftOutFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    conditions.add("listed.plan_id = :plan", plan=asked.plan_id)
    conditions.add_names("listed.site", asked.sites, "site")
    conditions.add_names("listed.dataset", asked.datasets, "dataset")
    return conditions


LEFT_OUT_BY_COMMIT: Listing[LeftOutFilter] = Listing(
    "block replicas that were left out",
    _LEFT_OUT,
    ("dataset", "block", "site", "size_bytes", "reason"),
    key=("dataset", "block", "site"),
    narrow=_narrow,
)
"""By name."""
