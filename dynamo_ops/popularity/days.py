"""Which days a run has to pull: its own, the days that a source may have amended since, and those that were."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.sources.tasks import named
from dynamo_ops.sources.usage.source import AccessSource, DemandSource, access_source, demand_source


class DayOfSource(NamedTuple):
    """One day of one source of accesses or demand, to be pulled. ``day``: ISO date."""

    day: str
    source: str
    kind: str

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.day} {self.source} {self.kind}"


def make_source(settings: Settings, source: str, kind: str) -> AccessSource | DemandSource:
    """The source of that name. Raises SettingsError for an unknown name, type or option."""
    if kind == PullKind.DEMAND:
        return demand_source(named(settings.demand_sources, source), settings.tls)
    return access_source(named(settings.access_sources, source), settings.tls)


def sources_of(settings: Settings) -> list[tuple[str, str]]:
    """Name and kind of all sources of accesses and demand."""
    accesses = [(source.name, PullKind.ACCESSES.value) for source in settings.access_sources]
    return [*accesses, *((source.name, PullKind.DEMAND.value) for source in settings.demand_sources)]


def own_days(settings: Settings, day: date) -> list[DayOfSource]:
    """``day`` of every source."""
    return [DayOfSource(day.isoformat(), source, kind) for source, kind in sources_of(settings)]


def reopened_days(db: Database, settings: Settings, day: date) -> list[DayOfSource]:
    """Days before ``day`` that have been aggregated and have to be pulled again, because late data came or may have.

    Of a source that can tell (fingerprints): those of the last ``look_back_days`` whose data are other ones now, or
    that had none then; data that it no longer has are no news. Of one that cannot tell: the last ``repull_days``. Days
    that were never aggregated are not among them: they are for a backfill.
    """
    aggregated = db.frame(
        "SELECT day, source, kind, fingerprint FROM aggregated_days WHERE day < $1 AND day >= $2 ORDER BY day, source",
        (day, day - timedelta(days=settings.popularity.look_back_days)),
    )
    repulled = day - timedelta(days=settings.popularity.repull_days)
    reopened: list[DayOfSource] = []
    for source, kind in sources_of(settings):
        plugin = make_source(settings, source, kind)
        mine = aggregated.filter((pl.col("source") == source) & (pl.col("kind") == kind))
        for past_day, stored in mine.select("day", "fingerprint").iter_rows():
            current = plugin.fingerprint(past_day)
            if (current != stored) if current is not None else (stored is None and past_day >= repulled):
                reopened.append(DayOfSource(past_day.isoformat(), source, kind))
    return sorted(reopened)
