"""The gate of a day of accesses or of demand, and what it compares a day with. Bad input: test_bad_input_table."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import GateError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.staging.pull import stage_accesses, stage_demand
from dynamo_ops.popularity.aggregate import replace_day
from dynamo_ops.quality.figures import before
from dynamo_ops.quality.suites.accesses import check_accesses, check_day, check_demand, check_demand_day
from dynamo_ops.quality.thresholds import AccessThresholds, DemandThresholds, Gates
from dynamo_ops.sources.usage.source import ACCESSES, DEMAND
from tests.inventory.told import accept, dataset, merge, site, sync_sites

DAY = date(2026, 1, 10)


def access(**changes: Any) -> dict[str, Any]:
    return {"day": DAY, "dataset": "/A/B-v1/C", "site": "T2_A", "num_accesses": 5, **changes}


def stage(db: Database, *rows: dict[str, Any], run_key: str = "run") -> None:
    stage_accesses(db, run_key, "monit", pl.DataFrame(list(rows), schema=dict(ACCESSES)))


def judged(db: Database, number: int, *, days_ago: int = 0, run_key: str | None = None) -> list[str]:
    """The notes of the gate about a day with so many accesses."""
    day = DAY - timedelta(days=days_ago)
    key = run_key or f"run {day}"
    stage(db, *([access(day=day, num_accesses=number)] if number else []), run_key=key)
    return check_day(db, key, day, "monit", AccessThresholds(warn_only=frozenset({"accesses_unknown"}))).notes


def history(db: Database, num_days: int = 7) -> tuple[int, float | None]:
    found = before(db, "accesses", "monit", "accesses", datetime(2026, 1, 11, tzinfo=UTC), num_days)
    return found.num_days, found.typical


def test_a_day_is_compared_when_enough_days_before_were_accepted(database: Database) -> None:
    assert judged(database, 2000, days_ago=4) == [
        "accesses_dropped: not compared: 0 of the 7 days before were accepted, 3 are needed",
        "accesses_surged: not compared: 0 of the 7 days before were accepted, 3 are needed",
    ]
    judged(database, 1900, days_ago=3)
    judged(database, 2100, days_ago=2)
    assert judged(database, 2000, days_ago=1) == []
    assert history(database) == (4, 2000)
    with pytest.raises(GateError, match=r"fewer accesses than 10% .* told=199 typical=2000 num_days_before=4"):
        judged(database, 199)
    with pytest.raises(GateError, match=r"no accesses at all.*\nand fewer accesses than 10%"):
        judged(database, 0)
    assert judged(database, 200) == []


def test_what_was_refused_or_describes_a_later_day_is_not_compared_with(database: Database) -> None:
    for days_ago in (5, 4, 3, 2):
        judged(database, 2000, days_ago=days_ago)
    judged(database, 30_000, days_ago=-1)
    with pytest.raises(GateError):
        judged(database, 100_000, days_ago=1)
    assert history(database) == (4, 2000)
    assert history(database, num_days=3) == (2, 2000)


def test_a_day_that_was_judged_again_counts_once_and_as_it_was_last(database: Database) -> None:
    judged(database, 2000, days_ago=2)
    judged(database, 3000, days_ago=2, run_key="later")
    assert history(database) == (1, 3000)


def test_small_numbers_are_not_compared(database: Database) -> None:
    for days_ago in (4, 3, 2, 1):
        judged(database, 100, days_ago=days_ago)
    notes = judged(database, 1)
    assert notes[0] == "accesses_dropped: not compared: the median of 4 days before is 100, 1000 is needed"
    assert len(notes) == 2


def test_an_empty_day_after_full_ones_is_a_warning(database: Database) -> None:
    judged(database, 10, days_ago=3)
    stage(database)
    warnings = check_day(database, "run", DAY, "monit", AccessThresholds()).warnings
    assert warnings == [
        (
            "no accesses at all, though there were some in the 7 days before, in 1 day:"
            " told=0 typical=10 num_days_before=1"
        )
    ]
    assert check_day(database, "run", DAY, "monit", AccessThresholds(days_before=2)).warnings == []


def test_accesses_that_are_mostly_of_unknown_datasets_are_a_warning(database: Database) -> None:
    merge(database, [dataset("/A/B-v1/C")])
    stage(database, access(num_accesses=5), access(dataset="/X/Y/Z", num_accesses=5))
    assert check_day(database, "run", DAY, "monit", AccessThresholds()).warnings == []
    stage(database, access(num_accesses=5), access(dataset="/X/Y/Z", num_accesses=6))
    (warning,) = check_day(database, "run", DAY, "monit", AccessThresholds()).warnings
    assert warning.endswith("that the inventory does not know, in 1 dataset: /X/Y/Z num_accesses=6")


def test_a_day_that_is_still_to_come_is_refused(database: Database) -> None:
    day = datetime.now(UTC).date() + timedelta(days=1)
    stage(database, access(day=day))
    with pytest.raises(GateError, match=f"the day is still to come in 1 day: day={day}"):
        check_accesses(database, "run", day.isoformat(), ["monit"], Gates())


def test_figures_of_a_day(database: Database) -> None:
    stage(database, access(), access(dataset=None, lfn="/a/1"), access(site="T2_B"))
    report = check_day(database, "run", DAY, "monit", AccessThresholds())
    assert report.figures == {
        "records": 3,
        "accesses": 15,
        "datasets_accessed": 1,
        "sites_accessed": 2,
        "files_accessed": 1,
    }


def test_a_day_of_demand_that_dropped_is_a_warning(database: Database) -> None:
    for days_ago, number in ((3, 2000), (2, 2000), (1, 2000), (0, 3)):
        day = DAY - timedelta(days=days_ago)
        row = {"day": day, "dataset": "/A/B-v1/C", "num_jobs": number}
        stage_demand(database, f"run {day}", "pool", pl.DataFrame([row], schema=dict(DEMAND)))
        limits = DemandThresholds(max_unknown_fraction=1)
        report = check_demand_day(database, f"run {day}", day, "pool", limits)
    assert report.figures == {"records": 1, "jobs": 3, "datasets_wanted": 1}
    assert report.warnings == [
        "fewer jobs than 10% of the median of the days before in 1 day: told=3 typical=2000 num_days_before=3"
    ]
    assert [one.gate for one in check_demand(database, f"run {DAY}", DAY.isoformat(), ["pool"], Gates())] == ["demand"]


@pytest.mark.parametrize(
    ("told", "is_refused"),
    [(100, False), (90, False), (89, True), (0, True), (500, False)],
    ids=["the same", "a tenth less", "more than a tenth less", "nothing", "more"],
)
def test_a_day_that_is_pulled_again_may_not_shrink(database: Database, told: int, is_refused: bool) -> None:
    sync_sites(database, site("T2_A"))
    merge(database, [dataset()], [], [])
    stage(database, access(num_accesses=60), access(dataset="/Not/Known-v1/YET", num_accesses=40), run_key="first")
    accept(database, "first", "monit", "accesses")
    replace_day(database, "first", DAY, "monit")
    stage(database, *([access(num_accesses=told)] if told else []))
    if not is_refused:
        check_day(database, "run", DAY, "monit", AccessThresholds())
        return
    with pytest.raises(GateError, match="pulled again, and more than 10% of its accesses are gone") as caught:
        check_day(database, "run", DAY, "monit", AccessThresholds())
    assert f"told={told} most_told=100" in str(caught.value)
    check_day(database, "run", DAY, "monit", AccessThresholds(warn_only={"day_shrunken"}))
