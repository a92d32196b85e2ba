"""Two lists → what differs. Pure (SEMANTICS §7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.inventory.checks import FindingKind

FINDINGS = {
    "kind": pl.String,
    "state": pl.String,
    "lfn": pl.String,
    "size_bytes": pl.Int64,
    "file_id": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True)
class Comparison:
    """``findings`` (``FINDINGS``): one row a file, by kind and LFN.

    missing and wrong_size (at both places, not alike): state ``seen`` the first time, ``found`` the second; orphan and
    unmanaged: ``found``.
    ``num_expected``: files that should be there; ``num_stored``: files that are, both outside ignored directories.
    """

    findings: pl.DataFrame
    num_expected: int
    num_stored: int


def compare(
    inventory: pl.LazyFrame,
    storage: pl.LazyFrame,
    previous: pl.DataFrame,
    rules: SiteRules,
    listed_at: datetime,
) -> Comparison:
    """What differs between the inventory's list and the storage's.

    ``previous`` (``kind``, ``lfn``): missing or wrong in the last check of this site. ``listed_at``: when the
    storage listing began, against which the age of files is measured; a file without a time counts as new.
    """
    pattern = rules.ignore_pattern()
    listed = _inside(inventory, rules.prefixes)
    expected = _not_ignored(listed, pattern).filter("is_present").collect()
    stored = _not_ignored(_inside(storage, rules.prefixes), pattern).unique("lfn").collect()
    missing = _missing(expected, stored, previous)
    wrong = _wrong_sizes(expected, stored, previous, listed_at - rules.ignore_age)
    loose = stored.join(listed.select("lfn").collect(), on="lfn", how="anti")
    unmanaged = _unmanaged(loose, rules, listed_at)
    orphans = _orphans(loose, rules, listed_at)
    return Comparison(
        findings=pl.concat([missing, wrong, orphans, unmanaged]).sort("kind", "lfn"),
        num_expected=expected.height,
        num_stored=stored.height,
    )


def _missing(expected: pl.DataFrame, stored: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Not on storage, though nothing is pending for them. Counted when missing in the previous check too."""
    absent = expected.filter(~pl.col("is_pending")).join(stored, on="lfn", how="anti")
    return _findings(_confirmed(absent, previous, FindingKind.MISSING), FindingKind.MISSING)


def _wrong_sizes(
    expected: pl.DataFrame, stored: pl.DataFrame, previous: pl.DataFrame, before: datetime
) -> pl.DataFrame:
    """At both places, not alike, and not being written: nothing is pending, and it is older than ``before``."""
    both = expected.filter(~pl.col("is_pending")).join(stored, on="lfn", suffix="_stored")
    wrong = both.filter(
        pl.col("size_bytes") != pl.col("size_bytes_stored"), (pl.col("modified_at") < before).fill_null(True)
    )
    why = pl.format("the storage has {} bytes", "size_bytes_stored")
    confirmed = _confirmed(wrong, previous, FindingKind.WRONG_SIZE)
    return _findings(confirmed, FindingKind.WRONG_SIZE).with_columns(reason=confirmed.select(why).to_series())


def _confirmed(files: pl.DataFrame, previous: pl.DataFrame, kind: FindingKind) -> pl.DataFrame:
    """With ``state``: found when the previous check said the same of the file, else seen."""
    again = previous.filter(pl.col("kind") == kind.value).select("lfn").unique().with_columns(again=True)
    state = pl.when("again").then(pl.lit("found")).otherwise(pl.lit("seen"))
    return files.join(again, on="lfn", how="left", maintain_order="left").with_columns(state=state)


def _orphans(loose: pl.DataFrame, rules: SiteRules, listed_at: datetime) -> pl.DataFrame:
    """Old enough files that no block here, present or to come, has; outside the unmanaged areas."""
    areas = [f"^{_escaped(area.prefix)}/" for area in rules.unmanaged]
    managed = loose.filter(~pl.any_horizontal([pl.col("lfn").str.contains(area) for area in areas])) if areas else loose
    return _findings(_older(managed, listed_at, rules.ignore_age).with_columns(state=pl.lit("found")), "orphan")


def _unmanaged(loose: pl.DataFrame, rules: SiteRules, listed_at: datetime) -> pl.DataFrame:
    """Files of the unmanaged areas past their age. An area inside another follows its own age: the longest prefix."""
    frames = [pl.DataFrame(schema=FINDINGS)]
    left = loose
    for area in sorted(rules.unmanaged, key=lambda area: -len(area.prefix)):
        inside = pl.col("lfn").str.starts_with(area.prefix + "/")
        expired = _older(left.filter(inside), listed_at, area.max_age)
        frames.append(_findings(expired.with_columns(state=pl.lit("found")), "unmanaged"))
        left = left.filter(~inside)
    return pl.concat(frames)


def _findings(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    file_id = pl.col("file_id") if "file_id" in rows.columns else pl.lit(None, dtype=pl.Int64)
    return rows.select(
        kind=pl.lit(kind),
        state="state",
        lfn="lfn",
        size_bytes="size_bytes",
        file_id=file_id,
        reason=pl.lit(None, dtype=pl.String),
    ).cast(FINDINGS)  # type: ignore[arg-type]


def _older(files: pl.DataFrame, listed_at: datetime, age: timedelta) -> pl.DataFrame:
    return files.filter(pl.col("modified_at") < listed_at - age)


def _inside(files: pl.LazyFrame, prefixes: tuple[str, ...]) -> pl.LazyFrame:
    return files.filter(pl.any_horizontal([pl.col("lfn").str.starts_with(prefix + "/") for prefix in prefixes]))


def _not_ignored(files: pl.LazyFrame, pattern: str | None) -> pl.LazyFrame:
    return files.filter(~pl.col("lfn").str.contains(pattern)) if pattern else files


def _escaped(prefix: str) -> str:
    return "".join(character if character.isalnum() or character in "/_-" else f"\\{character}" for character in prefix)
