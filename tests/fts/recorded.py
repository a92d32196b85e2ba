"""The recorded exchanges with a real FTS 3, and a transport that replays them to the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import requests
from requests.adapters import BaseAdapter

from dynamo_ops.fts.client import FtsClient
from tests import ROOT

FOLDER = ROOT / "tests/data" / "fts_contract"


def load(number: str) -> dict[str, Any]:
    """The exchange whose file starts with this number."""
    (path,) = FOLDER.glob(f"{number}_*.json")
    return json.loads(path.read_text())


class Replay(BaseAdapter):
    """Answers each request with the next recorded response, and keeps the requests."""

    def __init__(self, *answers: dict[str, Any] | Exception | Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self.answers: Iterator[Any] = iter(answers)
        self.requests: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        self.requests.append(request)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        recorded = answer["response"]
        body = recorded["body"]
        response = requests.Response()
        response.status_code = recorded["status"]
        response.reason = recorded["reason"]
        response.headers.update(recorded["headers"])
        is_json = "json" in recorded["headers"].get("Content-Type", "")
        response.raw = BytesIO((json.dumps(body) if is_json else str(body)).encode())
        response.url, response.request = str(request.url), request
        return response

    def close(self) -> None:
        """Nothing is open."""


def client(*answers: Any) -> tuple[FtsClient, Replay]:
    """A client that gets these answers: exchange numbers, exchanges, or exceptions."""
    replay = Replay(*(load(answer) if isinstance(answer, str) else answer for answer in answers))
    made = FtsClient("https://fts.invalid:8446/", ca="ca.pem", cert="cert.pem", key="key.pem")
    made._session.mount("https://", replay)
    return made, replay


def answer(status: int, body: Any, content_type: str = "application/json") -> dict[str, Any]:
    """A response that was not recorded."""
    return {"response": {"status": status, "reason": "", "headers": {"Content-Type": content_type}, "body": body}}
