"""Two lists → what differs. Pure (SEMANTICS §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from dynamo_ops.base.spans import span
from dynamo_ops.base.times import time_text
from dynamo_ops.consistency.clocks import NO_CLOCKS, Clocks, future_fault
from dynamo_ops.consistency.freshness import ALL_KNOWN, Knowledge
from dynamo_ops.consistency.patterns import is_ignored
from dynamo_ops.consistency.settings import SiteRules
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
class ListSizes:
    """Files that should be there, and files that are there outside the unmanaged areas; neither counts what is
    ignored."""

    num_expected: int
    num_managed: int


@dataclass(frozen=True)
class Comparison:
    """``findings`` (``FINDINGS``): one row a file, by kind and LFN; state ``seen`` the first time, ``found`` the
    second. What stays whatever the number of sights is ``seen``, with the reason.

    ``num_expected``: files that should be there; ``num_stored``: files that are, both outside ignored directories.
    ``num_unknown``: of these last, those that the inventory does not know here; ``num_managed``: those outside of
    unmanaged areas. ``lost``: listed directories, and those one below, that have lost everything. ``idle_ignores``:
    entries of ``ignore`` that no file on either side is in. ``kept_because``: clocks that differ, metadata that are
    stale: no file goes that the inventory does not know.
    """

    findings: pl.DataFrame
    num_expected: int
    num_stored: int
    num_unknown: int = 0
    num_managed: int = 0
    lost: tuple[LostDirectory, ...] = ()
    idle_ignores: tuple[str, ...] = ()
    kept_because: tuple[str, ...] = ()


@span("consistency.compare")
def compare(
    inventory: pl.LazyFrame,
    storage: pl.LazyFrame,
    previous: pl.DataFrame,
    rules: SiteRules,
    listed_at: datetime,
    known: Knowledge = ALL_KNOWN,
    clocks: Clocks = NO_CLOCKS,
) -> Comparison:
    """What differs between the inventory's list and the storage's.

    ``previous`` (``PREVIOUS``): the findings of the last check of this site, without what was deleted then.
    ``listed_at``: when the storage listing began, against which the age of files is measured; a file without a time
    counts as new.
    """
    inventory_here, storage_here = _inside(inventory, rules.prefixes), _inside(storage, rules.prefixes)
    expected = _not_ignored(inventory_here, rules).filter("is_present").collect()
    stored = _not_ignored(storage_here, rules).unique("lfn").collect()
    loose = stored.join(inventory_here.select("lfn").collect(), on="lfn", how="anti")
    missing = _missing(expected, stored)
    differing = [
        missing,
        _wrong_sizes(expected, stored, listed_at - rules.ignore_age),
        _orphans(loose, rules, listed_at),
        _unmanaged(loose, rules, listed_at),
    ]
    findings = _confirmed(pl.concat(differing), previous)
    fault = clocks.fault or _future(stored, clocks.ended_at, rules.clock_tolerance)
    if fault:
        findings = _held_back(findings, pl.col("kind").is_in(AGED), pl.lit(fault))
    return Comparison(
        findings=_known_too_little(findings, known, rules.ignore_age).select(list(FINDINGS)).sort("kind", "lfn"),
        num_expected=expected.height,
        num_stored=stored.height,
        num_unknown=loose.height,
        num_managed=stored.filter(_is_managed(rules)).height,
        lost=_lost(expected.filter(~pl.col("is_pending")), missing, rules.prefixes),
        idle_ignores=_idle((inventory_here, storage_here), rules),
        kept_because=tuple(why for why in (fault, known.stale_because) if why),
    )


def _missing(expected: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Not on storage, though nothing is pending for them."""
    return _differing(expected.filter(~pl.col("is_pending")).join(stored, on="lfn", how="anti"), FindingKind.MISSING)


def _wrong_sizes(expected: pl.DataFrame, stored: pl.DataFrame, before: datetime) -> pl.DataFrame:
    """At both places, not alike, and not being written: nothing is pending, and it is older than ``before``."""
    both = expected.filter(~pl.col("is_pending")).join(stored, on="lfn", suffix="_stored")
    wrong = both.filter(
        pl.col("size_bytes") != pl.col("size_bytes_stored"), (pl.col("modified_at") < before).fill_null(True)
    )
    why = pl.format("the storage has {} bytes", "size_bytes_stored")
    return _differing(wrong.with_columns(reason=why), FindingKind.WRONG_SIZE)


