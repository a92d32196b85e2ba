"""Long lists of the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from dynamo_ops.cli.terminal.tables import Records
from dynamo_ops.database.connection import Database
from dynamo_ops.query.paging.listing import Filter, Listing, stream
from dynamo_ops.query.paging.stream import csv_text, ndjson

WRITERS = {"ndjson": ndjson, "csv": csv_text}


@dataclass(frozen=True)
class Here(Generic[Filter]):
    """One of them, narrowed by ``asked``."""

    database: Database
    listing: Listing[Filter]
    asked: Filter

    def rows(self, fields: Sequence[str], limit: int) -> Records:
        """The first so many."""
        columns, pieces = stream(
            self.database, self.listing, self.asked, fields or list(self.listing.columns), limit=limit
        )
        return [dict(zip(columns, row, strict=True)) for piece in pieces for row in piece]

    def text(self, form: str, fields: Sequence[str], limit: int | None) -> Iterator[str]:
        """As NDJSON or CSV, piece by piece."""
        return WRITERS[form](self.database, self.listing, self.asked, fields, limit=limit)


def all_rows(database: Database, listing: Listing[Filter], asked: Filter) -> Records:
    """Of a list that is never very long."""
    columns, pieces = stream(database, listing, asked, list(listing.columns))
    return [dict(zip(columns, row, strict=True)) for piece in pieces for row in piece]
