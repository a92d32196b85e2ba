"""Figures that gates measure of their subjects: kept as ``gate_metrics``, for comparisons and trends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database, insert_frame

UNITS: Mapping[str, str] = {
    "source_datasets": "datasets",
    "datasets": "datasets",
    "known_datasets": "datasets",
    "blocks": "blocks",
    "block_bytes": "bytes",
    "files": "files",
    "file_bytes": "bytes",
    "sites": "sites",
    "ready_sites": "sites",
    "records": "records",
    "accesses": "accesses",
    "datasets_accessed": "datasets",
    "sites_accessed": "sites",
    "files_accessed": "files",
    "jobs": "jobs",
    "datasets_wanted": "datasets",
}
"""What each figure counts."""


@dataclass(frozen=True)
class Figures:
    """What is to be measured. ``query``: one row, its columns are names of UNITS. ``subject``: the source's name.

    ``as_of``: the moment that the data describe, the end of the run's interval.
    """

    subject: str
    as_of: datetime
    query: str


@dataclass(frozen=True)
class Before:
    """What accepted runs measured before. ``typical``: the median of the days; null where no day is known."""

    num_days: int
    typical: float | None


def before(db: Database, gate: str, subject: str, metric: str, as_of: datetime, num_days: int) -> Before:
    """A figure as accepted runs measured it in the ``num_days`` days before ``as_of``, each day by its last run.

    Only what describes a moment before ``as_of`` counts, so that a lost day is judged as it would have been then.
    """
    measured = db.frame(
        """SELECT DISTINCT ON (as_of) value FROM gate_metrics
           WHERE gate = $1 AND subject = $2 AND metric = $3 AND is_accepted AND as_of < $4 AND as_of >= $5
           ORDER BY as_of, measured_at DESC""",
        (gate, subject, metric, as_of, as_of - timedelta(days=num_days)),
    )
    figures = measured["value"].to_list()
    return Before(len(figures), median(figures) if figures else None)


def keep_figures(
    connection: Connection,
    gate: str,
    run_key: str,
    figures: Figures,
    values: Mapping[str, float],
    now: datetime,
    *,
    is_accepted: bool,
) -> None:
    """Keep what a gate measured; what the same run measured of this subject at this moment before is replaced."""
    key = {"gate": gate, "run_key": run_key, "subject": figures.subject, "as_of": figures.as_of}
    connection.execute(
        text(
            "DELETE FROM gate_metrics"
            " WHERE gate = :gate AND run_key = :run_key AND subject = :subject AND as_of = :as_of"
        ),
        key,
    )
    metrics = pl.DataFrame(
        {"metric": list(values), "value": list(values.values()), "unit": [UNITS[name] for name in values]},
        schema={"metric": pl.String, "value": pl.Float64, "unit": pl.String},
    )
    common = {**key, "measured_at": now, "is_accepted": is_accepted}
    insert_frame(
        connection,
        "gate_metrics",
        metrics.with_columns(**{name: pl.lit(constant) for name, constant in common.items()}),
    )
