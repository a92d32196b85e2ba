"""Accesses from a JSON feed: GET url?from=…&to=… gives a list of {dataset, site, day, num_accesses}."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.reading.columns import Column, Times
from dynamo_ops.sources.reading.http import HttpJson
from dynamo_ops.sources.reading.records import Records
from dynamo_ops.sources.usage.source import ACCESSES


class JsonAccessOptions(Strict):
    """``url`` of the feed, without ``from`` and ``to``.

    ``level``: whether the records name datasets or files; for files the feed is asked with ``level=file`` and gives
    ``lfn``. ``fields``: what the records call our columns. ``times``: how they write the day.
    """

    url: str = Field(pattern=r"^https?://")
    timeout_s: float = Field(120, gt=0)
    level: Literal["dataset", "file"] = "dataset"
    fields: dict[str, str] = Field(default_factory=dict)
    times: Times = "iso"

    @model_validator(mode="after")
    def _known_fields(self) -> JsonAccessOptions:
        allowed = ("lfn" if self.level == "file" else "dataset", "site", "day", "num_accesses")
        for name in self.fields:
            if name not in allowed:
                raise ValueError(f"fields: no column {name!r}; there are {', '.join(allowed)}")
        return self


class JsonAccessSource:
    """A JSON feed as an AccessSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        self.name = settings.name
        self._options = options = parse_options(settings, JsonAccessOptions)
        self._http = HttpJson(settings.name, tls, options.timeout_s)
        self._of = "lfn" if options.level == "file" else "dataset"
        dtypes = {self._of: pl.String, "site": pl.String, "day": pl.Date, "num_accesses": pl.Int64}
        columns = [Column(name, dtype, options.fields.get(name, name), options.times) for name, dtype in dtypes.items()]
        self._records = Records(columns, self._of)

    def accesses(self, day: date) -> pl.DataFrame:
        """Accesses in [day 00:00, next day 00:00) UTC; several records of a dataset at a site stay several rows."""
        start = datetime.combine(day, time(), UTC)
        params: dict[str, Any] = {"from": start.isoformat(), "to": (start + timedelta(days=1)).isoformat()}
        if self._options.level == "file":
            params["level"] = "file"
        records = self._http.frame(self._options.url, self._records, params)
        null_column = pl.lit(None, pl.String).alias("dataset" if self._of == "lfn" else "lfn")
        return records.with_columns(null_column).select(list(ACCESSES))

    def fingerprint(self, day: date) -> str | None:
        """None: the feed does not say what changed."""
        del day
        return None
