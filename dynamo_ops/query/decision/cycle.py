"""What plans of both engines did, cycle by cycle: to datasets that a glob matches, of a partition, at sites; newest
first."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import history as dealer
from dynamo_ops.detox import history as detox
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.query.paging.condition import check_words

MOST = 10_000
"""Rows that an answer over REST has: who asks narrows it."""

Rows = list[dict[str, Any]]


def of_datasets(
    database: Database, dataset: str, *, since: datetime, site: str | None, most: int | None = None
) -> Rows:
    """What both did: at, plan_id, partition, dataset, site, decision (``copy`` too), num_blocks, size_bytes, line,
    policy_line, reasons (of a copy the plugin and why; why something was left out). ``dataset``, ``site``: a name or
    glob. Raises UnknownNameError, and InventoryError where there are more than ``most``, of which no more are read."""
    cut = None if most is None else most + 1
    decided = detox.dataset_history(database, dataset, since=since, site=site, most=cut)
    copied = _as_decisions(dealer.dataset_history(database, dataset, since=since, site=site, most=cut))
    both = pl.concat([decided, copied], how="diagonal_relaxed")
    if most is not None and both.height > most:
        raise InventoryError(f"these are more than {most:,} rows: narrow it", num_rows=most)
    return both.sort("at", descending=True, maintain_order=True).to_dicts()


def of_partition(database: Database, partition: str, *, kind: str, since: datetime, most: int | None = None) -> Rows:
    """The cycles of an engine, refused ones too, with what their commits did. Raises UnknownPlanError where the
    partition has no plan, and InventoryError where there are more than ``most``."""
    check_words([kind], PlanKind, "kind of a plan")
    plan_store.check_partition(database, partition)
    of_engine = dealer.cycle_history if kind == PlanKind.DEALER else detox.cycle_history
    return _rows(of_engine(database, partition, since=since), most)


def of_sites(database: Database, site: str, *, since: datetime, partition: str | None, most: int | None = None) -> Rows:
    """Sites (a name or glob) before and after each cycle of Detox. Raises UnknownNameError, UnknownPlanError, and
    InventoryError where there are more than ``most``."""
    if partition is not None:
        plan_store.check_partition(database, partition)
    return _rows(detox.site_history(database, site, since=since, partition=partition), most)


def _rows(history: pl.DataFrame, most: int | None) -> Rows:
    if most is not None and history.height > most:
        raise InventoryError(
            f"these are {history.height:,} rows, and {most:,} are the most: narrow it", num_rows=history.height
        )
    return history.to_dicts()


def _as_decisions(copied: pl.DataFrame) -> pl.DataFrame:
    """What the Dealer did, in the columns of what Detox did: decision ``copy``, the plugin's reason, what was left."""
    left = pl.format("; left out: {} of {} blocks: {}", "num_left_out", "num_blocks", "left_out").fill_null("")
    return copied.select(
        "at",
        "partition",
        "dataset",
        "site",
        "num_blocks",
        "size_bytes",
        "plan_id",
        decision=pl.lit("copy"),
        reasons=pl.format("{}: {}", "plugin", "reason") + left,
    )
