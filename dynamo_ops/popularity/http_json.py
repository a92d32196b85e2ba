"""Accesses from a JSON feed: GET url?from=…&to=… gives a list of {dataset, site, day, num_accesses}."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import polars as pl
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from dynamo_ops.popularity.source import ACCESSES
from dynamo_ops.settings import SourceSettings, Strict, Tls
from dynamo_ops.sources.http import HttpJson
from dynamo_ops.sources.loader import parse_options


class JsonAccessOptions(Strict):
    """``url`` of the feed, without ``from`` and ``to``."""

    url: str = Field(pattern=r"^https?://")
    timeout_s: float = Field(120, gt=0)


class _Access(TypedDict):
    dataset: str
    site: str
    day: date
    num_accesses: Annotated[int, Field(ge=-(2**63), lt=2**63)]


_ACCESSES = TypeAdapter(list[_Access])


class JsonAccessSource:
    """A JSON feed as an AccessSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        self.name = settings.name
        self._options = parse_options(settings, JsonAccessOptions)
        self._http = HttpJson(settings.name, tls, self._options.timeout_s)

    def accesses(self, day: date) -> pl.DataFrame:
        """Accesses in [day 00:00, next day 00:00) UTC; several records of a dataset at a site stay several rows."""
        start = datetime.combine(day, time(), UTC)
        params = {"from": start.isoformat(), "to": (start + timedelta(days=1)).isoformat()}
        rows = self._http.rows(self._options.url, _ACCESSES, "dataset", params)
        return pl.DataFrame([dict(row) for row in rows], schema=dict(ACCESSES))

    def fingerprint(self, day: date) -> str | None:
        """None: the feed does not say what changed."""
        del day
        return None
