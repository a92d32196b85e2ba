"""A plan as the person sees it who may say no to it: what goes, why, what that cannot be undone, what is new. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

import polars as pl

from dynamo_ops.base.units import size_text
from dynamo_ops.plan.store import StoredPlan

LARGEST = 10
"""How many dataset replicas are named, by size."""


def approval_text(
    plan: StoredPlan, deletions: pl.DataFrame, policy_lines: pl.DataFrame, before: StoredPlan | None = None
) -> str:
    """``plan`` in Markdown. ``deletions``, ``policy_lines``: its frames (``detox.facts.deletion_facts``,
    ``engine.plan.policy_lines``); ``before``: the plan of its partition that was committed last."""
    replicas = _sums(deletions, "dataset", "site").sort("size_bytes", "dataset", "site", descending=[True, False, False])
    lines = _sums(deletions, "line").join(policy_lines.select("line", "text"), on="line", how="left").sort("line")
    last = deletions.filter("is_last_copy")
    number, size = deletions.height, _size(deletions)
    paragraphs = [
        [f"Plan {plan.id} of *{plan.partition}*: {number:,} block replicas, {size}, of {replicas.height:,} dataset "
         f"replicas, at {deletions['site'].n_unique()} sites."],
        _table(
            ("site", "block replicas", "size"),
            (
                (site, f"{number:,}", size_text(size_bytes))
                for site, number, size_bytes in _sums(deletions, "site").sort("site").iter_rows()
            ),
        ),
        _table(
            ("line", "policy", "block replicas", "size"),
            (
                (line, _code(text or ""), f"{number:,}", size_text(size_bytes))
                for line, number, size_bytes, text in lines.iter_rows()
            ),
        ),
        [f"The {LARGEST} largest of {replicas.height:,}:"] if replicas.height > LARGEST else [],
        _table(
            ("dataset", "site", "block replicas", "size"),
            (
                (_code(dataset), site, f"{number:,}", size_text(size_bytes))
                for dataset, site, number, size_bytes in replicas.head(LARGEST).iter_rows()
            ),
        ),
        [
            f"- Last copies: {f'**{last.height:,} block replicas, {_size(last)}**' if last.height else 'none'}.",
            *_set_aside(plan.summary.get("set_aside", ())),
            _news(plan.summary, before),
            *(f"- {warning}" for warning in plan.summary["warnings"]),
            f"- All of it: `dynamo plan show {plan.id}`; why: `dynamo detox explain {plan.partition} DATASET SITE`",
        ],
    ]  # fmt: skip
    return "\n\n".join("\n".join(paragraph) for paragraph in paragraphs if paragraph)


def _sums(deletions: pl.DataFrame, *by: str) -> pl.DataFrame:
    return deletions.group_by(by).agg(pl.len(), pl.col("size_bytes").sum())


def _size(deletions: pl.DataFrame) -> str:
    return size_text(int(deletions["size_bytes"].sum()))


def _code(text: str) -> str:
    """As it is written, also in a cell of a table."""
    return f"`{text.replace('|', chr(92) + '|').replace('`', chr(39))}`"


def _table(head: Iterable[str], rows: Iterable[tuple[object, ...]]) -> list[str]:
    """No lines where there are no rows."""
    cells = [" | ".join(map(str, row)) for row in rows]
    names = list(head)
    return [f"| {row} |" for row in (" | ".join(names), " | ".join("---" for _ in names), *cells)] if cells else []


def _set_aside(amounts: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"- Set aside at {amount['site']}: {amount['num_block_replicas']:,} block replicas, "
        f"{size_text(amount['size_bytes'])}: {amount['set_aside']}"
        for amount in amounts
    ]


def _news(summary: Mapping[str, Any], before: StoredPlan | None) -> str:
    if before is None:
        return "- No plan of this partition was committed before."
    number = summary["num_deletions"] - before.summary["num_deletions"]
    size = summary["deleted_bytes"] - before.summary["deleted_bytes"]
    sign = "-" if size < 0 else "+"
    return (
        f"- Against plan {before.id}, made at {before.created_at.astimezone(UTC):%Y-%m-%dT%H:%MZ} and the last that was "
        f"committed: {number:+,} block replicas, {sign}{size_text(abs(size))}."
    )
