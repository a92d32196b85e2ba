"""A service in its bad hours: what it answers then is told from wrong data and wrong questions, and asked again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import polars as pl
import pytest

from dynamo_ops.base.errors import (
    CredentialError,
    DynamoError,
    PermanentRemoteError,
    ServiceIllError,
    SourceDataError,
)
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import site_source
from dynamo_ops.sources.metadata.dbs import DbsSource
from dynamo_ops.sources.reading.illness import symptom
from dynamo_ops.sources.usage.source import access_source

pytestmark = pytest.mark.usefixtures("no_pauses")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DATASET = {"dataset": "/A/R-v1/AOD", "dataset_access_type": "VALID", "last_modification_date": 1767225600}
ACCESS = {"dataset": "/A/R-v1/AOD", "site": "T2_BB", "day": "2026-03-01", "num_accesses": 3}
SITE = {"name": "T2_BB", "storage_type": "disk", "status": "ready", "endpoints": []}
GOOD = {"dbs": DATASET, "accesses": ACCESS, "sites": SITE}


def dbs_error(code: int, reason: str) -> dict[str, Any]:
    text = f"DBSError Code:{code} Description:{reason} Function:dbs.executeAll Message: Error: {reason}"
    error = {"reason": text, "message": "unable to query", "function": "dbs.executeAll", "code": code}
    return {"error": error, "http": {"method": "GET", "code": 400}, "exception": 400, "type": "HTTPError"}


DOWN = dbs_error(101, "ORA-12170: TNS:Connect timeout occurred")
REFUSED = dbs_error(118, "invalid parameter 'datset' for the datasets API")
LOGIN = "<!DOCTYPE html>\n<html><title>Sign in</title><form action='/login?session=SECRET'></form></html>"


def twice(wrong: dict[str, Any]) -> list[dict[str, Any]]:
    """Two datasets with the same fault: nothing is left of the answer without them."""
    return [{**DATASET, "dataset": name, **wrong} for name in ("/A/R-v1/AOD", "/B/R-v1/AOD")]


class Reply(NamedTuple):
    """``length``: what the answer says of it, less than none: nothing. ``location``: where it sends on to."""

    body: str
    status: int = 200
    kind: str = "application/json"
    length: int | None = None
    location: str | None = None


class Service:
    """Answers everything but ``/login`` with ``reply``; of itself it speaks as 127.0.0.1, its login as localhost."""

    reply: Reply
    login = Reply(LOGIN, kind="text/html")

    def __init__(self, port: int) -> None:
        self.url, self.elsewhere = f"http://127.0.0.1:{port}", f"http://localhost:{port}/login"


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = made.login if self.path.startswith("/login") else made.reply
            body = reply.body.encode()
            length = len(body) if reply.length is None else reply.length
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            if length >= 0:
                self.send_header("Content-Length", str(length))
            if reply.location:
                self.send_header("Location", reply.location)
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()  # fsspec asks for the size first

        def log_message(self, *arguments: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Service(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def asked(service: Service, source: str) -> pl.DataFrame:
    """What a source of that kind makes of the service's answer."""
    settings = SourceSettings(name=source, type="json", options={"url": service.url, "timeout_s": 5})
    if source == "sites":
        return site_source(settings, Tls()).sites()
    if source == "accesses":
        return access_source(settings, Tls()).accesses(date(2026, 3, 1))
    return DbsSource(SourceSettings(name=source, type="dbs", options=settings.options), Tls()).datasets(None, NOW)


def bad_hours(record: dict[str, Any], elsewhere: str, own: str) -> dict[str, tuple[Reply, str]]:
    """Answers of a service that is ill, and the words for it."""
    good, error = json.dumps(record), json.dumps(DOWN)
    return {
        "400 of its database": (Reply(f"[{error}]", 400), "400 Bad Request, an error of its database"),
        "404 of its database": (Reply('{"message": "could not connect to server: db"}', 404), "error of its database"),
        "an error under 200": (Reply(f"[{error}]"), "an error in the place of records"),
        "an error alone": (Reply('{"error": "backend timed out", "status": 500}'), "an error in the place of records"),
        "an error behind records": (Reply(f"[{good},\n{error}]"), "an error in the place of records"),
        "an error behind the list": (Reply(f"[{good}]\n[{error}]"), "an error in the place of records"),
        "a login page": (Reply(LOGIN, kind="text/html"), "a web page"),
        "sent on to a login page": (Reply("", 302, location=elsewhere), f"by {elsewhere.removesuffix('/login')}"),
        "sent round": (Reply("", 302, location=own), "redirects only"),
        "a list that was cut": (Reply(f"[{good}, {good}"[:-5]), "a list that was cut"),
        "the second list was cut": (Reply(f"[{good}]\n[{good}"), "a list that was cut"),
        "lines that were cut": (Reply(f"{good}\n{good}"[:-5], kind="application/x-ndjson"), "a list that was cut"),
        "fewer bytes than told": (Reply(f"[{good}]", length=10_000), "an answer that was cut"),
        "a text in the middle": (Reply(f"[{good},\nupstream timed out\n"), "a list that breaks off"),
        "a text alone": (Reply("upstream timed out"), "something that is no JSON"),
        "null": (Reply("null"), "null"),
        "nothing": (Reply(""), "nothing"),
    }


