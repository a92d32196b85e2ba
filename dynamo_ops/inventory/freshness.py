"""How far what we know reaches: until when metadata are in, and which days of accesses lack; and that nothing is known
of what is still to come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.times import time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import PullKind

CLOCK_SKEW = timedelta(minutes=5)
"""By how much the clock by which a run is started may be ahead of the database's."""
USAGE_PRODUCER = "usage"
"""The producer of the attributes that are computed from days of accesses."""


def metadata_ages(db: Database, sources: Sequence[str]) -> pl.DataFrame:
    """One row a metadata source: source, merged_until, age_h (hours since then, not below 0; both null: never merged).

    Whatever interval was asked for, a merge knows nothing of what was made after it.
    """
    found = db.frame("""
        SELECT source, merged_until,
               (extract(epoch FROM greatest(now() - merged_until, interval '0')) / 3600)::float8 AS age_h
        FROM (SELECT source, least(merged_until, updated_at) AS merged_until FROM source_states
              WHERE merged_until IS NOT NULL) AS known""")
    asked = pl.DataFrame({"source": list(sources)}, schema={"source": pl.String})
    return asked.join(found, on="source", how="left", maintain_order="left")


def refuse_future(db: Database, moment: datetime, what: str) -> None:
    """Refuse what would be decided, or taken for known, as of a time to come: a run that somebody starts for a date
    ahead. InventoryError with both times; ``what``: that ends or is decided then, as the beginning of a sentence."""
    now = db.clock()
    if moment > now + CLOCK_SKEW:
        raise InventoryError(
            f"{what} {time_text(moment)}, which is still to come: by the clock of the database it is {time_text(now)}. "
            "Start the run for a time that has passed, or without one",
            moment=moment,
            now=now,
        )


def refuse_day_to_come(db: Database, day: date) -> None:
    """As ``refuse_future``, of a day (UTC) of accesses or demand that has not begun."""
    refuse_future(db, datetime(day.year, day.month, day.day, tzinfo=UTC), f"the day {day} begins at")


def merged_sources(db: Database) -> tuple[str, ...]:
    """The metadata sources that were ever merged, by name."""
    merged = db.frame("SELECT source FROM source_states WHERE merged_until IS NOT NULL ORDER BY source")
    return tuple(merged["source"])


def accesses_ages(db: Database, sources: Sequence[str]) -> pl.DataFrame:
    """One row an access source: source, newest_day, age_h (hours since the end of that day, 0 before it; both null: no
    day yet).

    A day that is still to come tells nothing of those before it.
    """
    found = db.frame(f"""
        SELECT source, max(day) AS newest_day, (extract(epoch FROM greatest(
                 now() - (max(day) + 1)::timestamp AT TIME ZONE 'UTC', interval '0')) / 3600)::float8 AS age_h
        FROM aggregated_days
        WHERE kind = '{PullKind.ACCESSES}' AND day <= (now() AT TIME ZONE 'UTC')::date GROUP BY source""")
    asked = pl.DataFrame({"source": list(sources)}, schema={"source": pl.String})
    return asked.join(found, on="source", how="left", maintain_order="left")


def missing_days(
    db: Database,
    sources: Sequence[str],
    since: date | None = None,
    *,
    kind: PullKind = PullKind.ACCESSES,
    until: date | None = None,
) -> pl.DataFrame:
    """Days of accesses (or demand) that lack, by day (columns source, day), however old they are.

    Of each source the days between its first aggregated one and the newest of any source, or ``until`` where that is
    later; of one that was never aggregated that newest day. ``since``: days before it may lack.
    """
    listed = ", ".join(f"${place}" for place in range(4, len(sources) + 4)) or "NULL"
    return db.frame(_MISSING_DAYS.format(sources=listed), (since, kind.value, until, *sources))


def usage_attributes(db: Database) -> set[str]:
    """The names of the attributes that are computed from days of accesses."""
    return set(db.frame("SELECT name FROM attributes WHERE producer = $1", (USAGE_PRODUCER,))["name"])


_MISSING_DAYS = """
    WITH asked AS (SELECT unnest(ARRAY[{sources}]::text[]) AS source),
    known AS (SELECT day, source FROM aggregated_days JOIN asked USING (source) WHERE kind = $2::text),
    newest AS (SELECT greatest(max(day), $3::date) AS day FROM known HAVING count(*) > 0),
    spans AS (SELECT a.source, min(k.day) AS first_day FROM asked AS a LEFT JOIN known AS k USING (source) GROUP BY 1)
    SELECT s.source, d.day::date AS day
    FROM newest AS n CROSS JOIN spans AS s,
         generate_series(greatest(coalesce(s.first_day, n.day), $1::date), n.day, '1 day') AS d(day)
    WHERE NOT EXISTS (SELECT FROM known AS k WHERE k.source = s.source AND k.day = d.day::date)
    ORDER BY 2, 1"""
