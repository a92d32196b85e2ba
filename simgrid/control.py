"""The control port: plain HTTP on loopback, for those who break things on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from simgrid.faults import Faults, UnknownFaultError
from simgrid.feeds import SiteStatus
from simgrid.history import Clock
from simgrid.http import Request, Response, Service, json_response


class Control(Service):
    """GET /health, GET|POST|DELETE /faults, POST /sites/<name> {"status": ...}, POST /fts/restart,
    POST /clock {"at": ISO time or null}: what DBS and the access feed know is as of then."""

    def __init__(
        self,
        faults: Faults,
        site_status: SiteStatus,
        clock: Clock,
        restart_fts: Callable[[], None],
        health: Callable[[], dict[str, Any]],
    ) -> None:
        self._faults = faults
        self._site_status = site_status
        self._clock = clock
        self._restart_fts = restart_fts
        self._health = health

    def handle(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except (ValueError, UnknownFaultError) as error:
            return json_response({"error": str(error)}, 400)

    def _answer(self, request: Request) -> Response:
        call = (request.method, request.path.rstrip("/"))
        if call == ("GET", "/health"):
            return json_response(self._health())
        if call == ("POST", "/fts/restart"):
            self._restart_fts()
            return json_response({"restarted": "fts"})
        if call == ("POST", "/clock"):
            return self._set_clock(_mapping(request))
        if call[0] == "POST" and call[1].startswith("/sites/"):
            return self._set_status(call[1].removeprefix("/sites/"), _mapping(request))
        if call == ("POST", "/faults"):
            self._faults.set(_mapping(request))
        elif call == ("DELETE", "/faults"):
            self._faults.clear()
        elif call != ("GET", "/faults"):
            return json_response({"error": "there is /health, /faults, /clock, /sites/<name> and /fts/restart"}, 404)
        return json_response(self._faults.as_document())

    def _set_clock(self, change: dict[str, Any]) -> Response:
        at = change.get("at")
        moment = None if at is None else datetime.fromisoformat(at)
        if moment is not None and moment.tzinfo is None:
            raise ValueError(f"{at}: the time has no zone")
        self._clock.moment = moment
        return json_response({"at": at})

    def _set_status(self, site: str, change: dict[str, Any]) -> Response:
        status = change.get("status")
        if status not in ("ready", "waitroom", "morgue"):
            return json_response({"error": 'expecting {"status": "ready"|"waitroom"|"morgue"}'}, 400)
        try:
            self._site_status.set_status(site, status)
        except KeyError:
            return json_response({"error": f"no site named {site}"}, 404)
        return json_response({"site": site, "status": status})


def _mapping(request: Request) -> dict[str, Any]:
    document = json.loads(request.body())
    if not isinstance(document, dict):
        raise ValueError("expecting a JSON object")
    return document
