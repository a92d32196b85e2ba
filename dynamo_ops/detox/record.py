"""A Detox plan as it is read again: just made, from the database, or from a folder. Shown, compared, listed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from dynamo_ops.base.errors import PlanError
from dynamo_ops.detox.engine.evidence import NAMES as EVIDENCE
from dynamo_ops.detox.engine.evidence import PREFIX
from dynamo_ops.detox.engine.plan import DeletionPlan
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.replica.good import blocks_with_good
from dynamo_ops.plan.record import scan
from dynamo_ops.policy.language.enforcement import EnforcerRule, rules_text

PLAN_FILE, POLICY_FILE, RULES_FILE = "plan.json", "policy.txt", "enforcer.json"
FRAMES = ("decisions", "site_states", "policy_lines", "deletions", "groups")


@dataclass(frozen=True)
class PlanRecord:
    """A plan to be read. ``name``: what messages call it.

    ``decisions``, ``site_states``, ``policy_lines`` and ``warnings`` are those of ``DeletionPlan``. ``deletions``: one
    row per block replica that is deleted, at least dataset, site, block, size_bytes, is_last_copy (it has bytes, and no
    good copy of the block is left anywhere). Big frames are lazy: of a stored plan only the columns and
    rows asked for are read.
    ``groups``: group_id, group. Ids mean nothing outside the plan; names do. ``evidence``: frames of ``Evidence`` by
    name, none for a plan that was stored without; ``rules_text``: the enforcer rules that it was made under.
    """

    name: str
    partition: str
    now: datetime
    policy_text: str
    decisions: pl.LazyFrame
    site_states: pl.DataFrame
    policy_lines: pl.DataFrame
    deletions: pl.LazyFrame
    groups: pl.DataFrame
    warnings: tuple[str, ...]
    evidence: Mapping[str, pl.LazyFrame]
    rules_text: str


def new_record(
    plan: DeletionPlan,
    frames: InventoryFrames,
    rules: Sequence[EnforcerRule],
    *,
    name: str,
    policy_text: str,
) -> PlanRecord:
    """The record of a plan that was just made on ``frames`` under ``rules``."""
    return PlanRecord(
        name=name,
        partition=plan.partition,
        now=plan.now,
        policy_text=policy_text,
        decisions=plan.decisions.lazy(),
        site_states=plan.site_states,
        policy_lines=plan.policy_lines,
        deletions=_deletions(plan, frames).lazy(),
        groups=frames.groups.select("group_id", "group"),
        warnings=plan.warnings,
        evidence={name: getattr(plan.evidence, name).lazy() for name in EVIDENCE} if plan.evidence else {},
        rules_text=rules_text(rules),
    )


def _deletions(plan: DeletionPlan, frames: InventoryFrames) -> pl.DataFrame:
    """As the gate judges them: a last copy has bytes, and no good copy of its block stays."""
    deleted = plan.deletions
    is_last = (pl.col("size_bytes") > 0) & ~pl.col("block_id").is_in(blocks_with_good(frames, deleted).implode())
    return deleted.with_columns(is_last_copy=is_last)


def write_folder(folder: Path, record: PlanRecord) -> None:
    """Write a plan into ``folder``, which is made where it is not there: its frames as Parquet files, ``plan.json``
    (partition, now, warnings), ``policy.txt``. Raises PlanError when it cannot be written."""
    about = {"partition": record.partition, "now": record.now.isoformat(), "warnings": list(record.warnings)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FRAMES:
            getattr(record, name).lazy().collect().write_parquet(folder / f"{name}.parquet")
        for name, frame in record.evidence.items():
            frame.collect().write_parquet(folder / f"{PREFIX}{name}.parquet")
        (folder / RULES_FILE).write_text(record.rules_text, encoding="utf-8")
        (folder / POLICY_FILE).write_text(record.policy_text, encoding="utf-8")
        (folder / PLAN_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{folder}: the plan cannot be written: {error.strerror}", state=None) from error


def read_folder(folder: Path) -> PlanRecord:
    """The plan that ``write_folder`` wrote. Raises PlanError when there is none."""
    try:
        about = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
        now, partition, warnings = datetime.fromisoformat(about["now"]), about["partition"], about["warnings"]
        policy_text = (folder / POLICY_FILE).read_text(encoding="utf-8")
        rules = (folder / RULES_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(
            f"{folder}: no plan is there (a folder written by `dynamo detox plan --out` has a {PLAN_FILE})", state=None
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{folder / PLAN_FILE}: cannot be read as a plan: {error}", state=None) from error
    where = str(folder)
    return PlanRecord(
        name=where,
        partition=partition,
        now=now,
        policy_text=policy_text,
        decisions=scan_decisions(where),
        site_states=scan_site_states(where),
        policy_lines=scan(where, "policy_lines").collect(),
        deletions=scan(where, "deletions"),
        groups=scan(where, "groups").collect(),
        warnings=tuple(warnings),
        evidence=scan_evidence(where),
        rules_text=rules,
    )


def scan_decisions(location: str) -> pl.LazyFrame:
    """The plan's decisions; nothing is set aside in one that was stored when nothing was."""
    return _with_column(scan(location, "decisions"), "set_aside", pl.lit(None, dtype=pl.String))


def scan_site_states(location: str) -> pl.DataFrame:
    """The plan's sites before and after, likewise."""
    return _with_column(scan(location, "site_states"), "set_aside_bytes", pl.lit(0, dtype=pl.Int64)).collect()


def _with_column(frame: pl.LazyFrame, name: str, otherwise: pl.Expr) -> pl.LazyFrame:
    return frame if name in frame.collect_schema() else frame.with_columns(otherwise.alias(name))


def scan_evidence(location: str) -> Mapping[str, pl.LazyFrame]:
    """The frames of ``Evidence`` by name; none if the plan was stored without."""
    try:
        return {name: scan(location, PREFIX + name) for name in EVIDENCE}
    except PlanError:
        return {}