@pytest.mark.parametrize("source", list(GOOD))
@pytest.mark.parametrize("hour", list(bad_hours({}, "", "")))
def test_a_bad_hour_is_the_services_and_passes(service: Service, hour: str, source: str) -> None:
    service.reply, words = bad_hours(GOOD[source], service.elsewhere, f"{service.url}/again")[hour]
    with pytest.raises(ServiceIllError) as caught:
        asked(service, source)
    message = str(caught.value)
    assert f"{source}: the service is ill: {service.url}" in message
    assert words in message
    assert caught.value.retryable
    assert caught.value.facts["service"] == source
    assert "SECRET" not in f"{message}{caught.value.__cause__}"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(json.dumps([REFUSED]), 400), PermanentRemoteError),
        (Reply("no such API", 404), PermanentRemoteError),
        (Reply(json.dumps([DOWN]), 401), CredentialError),
        (Reply(json.dumps([REFUSED])), SourceDataError),
        (Reply(json.dumps(twice({"error": "none", "last_modification_date": "noon"}))), SourceDataError),
        (Reply(json.dumps(twice({"last_modification_date": 1767225600000}))), SourceDataError),
        (Reply(json.dumps(DATASET)), SourceDataError),
        (Reply(f"[{json.dumps(DATASET)[:-1]}, nan]"), SourceDataError),
    ],
    ids=["parameter", "404", "credential", "parameter under 200", "record", "milliseconds", "no list", "malformed"],
)
def test_what_is_wrong_with_the_question_or_with_the_data_is_not_asked_again(
    service: Service, reply: Reply, kind: type[DynamoError]
) -> None:
    service.reply = reply
    with pytest.raises(DynamoError) as caught:
        asked(service, "dbs")
    assert type(caught.value) is kind
    assert not caught.value.retryable
    assert "ill" not in str(caught.value)


def test_a_login_that_refuses_our_credential_says_so(service: Service) -> None:
    service.reply, service.login = Reply("", 302, location=service.elsewhere), Reply("who are you?", 401)
    with pytest.raises(CredentialError, match=r"localhost:\d+ said so"):
        asked(service, "dbs")


@pytest.mark.parametrize(("body", "kind"), [(LOGIN, ServiceIllError), ("no such API", PermanentRemoteError)])
def test_a_page_of_another_host_is_no_answer_of_the_service(
    service: Service, body: str, kind: type[DynamoError]
) -> None:
    service.reply, service.login = Reply("", 302, location=service.elsewhere), Reply(body, 404)
    with pytest.raises(DynamoError, match="404 Not Found") as caught:
        asked(service, "dbs")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer SECRET",
        '{"access_token": "SECRET", "token_type": "x"}',
        "see https://u:SECRET@a.example.org/x?key=SECRET",
        "password=SECRET&user=ada",
        "X-API-Key: SECRET",
    ],
)
def test_what_is_shown_of_an_answer_has_no_secrets(service: Service, text: str) -> None:
    service.reply = Reply(f"trouble: {text} (end)", 400)
    with pytest.raises(PermanentRemoteError) as caught:
        asked(service, "dbs")
    assert "SECRET" not in f"{caught.value} {caught.value.facts}"
    assert "trouble" in str(caught.value)


@pytest.mark.parametrize("source", list(GOOD))
@pytest.mark.parametrize("between", ["\n", "\n\n\n", "\n[\n]\n", ""])
def test_lists_one_behind_the_other_are_one(service: Service, source: str, between: str) -> None:
    service.reply = Reply(json.dumps([GOOD[source]]))
    once = asked(service, source)
    second = json.loads(json.dumps(GOOD[source]).replace("/A/", "/B/").replace("T2_BB", "T2_CC"))
    service.reply = Reply(json.dumps([GOOD[source], second]))
    together = asked(service, source)
    service.reply = Reply(f"[{json.dumps(GOOD[source])}]{between}[{json.dumps(second)}]\n")
    assert asked(service, source).equals(together)
    assert together.height == once.height + 1


@pytest.mark.parametrize("num_lines", [1, 3])
def test_json_lines_are_read_where_they_say_how_long_they_are(service: Service, num_lines: int) -> None:
    lines = "".join(json.dumps({**DATASET, "dataset": f"/A/R-v{number}/AOD"}) + "\n\n" for number in range(num_lines))
    service.reply = Reply(lines, kind="application/x-ndjson")
    assert asked(service, "dbs").height == num_lines
    service.reply = Reply(lines, kind="application/x-ndjson", length=-1)
    with pytest.raises(SourceDataError, match="not a JSON list of records"):
        asked(service, "dbs")


def test_an_error_deep_in_a_document_is_seen_and_a_record_with_a_remark_is_none() -> None:
    assert symptom(json.dumps({"result": {"items": [{"name": "a"}, DOWN]}}).encode()) is not None
    assert symptom(json.dumps({"result": {"items": [{"name": "a", "error": "checksum"}]}}).encode()) is None
    assert symptom(json.dumps({"result": {"items": [], "errors": []}}).encode()) is None


@pytest.mark.parametrize("name", ["day.jsonl", "day.jsonl.gz", "day.csv", "day.parquet"])
def test_a_login_page_in_the_place_of_a_drop_is_no_drop(service: Service, name: str) -> None:
    service.reply = Reply(LOGIN, kind="text/html")
    options = {"path": f"{service.url}/{name}"}
    source = access_source(SourceSettings(name="drops", type="files", options=options), Tls())
    with pytest.raises(ServiceIllError, match=f"drops: the service is ill: {service.url}/{name} answered a web page"):
        source.accesses(date(2026, 3, 1))
    service.reply = Reply("7", kind="text/plain")
    with pytest.raises(SourceDataError):
        source.accesses(date(2026, 3, 1))
