"""Two feeds: the state of the sites (as from an information system) and accesses to datasets (as from monitoring)."""

# ruff: noqa: ARG002  all feeds share one signature

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

from simgrid.catalogue import Catalogue
from simgrid.faults import Faults, FeedFaults
from simgrid.history import Clock
from simgrid.http import Request, Response, Service, json_response
from simgrid.scenario import Site


class SiteStatus(Service):
    """GET /sites: one record a site, with its storage type, status and endpoints."""

    def __init__(self, sites: list[Site], prefixes: dict[str, str], faults: Faults) -> None:
        self._sites = sites
        self._prefixes = prefixes
        self._faults = faults
        self._statuses: dict[str, str] = {site.name: site.status for site in sites}

    def is_down(self) -> bool:
        return self._faults.site_status.down

    def delay_s(self) -> float:
        return self._faults.site_status.slow_s

    def set_status(self, site: str, status: str) -> None:
        """From now on the feed tells this status. Raises KeyError for an unknown site."""
        if site not in self._statuses:
            raise KeyError(site)
        self._statuses[site] = status

    def handle(self, request: Request) -> Response:
        return _feed(request, "/sites", self._faults, self._faults.site_status, self._records)

    def _records(self, request: Request) -> list[dict[str, Any]]:
        faults = self._faults.site_status
        updated = datetime.now(UTC) - timedelta(seconds=faults.stale_s)
        return [
            {
                "name": site.name,
                "storage_type": site.storage_type,
                "status": "???" if site.name in faults.unknown_status else self._statuses[site.name],
                "endpoints": [{"protocol": "davs", "prefix": self._prefixes[site.name]}],
                "updated_at": updated.isoformat(timespec="seconds"),
            }
            for site in self._sites
            if site.name not in faults.vanished
        ]


class AccessFeed(Service):
    """GET /accesses?from=ISO&to=ISO: one record a (dataset, site, day) with from <= day < to; both may be left out.

    `level=file` spreads each record over the dataset's files instead and gives `lfn` for `dataset`. JSON lines when
    the client accepts application/x-ndjson, else a JSON list.
    """

    def __init__(self, catalogue: Catalogue, faults: Faults, clock: Clock) -> None:
        self._catalogue = catalogue
        self._faults = faults
        self._clock = clock

    def is_down(self) -> bool:
        return self._faults.accesses.down

    def delay_s(self) -> float:
        return self._faults.accesses.slow_s

    def handle(self, request: Request) -> Response:
        return _feed(request, "/accesses", self._faults, self._faults.accesses, self._records)

    def _records(self, request: Request) -> list[dict[str, Any]]:
        first, last = _instant(request, "from"), _instant(request, "to")
        vanished = self._faults.accesses.vanished
        rows = [
            asdict(access)
            for access in self._clock.accesses(self._catalogue)
            if access.site not in vanished
            and (first is None or _midnight(access.day) >= first)
            and (last is None or _midnight(access.day) < last)
        ]
        if request.first("level") == "file":
            return self._by_file(rows)
        return rows

    def _by_file(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        lfns = {
            dataset.name: [file.lfn for block in dataset.blocks for file in block.files]
            for dataset in self._catalogue.datasets
        }
        spread = []
        for row in rows:
            files = lfns[row.pop("dataset")][: row["num_accesses"]]
            share, rest = divmod(row["num_accesses"], len(files))
            for number, lfn in enumerate(files):
                accesses = share + (number < rest)
                hours = round(row["cpu_hours"] * accesses / row["num_accesses"], 4)
                spread.append({"lfn": lfn, **row, "num_accesses": accesses, "cpu_hours": hours})
        return spread


def _feed(
    request: Request, path: str, faults: Faults, service: FeedFaults, records: Callable[[Request], list[dict[str, Any]]]
) -> Response:
    if request.path.rstrip("/") != path:
        return json_response({"error": f"no such page; the feed is at {path}"}, 404)
    if request.method != "GET":
        return json_response({"error": "GET only"}, 405)
    if faults.spend(service, "http_500"):
        return json_response({"error": "internal error"}, 500)
    try:
        rows = records(request)
    except ValueError as error:
        return json_response({"error": str(error)}, 400)
    if "ndjson" in (request.headers.get("Accept") or ""):
        response = Response(200, "".join(json.dumps(row) + "\n" for row in rows).encode(), "application/x-ndjson")
    else:
        response = json_response(rows)
    if service.broken_json:
        response.body = response.body[: len(response.body) // 2]
    return response


def _instant(request: Request, name: str) -> datetime | None:
    """A query parameter as a time; without zone it is UTC, a bare date its midnight. Raises ValueError."""
    text = request.first(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a query arrives as a blank
    except ValueError:
        raise ValueError(f"{name}={text} is not an ISO 8601 time") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
