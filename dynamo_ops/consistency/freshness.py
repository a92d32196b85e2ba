"""How far the inventory can know what was made: a file that it has not been told of yet is no orphan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from dynamo_ops.base.settings import Settings
from dynamo_ops.base.times import time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.aside import set_aside
from dynamo_ops.inventory.freshness import merged_sources, metadata_ages
from dynamo_ops.quality.thresholds import FreshnessThresholds, read_thresholds


@dataclass(frozen=True)
class MetadataSources:
    """Which sources of metadata must be in, and how far. ``names`` None: all that were ever merged.

    ``max_age_h``: hours since the end of the last merged interval, as for plans.
    """

    names: tuple[str, ...] | None = None
    max_age_h: float = FreshnessThresholds().metadata_max_age_h


@dataclass(frozen=True)
class Knowledge:
    """What the inventory can know. ``until``: of what was made until then; None where no source tells of files.

    ``stale_because``: a sentence, when that is too long ago, some source was never merged, or datasets that it told of
    are set aside; else None.
    """

    until: datetime | None = None
    stale_because: str | None = None


ALL_KNOWN = Knowledge()
"""Without a source all that there is was injected, and known at once."""
ALL_MERGED = MetadataSources()


def metadata_sources(settings: Settings) -> MetadataSources:
    """The sources of ``dynamo.yaml``, with the limit of ``freshness`` in ``gates.yaml``."""
    names = tuple(source.name for source in settings.metadata_sources)
    return MetadataSources(names, read_thresholds(settings).freshness.metadata_max_age_h)


def knowledge(db: Database, sources: MetadataSources) -> Knowledge:
    """What is merged now."""
    names = merged_sources(db) if sources.names is None else sources.names
    ages = metadata_ages(db, names)
    if ages.is_empty():
        return ALL_KNOWN
    stale = ages.filter(pl.col("age_h").is_null() | (pl.col("age_h") > sources.max_age_h))
    if (why := _set_aside(db, names)) and stale.is_empty():
        return Knowledge(None, why)
    told = [f"{source} ({_last(until)})" for source, until in stale.select("source", "merged_until").iter_rows()]
    return Knowledge(
        None if ages["merged_until"].has_nulls() else ages["merged_until"].min(),  # type: ignore[arg-type]
        f"metadata are older than {sources.max_age_h:g} hours: {', '.join(told)} (backfill metadata_sync)"
        if told
        else None,
    )


def _set_aside(db: Database, sources: Sequence[str]) -> str | None:
    """A sentence, where one of these sources told of datasets that were not let in: which files are theirs, nobody
    knows."""
    faulty = set_aside(db)
    faulty = faulty.filter(pl.col("source").is_in(list(sources)))
    if faulty.is_empty():
        return None
    first, source = faulty.select("dataset", "source").row(0)
    number = f"{faulty.height:,} datasets are" if faulty.height > 1 else "a dataset is"
    return (
        f"{number} set aside, since {source} told a bad record ({first}, dynamo inventory set-aside): "
        "files of such look like nobody's"
    )


def _last(until: datetime | None) -> str:
    return f"merged until {time_text(until)}" if until else "never merged"
