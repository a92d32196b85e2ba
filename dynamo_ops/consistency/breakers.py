"""Circuit breakers: differences too many to be true. Pure."""

from __future__ import annotations

import polars as pl

from dynamo_ops.consistency.compare import Comparison
from dynamo_ops.consistency.settings import SiteRules, Threshold


def refusal(comparison: Comparison, rules: SiteRules) -> str | None:
    """Why nothing may be done about these differences, in a sentence for a person; None when they may be repaired.

    Missing files count whether seen once or twice, orphans against the files on the storage. A storage without a single
    file, where some should be, is refused whatever the thresholds.
    """
    num_missing = _count(comparison, "missing")
    num_orphan = _count(comparison, "orphan")
    if comparison.num_expected and not comparison.num_stored:
        return f"the storage lists no file, the inventory {comparison.num_expected}"
    return _exceeds("missing", num_missing, rules.max_missing, comparison.num_expected) or _exceeds(
        "orphan", num_orphan, rules.max_orphan, comparison.num_stored
    )


def _count(comparison: Comparison, kind: str) -> int:
    return comparison.findings.filter(pl.col("kind") == kind).height


def _exceeds(kind: str, number: int, threshold: Threshold, total: int) -> str | None:
    allowed = threshold * total if isinstance(threshold, float) else threshold
    if number <= allowed:
        return None
    limit = f"{threshold:.2%} of {total}" if isinstance(threshold, float) else str(threshold)
    return f"{number} files {kind}, more than max_{kind} allows ({limit})"
