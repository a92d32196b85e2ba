"""What is sent again and what is not, with which key; what each answer is to who calls; and where no token goes."""

from __future__ import annotations

import logging
import pickle
import ssl
import threading
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from dynamo_ops.client import (
    BusyError,
    ChangedError,
    ClientError,
    ConflictError,
    Dynamo,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    NotLoggedInError,
    ProblemError,
    ServerError,
    UnexpectedAnswerError,
    UnreachableError,
    UsageError,
)
from dynamo_ops.client.repeats import Repeats, retry_after_s
from simgrid.tls import make_credentials
from tests.base.door import Door
from tests.client.conftest import TOKEN
from tests.client.script import Reply, Script, document, problem, scripted
from tests.ports import free_ports

CUT = Reply(0)
DONE = document({"id": 1}, 201)


def test_a_call_says_who_calls_and_what_it_wants(script: Script, dynamo: Dynamo) -> None:
    script.says(document({"items": [], "next": None}))
    dynamo.get("datasets", name=["/A/*", "/B/*"], open=True, site=None, updated_since=datetime(2026, 3, 1, tzinfo=UTC))
    (asked,) = script.asked
    path, _, query = asked.path.partition("?")
    since = "2026-03-01T00:00:00+00:00"
    assert path == "/dynamo/v1/datasets"
    assert parse_qsl(query) == [("name", "/A/*"), ("name", "/B/*"), ("open", "true"), ("updated_since", since)]
    assert (asked.headers["Authorization"], asked.headers["Accept"]) == (f"Bearer {TOKEN}", "application/json")
    assert "Idempotency-Key" not in asked.headers


def test_a_write_says_what_was_seen_and_whether_it_is_tried(script: Script, dynamo: Dynamo) -> None:
    script.says(DONE)
    dynamo.post("/plans/1/refuse", {"reason": "no"}, seen="planned-1", dry_run=True)
    dynamo.delete("/locks/1", reason="over", key="mine")
    refused, deleted = script.asked
    assert refused.path == "/dynamo/v1/plans/1/refuse?dry_run=true"
    assert (refused.headers["If-Match"], refused.body) == ('"planned-1"', b'{"reason": "no"}')
    assert (deleted.verb, deleted.path, deleted.body) == ("DELETE", "/dynamo/v1/locks/1?reason=over", b"")
    assert deleted.headers["Idempotency-Key"] == "mine"
    assert "Content-Type" not in deleted.headers


PASSING = {
    "cut": CUT,
    "cut in its answer": Reply(201, b'{"id": 1}', cut_after=4),
    "429": problem(429, "busy", Retry_After="2"),
    "502": Reply(502, b"<html>", "text/html"),
    "503": problem(503, "busy", Retry_After="10"),
    "504": Reply(504, b"", "text/plain"),
    "under way": problem(409, "under-way", facts={"retry_after_s": 1}, Retry_After="1"),
}