def _orphans(loose: pl.DataFrame, rules: SiteRules, listed_at: datetime) -> pl.DataFrame:
    """Old enough files that no block here, present or to come, has; outside the unmanaged areas."""
    return _differing(_older(loose.filter(_is_managed(rules)), listed_at, rules.ignore_age), FindingKind.ORPHAN)


def _unmanaged(loose: pl.DataFrame, rules: SiteRules, listed_at: datetime) -> pl.DataFrame:
    """Files of the unmanaged areas past their age. An area inside another follows its own age: the longest prefix."""
    frames = [pl.DataFrame(schema=_DIFFERING)]
    left = loose
    for area in sorted(rules.unmanaged, key=lambda area: -len(area.prefix)):
        inside = pl.col("lfn").str.starts_with(f"{area.prefix}/")
        frames.append(_differing(_older(left.filter(inside), listed_at, area.max_age), FindingKind.UNMANAGED))
        left = left.filter(~inside)
    return pl.concat(frames)


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


def _future(stored: pl.DataFrame, ended_at: datetime | None, tolerance: timedelta) -> str | None:
    """The newest file that was changed after the listing ended, in a sentence."""
    if ended_at is None:
        return None
    newest = stored.filter(pl.col("modified_at") > ended_at + tolerance).sort("modified_at", "lfn").tail(1)
    return None if newest.is_empty() else future_fault(newest["lfn"].item(), newest["modified_at"].item())


def _lost(expected: pl.DataFrame, missing: pl.DataFrame, prefixes: Sequence[str]) -> tuple[LostDirectory, ...]:
    """The prefixes, and the directories in them, of whose expected files all are missing."""
    lost: set[LostDirectory] = set()
    for prefix in prefixes:
        gone = _by_directory(missing, prefix).join(_by_directory(expected, prefix), on=["directory", "len"])
        lost |= {LostDirectory(directory, number) for directory, number in gone.iter_rows()}
    return tuple(sorted(lost, key=lambda one: one.directory))


def _by_directory(files: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """How many files are below the prefix, and below each directory in it."""
    lfns = files.lazy().select("lfn").filter(pl.col("lfn").str.starts_with(f"{prefix}/"))
    child = pl.lit(f"{prefix}/") + pl.col("lfn").str.slice(len(prefix) + 1).str.extract("^([^/]+)/", 1)
    directories = [lfns.with_columns(directory=pl.lit(prefix)), lfns.with_columns(directory=child)]
    return pl.concat(directories).drop_nulls().group_by("directory").len().collect()


def _idle(lists: Sequence[pl.LazyFrame], rules: SiteRules) -> tuple[str, ...]:
    """The entries of ``ignore`` that left nothing out."""
    if not rules.ignore:
        return ()
    entries = {str(number): is_ignored(pl.col("lfn"), entry).any() for number, entry in enumerate(rules.ignore)}
    used = pl.concat([one.select(**entries).collect() for one in lists]).select(pl.all().any())
    return tuple(entry for entry, is_used in zip(rules.ignore, used.row(0), strict=True) if not is_used)


def list_sizes(inventory: pl.LazyFrame, storage: pl.LazyFrame, rules: SiteRules) -> ListSizes:
    """How long two lists are by these rules; without holding them in memory."""
    expected = _not_ignored(_inside(inventory, rules.prefixes), rules).filter("is_present")
    managed = _not_ignored(_inside(storage, rules.prefixes), rules).filter(_is_managed(rules))
    return ListSizes(*(one.select(pl.len()).collect(engine="streaming").item() for one in (expected, managed)))


def _is_managed(rules: SiteRules) -> pl.Expr:
    areas = [pl.col("lfn").str.starts_with(f"{area.prefix}/") for area in rules.unmanaged]
    return ~pl.any_horizontal(areas) if areas else pl.lit(True)


def _older(files: pl.DataFrame, listed_at: datetime, age: timedelta) -> pl.DataFrame:
    return files.filter(pl.col("modified_at") < listed_at - age)


def _inside(files: pl.LazyFrame, prefixes: Sequence[str]) -> pl.LazyFrame:
    return files.filter(pl.any_horizontal([pl.col("lfn").str.starts_with(f"{prefix}/") for prefix in prefixes]))


def _not_ignored(files: pl.LazyFrame, rules: SiteRules) -> pl.LazyFrame:
    ignored = [is_ignored(pl.col("lfn"), entry) for entry in rules.ignore]
    return files.filter(~pl.any_horizontal(ignored)) if ignored else files
