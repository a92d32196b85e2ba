"""Rows as text for programs, piece by piece: NDJSON (one JSON object a line) and CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, text

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
    _, pieces = stream(database, listing, asked, fields, limit=limit, as_lines=json_lines)
    return _ended(pieces)


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
    columns, pieces = stream(database, listing, asked, fields, limit=limit, as_lines=csv_lines)
    return chain([",".join(columns) + "\n"], map(_text, pieces))


def end_line(num_rows: int) -> str:
    """The last line of NDJSON."""
    return f'{{"end": {{"rows": {num_rows}}}}}\n'


def json_lines(_connection: Connection, statement: str, _params: Mapping[str, Any]) -> str:
    """SQL: each row of the statement as a JSON object."""
    return f"SELECT CAST(row_to_json(line) AS text) FROM ({statement}) AS line"


def csv_lines(connection: Connection, statement: str, params: Mapping[str, Any]) -> str:
    """SQL: each row of the statement as a line of CSV, as Python's ``csv`` would write it; a list is its values with
    spaces between them."""
    found = connection.execute(text(f"SELECT * FROM ({statement}) AS line LIMIT 0"), params)
    kinds: list[Any] = [column[1] for column in found.cursor.description]
    columns = list(zip(found.keys(), kinds, strict=True))
    cells = ", ".join(f'{_CELLS.get(kind, _TEXT).format(f"line.{name}")} AS "{name}"' for name, kind in columns)
    quoted = (f"line.{name}" if kind in _NEVER_QUOTED else _QUOTED.format(f"line.{name}") for name, kind in columns)
    line = " || ',' || ".join(f"coalesce({cell}, '')" for cell in quoted)
    if len(columns) == 1:  # an empty line is no row to who reads
        line = f"coalesce(nullif({line}, ''), '\"\"')"
    return f"SELECT {line} FROM (SELECT {cells} FROM ({statement}) AS line) AS line"


# By the numbers that PostgreSQL gives its types, the same everywhere. The session is in UTC.
_BOOLEAN, _MOMENT = 16, 1184
_NUMBERS = (20, 21, 23, 700, 701, 1700)
_LISTS = (1005, 1007, 1009, 1016)
_TEXT = "CAST({0} AS text)"
_CELLS: dict[int, str] = {
    _BOOLEAN: "CASE WHEN {0} THEN 'True' WHEN NOT {0} THEN 'False' END",
    _MOMENT: """to_char({0}, 'YYYY-MM-DD"T"HH24\\:MI\\:SS')
        || CASE WHEN {0} = date_trunc('second', {0}) THEN '' ELSE to_char({0}, '.US') END || '+00\\:00'""",
    **dict.fromkeys(_LISTS, "array_to_string({0}, ' ')"),
}
_NEVER_QUOTED = (_BOOLEAN, _MOMENT, *_NUMBERS)
_QUOTED = """CASE WHEN {0} = translate({0}, E'",\\n\\r', '') THEN {0} ELSE '"' || replace({0}, '"', '""') || '"' END"""


def _ended(pieces: Iterator[Rows]) -> Iterator[str]:
    num_rows = 0
    for rows in pieces:
        num_rows += len(rows)
        yield _text(rows)
    yield end_line(num_rows)


def _text(rows: Rows) -> str:
    return "\n".join([row[0] for row in rows]) + "\n"
