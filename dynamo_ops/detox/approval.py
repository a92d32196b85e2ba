"""A plan as the person sees it who may say no to it: what goes, why, what that cannot be undone, what is new. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from dynamo_ops.base.times import time_text
from dynamo_ops.base.units import size_text
from dynamo_ops.plan.store import StoredPlan

LARGEST = 10
"""How many dataset replicas are named, by size."""


def approval_text(
    plan: StoredPlan, deletions: pl.DataFrame, policy_lines: pl.DataFrame, before: StoredPlan | None = None
) -> str:
    """``plan`` in Markdown. ``deletions``, ``policy_lines``: its frames (``detox.facts.deletion_facts``,
    ``engine.plan.policy_lines``); ``before``: the plan of its partition that was committed last."""
    by_replica = _sums(deletions, "dataset", "site")
    by_replica = by_replica.sort("size_bytes", "dataset", "site", descending=[True, False, False])
    by_line = _sums(deletions, "line").join(policy_lines.select("line", "text"), on="line", how="left").sort("line")
    sites = [(site, *amount) for site, *amount in _sums(deletions, "site").sort("site").iter_rows()]
    lines = [(line, _code(text or ""), *amount) for line, *amount, text in by_line.iter_rows()]
    replicas = [(_code(dataset), site, *amount) for dataset, site, *amount in by_replica.head(LARGEST).iter_rows()]
    title = (
        f"Plan {plan.id} of *{plan.partition}*: {_amount(deletions)}, of {by_replica.height:,} dataset replicas, "
        f"at {len(sites)} sites."
    )
    is_cut = by_replica.height > LARGEST
    paragraphs = [
        [title],
        _table(["site"], sites),
        _table(["line", "policy"], lines),
        [f"The {LARGEST} largest of {by_replica.height:,}:"] if is_cut else [],
        _table(["dataset", "site"], replicas),
        _remarks(plan, deletions, before),
    ]
    return "\n\n".join("\n".join(paragraph) for paragraph in paragraphs if paragraph)


def _remarks(plan: StoredPlan, deletions: pl.DataFrame, before: StoredPlan | None) -> list[str]:
    last = deletions.filter("is_last_copy")
    remarks = [
        f"Last copies: {'none' if last.is_empty() else f'**{_amount(last)}**'}.",
        *_set_aside(plan.summary.get("set_aside", ())),
        _news(plan.summary, before),
        *plan.summary["warnings"],
        f"All of it: `dynamo plan show {plan.id}`; why: `dynamo detox explain DATASET SITE --plan {plan.id}`",
    ]
    return [f"- {remark}" for remark in remarks]


def _sums(deletions: pl.DataFrame, *by: str) -> pl.DataFrame:
    return deletions.group_by(by).agg(pl.len(), pl.col("size_bytes").sum())


def _amount(deletions: pl.DataFrame) -> str:
    return f"{deletions.height:,} block replicas, {size_text(int(deletions['size_bytes'].sum()))}"


def _code(text: str) -> str:
    """As it is written, also in a cell of a table."""
    return "`{}`".format(text.replace("|", r"\|").replace("`", "'"))


def _table(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Rows of names, a number of block replicas and their bytes; no lines where there are none."""
    titles = [*names, "block replicas", "size"]
    cells = [[*map(str, named), f"{number:,}", size_text(size)] for *named, number, size in rows]
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *cells)] if rows else []


def _set_aside(amounts: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"Set aside at {amount['site']}: {amount['num_block_replicas']:,} block replicas, "
        f"{size_text(amount['size_bytes'])}: {amount['set_aside']}"
        for amount in amounts
    ]


def _news(summary: Mapping[str, Any], before: StoredPlan | None) -> str:
    if before is None:
        return "No plan of this partition was committed before."
    number = summary["num_deletions"] - before.summary["num_deletions"]
    size = summary["deleted_bytes"] - before.summary["deleted_bytes"]
    sign = "-" if size < 0 else "+"
    return (
        f"Against plan {before.id}, made at {time_text(before.created_at)}, the last that was "
        f"committed: {number:+,} block replicas, {sign}{size_text(abs(size))}."
    )
