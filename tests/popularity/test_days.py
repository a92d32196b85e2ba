"""Which days a run pulls: its own, and those whose data came late."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from dynamo_ops.base.settings import Settings, SourceSettings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.freshness import missing_days
from dynamo_ops.inventory.staging.pull import stage_accesses
from dynamo_ops.popularity import days
from dynamo_ops.popularity.aggregate import replace_day
from dynamo_ops.popularity.days import DayOfSource, all_missing, days_to_heal, own_days, reopened_days
from dynamo_ops.popularity.tasks import tell_missing
from dynamo_ops.sources.usage.source import ACCESSES
from tests.inventory.told import accept, dataset, merge, site, sync_sites

TODAY = date(2026, 2, 20)


class Shelf:
    """A source of accesses that holds something for some days, and can say so, or not."""

    def __init__(self, held: dict[int, str | None]) -> None:
        self.held = held

    def fingerprint(self, day: date) -> str | None:
        return self.held.get(day.day)


def settings_with(**popularity: int) -> Settings:
    return Settings(
        access_sources=[SourceSettings(name="shelf", type="json"), SourceSettings(name="feed", type="json")],
        demand_sources=[SourceSettings(name="queue", type="json")],
        popularity=popularity,
    )


def aggregate(db: Database, source: str, *days: int, fingerprint: str | None = None) -> None:
    for day in days:
        run = f"{source} {day}"
        stage_accesses(db, run, source, pl.DataFrame(schema=dict(ACCESSES)), fingerprint)
        accept(db, run, source, "accesses")
        replace_day(db, run, date(2026, 2, day), source)


@pytest.fixture
def filled(database: Database) -> Database:
    sync_sites(database, site("T2_A"))
    merge(database, [dataset()], [], [])
    return database


def late(
    db: Database, monkeypatch: pytest.MonkeyPatch, held: dict[int, str | None], **popularity: int
) -> list[tuple[int, str]]:
    sources = {"shelf": Shelf(held), "feed": Shelf({}), "queue": Shelf({})}
    monkeypatch.setattr(days, "make_source", lambda _, source, __: sources[source])
    return [(int(what.day[-2:]), what.source) for what in reopened_days(db, settings_with(**popularity), TODAY)]


def test_every_source_owns_the_day() -> None:
    assert own_days(settings_with(), TODAY) == [
        DayOfSource("2026-02-20", "shelf", "accesses"),
        DayOfSource("2026-02-20", "feed", "accesses"),
        DayOfSource("2026-02-20", "queue", "demand"),
    ]


@pytest.mark.parametrize(
    ("held", "reopened"),
    [
        pytest.param({15: "x", 19: "x"}, [], id="nothing changed"),
        pytest.param({15: "y", 19: "x"}, [(15, "shelf")], id="late data came"),
        pytest.param({15: "y", 19: "y"}, [(15, "shelf"), (19, "shelf")], id="for two days"),
        pytest.param({19: "x"}, [], id="what the source no longer has stays"),
        pytest.param({15: "x", 17: "x", 19: "x"}, [], id="a day that was never aggregated is for a backfill"),
        pytest.param({2: "y", 15: "x", 19: "x"}, [], id="too long ago"),
    ],
)
def test_a_source_that_can_tell_is_asked_for_what_changed(
    filled: Database, monkeypatch: pytest.MonkeyPatch, held: dict[int, str | None], reopened: list[tuple[int, str]]
) -> None:
    aggregate(filled, "shelf", 2, 15, 19, fingerprint="x")
    assert late(filled, monkeypatch, held, look_back_days=14) == reopened


@pytest.mark.parametrize(("repull_days", "again"), [(0, []), (1, [19]), (3, [17, 19])])
def test_of_one_that_cannot_the_last_days_are_pulled_again(
    filled: Database, monkeypatch: pytest.MonkeyPatch, repull_days: int, again: list[int]
) -> None:
    aggregate(filled, "feed", 15, 17, 19, 20, 21)
    aggregate(filled, "shelf", 15, 18, fingerprint="x")
    assert late(filled, monkeypatch, {}, repull_days=repull_days) == [(day, "feed") for day in again]


@pytest.mark.parametrize(
    ("aggregated", "since", "missing"),
    [
        pytest.param([], None, [], id="nothing at all"),
        pytest.param([20], None, [], id="a first day"),
        pytest.param([18, 19, 20], None, [], id="no gap"),
        pytest.param([1, 3, 27, 28], None, [2, *range(4, 27)], id="gaps, however long ago"),
        pytest.param([10, 15, 20], 17, [17, 18, 19], id="what a person gave up may lack"),
    ],
)
def test_gaps_are_days_between_the_first_and_the_newest(
    filled: Database, aggregated: list[int], since: int | None, missing: list[int]
) -> None:
    aggregate(filled, "shelf", *aggregated)
    found = missing_days(filled, ["shelf"], date(2026, 2, since) if since else None)
    assert [day.day for day in found["day"]] == missing


def test_a_source_that_stays_behind_or_never_told_has_a_gap(filled: Database) -> None:
    aggregate(filled, "shelf", 18, 19, 20)
    aggregate(filled, "feed", 18)
    assert missing_days(filled, ["shelf", "feed", "other"]).rows() == [
        ("feed", date(2026, 2, 19)),
        ("feed", date(2026, 2, 20)),
        ("other", date(2026, 2, 20)),
    ]


def test_a_day_that_was_empty_because_its_drop_came_late_is_pulled_again(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregate(filled, "shelf", 10, 11)
    assert late(filled, monkeypatch, {10: "x"}, repull_days=0) == [(10, "shelf")]


def lost(days: list[DayOfSource]) -> list[tuple[int, str]]:
    return [(int(what.day[-2:]), what.source) for what in days]


def test_missing_are_the_days_of_bad_nights_of_each_source_up_to_last_night(filled: Database) -> None:
    aggregate(filled, "shelf", 14, 16, 17)
    aggregate(filled, "feed", 16)
    missing = all_missing(filled, settings_with(), TODAY)
    assert lost(missing) == [
        *((15, "shelf"), (17, "feed"), (18, "feed"), (18, "shelf"), (19, "feed"), (19, "shelf")),
    ]
    assert all(what.is_missing for what in missing)
    assert lost(all_missing(filled, settings_with(), TODAY, date(2026, 2, 19))) == [(19, "feed"), (19, "shelf")]


def test_nothing_is_missing_where_nothing_was_ever_aggregated(filled: Database) -> None:
    assert all_missing(filled, settings_with(), TODAY) == []


def test_days_after_the_runs_own_are_not_its_business(filled: Database) -> None:
    aggregate(filled, "shelf", 10, 12, 24)
    assert lost(all_missing(filled, settings_with(), date(2026, 2, 13))) == [(11, "shelf")]


def test_of_many_missing_days_each_run_takes_others_until_each_had_its_turn(filled: Database) -> None:
    aggregate(filled, "shelf", 1, *range(20, 24))
    aggregate(filled, "feed", *range(19, 24))
    settings = settings_with(missing_days_per_run=5)
    missing = all_missing(filled, settings, TODAY)
    assert len(missing) == 18
    runs = [days_to_heal(filled, settings, date.fromordinal(TODAY.toordinal() + run)) for run in range(4)]
    assert [len(run) for run in runs] == [5, 5, 5, 5]
    assert {what for run in runs for what in run} >= set(missing)
    assert days_to_heal(filled, settings_with(missing_days_per_run=0), TODAY) == []


def test_a_run_tells_what_it_healed_and_what_is_still_missing_for_how_long(filled: Database) -> None:
    aggregate(filled, "shelf", 14, 17, 19)
    pulled = all_missing(filled, settings_with(), TODAY)
    aggregate(filled, "shelf", 15, 18)
    assert tell_missing(filled, settings_with(), TODAY, [*pulled, DayOfSource("2026-02-19", "shelf", "accesses")]) == {
        "healed": ["2026-02-15 shelf accesses", "2026-02-18 shelf accesses"],
        "missing": ["2026-02-16 shelf accesses, for 4 d", "2026-02-19 feed accesses, for 1 d"],
    }
