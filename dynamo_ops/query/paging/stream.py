"""Rows as text for programs, piece by piece: NDJSON (one JSON object a line) and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from dynamo_ops.query.paging.listing import Rows


def ndjson(columns: Sequence[str], pieces: Iterator[Rows]) -> Iterator[str]:
    """A line a row. The last line is ``{"end": {"rows": n}}``: without it the stream broke off."""
    num_rows = 0
    for rows in pieces:
        num_rows += len(rows)
        yield "".join(f"{json.dumps(dict(zip(columns, row, strict=True)), default=_text)}\n" for row in rows)
    yield f'{{"end": {{"rows": {num_rows}}}}}\n'


def csv_text(columns: Sequence[str], pieces: Iterator[Rows]) -> Iterator[str]:
    """A line of names, then a line a row; null is empty, times are ISO. CSV cannot say that it broke off: compare the
    number of lines, or take NDJSON."""
    yield _lines([columns])
    for rows in pieces:
        yield _lines([[_text(value) if isinstance(value, datetime) else value for value in row] for row in rows])


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _text(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
