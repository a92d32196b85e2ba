"""Which days a run has to pull: its own, those that a source may have amended since, and those that are missing."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.freshness import missing_days
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.sources.tasks import named
from dynamo_ops.sources.usage.source import AccessSource, DemandSource, access_source, demand_source


class DayOfSource(NamedTuple):
    """One day of one source of accesses or demand, to be pulled. ``day``: ISO date. ``is_missing``: no run has taken it
    in yet, that of its night included."""

    day: str
    source: str
    kind: str
    is_missing: bool = False

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


def all_missing(db: Database, settings: Settings, day: date, given_up_before: date | None = None) -> list[DayOfSource]:
    """Days before ``day`` that were never aggregated, oldest first: their pull failed, or a gate refused them.

    What Detox's gate counts, and the days up to ``day`` besides, when no source has been aggregated since; of demand as
    of accesses. ``given_up_before``: days before it may lack (``gaps_accepted_before`` of gates.yaml).
    """
    missing: list[DayOfSource] = []
    for kind in (PullKind.ACCESSES, PullKind.DEMAND):
        names = [source for source, own_kind in sources_of(settings) if own_kind == kind]
        if names:
            days = missing_days(db, names, given_up_before, kind=kind, until=day - timedelta(days=1))
            of_past = days.filter(pl.col("day") < day).select("day", "source")
            missing += [DayOfSource(lost.isoformat(), source, kind.value, True) for lost, source in of_past.iter_rows()]
    return sorted(missing)


def days_to_heal(db: Database, settings: Settings, day: date, given_up_before: date | None = None) -> list[DayOfSource]:
    """``missing_days_per_run`` of ``all_missing``. Where there are more, each run takes others: a day that its source
    has lost for good must not keep back those that could be had."""
    missing = all_missing(db, settings, day, given_up_before)
    most = settings.popularity.missing_days_per_run
    if len(missing) <= most:
        return missing
    first = day.toordinal() * most % len(missing)
    return sorted((missing * 2)[first : first + most])
