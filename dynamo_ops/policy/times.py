"""Time phrases of policies, resolved against the run's ``now``."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
MONTHS = {"month": 1, "year": 12}
MONTH_NAMES = {
    name.lower(): number
    for names in (calendar.month_name, calendar.month_abbr)
    for number, name in enumerate(names)
    if name
}
AGO = re.compile(r"(\d+|an?) +([a-z]+?)s? +ago", re.IGNORECASE)
MONTH_DAY = re.compile(r"([a-z]+)\.? +(\d{1,2})(?:,? +(\d{4}))?", re.IGNORECASE)
EXAMPLES = "'90 days ago', '12 months ago', 'January 1', '2017-08-16'"


def resolve_time(phrase: str, now: datetime) -> datetime:
    """The moment that ``phrase`` means at ``now``, in UTC. ValueError if it means none.

    Months and years are those of the calendar (31 March less one month is 28 or 29 February); a day is 86,400 s; a date
    is its midnight.
    """
    ago = AGO.fullmatch(phrase)
    if ago:
        return _before(now, 1 if ago[1].lower() in ("a", "an") else int(ago[1]), ago[2].lower(), phrase)
    month_day = MONTH_DAY.fullmatch(phrase)
    if month_day and month_day[1].lower() in MONTH_NAMES:
        year = int(month_day[3]) if month_day[3] else now.year
        return datetime(year, MONTH_NAMES[month_day[1].lower()], int(month_day[2]), tzinfo=UTC)
    if phrase == "now":
        return now
    if re.match(r"\d{4}-\d{2}-\d{2}", phrase):
        moment = datetime.fromisoformat(phrase)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    raise ValueError(f"{phrase!r} is not a time; write it like {EXAMPLES}")


def _before(now: datetime, count: int, unit: str, phrase: str) -> datetime:
    if unit in SECONDS:
        return now - timedelta(seconds=count * SECONDS[unit])
    if unit not in MONTHS:
        raise ValueError(f"{phrase!r}: unknown unit {unit!r}; known are {', '.join((*SECONDS, *MONTHS))}")
    months = now.year * 12 + now.month - 1 - count * MONTHS[unit]
    year, month = divmod(months, 12)
    if year < 1:
        raise ValueError(f"{phrase!r} is before year 1")
    day = min(now.day, calendar.monthrange(year, month + 1)[1])
    return now.replace(year=year, month=month + 1, day=day)
