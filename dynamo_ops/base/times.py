"""Time phrases of policies, resolved against the run's ``now``."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
MONTHS = {"month": 1, "year": 12}
MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
MONTH_NUMBERS = {written: n for n, name in enumerate(MONTH_NAMES, start=1) for written in (name, name[:3])}
AGO = re.compile(r"([0-9]+|an?) ([a-z]+?)s? ago", re.IGNORECASE | re.ASCII)
MONTH_DAY = re.compile(r"([a-z]+)\.? ([0-9]{1,2})(?:,? ([0-9]{4}))?", re.IGNORECASE | re.ASCII)
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
MAX_DIGITS = 12
EXAMPLES = "'90 days ago', '12 months ago', 'January 1', '2017-08-16'"
SPAN = re.compile(r"([0-9]+|an?) ?([a-z]+)", re.IGNORECASE | re.ASCII)
SHORT_UNITS = {"s": "second", "min": "minute", "h": "hour", "d": "day", "w": "week", "y": "year"}
ANY_MOMENT = "a date (2026-03-01), a time (2026-03-01T12:00Z, UTC unless it says otherwise) or how long (12h, 3d, 2w)"
"""What ``moment_before`` and ``moment_after`` read, in the words of a message."""


@dataclass(frozen=True)
class Ago:
    """A time before now: seconds, or months of the calendar."""

    seconds: int = 0
    months: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """The fewest and the most seconds that it can be."""
        years, months = divmod(self.months, 12)
        return (
            self.seconds + 86400 * (365 * years + 28 * months),
            self.seconds + 86400 * (366 * years + 31 * months),
        )


@dataclass(frozen=True, order=True)
class DayOfYear:
    """A day of this year, which is that of now."""

    month: int
    day: int


@dataclass(frozen=True, order=True)
class Moment:
    """A moment that does not depend on now."""

    at: datetime


TimePhrase = Ago | DayOfYear | Moment


@lru_cache(maxsize=4096)
def parse_time(text: str) -> TimePhrase:
    """What a phrase says, whatever now is. ValueError if it is no time."""
    phrase = " ".join(text.split())
    if phrase == "now":
        return Ago()
    ago = AGO.fullmatch(phrase)
    if ago:
        return _ago(ago[1].lower(), ago[2].lower(), phrase)
    month_day = MONTH_DAY.fullmatch(phrase)
    try:
        if month_day and month_day[1].lower() in MONTH_NUMBERS:
            month, day = MONTH_NUMBERS[month_day[1].lower()], int(month_day[2])
            if month_day[3]:
                return Moment(datetime(int(month_day[3]), month, day, tzinfo=UTC))
            return DayOfYear(month, datetime(2000, month, day, tzinfo=UTC).day)
        if DATE.match(phrase):
            moment = datetime.fromisoformat(phrase)
            return Moment(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from error
    raise ValueError(f"{text!r} is not a time; write it like {EXAMPLES}")


def moment_of(phrase: TimePhrase, now: datetime) -> datetime:
    """The moment that a phrase means at ``now``, in UTC. ValueError if the calendar has none (before year 1; 29
    February of another year)."""
    if isinstance(phrase, Moment):
        return phrase.at
    if isinstance(phrase, DayOfYear):
        return datetime(now.year, phrase.month, phrase.day, tzinfo=UTC)
    try:
        return _months_before(now, phrase.months) if phrase.months else now - timedelta(seconds=phrase.seconds)
    except OverflowError as error:
        raise ValueError("it is before year 1") from error


def resolve_time(phrase: str, now: datetime) -> datetime:
    """The moment that ``phrase`` means at ``now``, in UTC. ValueError if it means none.

    Months and years are those of the calendar (31 March less one month is 28 or 29 February); a day is 86,400 s; a date
    is its midnight.
    """
    parsed = parse_time(phrase)
    try:
        return moment_of(parsed, now)
    except ValueError as error:
        raise ValueError(f"{phrase!r} is not a time: {error}") from error


def time_text(moment: datetime) -> str:
    """A moment as people read it, and can give it: ISO, UTC, to the minute: ``2026-11-29T13:05Z``."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def moment_before(text: str, now: datetime) -> datetime:
    """The moment that a person means who looks back: a date, a time, or how long ago (``3d``, ``90 days``).

    ValueError says what would be one.
    """
    return _meant(text, now, -1)


def moment_after(text: str, now: datetime) -> datetime:
    """The moment that a person means who looks ahead: a date, a time, or in how long (``3d``, ``90 days``).

    ValueError says what would be one.
    """
    return _meant(text, now, 1)


def too_far(moment: datetime, now: datetime, longest_days: int) -> str:
    """Why an end is no end but a slip: it is in more than ``longest_days``; empty where it is not."""
    if moment <= now + timedelta(days=longest_days):
        return ""
    return f"{time_text(moment)} is in more than {longest_days:,} days"


def _meant(text: str, now: datetime, direction: int) -> datetime:
    phrase = " ".join(text.split())
    span = SPAN.fullmatch(phrase)
    try:
        if span:
            unit = span[2].lower()
            long_unit = SHORT_UNITS.get(unit, unit.removesuffix("s"))
            if long_unit in SECONDS or long_unit in MONTHS:
                ago = _ago(span[1].lower(), long_unit, phrase)
                return moment_of(Ago(-direction * ago.seconds, -direction * ago.months), now)
        return resolve_time(phrase, now)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time; expected {ANY_MOMENT}") from error


def never_later(first: TimePhrase, second: TimePhrase, now: datetime) -> bool:
    """Whether ``first`` is at or before ``second``, at ``now`` and for ever after. False also if it is not sure."""
    if isinstance(first, Ago) and isinstance(second, Ago):
        if first.months and second.months:
            return first.months >= second.months
        return first.span[0] >= second.span[1]
    if isinstance(first, DayOfYear) and isinstance(second, DayOfYear):
        return first <= second
    if not isinstance(first, Moment):
        return False
    try:
        return first.at <= moment_of(second, now)
    except ValueError:
        return False


def _ago(count: str, unit: str, phrase: str) -> Ago:
    if unit not in SECONDS and unit not in MONTHS:
        raise ValueError(f"{phrase!r}: unknown unit {unit!r}; known are {', '.join((*SECONDS, *MONTHS))}")
    if len(count) > MAX_DIGITS:
        raise ValueError(f"{phrase!r} is before year 1")
    number = 1 if count in ("a", "an") else int(count)
    return Ago(seconds=number * SECONDS[unit]) if unit in SECONDS else Ago(months=number * MONTHS[unit])


def _months_before(now: datetime, count: int) -> datetime:
    year, month = divmod(now.year * 12 + now.month - 1 - count, 12)
    if year < 1:
        raise OverflowError("before year 1")
    day = min(now.day, calendar.monthrange(year, month + 1)[1])
    return now.replace(year=year, month=month + 1, day=day)
