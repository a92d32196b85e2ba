"""A plan in tables and figures: what the command line, a page and a program show of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from dynamo_ops.base.errors import UnknownPlanError
from dynamo_ops.base.glob import glob_matches, is_glob, texts_expr
from dynamo_ops.base.text import near
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report.decisions_file import decision_rows, spelt
from dynamo_ops.detox.report.explain import Explanation
from dynamo_ops.plan.states import DECISIONS, Decision


@dataclass(frozen=True)
class Amount:
    """So many dataset replicas (each counted if one of its block replicas is), block replicas, bytes on disk."""

    num_dataset_replicas: int
    num_block_replicas: int
    size_bytes: int


@dataclass(frozen=True)
class PlanOverview:
    """What a plan decides, small enough to be read by a person.

    ``lines``: one row per (decision, policy line), by decision: decision, line, text, num_dataset_replicas,
    num_block_replicas, size_bytes. ``sites``: one row per target site, by name: site, quota_bytes (null unknown, 0
    nothing may be there, negative unlimited), is_triggered, bytes_before, bytes_after, occupancy_before,
    occupancy_after (fractions; null unknown, infinite where the quota is 0), protected_fraction (of the quota; null
    where it is not above 0), deleted_bytes, set_aside_bytes. ``image``, ``deleted``: everything, and what is deleted.
    ``num_handovers``: block replicas that change owner. ``num_last_copy_datasets``: datasets of which a block has no
    good copy left anywhere.
    """

    image: Amount
    deleted: Amount
    num_sites: int
    num_handovers: int
    num_last_copy_datasets: int
    lines: pl.DataFrame
    sites: pl.DataFrame


@dataclass(frozen=True)
class FoundRows:
    """Some rows of a decisions file (``decision_rows``), with the number and the bytes of all that were found."""

    rows: pl.DataFrame
    num_rows: int
    size_bytes: int


def overview(record: PlanRecord) -> PlanOverview:
    """The figures of a plan; reads the columns of small types only."""
    groups = (
        record.decisions.group_by("decision", "line", "dataset_id", "site_id")
        .agg(
            num_block_replicas=pl.len(),
            size_bytes=pl.col("size_bytes").sum(),
            num_handovers=pl.col("new_group_id").count(),
        )
        .collect()
    )
    deleted = groups.filter(pl.col("decision") == Decision.DELETE)
    last = record.deletions.filter("is_last_copy").select(pl.col("dataset").n_unique()).collect()
    return PlanOverview(
        image=_amount(groups),
        deleted=_amount(deleted),
        num_sites=deleted["site_id"].n_unique(),
        num_handovers=int(groups["num_handovers"].sum()),
        num_last_copy_datasets=int(last.item()),
        lines=_lines(groups, record.policy_lines),
        sites=_sites(deleted, record.site_states),
    )


def deletion_order(record: PlanRecord, limit: int | None = None) -> pl.DataFrame:
    """The first deletions of the plan, in order: delete_order, dataset, site, line, num_block_replicas, size_bytes.

    ``delete_order``: from 1; one row per (deletion, line). Without ``limit`` all of them.
    """
    deletions = in_order(record)
    return (deletions if limit is None else deletions.head(limit)).collect()


def in_order(record: PlanRecord) -> pl.LazyFrame:
    """All rows of ``deletion_order``."""
    deleted = record.decisions.filter(pl.col("decision") == Decision.DELETE)
    return (
        deleted.group_by("delete_order", "dataset", "site", "line")
        .agg(num_block_replicas=pl.len(), size_bytes=pl.col("size_bytes").sum())
        .sort("delete_order", "dataset", "site", "line")
    )


def select_decisions(
    record: PlanRecord,
    *,
    site: str | None = None,
    dataset: str | None = None,
    decision: str | None = None,
    line: int | None = None,
) -> pl.LazyFrame:
    """Rows as ``decision_rows`` gives them, of these only. ``site`` and ``dataset`` may be globs."""
    decisions = _of_replicas(record, site, dataset)
    selected = decision_rows(decisions.select("dataset", "site", "block", "decision", "line", "size_bytes"))
    if decision is not None:
        selected = selected.filter(pl.col("decision") == {"ignore": "ignored"}.get(decision, decision))
    return selected if line is None else selected.filter(pl.col("line") == line)


def decided_datasets(
    record: PlanRecord,
    *,
    site: str | None = None,
    dataset: str | None = None,
    decision: str | None = None,
    line: int | None = None,
) -> pl.LazyFrame:
    """The column ``dataset`` of the datasets of which ``select_decisions`` has rows, each once or more often."""
    decisions = _of_replicas(record, site, dataset)
    if decision is not None:
        decisions = decisions.filter(pl.col("decision") == {"ignored": Decision.IGNORE.value}.get(decision, decision))
    if line is not None:
        decisions = decisions.filter(pl.col("line") == line)
    return decisions.select("dataset")


def _of_replicas(record: PlanRecord, site: str | None, dataset: str | None) -> pl.LazyFrame:
    if site is not None:
        _check_site(site, record.site_states["site"], record.name)
    decisions = record.decisions
    for column, wanted in (("site", site), ("dataset", dataset)):
        if wanted is not None:
            decisions = decisions.filter(_is_like(column, wanted))
    return decisions


def _check_site(site: str, site_names: Iterable[str], plan: str) -> None:
    """Raise UnknownPlanError, with near names, when ``site`` (a name or glob) means none of the plan's sites."""
    names = list(site_names)
    if not any(glob_matches(name, site) for name in names):
        raise UnknownPlanError(f"{plan} knows no site {site!r}.{near(site, names)}", site=site, state=None)


