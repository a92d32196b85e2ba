"""Moments as a person says them: dates, times, and how long ago or from now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dynamo_ops.base.times import moment_after, moment_before, too_far

NOW = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:05", datetime(2026, 3, 1, 12, 5, tzinfo=UTC)),
        ("2026-03-01T12:05Z", datetime(2026, 3, 1, 12, 5, tzinfo=UTC)),
        ("2026-03-01 12:05+02:00", datetime(2026, 3, 1, 10, 5, tzinfo=UTC)),
        ("now", NOW),
    ],
)
def test_a_date_or_a_time_is_the_same_both_ways(text: str, moment: datetime) -> None:
    assert moment_before(text, NOW) == moment_after(text, NOW) == moment


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90min", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("3d", timedelta(days=3)),
        ("3 D", timedelta(days=3)),
        ("90 days", timedelta(days=90)),
        ("a week", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_how_long_is_counted_from_now(text: str, span: timedelta) -> None:
    assert moment_before(text, NOW) == NOW - span
    assert moment_after(text, NOW) == NOW + span


def test_months_and_years_are_those_of_the_calendar() -> None:
    assert moment_before("1 month", NOW) == datetime(2026, 2, 28, 12, 30, tzinfo=UTC)
    assert moment_after("1y", NOW) == datetime(2027, 3, 31, 12, 30, tzinfo=UTC)
    assert moment_before("90 days ago", NOW) == NOW - timedelta(days=90)


@pytest.mark.parametrize("text", ["", "soon", "3x", "3", "2026-13-01", "99999999999999d", "99999 years", "d3", "3d4h"])
def test_what_is_no_time_is_told_what_would_be(text: str) -> None:
    for read in (moment_before, moment_after):
        with pytest.raises(ValueError, match=r"is not a time; expected a date \(2026-03-01\), a time .* or how long"):
            read(text, NOW)


@pytest.mark.parametrize(("days", "is_far"), [(-1, False), (365, False), (366, False), (367, True), (26_000, True)])
def test_what_is_too_far_to_be_meant(days: int, is_far: bool) -> None:
    now = NOW
    assert bool(too_far(now + timedelta(days=days), now, 366)) == is_far
    assert too_far(datetime(2099, 1, 1, tzinfo=UTC), now, 366) == "2099-01-01T00:00Z is in more than 366 days"
