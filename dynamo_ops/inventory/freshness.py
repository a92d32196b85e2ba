"""How far what we know reaches: until when metadata are in, and which days of accesses lack."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dynamo_ops.inventory.database import Database

USAGE_PRODUCER = "usage"
"""The producer of the attributes that are computed from days of accesses."""


def metadata_ages(db: Database, sources: Sequence[str]) -> pl.DataFrame:
    """One row a metadata source: source, merged_until, age_h (hours since then; both null: never merged)."""
    found = db.frame("""
        SELECT source, merged_until, (extract(epoch FROM now() - merged_until) / 3600)::float8 AS age_h
        FROM source_states""")
    asked = pl.DataFrame({"source": list(sources)}, schema={"source": pl.String})
    return asked.join(found, on="source", how="left", maintain_order="left")


def missing_days(db: Database, sources: Sequence[str], look_back_days: int) -> pl.DataFrame:
    """Days that lack between the first and the newest aggregated day of access sources (columns source, day).

    Looked for in the last ``look_back_days`` before the newest day of any of them.
    """
    listed = ", ".join(f"${place}" for place in range(2, len(sources) + 2)) or "NULL"
    return db.frame(_MISSING_DAYS.format(sources=listed), (look_back_days, *sources))


def usage_attributes(db: Database) -> set[str]:
    """The names of the attributes that are computed from days of accesses."""
    return set(db.frame("SELECT name FROM attributes WHERE producer = $1", (USAGE_PRODUCER,))["name"])


_MISSING_DAYS = """
    WITH known AS (SELECT day, source FROM aggregated_days WHERE kind = 'accesses' AND source IN ({sources})),
    newest AS (SELECT max(day) AS day FROM known),
    spans AS (SELECT source, min(day) AS first_day FROM known GROUP BY source)
    SELECT s.source, d.day::date AS day
    FROM newest AS n CROSS JOIN spans AS s,
         generate_series(greatest(s.first_day, n.day - $1::int), n.day, '1 day') AS d(day)
    WHERE NOT EXISTS (SELECT FROM known AS k WHERE k.source = s.source AND k.day = d.day::date)
    ORDER BY 2, 1"""