def first_rows(rows: pl.LazyFrame, limit: int) -> FoundRows:
    """The first ``limit`` of ``select_decisions``, and what all of them add up to."""
    decisions = rows.collect()
    return FoundRows(decisions.head(limit), decisions.height, int(decisions["size_bytes"].sum()))


def rows_document(found: FoundRows) -> dict[str, Any]:
    """The rows as a JSON document."""
    return {"num_rows": found.num_rows, "size_bytes": found.size_bytes, "rows": json_rows(found.rows)}


def plan_document(record: PlanRecord, found: PlanOverview) -> dict[str, Any]:
    """The plan's figures as a JSON document. An infinite or unknown occupancy is null (see its quota_bytes)."""
    return {
        "plan": record.name,
        "partition": record.partition,
        "now": record.now,
        "image": asdict(found.image),
        "deleted": asdict(found.deleted),
        "num_sites": found.num_sites,
        "num_handovers": found.num_handovers,
        "num_last_copy_datasets": found.num_last_copy_datasets,
        "lines": json_rows(found.lines),
        "sites": json_rows(found.sites),
        "warnings": list(record.warnings),
    }


def explanation_document(plan: PlanRecord, explanation: Explanation) -> dict[str, Any]:
    """The explanation as a JSON document."""
    return {
        "plan": plan.name,
        "partition": plan.partition,
        "now": plan.now,
        "dataset": explanation.dataset,
        "site": explanation.site,
        "moment": explanation.moment,
        "reasons": explanation.reasons,
        "hints": explanation.hints,
        "lines": [asdict(trial) for trial in explanation.trials],
        "decisions": json_rows(explanation.decisions),
        "copies": json_rows(explanation.copies),
        "site_state": json_rows(explanation.site_state)[0],
    }


def json_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a small frame for JSON: what is no finite number is null there."""
    return [
        {name: None if isinstance(cell, float) and not math.isfinite(cell) else cell for name, cell in row.items()}
        for row in frame.iter_rows(named=True)
    ]


def sorted_decisions(column: str = "decision") -> pl.Expr:
    """A sort key: decisions in the order of ``DECISIONS``, unknown ones last."""
    return pl.col(column).replace_strict(
        {name: number for number, name in enumerate(DECISIONS)}, default=len(DECISIONS), return_dtype=pl.Int8
    )


def _amount(groups: pl.DataFrame) -> Amount:
    return Amount(
        num_dataset_replicas=groups.select("dataset_id", "site_id").n_unique(),
        num_block_replicas=int(groups["num_block_replicas"].sum()),
        size_bytes=int(groups["size_bytes"].sum()),
    )


def _lines(groups: pl.DataFrame, policy_lines: pl.DataFrame) -> pl.DataFrame:
    return (
        groups.with_columns(decision=spelt("decision"))
        .group_by("decision", "line")
        .agg(
            num_dataset_replicas=pl.len(),
            num_block_replicas=pl.col("num_block_replicas").sum(),
            size_bytes=pl.col("size_bytes").sum(),
        )
        .join(policy_lines.select("line", "text"), on="line", how="left")
        .sort(sorted_decisions(), "line")
        .select("decision", "line", "text", "num_dataset_replicas", "num_block_replicas", "size_bytes")
    )


def _sites(deleted: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    by_site = deleted.group_by("site_id").agg(deleted_bytes=pl.col("size_bytes").sum())
    share = pl.when(pl.col("quota_bytes") > 0).then(pl.col("protected_bytes") / pl.col("quota_bytes"))
    return (
        states.join(by_site, on="site_id", how="left")
        .with_columns(pl.col("deleted_bytes").fill_null(0), protected_fraction=share)
        .sort("site")
        .select(
            "site",
            "quota_bytes",
            "is_triggered",
            "bytes_before",
            "bytes_after",
            "occupancy_before",
            "occupancy_after",
            "protected_fraction",
            "deleted_bytes",
            "set_aside_bytes",
        )
    )


def _is_like(column: str, wanted: str) -> pl.Expr:
    """Equality where ``wanted`` is no glob, so that a scan can leave out what it need not read."""
    return texts_expr([wanted], pl.col(column)) if is_glob(wanted) else pl.col(column) == wanted
