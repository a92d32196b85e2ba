"""Sites from a document, behind a URL or in a file: a list of {name, storage_type, status, endpoints, updated_at}.

``endpoints`` is a list of {protocol, prefix, mapping}; ``mapping`` and ``updated_at`` may be left out. In CSV each
endpoint has a line: name, storage_type, status, protocol, prefix.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NotRequired

import polars as pl
import yaml
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import SourceSettings, Strict, Tls
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.reading.drop import Drop
from dynamo_ops.sources.reading.http import HttpJson
from dynamo_ops.sources.source import SITES


class SiteOptions(Strict):
    """``max_age_h``: sites told longer ago are refused; without it any age will do.

    ``statuses``, ``storage_types``: what the document's words mean, others are refused; without them they are ours.
    """

    max_age_h: float | None = Field(None, gt=0)
    statuses: dict[str, Literal["ready", "waitroom", "morgue", "unknown"]] | None = None
    storage_types: dict[str, Literal["disk", "mss", "buffer", "unknown"]] | None = None


class JsonSiteOptions(SiteOptions):
    """``url`` of the document."""

    url: str = Field(pattern=r"^https?://")
    timeout_s: float = Field(60, gt=0)


class FileSiteOptions(SiteOptions):
    """``path`` of the document (or a URL that fsspec knows): JSON, YAML or CSV, by its name."""

    path: str = Field(pattern=r"\.(json|ya?ml|csv)$")
    storage_options: dict[str, Any] = Field(default_factory=dict)


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
        return _frame(self.name, self._http.rows(self._options.url, _SITES, "name"), self._options)


class FileSiteSource:
    """A file about sites as a SiteSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        del tls  # a storage has credentials of its own
        self.name = settings.name
        self._options = parse_options(settings, FileSiteOptions)
        self._drop = Drop(settings.name, self._options.storage_options)

    def sites(self) -> pl.DataFrame:
        """All sites as the file has them. SourceDataError naming file and site if it is absent, empty or damaged."""
        path = self._options.path
        found = self._drop.find(path)
        if len(found) != 1:
            raise self._fault(f"{len(found)} such files, expected one")
        try:
            return _frame(self.name, _SITES.validate_python(self._records(self._drop.read(found[0]))), self._options)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(str(part) for part in fault["loc"])
            raise self._fault(f"{place}: {fault['msg']}, got {fault['input']!r}") from error
        except (yaml.YAMLError, ValueError, csv.Error) as error:
            raise self._fault(f"cannot be read: {error}") from error

    def _records(self, content: bytes) -> object:
        text = content.decode("utf-8-sig")
        if self._options.path.endswith(".csv"):
            return _of_lines(list(csv.DictReader(io.StringIO(text), strict=True)))
        return json.loads(text) if self._options.path.endswith(".json") else yaml.safe_load(text)

    def _fault(self, what: str) -> SourceDataError:
        path = self._options.path
        return SourceDataError(f"{self.name}: {path}: {what}", source=self.name, file=path)


def _of_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sites of lines that have an endpoint each; what is not told of a line is left out, and so refused as missing."""
    sites: dict[tuple[object, ...], dict[str, Any]] = {}
    for line in lines:
        endpoint = {key: line.pop(key) for key in ("protocol", "prefix") if line.get(key) is not None}
        line = {key: value for key, value in line.items() if value}
        site = sites.setdefault(tuple(line.items()), {**line, "endpoints": []})
        if any(endpoint.values()):
            site["endpoints"].append(endpoint)
    return list(sites.values())


def _frame(source: str, rows: list[_Site], options: SiteOptions) -> pl.DataFrame:
    if options.max_age_h is not None:
        _check_age(source, rows, options.max_age_h)
    sites = [
        {
            "site": row["name"],
            "storage_type": _word(source, row, "storage_type", options.storage_types),
            "status": _word(source, row, "status", options.statuses),
            "endpoints": json.dumps(row["endpoints"]),
        }
        for row in rows
    ]
    return pl.DataFrame(sites, schema=dict(SITES))


def _check_age(source: str, rows: list[_Site], max_age_h: float) -> None:
    oldest = datetime.now(UTC) - timedelta(hours=max_age_h)
    for row in rows:
        updated_at = row.get("updated_at")
        if updated_at is None or updated_at < oldest:
            raise SourceDataError(
                f"{source}: {row['name']}: updated_at is {updated_at}, older than {max_age_h:g} h",
                source=source,
                site=row["name"],
                value=updated_at,
            )


def _word(source: str, row: _Site, key: Literal["storage_type", "status"], meanings: Mapping[str, str] | None) -> str:
    """What the document's word means; in lower case if the settings do not say."""
    if meanings is None:
        return row[key].lower()
    if row[key] not in meanings:
        raise SourceDataError(
            f"{source}: {row['name']}: {key} is {row[key]!r}, expected one of {', '.join(meanings)}",
            source=source,
            site=row["name"],
            value=row[key],
        )
    return meanings[row[key]]
