"""The last Detox cycle of a partition, as the plugins ``balancer`` and ``undertaker`` see it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.engine.plugin import DETOX_DECISIONS, DetoxCycle
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.states import PlanKind

FILE_COLUMNS = ("site", "dataset", "size", "decision", "reason")
DECISIONS = {
    **{name: name for name in ("delete", "keep", "protect", "ignore", "reowned")},
    "ignored": "ignore",
    "reowned_out": "reowned",
}
"""A decision as files spell it → as plans do."""
SHOWN = 3


def last_cycle(database: Database, partition: str) -> DetoxCycle | None:
    """What the newest committed Detox plan of the partition said.

    None when none was committed, or its frames are not there any more (archived).
    """
    plan = plan_store.last_committed(database, PlanKind.DETOX, partition)
    if plan is None:
        return None
    try:
        decisions, lines = plan.frame("replica_decisions"), plan.frame("policy_lines")
    except FileNotFoundError:
        return None
    reasons = lines.select(pl.col("line").cast(pl.Int64), reason=_condition("text"))
    named = decisions.with_columns(pl.col("line").cast(pl.Int64)).join(
        reasons, on="line", how="left", maintain_order="left"
    )
    return DetoxCycle(plan.id, _as_decisions(named))


def cycle_of_file(path: Path, frames: InventoryFrames) -> DetoxCycle:
    """What a file says: CSV, also gzipped, with the columns ``FILE_COLUMNS``; one row a dataset replica and decision.

    ``size`` in bytes; ``reason``: the condition of the policy line, empty for the default. InventoryError names what
    cannot be read, and the sites, datasets and decisions that are not known.
    """
    try:
        decisions = pl.read_csv(path, infer_schema=False)
    except (OSError, PolarsError) as error:
        raise InventoryError(f"{path}: the Detox decisions cannot be read: {error}", file=str(path)) from error
    missing = [name for name in FILE_COLUMNS if name not in decisions.columns]
    if missing:
        raise InventoryError(f"{path} lacks the columns {', '.join(missing)}", file=str(path), missing=missing)
    sites, datasets = frames.sites.select("site", "site_id"), frames.datasets.select("dataset", "dataset_id")
    spelt = pl.DataFrame({"decision": list(DECISIONS), "meant": list(DECISIONS.values())})
    decisions = decisions.with_columns(
        pl.col("decision").str.strip_chars().str.to_lowercase(), size_bytes=pl.col("size").cast(pl.Int64, strict=False)
    )
    for name, table in (("site", sites), ("dataset", datasets), ("decision", spelt)):
        _refuse_unknown(path, decisions, name, table)
        decisions = decisions.join(table, on=name, how="left", maintain_order="left")
    wrong = decisions.filter(pl.col("size_bytes").is_null())["size"]
    if len(wrong):
        raise InventoryError(f"{path}: size {wrong[0]!r} is no whole number of bytes", file=str(path), value=wrong[0])
    reason = pl.col("reason").str.strip_chars()
    named = decisions.with_columns(decision="meant", reason=pl.when(reason != "").then(reason))
    return DetoxCycle(None, _as_decisions(named))


def _condition(column: str) -> pl.Expr:
    """The text of a policy line without its verb; null where nothing is left."""
    text = pl.col(column).str.strip_chars()
    return pl.when(text.str.contains(r"\s")).then(text.str.replace(r"^\S+\s+", ""))


def _as_decisions(decisions: pl.DataFrame) -> pl.DataFrame:
    return decisions.select(pl.col(name).cast(kind) for name, kind in DETOX_DECISIONS.items())


def _refuse_unknown(path: Path, decisions: pl.DataFrame, name: str, table: pl.DataFrame) -> None:
    unknown = decisions.join(table, on=name, how="anti", nulls_equal=True)[name].fill_null("").unique().sort().to_list()
    if not unknown:
        return
    rest_text = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    shown_names = ", ".join(f"{unknown_name!r}" for unknown_name in unknown[:SHOWN])
    hint = near(unknown[0], table[name].to_list()) if table.height <= 10_000 else ""
    raise InventoryError(
        f"{path}: unknown {name} {shown_names}{rest_text}.{hint}", file=str(path), column=name, unknown=unknown
    )
