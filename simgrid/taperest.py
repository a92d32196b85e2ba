"""The part of the WLCG Tape REST API (v1) that FTS uses. Paths in it are URL paths, the site's prefix included."""

# ruff: noqa: ARG002  all handlers share one signature

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from simgrid.http import Request, Response, Routes, json_response
from simgrid.tape import Tape, UnknownRequestError


class TapeRest:
    def __init__(self, site: str, prefix: str, tape: Tape) -> None:
        self._site = site
        self._prefix = prefix
        self._tape = tape

    def routes(self) -> Routes:
        routes = Routes()
        routes.add("GET", "/.well-known/wlcg-tape-rest-api", self._discover)
        routes.add("POST", "/api/v1/stage", _certified(self._stage))
        routes.add("GET", "/api/v1/stage/{identifier}", _certified(self._progress))
        routes.add("DELETE", "/api/v1/stage/{identifier}", _certified(self._drop))
        routes.add("POST", "/api/v1/stage/{identifier}/cancel", _certified(self._cancel))
        routes.add("POST", "/api/v1/release/{identifier}", _certified(self._release))
        routes.add("POST", "/api/v1/archiveinfo", _certified(self._archiveinfo))
        return routes

    def _discover(self, request: Request) -> Response:
        endpoint = {"uri": f"https://{request.headers.get('Host')}/api/v1", "version": "v1"}
        return json_response({"sitename": self._site, "description": "pocket tape", "endpoints": [endpoint]})

    def _stage(self, request: Request) -> Response:
        lfns = [self._lfn(str(file["path"])) for file in json.loads(request.body())["files"]]
        identifier = self._tape.stage(lfns)
        location = f"https://{request.headers.get('Host')}/api/v1/stage/{identifier}"
        return json_response({"requestId": identifier}, 201, headers={"Location": location})

    def _progress(self, request: Request, identifier: str) -> Response:
        document = self._tape.request_document(identifier)
        for file in document["files"]:
            file["path"] = self._prefix + file["path"]
        return json_response(document)

    def _drop(self, request: Request, identifier: str) -> Response:
        self._tape.drop(identifier)
        return Response(200)

    def _release(self, request: Request, identifier: str) -> Response:
        self._tape.release(identifier, self._named(request))
        return Response(200)

    def _cancel(self, request: Request, identifier: str) -> Response:
        self._tape.cancel(identifier, self._named(request))
        return Response(200)

    def _archiveinfo(self, request: Request) -> Response:
        paths: list[str] = json.loads(request.body())["paths"]
        return json_response([{"path": path, "locality": self._tape.locality(self._lfn(path))} for path in paths])

    def _named(self, request: Request) -> list[str] | None:
        """LFNs named in the body; None when it names none."""
        body = request.body()
        named: Any = json.loads(body).get("paths") if body else None
        return None if named is None else [self._lfn(path) for path in named]

    def _lfn(self, path: str) -> str:
        return lfn_below(self._prefix, path) or path


def lfn_below(prefix: str, path: str) -> str | None:
    """The LFN of a URL path, None when it is not below the prefix."""
    if path == prefix:
        return "/"
    return path.removeprefix(prefix) if path.startswith(prefix + "/") else None


def _certified(handler: Callable[..., Response]) -> Callable[..., Response]:
    """The handler behind a client certificate; unknown requests and unreadable bodies become 404 and 400."""

    def guarded(request: Request, **arguments: str) -> Response:
        if request.dn is None:
            return _problem(403, "staging needs a client certificate")
        try:
            return handler(request, **arguments)
        except UnknownRequestError:
            return _problem(404, "no such staging request")
        except (ValueError, AttributeError, TypeError, KeyError):
            return _problem(400, 'expecting {"files": [{"path": ...}]} or {"paths": [...]}')

    return guarded


def _problem(status: int, detail: str) -> Response:
    return json_response({"title": detail, "status": status, "detail": detail}, status)
