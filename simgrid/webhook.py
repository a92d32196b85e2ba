"""A chat's incoming webhook: every POST of JSON becomes one file, named so that they sort by arrival."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

from simgrid.http import Request, Response, Service, json_response

PATH = "/hooks/pocket"


class WebhookSink(Service):
    """POST /hooks/pocket with a JSON object that has a ``text``, as chats want it; anything else is refused."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._numbers = itertools.count(len(list(directory.glob("*.json"))) + 1)

    def handle(self, request: Request) -> Response:
        if request.path != PATH:
            return json_response({"error": "no such hook"}, 404)
        if request.method != "POST":
            return json_response({"error": "POST only"}, 405)
        try:
            document = json.loads(request.body())
        except ValueError:
            return json_response({"error": "not JSON"}, 400)
        if not isinstance(document, dict) or not isinstance(document.get("text"), str) or not document["text"].strip():
            return json_response({"error": "no text"}, 400)
        name = f"{next(self._numbers):06d}.json"
        temporary = self.directory / f".{name}"
        temporary.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, self.directory / name)
        return Response(200, b"ok", "text/plain")
