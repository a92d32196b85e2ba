"""What is counted of all lines of a list by the rules of a site, while they pass in batches; none is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from dynamo_ops.consistency.matching.differences import Concern
from dynamo_ops.consistency.matching.file_list import FileList
from dynamo_ops.consistency.patterns import is_ignored
from dynamo_ops.consistency.settings import SiteRules

LFN = pl.col("lfn")


@dataclass(frozen=True)
class ListSizes:
    """Files that should be there, and files that are there outside the unmanaged areas; neither counts what is
    ignored."""

    num_expected: int
    num_managed: int


class Scope:
    """Which lines of a list are compared at all: those below the prefixes that are not ignored.

    ``used``: the entries of ``ignore`` that have left something out.
    """

    def __init__(self, rules: SiteRules) -> None:
        self._inside = pl.any_horizontal([below(prefix) for prefix in rules.prefixes])
        self._ignored = {entry: is_ignored(LFN, entry) for entry in rules.ignore}
        self.used: set[str] = set()

    def counts(self, lines: pl.DataFrame) -> pl.Series:
        """Whether each of these lines is compared."""
        inside: pl.Series = lines.select(inside=self._inside).to_series()
        if not self._ignored:
            return inside
        names = lines.select(LFN)
        by_entry = names.select(**{str(number): expr for number, expr in enumerate(self._ignored.values())})
        left_out = [by_entry[str(number)] & inside for number in range(len(self._ignored))]
        for entry, which in zip(self._ignored, left_out, strict=True):
            if which.any():
                self.used.add(entry)
            inside = inside & ~which
        return inside


class InventoryTally:
    """``num_expected``: files that should be there. ``directories``: for each of ``prefixes``, how many of these, with
    nothing pending for them, are below it and below each directory in it."""

    def __init__(self, rules: SiteRules, prefixes: Sequence[str] = ()) -> None:
        self.scope = Scope(rules)
        self.num_expected = 0
        self.directories = {prefix: Counter[str]() for prefix in prefixes}

    def watch(self, lines: pl.DataFrame) -> Concern:
        """Count some lines. All that are not ignored can explain what is on the storage."""
        counts = self.scope.counts(lines)
        is_expected = counts & lines["is_present"]
        self.num_expected += int(is_expected.sum())
        lfns = lines.filter(is_expected & ~lines["is_pending"]).select("lfn")
        for prefix, directories in self.directories.items():
            directories.update(by_directory(lfns, prefix))
        return Concern(counts, counts)


class StorageTally:
    """``num_stored``, ``num_managed``: files that are there, and those outside of unmanaged areas. ``newest``: the one
    that was changed last, if that was after ``limit``."""

    def __init__(self, rules: SiteRules, matters: pl.Expr, limit: datetime | None = None) -> None:
        self.scope = Scope(rules)
        self._managed, self._matters, self._limit = is_managed(rules), matters, limit
        self.num_stored = self.num_managed = 0
        self.newest: tuple[datetime, str] | None = None

    def watch(self, lines: pl.DataFrame) -> Concern:
        """Count some lines. A file that nothing can follow from does not matter."""
        counts = self.scope.counts(lines)
        judged = lines.select(managed=self._managed, matters=self._matters)
        self.num_stored += int(counts.sum())
        self.num_managed += int((counts & judged["managed"]).sum())
        if self._limit is not None:
            late = lines.filter(counts & (lines["modified_at"] > self._limit)).select("modified_at", "lfn")
            self.newest = max([*late.iter_rows(), *([self.newest] if self.newest else [])], default=None)
        return Concern(counts, judged["matters"])


def by_directory(files: pl.DataFrame, prefix: str) -> dict[str, int]:
    """How many files are below the prefix, and below each directory in it."""
    child = LFN.str.slice(len(prefix) + 1).str.splitn("/", 2)
    found = (
        files.lazy()
        .filter(below(prefix))
        .select(child=child)
        .select(
            directory=pl.when(pl.col("child").struct.field("field_1").is_not_null()).then(
                pl.col("child").struct.field("field_0")
            )
        )
        .group_by("directory")
        .len()
        .collect()
    )
    numbers = {f"{prefix}/{directory}": number for directory, number in found.iter_rows() if directory}
    total = int(found["len"].sum())
    return {prefix: total, **numbers} if total else {}


def list_sizes(inventory: FileList, storage: FileList, rules: SiteRules) -> ListSizes:
    """How long two lists are by these rules."""
    expected, stored = InventoryTally(rules), StorageTally(rules, pl.lit(True))
    for lines in inventory.batches(["lfn", "is_present", "is_pending"]):
        expected.watch(lines)
    for lines in storage.batches(["lfn"]):
        stored.watch(lines)
    return ListSizes(expected.num_expected, stored.num_managed)


def is_managed(rules: SiteRules) -> pl.Expr:
    """Whether files are outside of the unmanaged areas."""
    areas = [below(area.prefix) for area in rules.unmanaged]
    return ~pl.any_horizontal(areas) if areas else pl.lit(True)


def below(directory: str) -> pl.Expr:
    """Whether files are in this directory, at whatever depth."""
    return LFN.str.starts_with(f"{directory}/")


def idle_ignores(rules: SiteRules, scopes: Sequence[Scope]) -> tuple[str, ...]:
    """The entries of ``ignore`` that left nothing out of any list."""
    return tuple(entry for entry in rules.ignore if not any(entry in scope.used for scope in scopes))