@pytest.mark.parametrize("first", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("verb", ["get", "post", "put", "delete"])
def test_what_passes_is_sent_again_with_the_same_key(
    script: Script, dynamo: Dynamo, slept: list[float], verb: str, first: Reply
) -> None:
    script.says(first, first, DONE)
    assert getattr(dynamo, verb)("/locks")["id"] == 1
    assert len(script.asked) == 3
    assert len({(asked.verb, asked.path, asked.body) for asked in script.asked}) == 1
    assert len(slept) == 2
    assert min(slept) >= float(first.headers.get("Retry-After", 0.25))
    if verb != "get":
        assert len(set(script.keys)) == 1
        dynamo.post("/locks")
        assert len(set(script.keys)) == 2


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(script: Script, slept: list[float]) -> None:
    late = threading.Event()
    script.says(Reply(delay=late), DONE)
    with Dynamo(script.url, TOKEN, timeout_s=0.3) as dynamo:
        assert dynamo.post("/locks", {"item": "/A"})["id"] == 1
    late.set()
    assert len(set(script.keys)) == 1
    assert len(script.asked) == 2


def test_it_is_sent_a_few_times_and_then_no_more(script: Script, dynamo: Dynamo, slept: list[float]) -> None:
    script.says(CUT)
    with pytest.raises(UnreachableError, match=r"no answer \(tries: 6\)") as caught:
        dynamo.post("/locks", key="thesis")
    assert (len(script.asked), caught.value.key, caught.value.retryable) == (6, "thesis", True)
    assert slept == sorted(slept)
    assert sum(slept) < 16


def test_it_is_not_waited_for_longer_than_the_bound(script: Script, dynamo: Dynamo, slept: list[float]) -> None:
    script.says(problem(503, "busy", Retry_After="3600"))
    with pytest.raises(ServerError) as caught:
        dynamo.get("/me")
    assert (len(script.asked), slept, caught.value.retry_after_s) == (1, [], 3600)


def test_pauses_double_and_differ() -> None:
    tries = Repeats(tries=9, first_s=1, longest_s=8, total_s=1e9).begin()
    pauses = []
    for number in range(1, 9):
        tries.number = number
        pauses.append(tries.pause_s(None) or 0)
    for pause, most in zip(pauses, (1, 2, 4, 8, 8, 8, 8, 8), strict=True):
        assert most / 2 <= pause <= most
    assert len(set(pauses)) > 1
    tries.number = 9
    assert tries.pause_s(None) is None


def test_a_retry_after_is_seconds_or_a_moment() -> None:
    assert retry_after_s({"Retry-After": " 7 "}) == 7
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert 50 < (retry_after_s({"Retry-After": format_datetime(soon, usegmt=True)}) or 0) <= 60
    for nothing in ({}, {"Retry-After": "soon"}, {"Retry-After": "-1"}):
        assert retry_after_s(nothing) is None


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "host", ProblemError),
        (401, "not-logged-in", NotLoggedInError),
        (403, "access", ForbiddenError),
        (404, "unknown-name", NotFoundError),
        (405, "", ProblemError),
        (409, "used-key", ConflictError),
        (409, "paused", ConflictError),
        (412, "changed", ChangedError),
        (422, "parameter", InvalidError),
        (428, "unseen", ChangedError),
        (500, "", ServerError),
    ],
)
def test_what_is_refused_is_not_sent_again(
    script: Script, dynamo: Dynamo, slept: list[float], status: int, kind: str, error: type[ProblemError]
) -> None:
    script.says(problem(status, kind, "there is no group 'physic'", {"needs": ["operator"], "group": "physic"}))
    with pytest.raises(ProblemError, match="there is no group") as caught:
        dynamo.post("/locks")
    refusal = caught.value
    assert (type(refusal), len(script.asked), slept) == (error, 1, [])
    assert (refusal.status, refusal.title, refusal.next_step) == (status, "Title", "Do otherwise.")
    assert refusal.type == (f"urn:dynamo:error:{kind}" if kind else "about:blank")
    assert (refusal.needs, refusal.group) == (("operator",), "physic")
    assert "Do otherwise." in "".join(traceback.format_exception(refusal))


def test_who_asks_too_often_hears_when_to_come_again(script: Script, dynamo: Dynamo, slept: list[float]) -> None:
    script.says(problem(429, "busy", Retry_After="10"))
    with pytest.raises(BusyError) as caught:
        dynamo.get("/datasets")
    assert (caught.value.retry_after_s, len(slept)) == (10, 5)
    with pytest.raises(BusyError) as caught:
        dynamo.post("/locks", key="thesis")
    assert caught.value.facts["key"] == "thesis"


def test_an_error_comes_back_from_another_process(script: Script, dynamo: Dynamo) -> None:
    script.says(problem(403, "access", "you may not", {"needs": ["operator"]}))
    with pytest.raises(ForbiddenError) as caught:
        dynamo.get("/audit")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.needs, again.status) == (ForbiddenError, "you may not", ("operator",), 403)


STRANGE = {
    "a page to log in": Reply(200, b"<html>", "text/html"),
    "no JSON": Reply(200, b"{", "application/json"),
    "no object": Reply(200, b"[]", "application/json"),
    "404 of another": Reply(404, b"<html>", "text/html"),
    "404 of Airflow": document({"detail": "Not Found"}, 404),
    "401 of a proxy": Reply(401, b"who?", "text/plain"),
    "304": Reply(304, b"", "text/plain"),
}


@pytest.mark.parametrize("reply", STRANGE.values(), ids=STRANGE)
def test_what_is_no_dynamo_is_told_at_once(script: Script, dynamo: Dynamo, reply: Reply) -> None:
    script.says(reply)
    with pytest.raises(UnexpectedAnswerError, match="/dynamo/v1/me: ") as caught:
        dynamo.get("/me", secret="hidden")
    assert len(script.asked) == 1
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("verb", ["get", "post"])
def test_a_token_goes_to_no_other_host(script: Script, dynamo: Dynamo, status: int, verb: str) -> None:
    with scripted() as other:
        other.says(document({}))
        script.says(Reply(status, headers={"Location": f"{other.url}/dynamo/v1/me?secret=1"}))
        with pytest.raises(UnexpectedAnswerError, match=f"sends us on to {other.url}: not followed"):
            getattr(dynamo, verb)("/me")
        assert other.asked == []


