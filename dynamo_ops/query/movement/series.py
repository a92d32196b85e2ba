"""Copies and deletions that ended, by hour or day, link and error: read from the sums that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.states import DeletionState, TransferState
from dynamo_ops.query.paging.condition import check_words, moment_asked


@dataclass(frozen=True)
class _Part:
    """What is summed by: a column of the hours, and how it is shown, with the names that this takes."""

    column: str
    shown: str
    names: str = ""


_SITE = "JOIN sites AS site ON site.id = ended.site_id"
_SOURCE = "JOIN sites AS source ON source.id = ended.source_site_id"
STEPS = {"hour": "ended.hour", "day": "date_trunc('day', ended.hour, 'UTC')"}
TRANSFERS_BY = {
    "source": _Part("source_site_id", "source.name", _SOURCE),
    "site": _Part("site_id", "site.name", _SITE),
    "outcome": _Part("outcome", "ended.outcome"),
    "error": _Part("error_class", "ended.error_class"),
}
DELETIONS_BY = {name: part for name, part in TRANSFERS_BY.items() if name != "source"}
MOST_ROWS = 100_000
"""Of a series: who asks for more asks for less at a time."""


@dataclass(frozen=True)
class Span:
    """From when until when, of which sites: names or globs, all if none is named. ``since``, ``until``: a date, a time,
    or how long ago."""

    since: str = "1d"
    until: str | None = None
    sites: Sequence[str] = ()
    sources: Sequence[str] = ()


_FIGURES = ("num_files", "size_bytes", "num_seconds")
_SUMS = ", ".join(f"sum(ended.{name})::bigint AS {name}" for name in _FIGURES)


def _of(outcome: TransferState, figure: str) -> str:
    return f"coalesce(sum(ended.{figure}) FILTER (WHERE ended.outcome = '{outcome}'), 0)::bigint"


# Sums by number first, and names for these: the names of all rows would take five times as long to put in groups.
_SERIES = f"""
    SELECT {{shown}}, {", ".join(f"ended.{name}" for name in _FIGURES)} FROM (
        SELECT {{columns}}, {_SUMS} FROM {{hours}} AS ended WHERE NOT ended.is_removed AND {{where}}
        GROUP BY {{numbers}} HAVING sum(ended.num_files) <> 0) AS ended {{names}}
    ORDER BY {{numbers}} LIMIT {MOST_ROWS + 1}"""
_LINKS = f"""
    SELECT source.name AS source, site.name AS site, ended.num_done, ended.num_failed, ended.num_cancelled,
           ended.size_bytes, ended.num_seconds
    FROM (SELECT ended.source_site_id, ended.site_id, {_of(TransferState.DONE, "num_files")} AS num_done,
                 {_of(TransferState.FAILED, "num_files")} AS num_failed,
                 {_of(TransferState.CANCELLED, "num_files")} AS num_cancelled,
                 {_of(TransferState.DONE, "size_bytes")} AS size_bytes,
                 {_of(TransferState.DONE, "num_seconds")} AS num_seconds
          FROM transfer_hours AS ended WHERE NOT ended.is_removed AND {{where}}
          GROUP BY ended.source_site_id, ended.site_id HAVING sum(ended.num_files) <> 0) AS ended {_SITE} {_SOURCE}
    ORDER BY 1, 2"""
_ERRORS = f"""
    SELECT ended.error_class AS error, source.name AS source, site.name AS site, ended.num_files, ended.size_bytes,
           ended.last_hour
    FROM (SELECT ended.error_class, ended.source_site_id, ended.site_id, sum(ended.num_files)::bigint AS num_files,
                 sum(ended.size_bytes)::bigint AS size_bytes, max(ended.hour) AS last_hour
          FROM transfer_hours AS ended
          WHERE NOT ended.is_removed AND ended.outcome = '{TransferState.FAILED}' AND {{where}}
          GROUP BY ended.error_class, ended.source_site_id, ended.site_id HAVING sum(ended.num_files) <> 0)
          AS ended {_SITE} {_SOURCE}
    ORDER BY 4 DESC, 1, 2, 3 LIMIT {MOST_ROWS}"""


def transfer_series(
    database: Database, span: Span, by: Sequence[str] = (), *, step: str = "hour", outcomes: Sequence[str] = ()
) -> pl.DataFrame:
    """Attempts at copies that ended: a row for each ``step`` (hour, day; in UTC) and combination of ``by`` (names of
    ``TRANSFERS_BY``) in which some did: at, these, num_files, size_bytes, num_seconds (added up from when each began to
    when it ended). InventoryError for a word that there is not, and for more than ``MOST_ROWS``."""
    check_words(outcomes, TransferState, "outcome of a transfer")
    return _series(database, "transfer_hours", TRANSFERS_BY, span, by, step, outcomes)


def deletion_series(
    database: Database, span: Span, by: Sequence[str] = (), *, step: str = "hour", outcomes: Sequence[str] = ()
) -> pl.DataFrame:
    """As ``transfer_series``, of deletions; ``span`` has no sources. ``error``: refused, unavailable."""
    check_words(outcomes, DeletionState, "outcome of a deletion")
    return _series(database, "deletion_hours", DELETIONS_BY, span, by, step, outcomes)


def links(database: Database, span: Span) -> pl.DataFrame:
    """By source and site: num_done, num_failed, num_cancelled; size_bytes and num_seconds of those done;
    failed_fraction (of done and failed; null where there was neither); bytes_per_s, of one file while it moved (null:
    unknown)."""
    with database.begin() as connection:
        where, params = _narrowed(connection, span)
        frame = _frame(connection, _LINKS.format(where=where), params)
    ended = pl.col("num_done") + pl.col("num_failed")
    return frame.with_columns(
        failed_fraction=pl.when(ended > 0).then(pl.col("num_failed") / ended),
        bytes_per_s=pl.when(pl.col("num_seconds") > 0).then(pl.col("size_bytes") / pl.col("num_seconds")),
    )


def errors(database: Database, span: Span) -> pl.DataFrame:
    """Copies that failed by class of error (as FTS begins it, ``SOURCE [2]``, else other), source and site, most files
    first: error, source, site, num_files, size_bytes, last_hour."""
    with database.begin() as connection:
        where, params = _narrowed(connection, span)
        return _frame(connection, _ERRORS.format(where=where), params)


def _series(
    database: Database,
    hours: str,
    known: Mapping[str, _Part],
    span: Span,
    by: Sequence[str],
    step: str,
    outcomes: Sequence[str],
) -> pl.DataFrame:
    check_words(by, known, "part to sum by")
    check_words([step], STEPS, "step")
    parts = {name: known[name] for name in by}
    with database.begin() as connection:
        where, params = _narrowed(connection, span)
        if outcomes:
            where, params = f"{where} AND ended.outcome = ANY(:outcomes)", {**params, "outcomes": list(outcomes)}
        sql = _SERIES.format(
            shown=", ".join(["ended.at", *(f"{part.shown} AS {name}" for name, part in parts.items())]),
            columns=", ".join([f"{STEPS[step]} AS at", *(f"ended.{part.column}" for part in parts.values())]),
            hours=hours,
            where=where,
            names=" ".join(part.names for part in parts.values()),
            numbers=", ".join(str(number + 1) for number in range(len(parts) + 1)),
        )
        frame = _frame(connection, sql, params)
    if frame.height > MOST_ROWS:
        raise InventoryError(
            f"this series has more than {MOST_ROWS:,} rows: ask for less time, days, or fewer sites", num_rows=MOST_ROWS
        )
    return frame


def _narrowed(connection: Connection, span: Span) -> tuple[str, dict[str, Any]]:
    now = connection.execute(text("SELECT now()")).scalar_one()
    since: datetime = moment_asked(span.since, now)
    parts, params = ["ended.hour >= date_trunc('hour', :since, 'UTC')"], {"since": since}
    if span.until is not None:
        parts.append("ended.hour < :until")
        params["until"] = moment_asked(span.until, now, "until")
    narrowed: dict[str, Any] = dict(params)
    for column, patterns in (("site_id", span.sites), ("source_site_id", span.sources)):
        if patterns:
            parts.append(f"ended.{column} = ANY(CAST(:{column} AS smallint[]))")
            narrowed[column] = [site.id for site in find_sites(connection, patterns)]
    return " AND ".join(parts), narrowed


def _frame(connection: Connection, sql: str, params: Mapping[str, Any]) -> pl.DataFrame:
    rows = connection.execute(text(sql), dict(params))
    columns = list(rows.keys())
    kinds = {"at": pl.Datetime("us", "UTC"), "last_hour": pl.Datetime("us", "UTC")}
    schema = {name: kinds.get(name, pl.Int64 if name.startswith(("num_", "size_")) else pl.String) for name in columns}
    return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
