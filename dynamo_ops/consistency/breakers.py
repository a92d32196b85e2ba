"""Circuit breakers: differences too many to be true. Pure."""

from __future__ import annotations

import polars as pl

from dynamo_ops.consistency.compare import Comparison
from dynamo_ops.consistency.settings import SiteRules, Threshold
from dynamo_ops.inventory.checks import FindingKind


def refusal(comparison: Comparison, rules: SiteRules) -> str | None:
    """Why nothing may be done about these differences, in a sentence for a person; None when they may be repaired.

    Missing files and those of a wrong size count together, whether seen once or twice; orphans against the files on the
    storage. A storage without a single file, where some should be, is refused whatever the thresholds.
    """
    num_wrong = _count(comparison, FindingKind.WRONG_SIZE)
    num_doubted = _count(comparison, FindingKind.MISSING) + num_wrong
    num_orphan = _count(comparison, FindingKind.ORPHAN)
    if comparison.num_expected and not comparison.num_stored:
        return f"the storage lists no file, the inventory {comparison.num_expected}"
    doubted = "missing or of a wrong size" if num_wrong else "missing"
    return _exceeds(doubted, num_doubted, "max_missing", rules.max_missing, comparison.num_expected) or _exceeds(
        "orphan", num_orphan, "max_orphan", rules.max_orphan, comparison.num_stored
    )


def _count(comparison: Comparison, kind: FindingKind) -> int:
    return comparison.findings.filter(pl.col("kind") == kind.value).height


def _exceeds(kinds: str, number: int, name: str, threshold: Threshold, total: int) -> str | None:
    allowed = threshold * total if isinstance(threshold, float) else threshold
    if number <= allowed:
        return None
    limit = f"{threshold:.2%} of {total}" if isinstance(threshold, float) else str(threshold)
    return f"{number} files {kinds}, more than {name} allows ({limit})"
