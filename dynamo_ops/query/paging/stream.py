"""Rows as text for programs, piece by piece: NDJSON (one JSON object a line) and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from dynamo_ops.database.connection import Database
from dynamo_ops.query.paging.listing import Filter, Listing, Rows, stream


def ndjson(
    database: Database,
    listing: Listing[Filter],
    asked: Filter,
    fields: Sequence[str] = (),
    *,
    limit: int | None = None,
) -> Iterator[str]:
    """A line a row. The last line is ``{"end": {"rows": n}}``: without it the stream broke off. Errors of what is asked
    are raised at once."""
    _, pieces = stream(database, listing, asked, fields, limit=limit, as_json=True)
    return _json_lines(pieces)


def csv_text(
    database: Database,
    listing: Listing[Filter],
    asked: Filter,
    fields: Sequence[str] = (),
    *,
    limit: int | None = None,
) -> Iterator[str]:
    """A line of names, then a line a row; null is empty, times are ISO. CSV cannot say that it broke off: compare the
    number of lines, or take NDJSON. Errors of what is asked are raised at once."""
    columns, pieces = stream(database, listing, asked, fields, limit=limit)
    return _csv_lines(columns, pieces)


def end_line(num_rows: int) -> str:
    """The last line of NDJSON."""
    return f'{{"end": {{"rows": {num_rows}}}}}\n'


def _json_lines(pieces: Iterator[Rows]) -> Iterator[str]:
    num_rows = 0
    for rows in pieces:
        num_rows += len(rows)
        yield "\n".join([row[0] for row in rows]) + "\n"
    yield end_line(num_rows)


def _csv_lines(columns: Sequence[str], pieces: Iterator[Rows]) -> Iterator[str]:
    yield _lines([columns])
    for rows in pieces:
        yield _lines([[_cell(value) for value in row] for row in rows])


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return " ".join(map(str, value)) if isinstance(value, list) else value
