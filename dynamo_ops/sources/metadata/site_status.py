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

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.kinds import SiteStatus, StorageType
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.reading.drop import Drop
from dynamo_ops.sources.reading.http import HttpJson
from dynamo_ops.sources.source import SITES


class SiteOptions(Strict):
    """``max_age_h``: sites updated longer ago are refused; without it any age will do.

    ``statuses``, ``storage_types``: what the document's words mean, others are refused; without them they are ours.
    """

    max_age_h: float | None = Field(None, gt=0)
    statuses: dict[str, SiteStatus] | None = None
    storage_types: dict[str, StorageType] | None = None


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
        """All sites of the document; names of types and statuses in lower case. SourceDataError if one is too old."""
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
        files = self._drop.find(path)
        if len(files) != 1:
            raise self._fault(f"{len(files)} such files, expected one")
        try:
            return _frame(self.name, _SITES.validate_python(self._records(self._drop.read(files[0]))), self._options)
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

    def _fault(self, problem: str) -> SourceDataError:
        path = self._options.path
        return SourceDataError(f"{self.name}: {path}: {problem}", source=self.name, file=path)


def _of_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sites of lines that have an endpoint each; what a line leaves empty is left out, and so refused as missing."""
    sites: dict[tuple[object, ...], dict[str, Any]] = {}
    for line in lines:
        endpoint = {key: line.pop(key) for key in ("protocol", "prefix") if line.get(key) is not None}
        line = {key: text for key, text in line.items() if text}
        site = sites.setdefault(tuple(line.items()), {**line, "endpoints": []})
        if any(endpoint.values()):
            site["endpoints"].append(endpoint)
    return list(sites.values())


def _frame(source: str, records: list[_Site], options: SiteOptions) -> pl.DataFrame:
    if options.max_age_h is not None:
        _check_age(source, records, options.max_age_h)
    sites = [
        {
            "site": record["name"],
            "storage_type": _word(source, record, "storage_type", options.storage_types),
            "status": _word(source, record, "status", options.statuses),
            "endpoints": json.dumps(record["endpoints"]),
        }
        for record in records
    ]
    return pl.DataFrame(sites, schema=dict(SITES))


def _check_age(source: str, records: list[_Site], max_age_h: float) -> None:
    oldest = datetime.now(UTC) - timedelta(hours=max_age_h)
    for record in records:
        updated_at = record.get("updated_at")
        if updated_at is None or updated_at < oldest:
            raise SourceDataError(
                f"{source}: {record['name']}: updated_at is {updated_at}, older than {max_age_h:g} h",
                source=source,
                site=record["name"],
                value=updated_at,
            )


def _word(
    source: str, record: _Site, key: Literal["storage_type", "status"], meanings: Mapping[str, str] | None
) -> str:
    """What the document's word means; in lower case if the settings do not say."""
    if meanings is None:
        return record[key].lower()
    if record[key] not in meanings:
        raise SourceDataError(
            f"{source}: {record['name']}: {key} is {record[key]!r}, expected one of {', '.join(meanings)}",
            source=source,
            site=record["name"],
            value=record[key],
        )
    return meanings[record[key]]
