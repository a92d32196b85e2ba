"""Two lists → what differs (SEMANTICS §7). ``matching`` finds the files that differ; here is what follows of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from dynamo_ops.base.spans import span
from dynamo_ops.base.times import time_text
from dynamo_ops.consistency.clocks import NO_CLOCKS, Clocks, future_fault
from dynamo_ops.consistency.freshness import ALL_KNOWN, Knowledge
from dynamo_ops.consistency.matching.differences import MAX_CANDIDATES, Differences, differences
from dynamo_ops.consistency.matching.file_list import FileList
from dynamo_ops.consistency.settings import SiteRules, UnmanagedArea
from dynamo_ops.consistency.tally import (
    InventoryTally,
    StorageTally,
    below,
    by_directory,
    idle_ignores,
    is_managed,
)
from dynamo_ops.inventory.checks import UNKNOWN_TO_INVENTORY, FindingKind, FindingState

FINDINGS = {
    "kind": pl.String,
    "state": pl.String,
    "lfn": pl.String,
    "size_bytes": pl.Int64,
    "modified_at": pl.Datetime("us", "UTC"),
    "file_id": pl.Int64,
    "reason": pl.String,
}


PREVIOUS = {"kind": pl.String, "lfn": pl.String, "size_bytes": pl.Int64}

AGED = (*UNKNOWN_TO_INVENTORY, FindingKind.WRONG_SIZE)
"""Kinds of findings that rest on how old the file on the storage is."""


@dataclass(frozen=True)
class LostDirectory:
    """An LFN directory below which no expected file is left."""

    directory: str
    num_expected: int


@dataclass(frozen=True)
class Comparison:
    """``findings`` (``FINDINGS``): one row a file, by kind and LFN; state ``seen`` the first time, ``found`` the
    second. What stays whatever the number of sights is ``seen``, with the reason.

    ``num_expected``: files that should be there; ``num_stored``: files that are, both outside ignored directories.
    ``num_unknown``: of these last, those that the inventory does not know here; ``num_managed``: those outside of
    unmanaged areas. ``lost``: listed directories, and those one below, that have lost everything. ``idle_ignores``:
    entries of ``ignore`` that no file on either side is in. ``kept_because``: clocks that differ, metadata that are
    stale: no file goes that the inventory does not know. ``too_many``: a sentence, where more files differ than can be
    named: then findings are a sample, all of them ``seen``.
    """

    findings: pl.DataFrame
    num_expected: int
    num_stored: int
    num_unknown: int = 0
    num_managed: int = 0
    lost: tuple[LostDirectory, ...] = ()
    idle_ignores: tuple[str, ...] = ()
    kept_because: tuple[str, ...] = ()
    too_many: str | None = None


@span("consistency.compare")
def compare(
    inventory: FileList,
    storage: FileList,
    previous: pl.DataFrame,
    rules: SiteRules,
    listed_at: datetime,
    known: Knowledge = ALL_KNOWN,
    clocks: Clocks = NO_CLOCKS,
    max_candidates: int = MAX_CANDIDATES,
) -> Comparison:
    """What differs between the inventory's list and the storage's.

    ``previous`` (``PREVIOUS``): the findings of the last check of this site, without what was deleted then.
    ``listed_at``: when the storage listing began, against which the age of files is measured; a file without a time
    counts as new.
    """
    expected = InventoryTally(rules, rules.prefixes)
    stored = StorageTally(
        rules,
        matters=_is_too_old(rules, listed_at),
        limit=clocks.ended_at + rules.clock_tolerance if clocks.ended_at else None,
    )
    differing = differences(inventory, storage, expected.watch, stored.watch, max_candidates=max_candidates)
    missing = _missing(differing)
    loose = differing.only_storage
    too_many = _too_many(differing, max_candidates)
    fault = clocks.fault or (future_fault(*stored.newest[::-1]) if stored.newest else None)

    def judged(one_kind: pl.DataFrame) -> pl.DataFrame:
        findings = _confirmed(one_kind, previous.clear() if too_many else previous)
        if fault:
            findings = _held_back(findings, pl.col("kind").is_in(AGED), pl.lit(fault))
        return _known_too_little(findings, known, rules.ignore_age).select(list(FINDINGS)).sort("lfn")

    kinds = (
        missing,
        _orphans(loose, rules, listed_at),
        _unmanaged(loose, rules, listed_at),
        _wrong_sizes(differing, listed_at - rules.ignore_age),
    )  # by their names; one after the other takes less memory than all at once
    return Comparison(
        findings=pl.concat([judged(one_kind) for one_kind in kinds]),
        num_expected=expected.num_expected,
        num_stored=stored.num_stored - differing.repeated.height,
        num_unknown=loose.height + differing.num_unheard,
        num_managed=stored.num_managed - differing.repeated.filter(is_managed(rules)).height,
        lost=_lost(expected, missing),
        idle_ignores=idle_ignores(rules, (expected.scope, stored.scope)),
        kept_because=tuple(why for why in (fault, known.stale_because) if why),
        too_many=too_many,
    )


def _too_many(differing: Differences, max_candidates: int) -> str | None:
    if differing.sampled == 1:
        return None
    here, there = differing.num_candidates
    return (
        f"some {here:,} files of the inventory's list and {there:,} of the storage's are not alike: more than can be "
        f"told by name ({max_candidates:,}). One in {1 / differing.sampled:,.0f} was looked at"
    )


def _missing(differing: Differences) -> pl.DataFrame:
    """Not on storage, though nothing is pending for them."""
    return _differing(differing.only_inventory.filter(_IS_DUE), FindingKind.MISSING)


_IS_DUE = pl.col("is_present") & ~pl.col("is_pending")


def _wrong_sizes(differing: Differences, before: datetime) -> pl.DataFrame:
    """At both places, not alike, and not being written: nothing is pending, and it is older than ``before``."""
    wrong = differing.other_size.filter(_IS_DUE, (pl.col("modified_at") < before).fill_null(True))
    why = pl.format("the storage has {} bytes", "size_bytes_stored")
    return _differing(wrong.with_columns(reason=why), FindingKind.WRONG_SIZE)


def _orphans(loose: pl.DataFrame, rules: SiteRules, listed_at: datetime) -> pl.DataFrame:
    """Old enough files that no block here, present or to come, has; outside the unmanaged areas."""
    return _differing(loose.filter(is_managed(rules), _older(listed_at, rules.ignore_age)), FindingKind.ORPHAN)


def _unmanaged(loose: pl.DataFrame, rules: SiteRules, listed_at: datetime) -> pl.DataFrame:
    """Files of the unmanaged areas past their age. An area inside another follows its own age: the longest prefix."""
    frames = [pl.DataFrame(schema=_DIFFERING)]
    left = loose
    for area in _innermost_first(rules):
        inside = below(area.prefix)
        frames.append(_differing(left.filter(inside, _older(listed_at, area.max_age)), FindingKind.UNMANAGED))
        left = left.filter(~inside)
    return pl.concat(frames)


def _is_too_old(rules: SiteRules, listed_at: datetime) -> pl.Expr:
    """Whether a file is an orphan, or an unmanaged one past its age, should the inventory not know it."""
    by_area = pl.lit(False)
    for area in reversed(_innermost_first(rules)):
        by_area = pl.when(below(area.prefix)).then(_older(listed_at, area.max_age)).otherwise(by_area)
    return pl.when(is_managed(rules)).then(_older(listed_at, rules.ignore_age)).otherwise(by_area)


def _innermost_first(rules: SiteRules) -> list[UnmanagedArea]:
    return sorted(rules.unmanaged, key=lambda area: -len(area.prefix))


_DIFFERING: dict[str, Any] = {name: kind for name, kind in FINDINGS.items() if name != "state"}


def _differing(files: pl.DataFrame, kind: FindingKind) -> pl.DataFrame:
    empty = {name: pl.lit(None) for name in _DIFFERING if name not in files.columns}
    return files.with_columns(**(empty | {"kind": pl.lit(kind.value)})).select(list(_DIFFERING)).cast(_DIFFERING)  # type: ignore[arg-type]


def _confirmed(differing: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """With ``state``: found when the previous check said the same of the same file, else seen."""
    again = previous.select(list(PREVIOUS)).unique().with_columns(again=True)
    state = pl.when("again").then(pl.lit(FindingState.FOUND.value)).otherwise(pl.lit(FindingState.SEEN.value))
    return differing.join(again, on=list(PREVIOUS), how="left", maintain_order="left").with_columns(state=state)


def _known_too_little(findings: pl.DataFrame, known: Knowledge, margin: timedelta) -> pl.DataFrame:
    """Files that the inventory may just not have been told of stay: all, while metadata are stale; else the young."""
    is_loose = pl.col("kind").is_in(UNKNOWN_TO_INVENTORY)
    if known.stale_because:
        return _held_back(findings, is_loose, pl.lit(known.stale_because))
    if known.until is None:
        return findings
    until = time_text(known.until)
    why = pl.format(
        "written {}, and metadata are in until {}: it may not have been told yet",
        pl.col("modified_at").dt.strftime("%Y-%m-%dT%H:%MZ"),
        pl.lit(until),
    )
    return _held_back(findings, is_loose & (pl.col("modified_at") >= known.until - margin), why)


def _held_back(findings: pl.DataFrame, which: pl.Expr, why: pl.Expr) -> pl.DataFrame:
    reason = pl.concat_str([pl.col("reason"), why], separator="; ", ignore_nulls=True)
    return findings.with_columns(
        state=pl.when(which).then(pl.lit(FindingState.SEEN.value)).otherwise("state"),
        reason=pl.when(which).then(reason).otherwise("reason"),
    )


def _lost(expected: InventoryTally, missing: pl.DataFrame) -> tuple[LostDirectory, ...]:
    """The prefixes, and the directories in them, of whose expected files all are missing."""
    lost = {
        LostDirectory(directory, number)
        for prefix, directories in expected.directories.items()
        for directory, number in by_directory(missing, prefix).items()
        if directories[directory] == number
    }
    return tuple(sorted(lost, key=lambda one: one.directory))


def _older(listed_at: datetime, age: timedelta) -> pl.Expr:
    return pl.col("modified_at") < listed_at - age
