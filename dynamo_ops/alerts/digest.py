"""What happened in a day, read from our own tables: for the people who look once, in the morning.

Figures are of the 24 hours that end at ``until``; what stands (sites, held subscriptions, gaps) is as of the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from dynamo_ops.alerts import digest_sql as sql
from dynamo_ops.alerts.alert import AlertKind
from dynamo_ops.alerts.illness import illness_frame, illnesses
from dynamo_ops.alerts.message import count, span
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.units import size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.event.settings import event_settings
from dynamo_ops.inventory.checks import FOR_A_PERSON, BadState
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.site.ambiguous import ambiguous_mappings
from dynamo_ops.inventory.site.endpoint import PROPOSED
from dynamo_ops.inventory.site.shared import SHARED
from dynamo_ops.inventory.states import HoldReason
from dynamo_ops.request.stuck import STANDING

DAY = timedelta(hours=24)
MORNING = time(6, tzinfo=UTC)
"""When the daily message goes out."""
AGGREGATED_AFTER = timedelta(hours=3)
"""So long after its end a day must have been aggregated; before that it is no gap."""

FAILED_FRACTION = 0.2
"""Some attempts fail every day; more than this is told at the top."""

BAD_COPIES = {
    BadState.SUSPICIOUS: ("suspicious copy", "suspicious copies"),
    BadState.LAST_COPY: ("bad last copy", "bad last copies"),
    BadState.ON_TAPE: ("bad copy on tape", "bad copies on tape"),
}
SITES_SHOWN = 5
"""Sites of which what is suspended has a sentence each."""

HARMLESS_HOLDS = (HoldReason.SITE_UNAVAILABLE, HoldReason.OPERATOR, HoldReason.SUSPENDED)
"""Such subscriptions come back by themselves, a person holds them, or sentences of their own tell of them."""


GAPS: dict[str, Any] = {
    "source": pl.String,
    "kind": pl.String,
    "last_day": pl.Date,
    "missing_days": pl.List(pl.Date),
}


@dataclass(frozen=True)
class Section:
    """One kind of thing. ``rows``: one a line, columns with units in their names; ``unusual``: what a person should
    look at, in sentences."""

    key: str
    rows: pl.DataFrame
    unusual: tuple[str, ...] = ()


@dataclass(frozen=True)
class Digest:
    """What happened from ``since`` until ``until``, in sections; those about what stands: as of ``read_at``."""

    since: datetime
    until: datetime
    read_at: datetime
    sections: tuple[Section, ...]

    @property
    def unusual(self) -> list[str]:
        """What a person should look at, most urgent section first; empty: nothing unusual."""
        return [sentence for section in self.sections for sentence in section.unusual]

    def document(self) -> dict[str, object]:
        """As plain values, for JSON."""
        return {
            "since": self.since,
            "until": self.until,
            "read_at": self.read_at,
            "unusual": self.unusual,
            **{section.key: section.rows.to_dicts() for section in self.sections},
        }


@dataclass(frozen=True)
class Reading:
    """What sections are read from and for: one moment of the database, the window, the settings."""

    snapshot: Snapshot
    since: datetime
    until: datetime
    read_at: datetime
    settings: Settings

    def window(self, query: str) -> pl.DataFrame:
        """The rows of a query over the window: ``$1`` its begin, ``$2`` its end."""
        return self.snapshot.frame(query, (self.since.isoformat(), self.until.isoformat()))

    def older_than_patience(self, query: str) -> pl.DataFrame:
        """The rows of a query over what has not moved for so long that copies are suspended: ``$1`` now, ``$2`` how
        long."""
        return self.snapshot.frame(
            query, (self.read_at.isoformat(), f"{self.settings.transfers.suspend_after_days} days")
        )


def read_digest(db: Database, settings: Settings, until: datetime) -> Digest:
    """The digest of the 24 hours before ``until``, all of it as of one moment.

    Raises RetryableRemoteError when the database is away.
    """
    with db.snapshot() as snapshot:
        now = snapshot.frame("SELECT now() AS now").item().astimezone(UTC)
        reading = Reading(snapshot, until - DAY, until, now, settings)
        return Digest(until - DAY, until, now, tuple(section(reading) for section in SECTIONS))


def _alerts(reading: Reading) -> Section:
    rows = reading.window(sql.ALERTS)
    failures, late = rows.filter(kind=AlertKind.FAILURE), rows.filter(kind=AlertKind.LATE)
    unusual = []
    if failures.height:
        names = sorted(set(failures.select(pl.format("{}.{}", "dag_id", "task_id")).to_series()))
        unusual.append(f"{count(failures.height, 'kind')} of failure: {_some(names)}")
    if late.height:
        unusual.append(f"late: {_some(sorted(set(late['dag_id'])))}")
    return Section("alerts", rows, tuple(unusual))


def _gates(reading: Reading) -> Section:
    rows = reading.window(sql.GATES)
    refused = rows.filter("is_blocking")
    names = sorted(set(refused.select(pl.format("{} ({})", "gate", "subject")).to_series()))
    return Section("gates", rows, (f"gates refused: {_some(names)}",) if names else ())


def _metadata(reading: Reading) -> Section:
    """How far each source of metadata and of sites has been merged; a source that is configured and never was: null."""
    settings = reading.settings
    named = [(source.name, "metadata") for source in settings.metadata_sources]
    named += [(source.name, "sites") for source in settings.site_sources]
    sources = pl.DataFrame(named, schema={"source": pl.String, "kind": pl.String}, orient="row")
    rows = sources.join(reading.snapshot.frame(sql.SOURCES), on="source", how="left", maintain_order="left")
    told = pl.when(kind="sites").then("updated_at").otherwise("merged_until")
    rows = rows.select("source", "kind", merged_until=told, num_datasets="num_datasets", num_ready="num_sites_ready")
    limit = timedelta(hours=settings.alerts.stale_after_h)
    unusual = [
        f"{kind} of {source}: never merged" if at is None else f"{kind} of {source}: {span(reading.until - at)} old"
        for source, kind, at in rows.select("source", "kind", "merged_until").iter_rows()
        if at is None or reading.until - at > limit
    ]
    return Section("metadata", rows, tuple(unusual))


def _popularity(reading: Reading) -> Section:
    """The days that each source of accesses and demand lacks, of those of ``popularity.look_back_days``."""
    settings = reading.settings
    last = (reading.until - AGGREGATED_AFTER).astimezone(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=settings.popularity.look_back_days - 1)
    found = reading.snapshot.frame(sql.AGGREGATED, (first.isoformat(), last.isoformat()))
    known = {(row["source"], row["kind"]): row for row in found.iter_rows(named=True)}
    named = [(source.name, "accesses") for source in settings.access_sources]
    named += [(source.name, "demand") for source in settings.demand_sources]
    lines = [_gaps_of(source, kind, known.get((source, kind)), first, last) for source, kind in named]
    rows = pl.DataFrame(lines, schema=GAPS, orient="row")
    unusual = [
        f"{kind} of {source}: "
        + (f"{count(len(gaps), 'day')} missing, {_days(gaps)}" if day else "no day was ever aggregated")
        for source, kind, day, gaps in rows.iter_rows()
        if gaps or day is None
    ]
    return Section("popularity", rows, tuple(unusual))


def _plans(reading: Reading) -> Section:
    rows = reading.window(sql.PLANS)
    refused = rows.filter(state="refused")
    names = sorted(set(refused.select(pl.format("{} of {}", "kind", "partition")).to_series()))
    told = [f"plans refused: {_some(names)}"] if names else []
    patience = f"{event_settings(reading.settings).stuck_after_days} days"
    standing = reading.snapshot.frame(STANDING, (reading.read_at.isoformat(), patience))
    if standing.height:
        oldest, moved_at = standing.select("id", "moved_at").row(0)
        told.append(
            f"{count(standing.height, 'open request')} not moved for up to {span(reading.read_at - moved_at)}, "
            f"the oldest is {oldest} (dynamo request show {oldest})"
        )
    return Section("plans", rows, tuple(told))


def _transfers(reading: Reading) -> Section:
    rows = reading.window(sql.TRANSFERS)
    unheard = [
        f"{count(number, 'FTS job')} open for up to {span(reading.read_at - since)} at {server}: does it answer? "
        "(gone for good: dynamo transfers readdress)"
        for server, number, since in reading.older_than_patience(sql.OPEN_JOBS).iter_rows()
    ]
    return Section("transfers", rows, (*_failing("copies", rows), *unheard))


def _ill(reading: Reading) -> Section:
    """Sites, links and our credential: a line each, whatever waits for them."""
    found = illnesses(reading.snapshot, reading.settings)
    return Section("ill", illness_frame(found), tuple(each.sentence for each in found))


def _held(reading: Reading) -> Section:
    rows = reading.snapshot.frame(sql.HELD)
    stuck = rows.filter(~pl.col("hold_reason").is_in(HARMLESS_HOLDS))
    told = f"{count(int(stuck['num_files'].sum()), 'subscription')} held: {_some(sorted(set(stuck['hold_reason'])))}"
    return Section("held", rows, (*([told] if stuck.height else ()), *_given_up(reading)))


def _given_up(reading: Reading) -> Iterator[str]:
    """What failed for so long that nobody tries it any more, or that nothing comes of it: a person ends it."""
    copies = reading.snapshot.frame(sql.SUSPENDED)
    for site, files, since, num_unprotected, reason in copies.head(SITES_SHOWN).iter_rows():
        yield (
            f"{count(files, 'copy', 'copies')} to {site} suspended, failing for {span(reading.read_at - since)}, most "
            f"with: {reason or 'no reason'} (dynamo transfers release --hold-reason suspended --site {site})"
        )
        if num_unprotected:
            of = count(num_unprotected, "suspended copy", "suspended copies")
            yield f"the last sources of {of} to {site} are not kept any more: release or cancel"
    if copies.height > SITES_SHOWN:
        more = copies[SITES_SHOWN:]
        what = count(int(more["num_files"].sum()), "copy", "copies")
        yield f"{what} to {count(more.height, 'other site')} suspended (dynamo transfers status)"
    deletions = reading.older_than_patience(sql.LEFT_ALONE)
    for site, files, since, reason in deletions.head(SITES_SHOWN).iter_rows():
        what = f"{count(files, 'deletion')} at {site} {'comes' if files == 1 else 'come'}"
        yield f"{what} to nothing, for {span(reading.read_at - since)}, most with: {reason or 'no reason'}"


def _deletions(reading: Reading) -> Section:
    rows = reading.window(sql.DELETIONS)
    return Section("deletions", rows, tuple(_failing("deletions", rows)))


def _taken_back(reading: Reading) -> Section:
    rows = reading.window(sql.GIVEN_BACK)
    told = f"deletions of {count(int(rows['num_files'].sum()), 'file')} taken back, since they must stay or were locked"
    return Section("taken_back", rows, (told,) if rows.height else ())


def _sites(reading: Reading) -> Section:
    """Sites that are not ready, set by hand, or in a downtime. What a person declared is not unusual, nor is a site
    that has been in the morgue for long."""
    rows = reading.snapshot.frame(sql.SITES)
    news = rows.filter(
        (pl.col("status") != SiteStatus.READY)
        & pl.col("override").is_null()
        & pl.col("downtime").is_null()
        & ((pl.col("status") != SiteStatus.MORGUE) | (pl.col("since_at") >= reading.since))
    )
    told = [f"{site} is {status}" for site, status in news.select("site", "status").iter_rows()]
    return Section("sites", rows, (f"sites: {_some(told)}",) if told else ())


def _moving(reading: Reading) -> Section:
    """Endpoints that are reported, and not in force while something is under way at the site."""
    rows = reading.snapshot.frame(PROPOSED)
    told = [
        f"{site} reports {proposed} instead of {prefix}: no new copies or deletions there (dynamo site accept {site})"
        for site, prefix, proposed in rows.select("site", "prefix", "proposed_prefix").iter_rows()
    ]
    return Section("endpoints", rows, tuple(told))


def _shared(reading: Reading) -> Section:
    """One storage under two names, and nobody declared that it is so on purpose."""
    pairs = reading.snapshot.frame(SHARED)
    rows = pairs.filter(pl.col("is_found") & (pl.col("created_by").is_null() | ~pl.col("is_equal")))
    told = [
        f"{site} and {other} are one storage under two names: nothing is deleted at either (dynamo site share)"
        for site, other in rows.select("site", "other").iter_rows()
    ]
    return Section("shared", rows, tuple(told))


def _ambiguous(reading: Reading) -> Section:
    """Mappings by which two LFNs may be one file."""
    rows = ambiguous_mappings(reading.snapshot)
    told = [
        f"the {protocol} mapping of {site} cannot be shown to be one-to-one: nothing is deleted there "
        "(dynamo site mappings)"
        for site, protocol in rows.select("site", "protocol").iter_rows()
    ]
    return Section("mappings", rows, tuple(told))


def _consistency(reading: Reading) -> Section:
    rows = reading.window(sql.CHECKS)
    unusual = [
        f"consistency of {site}: {because}"
        for site, because in rows.filter(state="refused").select("site", "refused_because").iter_rows()
    ]
    lost = rows.filter(pl.col("num_lost") > 0)
    if lost.height:
        files, size = int(lost["num_lost"].sum()), size_text(int(lost["lost_bytes"].sum()))
        unusual.append(f"lost, no other copy exists: {count(files, 'file')} ({size}) at {_some(list(lost['site']))}")
    return Section("consistency", rows, tuple(unusual))


def _bad(reading: Reading) -> Section:
    """Copies that are called bad or suspicious, and what a person must decide of them."""
    rows = reading.window(sql.BAD)
    to_decide = rows.filter(pl.col("state").is_in([str(state) for state in FOR_A_PERSON]))
    unusual = [
        f"{count(files, *BAD_COPIES[BadState(state)])} at {site}: a person decides (dynamo replica list)"
        for site, state, files in to_decide.select("site", "state", "num_files").iter_rows()
    ]
    return Section("bad", rows, tuple(unusual))


def _set_aside(reading: Reading) -> Section:
    """Datasets of which a source told a bad record: nothing of them is merged until a person has it mended."""
    rows = reading.window(sql.SET_ASIDE)
    unusual = [
        f"{count(number, 'dataset')} of {source} set aside with a bad record, the oldest for "
        f"{span(max(reading.until - oldest, timedelta(0)))} (dynamo inventory set-aside)"
        for source, number, oldest in rows.select("source", "num_datasets", "oldest_at").iter_rows()
    ]
    return Section("set_aside", rows, tuple(unusual))


def _vanished(reading: Reading) -> Section:
    """What sources told of before and do not list any more, newly and in all. The inventory keeps it."""
    rows = reading.window(sql.VANISHED)
    unusual = [
        f"vanished from {source}: {count(new, kind)} ({size_text(size)})"
        for source, kind, new, size in rows.select("source", "kind", "num_new", "new_bytes").iter_rows()
        if new
    ]
    return Section("vanished", rows, tuple(unusual))


def _events(reading: Reading) -> Section:
    """Subscriptions to events of which some were given up, and those that fail for long."""
    rows = reading.window(sql.EVENTS)
    given_up = int(rows["num_given_up"].sum())
    told = [f"events: {count(given_up, 'delivery', 'deliveries')} given up"] if given_up else []
    failing = rows.filter(pl.col("failing_since") <= reading.until - DAY)["subscription"].to_list()
    if failing:
        told.append(f"event subscriptions that take nothing: {_some(list(map(str, failing)))}")
    return Section("events", rows, tuple(told))


def _invalidated(reading: Reading) -> Section:
    return Section("invalidated", reading.window(sql.INVALIDATED))


SECTIONS: tuple[Callable[[Reading], Section], ...] = (
    _alerts,
    _gates,
    _metadata,
    _popularity,
    _sites,
    _moving,
    _shared,
    _ambiguous,
    _consistency,
    _bad,
    _set_aside,
    _vanished,
    _ill,
    _held,
    _plans,
    _transfers,
    _deletions,
    _taken_back,
    _events,
    _invalidated,
)
"""What needs a person comes first."""


def _gaps_of(
    source: str, kind: str, found: dict[str, object] | None, first: date, last: date
) -> tuple[str, str, object, list[date]]:
    """Source, kind, its last day, the days that lack. Days before its very first one are no gaps."""
    if found is None:
        return source, kind, None, []
    begin, days = found["first_day"], found["days"]
    assert isinstance(begin, date)
    assert isinstance(days, list)
    return source, kind, found["last_day"], [day for day in _each_day(max(first, begin), last) if day not in days]


def _each_day(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _failing(what: str, rows: pl.DataFrame) -> Iterator[str]:
    failed, done = int(rows["num_failed"].sum()), int(rows["num_done"].sum())
    if failed and failed > FAILED_FRACTION * (failed + done):
        worst = rows.filter(pl.col("num_failed") > 0)["site"].to_list()  # most first
        yield f"{what}: {failed:,} of {failed + done:,} attempts failed, most at {_some(worst)}"


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _days(days: list[date]) -> str:
    return _some([day.isoformat() for day in days])
