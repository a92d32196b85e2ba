"""Circuit breakers: differences too many to be true, lists too short to be true. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from dynamo_ops.consistency.compare import Comparison
from dynamo_ops.consistency.settings import SiteRules, Threshold
from dynamo_ops.consistency.tally import ListSizes
from dynamo_ops.inventory.checks import FindingKind

TOLERATED_LOSS = 20
"""So many files may be gone from a list, or be all that a directory has lost, if it is not one of those listed: a small
site has few files at all."""


@dataclass(frozen=True)
class Earlier:
    """The last check that passed. Both sizes are counted by the same rules; ``deleted``: what Dynamo itself has deleted
    between the two, of the inventory's files and of the storage's."""

    listed_at: datetime
    before: ListSizes
    now: ListSizes
    deleted: ListSizes


def refusal(comparison: Comparison, rules: SiteRules, earlier: Earlier | None = None) -> str | None:
    """Why nothing may be done about these differences, in a sentence for a person; None when they may be repaired.

    Missing files and those of a wrong size count together, whether seen once or twice; orphans and what is to be
    deleted in unmanaged areas against the files on the storage. Lists that are empty or have shrunk since the
    ``earlier`` check, directories that have lost all, and more differences than can be named are refused whatever the
    thresholds.
    """
    return (
        _empty(comparison)
        or _lost(comparison, rules)
        or (_shrunken(earlier, rules) if earlier else None)
        or comparison.too_many
        or _too_many(comparison, rules)
    )


def _empty(comparison: Comparison) -> str | None:
    if comparison.num_expected and not comparison.num_stored:
        return f"the storage lists no file, the inventory {comparison.num_expected}"
    if comparison.num_unknown and not comparison.num_expected:
        return f"the inventory lists no file, the storage {comparison.num_stored}"
    return None


def _lost(comparison: Comparison, rules: SiteRules) -> str | None:
    for lost in comparison.lost:
        if lost.directory in rules.prefixes or lost.num_expected > TOLERATED_LOSS:
            return f"of {lost.num_expected} files below {lost.directory} the storage lists none: is it mounted?"
    return None


def _shrunken(earlier: Earlier, rules: SiteRules) -> str | None:
    before, now, deleted = earlier.before, earlier.now, earlier.deleted
    return _shorter("inventory", before.num_expected, now.num_expected, deleted.num_expected, earlier, rules) or (
        _shorter("storage", before.num_managed, now.num_managed, deleted.num_managed, earlier, rules)
    )


def _shorter(what: str, before: int, now: int, deleted: int, earlier: Earlier, rules: SiteRules) -> str | None:
    lost = before - now - deleted
    if lost <= TOLERATED_LOSS or lost <= rules.max_shrink * before:
        return None
    return (
        f"the {what} lists {now} files, {before} on {earlier.listed_at.astimezone(UTC):%Y-%m-%d}: beyond what Dynamo "
        f"deleted {lost} are gone, more than max_shrink allows ({rules.max_shrink:.2%}). If that is right, raise it "
        "for this site until a check has passed"
    )


def _too_many(comparison: Comparison, rules: SiteRules) -> str | None:
    num_wrong = _count(comparison, FindingKind.WRONG_SIZE)
    num_doubted = _count(comparison, FindingKind.MISSING) + num_wrong
    doubted = "missing or of a wrong size" if num_wrong else "missing"
    num_unmanaged = _count(comparison, FindingKind.UNMANAGED) if rules.delete_unmanaged else 0
    return (
        _exceeds(doubted, num_doubted, "max_missing", rules.max_missing, comparison.num_expected)
        or _exceeds(
            "orphan", _count(comparison, FindingKind.ORPHAN), "max_orphan", rules.max_orphan, comparison.num_stored
        )
        or _exceeds(
            "expired in unmanaged areas", num_unmanaged, "max_unmanaged", rules.max_unmanaged, comparison.num_stored
        )
    )


def _count(comparison: Comparison, kind: FindingKind) -> int:
    return comparison.findings.filter(pl.col("kind") == kind.value).height


def _exceeds(kinds: str, number: int, name: str, threshold: Threshold, total: int) -> str | None:
    allowed = threshold * total if isinstance(threshold, float) else threshold
    if number <= allowed:
        return None
    limit = f"{threshold:.2%} of {total}" if isinstance(threshold, float) else str(threshold)
    return f"{number} files {kinds}, more than {name} allows ({limit})"
