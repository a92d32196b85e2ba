"""How far what we know reaches: until when metadata are in, and which days of accesses lack."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import PullKind

USAGE_PRODUCER = "usage"
"""The producer of the attributes that are computed from days of accesses."""


def metadata_ages(db: Database, sources: Sequence[str]) -> pl.DataFrame:
    """One row a metadata source: source, merged_until, age_h (hours since then; both null: never merged).

    Whatever interval was asked for, a merge knows nothing of what was made after it.
    """
    found = db.frame("""
        SELECT source, merged_until, (extract(epoch FROM now() - merged_until) / 3600)::float8 AS age_h
        FROM (SELECT source, least(merged_until, updated_at) AS merged_until FROM source_states
              WHERE merged_until IS NOT NULL) AS known""")
    asked = pl.DataFrame({"source": list(sources)}, schema={"source": pl.String})
    return asked.join(found, on="source", how="left", maintain_order="left")


def merged_sources(db: Database) -> tuple[str, ...]:
    """The metadata sources that were ever merged, by name."""
    merged = db.frame("SELECT source FROM source_states WHERE merged_until IS NOT NULL ORDER BY source")
    return tuple(merged["source"])


def accesses_ages(db: Database, sources: Sequence[str]) -> pl.DataFrame:
    """One row an access source: source, newest_day, age_h (hours since the end of that day; both null: no day yet).

    A day that is still to come tells nothing of those before it.
    """
    found = db.frame(f"""
        SELECT source, max(day) AS newest_day,
               (extract(epoch FROM now() - (max(day) + 1)::timestamp AT TIME ZONE 'UTC') / 3600)::float8 AS age_h
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
