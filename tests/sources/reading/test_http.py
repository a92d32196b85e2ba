"""Answers of a service, good and bad, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import aiohttp
import pytest
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from dynamo_ops.base.errors import (
    CredentialError,
    DynamoError,
    PermanentRemoteError,
    RemoteError,
    RetryableRemoteError,
    SettingsError,
    SourceDataError,
)
from dynamo_ops.base.settings import Tls
from dynamo_ops.sources.reading.address import shown
from dynamo_ops.sources.reading.drop import reading
from dynamo_ops.sources.reading.http import HttpJson
from simgrid.grid import Grid

pytestmark = pytest.mark.usefixtures("no_pauses")


class Row(TypedDict):
    name: str
    size: int


ROWS = TypeAdapter(list[Row])


class Answers(BaseHTTPRequestHandler):
    """GET /<status>/<body> answers just that."""

    calls: list[str]

    def do_GET(self) -> None:
        _, status, body = self.path.split("?")[0].split("/", 2)
        type(self).calls.append(status)
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(bytes.fromhex(body))

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def service() -> Iterator[str]:
    Answers.calls = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(service: str, status: int, body: str) -> list[Row]:
    return HttpJson("dbs", Tls(), 5).rows(f"{service}/{status}/{body.encode().hex()}", ROWS, "name", {"detail": 1})


def test_rows_come_back(service: str) -> None:
    assert ask(service, 200, json.dumps([{"name": "a", "size": 1, "more": None}])) == [{"name": "a", "size": 1}]


@pytest.mark.parametrize(
    ("status", "kind", "calls"),
    [
        (400, PermanentRemoteError, 1),
        (401, CredentialError, 1),
        (403, CredentialError, 1),
        (404, PermanentRemoteError, 1),
        (429, RetryableRemoteError, 3),
        (500, RetryableRemoteError, 3),
        (503, RetryableRemoteError, 3),
    ],
)
def test_a_status_says_what_to_do(service: str, status: int, kind: type[DynamoError], calls: int) -> None:
    with pytest.raises(kind) as caught:
        ask(service, status, "the disk is on fire")
    assert type(caught.value) is kind
    assert len(Answers.calls) == calls
    assert caught.value.facts["status"] == status
    for fact in ("dbs", f"{service}/{status}/", "the disk is on fire"):
        assert fact in str(caught.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('[{"name": nan}]', "not a JSON list of records"),
        ('{"name": "a"}', "not a JSON list of records"),
        ('[{"name": "/A/B/C", "size": "big"}]', "/A/B/C: size is 'big'"),
        ('[{"name": "/A/B/C"}]', "/A/B/C: size is missing"),
        ("[7]", "record 0"),
    ],
    ids=["NaN", "no list", "text for a number", "field missing", "no record"],
)
def test_a_malformed_answer_is_named(service: str, body: str, told: str) -> None:
    with pytest.raises(SourceDataError, match="dbs: ") as caught:
        ask(service, 200, body)
    assert told in str(caught.value)


def test_nobody_listening_is_retryable() -> None:
    with pytest.raises(RetryableRemoteError, match="no answer: http://127"):
        HttpJson("dbs", Tls(), 1).rows("http://127.0.0.1:1/", ROWS, "name")


SECRETS = ("usr", "hunter2", "SECRET", "PART")


@pytest.mark.parametrize("what", ["nobody", "500", "not JSON", "wrong record", "no address", "TLS"])
def test_no_message_no_fact_and_no_log_has_what_an_address_hides(
    service: str, grid: Grid, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    place = {
        "nobody": "http://127.0.0.1:1/x",
        "500": f"{service}/500/00",
        "not JSON": f"{service}/200/00",
        "wrong record": f"{service}/200/{b'[7]'.hex()}",
        "no address": "http://127.0.0.1:port/x",
        "TLS": grid.endpoints["dbs"],
    }[what]
    url = place.replace("://", "://usr:hunter2@") + "?token=SECRET&PART#PART"
    with pytest.raises(DynamoError) as caught:
        HttpJson("dbs", Tls(), 5).rows(url, ROWS, "name", {"detail": 1})
    told = f"{caught.value} {caught.value.facts} {caplog.text}"
    assert [secret for secret in SECRETS if secret in told] == []
    assert "token=…&…&detail=1" in str(caught.value)
    assert caught.value.__cause__ is None or not isinstance(caught.value, RemoteError)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://a.example.org/x", "https://a.example.org/x"),
        ("https://u:p@a.example.org:8443/x?a=1&b=&c", "https://a.example.org:8443/x?a=…&b=…&…"),
        ("s3://key:secret@bucket/day=2026-03-01/part-?.csv", "s3://bucket/day=2026-03-01/part-?.csv"),
        ("https://[u:p@broken", "https://…"),
        ("/data/drops/user@site?.csv", "/data/drops/user@site?.csv"),
    ],
)
def test_what_is_shown_of_an_address(url: str, told: str) -> None:
    assert shown(url) == told


def test_an_untrusted_server_is_permanent_and_points_to_the_setting(grid: Grid) -> None:
    with pytest.raises(PermanentRemoteError, match=r"tls\.ca"):
        HttpJson("dbs", Tls(), 5).rows(grid.endpoints["dbs"], ROWS, "name")


def test_a_missing_ca_file_is_a_setting_to_fix(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"tls\.ca: .*nowhere\.pem: file not found"):
        HttpJson("dbs", Tls(ca=tmp_path / "nowhere.pem"))


def test_the_shells_proxy_plays_no_part(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(service, 200, "[]") == []


def test_a_service_that_asks_for_patience_gets_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(time=time.time, sleep=slept.append))

    class Busy(Answers):
        def do_GET(self) -> None:
            type(self).calls.append(self.path)
            self.send_response(200 if len(self.calls) == 3 else 503)
            self.send_header("Retry-After", "2" if len(self.calls) == 1 else "86400")
            self.end_headers()
            self.wfile.write(b"[]")

    Busy.calls = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        assert HttpJson("dbs", Tls(), 5).rows(f"http://127.0.0.1:{server.server_port}/", ROWS, "name") == []
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert slept == [2, 15], "what it asks for, but not for a day"


@pytest.mark.parametrize(
    ("status", "kind"), [(401, CredentialError), (410, PermanentRemoteError), (429, RetryableRemoteError)]
)
def test_a_drop_read_over_http_has_the_same_errors(status: int, kind: type[RemoteError]) -> None:
    with pytest.raises(RemoteError) as caught, reading("drops", "https://a.example.org/day.csv"):
        raise aiohttp.ClientResponseError(Mock(), (), status=status)
    assert type(caught.value) is kind
    assert caught.value.facts["status"] == status
