"""Whether a site is filling, and until when: a straight line through what it held on the last days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil, sqrt
from statistics import correlation, linear_regression
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.query.usage import usage_by_day

DAYS, FEWEST_DAYS = 28, 7
"""That a line is drawn through, at most and at least."""
FAIR = 0.5
"""R² from which a line says something."""
LONGEST_DAYS = 3_650
"""Of a forecast: what comes later is as good as never."""
_QUOTAS = "SELECT partition, quota_bytes FROM quotas WHERE site_id = CAST(:site AS smallint)"


@dataclass(frozen=True)
class Line:
    """Bytes that come a day (less than none: they go), how far off that may be (two standard errors), and R²: how much
    of the ups and downs the line explains."""

    bytes_per_day: float
    margin_bytes_per_day: float
    r_squared: float


@dataclass(frozen=True)
class Forecast:
    """Of a site. ``quota_bytes``: of its partitions together; null: unknown, or without limit. ``line``: null with too
    few days. ``full_on``: the day on which it has its quota by the line, ``earliest_on`` and ``latest_on`` within its
    margin; null: never, or not to be told. ``because``: in a sentence."""

    site: str
    day: date | None
    size_bytes: int
    quota_bytes: int | None
    num_days: int
    line: Line | None
    full_on: date | None
    earliest_on: date | None
    latest_on: date | None
    because: str


def site_forecast(database: Database, name: str, today: date | None = None) -> Forecast:
    """Of the site of that name. Raises InventoryError with near names."""
    since = (today or datetime.now(UTC).date()) - timedelta(days=DAYS)
    with database.begin() as connection:
        quota_bytes = _quota(connection, find_site(connection, name).id)
    recorded = usage_by_day(database, since, ["site"], sites=[name])
    days = [date.fromisoformat(day) for day in recorded["day"]]
    return forecast(name, days, recorded["size_bytes"].to_list(), quota_bytes)


def forecast(site: str, days: Sequence[date], sizes: Sequence[int], quota_bytes: int | None) -> Forecast:
    """Of bytes on disk day by day, oldest first."""
    last = days[-1] if days else None
    size = sizes[-1] if sizes else 0
    line = fitted([(day - days[0]).days for day in days], sizes) if len(days) >= FEWEST_DAYS else None
    known: dict[str, Any] = {"site": site, "day": last, "size_bytes": size, "quota_bytes": quota_bytes}
    known |= {"num_days": len(days), "line": line, "full_on": None, "earliest_on": None, "latest_on": None}
    if line is None or last is None:
        return Forecast(**known, because=f"a line needs {FEWEST_DAYS} days, of which {len(days)} are recorded")
    if quota_bytes is None:
        return Forecast(**known, because="its quota is unknown, or without limit")
    if size >= quota_bytes:
        return Forecast(**{**known, "full_on": last}, because="it has its quota already")
    if line.r_squared < FAIR:
        return Forecast(**known, because="it goes up and down more than it grows: no line fits")
    full, earliest, latest = (
        _reached(last, quota_bytes - size, line.bytes_per_day + side * line.margin_bytes_per_day) for side in (0, 1, -1)
    )
    because = "by a straight line through what it held" if full else "it is not filling"
    return Forecast(**{**known, "full_on": full, "earliest_on": earliest, "latest_on": latest}, because=because)


def fitted(days: Sequence[int], sizes: Sequence[int]) -> Line:
    """The line of least squares, of three days or more."""
    grown = [size - min(sizes) for size in sizes]  # whole, before they are floats: some bytes of an exabyte are none
    if not any(grown):
        return Line(0.0, 0.0, 1.0)
    slope, r_squared = linear_regression(days, grown).slope, correlation(days, grown) ** 2
    unexplained = max(0.0, 1 / r_squared - 1) if r_squared else 0.0
    return Line(slope, 2 * abs(slope) * sqrt(unexplained / (len(days) - 2)), r_squared)


def _reached(last: date, room_bytes: int, bytes_per_day: float) -> date | None:
    if bytes_per_day <= 0 or room_bytes / bytes_per_day > LONGEST_DAYS:
        return None
    return last + timedelta(days=ceil(round(room_bytes / bytes_per_day, 3)))


def _quota(connection: Connection, site_id: int) -> int | None:
    """Of all partitions of a site; None where one is unknown or has no limit, and where there is none."""
    quotas = [row.quota_bytes for row in connection.execute(text(_QUOTAS), {"site": site_id})]
    return sum(quotas) if quotas and all(quota is not None and quota >= 0 for quota in quotas) else None
