"""Sites from a JSON document: a list of {name, storage_type, status, endpoints, updated_at}.

``endpoints`` is a list of {protocol, prefix, mapping}; ``mapping`` and ``updated_at`` may be left out.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NotRequired

import polars as pl
from pydantic import AwareDatetime, Field, TypeAdapter
from typing_extensions import TypedDict

from dynamo_ops.errors import SourceDataError
from dynamo_ops.settings import SourceSettings, Strict, Tls
from dynamo_ops.sources.http import HttpJson
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.source import SITES


class JsonSiteOptions(Strict):
    """``url`` of the document. ``max_age_h``: sites told longer ago are refused; without it any age will do."""

    url: str = Field(pattern=r"^https?://")
    timeout_s: float = Field(60, gt=0)
    max_age_h: float | None = Field(None, gt=0)


class _Endpoint(TypedDict):
    protocol: str
    prefix: str
    mapping: NotRequired[list[list[tuple[str, str]]] | None]


class _Site(TypedDict):
    name: str
    storage_type: str
    status: str
    endpoints: list[_Endpoint]
    updated_at: NotRequired[AwareDatetime | None]


_SITES = TypeAdapter(list[_Site])


class JsonSiteSource:
    """A JSON document about sites as a SiteSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        self.name = settings.name
        self._options = parse_options(settings, JsonSiteOptions)
        self._http = HttpJson(settings.name, tls, self._options.timeout_s)

    def sites(self) -> pl.DataFrame:
        """All sites as told; names of types and statuses in lower case. SourceDataError if one is told too long ago."""
        rows = self._http.rows(self._options.url, _SITES, "name")
        if self._options.max_age_h is not None:
            self._check_age(rows, datetime.now(UTC) - timedelta(hours=self._options.max_age_h))
        return pl.DataFrame([_site(row) for row in rows], schema=dict(SITES))

    def _check_age(self, rows: list[_Site], oldest: datetime) -> None:
        for row in rows:
            updated_at = row.get("updated_at")
            if updated_at is None or updated_at < oldest:
                raise SourceDataError(
                    f"{self.name}: {row['name']}: updated_at is {updated_at}, older than {self._options.max_age_h:g} h",
                    source=self.name,
                    site=row["name"],
                    value=updated_at,
                )


def _site(row: _Site) -> dict[str, Any]:
    return {
        "site": row["name"],
        "storage_type": row["storage_type"].lower(),
        "status": row["status"].lower(),
        "endpoints": json.dumps(row["endpoints"]),
    }