def test_nobody_there(slept: list[float]) -> None:
    with pytest.raises(UnreachableError, match="Connection refused") as caught:
        Dynamo(f"http://127.0.0.1:{free_ports()}", TOKEN).get("/me")
    assert (caught.value.tries, len(slept)) == (6, 5)


def test_a_certificate_that_is_not_trusted_is_not_asked_again(tmp_path: Path, slept: list[float]) -> None:
    grid = make_credentials(tmp_path, "/CN=ada", ["127.0.0.1"])
    context = grid.server_context()
    context.verify_mode = ssl.CERT_NONE
    with Door(200, b'{"name": "ada"}', context=context) as door:
        door.headers["Content-Type"] = "application/json"
        with pytest.raises(UnreachableError, match="TLS refused") as caught:
            Dynamo(door.url, TOKEN).get("/me")
        assert ("give ``ca``" in caught.value.next_step, slept, door.asked) == (True, [], [])
        assert Dynamo(door.url, TOKEN, ca=str(grid.ca)).get("/me") == {"name": "ada"}


def test_files_of_tls_that_are_not_there_are_told(slept: list[float]) -> None:
    with pytest.raises(UsageError, match="TLS files"):
        Dynamo("https://127.0.0.1:1", TOKEN, ca="/nowhere/ca.pem").get("/me")
    assert slept == []


@pytest.mark.parametrize(
    ("server", "base"),
    [
        ("dynamo.example.org", "https://dynamo.example.org/dynamo/v1"),
        ("https://dynamo.example.org:443/", "https://dynamo.example.org/dynamo/v1"),
        ("https://Dynamo.example.org/dynamo", "https://dynamo.example.org/dynamo/v1"),
        (" https://dynamo.example.org/dynamo/v1/ ", "https://dynamo.example.org/dynamo/v1"),
        ("https://example.org/airflow", "https://example.org/airflow/dynamo/v1"),
        ("http://localhost:8080", "http://localhost:8080/dynamo/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/dynamo/v1"),
    ],
)
def test_an_address_may_be_written_short(server: str, base: str) -> None:
    assert Dynamo(server).server == base


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("", "no address"),
        ("ftp://example.org", "no address"),
        ("http://example.org", "in the clear"),
        ("http://127.0.0.1.example.org", "in the clear"),
        ("https://ada:hunter2@example.org", "no name, password"),
        ("https://example.org/?token=hunter2", "no name, password, query"),
    ],
)
def test_an_address_where_no_token_may_go_is_refused(server: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Dynamo(server, TOKEN)
    assert "hunter2" not in str(caught.value)


def test_plain_http_is_spoken_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    """To a name that is not this machine's, so far as one can see."""
    monkeypatch.setattr("dynamo_ops.base.http.redirect._is_here", lambda _: False)
    script.says(document({"name": "ada"}))
    with pytest.raises(UsageError):
        Dynamo(script.url, TOKEN)
    assert Dynamo(script.url, TOKEN, allow_plain_http=True).get("/me") == {"name": "ada"}


@pytest.mark.parametrize("token", ["", " ", "dyn_se cret", "dyn_se\ncret", "dyn_secré", "dyn_se\x00cret"])
def test_a_token_that_is_none_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        Dynamo("https://example.org", token)
    assert "dyn_se" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", [" ", "a b", "x" * 65, "é"])
def test_a_key_that_is_none_is_refused(script: Script, dynamo: Dynamo, key: str) -> None:
    with pytest.raises(UsageError):
        dynamo.post("/locks", key=key)
    assert script.asked == []


def test_a_netrc_does_not_take_the_place_of_the_token(
    script: Script, dynamo: Dynamo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password eve\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_ports()}")
    dynamo._exchange._session.trust_env = True
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    script.says(document({}))
    dynamo.get("/me")
    assert script.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_proxy_hears_nothing_of_calls_to_this_machine(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted() as proxy:
        proxy.says(document({}))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        script.says(document({"name": "ada"}))
        assert Dynamo(script.url, TOKEN).get("/me") == {"name": "ada"}
        assert proxy.asked == []


def test_the_token_is_nowhere_to_be_read(
    script: Script, dynamo: Dynamo, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [repr(dynamo), str(dynamo), f"{dynamo!r}"]
    for reply in (CUT, Reply(302, headers={"Location": "https://evil.example/"}), problem(401), *STRANGE.values()):
        script.says(reply)
        with pytest.raises(ClientError) as caught:
            dynamo.post("/locks", {"item": "/A"})
        shown += [repr(caught.value), *traceback.format_exception(caught.value), str(caught.value.facts)]
    assert "sent again in" in caplog.text
    assert [words for words in (*shown, caplog.text) if TOKEN in words] == []
