"""Which writes come in at all, that each is done once, and that a dry run does nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import audit
from tests.plugins.web.callers import Call, headers_of, olga
from tests.query.stock import FIRST, Stock

__all__ = ["olga"]

LOCK = {"item": FIRST, "reason": "thesis"}
OURS = {"x-dynamo": "1", "origin": "http://localhost"}


def locks(stock: Stock) -> int:
    return int(stock.scalar("SELECT count(*) FROM locks"))


def post(client: TestClient, headers: dict[str, str], body: Any = LOCK, path: str = "/locks") -> Any:
    from dynamo_web.caller.rates import WRITES

    WRITES.forget()
    return client.post(path, json=body, headers=headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OURS, 201),
        (OURS | {"origin": "http://LOCALHOST"}, 201),
        ({"x-dynamo": "1", "sec-fetch-site": "same-origin"}, 201),
        (OURS | {"sec-fetch-site": "same-origin"}, 201),
        ({}, 403),
        ({"x-dynamo": "1"}, 403),
        ({"x-dynamo": "0", "origin": "http://localhost"}, 403),
        ({"origin": "http://localhost"}, 403),
        ({"sec-fetch-site": "same-origin"}, 403),
        ({"x-dynamo": "1", "sec-fetch-site": "none"}, 403),
        ({"x-dynamo": "1", "sec-fetch-site": "same-site"}, 403),
        ({"x-dynamo": "1", "sec-fetch-site": "cross-site"}, 403),
        (OURS | {"sec-fetch-site": "same-site"}, 403),
        ({"x-dynamo": "1", "origin": "http://localhost:8081"}, 403),
        ({"x-dynamo": "1", "origin": "https://localhost"}, 403),
        ({"x-dynamo": "1", "origin": "http://evil.example", "sec-fetch-site": "same-origin"}, 403),
        ({"x-dynamo": "1", "origin": "null"}, 403),
        ({"authorization": "Basic YTpi", "x-user": "ada:op"}, 403),
    ],
    ids=str,
)
def test_a_cookie_writes_only_from_a_page_of_ours(
    client: TestClient, stock: Stock, headers: dict[str, str], status: int
) -> None:
    answer = post(client, {"x-user": "ada:op", **headers})
    assert answer.status_code == status, answer.text
    assert locks(stock) == (status == 201)
    if status == 403:
        assert answer.json()["type"] == "urn:dynamo:error:origin"
        assert "X-Dynamo" in answer.json()["next_step"]


def test_the_origin_is_that_of_base_url_where_one_calls_it_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy that ends TLS the server itself sees http."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://dynamo.example.org/af")
    for host, origin, status in (
        ("dynamo.example.org", "https://dynamo.example.org", 201),
        ("dynamo.example.org:443", "https://DYNAMO.example.org", 201),
        ("dynamo.example.org", "https://dynamo.example.org:443", 201),
        ("localhost:8080", "https://dynamo.example.org", 201),  # the proxy calls us otherwise
        ("localhost:9090", "http://localhost:9090", 201),  # a tunnel
        ("dynamo.example.org:8443", "https://dynamo.example.org:8443", 201),
        ("dynamo.example.org", "http://dynamo.example.org", 403),
        ("dynamo.example.org", "https://dynamo.example.org:8443", 403),
        ("localhost:8080", "http://localhost:9090", 403),
        ("localhost:8080", "https://localhost:8080", 403),
        ("localhost:8080", "http://dynamo.example.org", 403),
        ("localhost:8080", "https://dynamo.example.org.evil.example", 403),
        ("localhost:8080", "https://evil.example:x", 403),
    ):
        headers = {"x-user": "ada:op", "x-dynamo": "1", "host": host, "origin": origin}
        assert post(client, headers).status_code == status, (host, origin)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_token_writes_from_anywhere_but_a_page_of_somebody_else(
    client: TestClient, stock: Stock, method: str
) -> None:
    headers = headers_of(stock, "olga", "operator")
    for more in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        answer = client.request(method, "/locks/1", json={}, headers=headers | more)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:dynamo:error:origin")
    assert post(client, headers).status_code == 201
    assert post(client, headers | {"host": "evil.example"}).status_code == 400


def test_where_all_are_admins_only_a_token_of_ours_is_enough(
    client: TestClient, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    headers = headers_of(stock, "olga", "operator")
    evil = {"origin": "http://evil.example"}
    for refused in ({"x-user": "anonymous:admin"} | evil, {"authorization": "Bearer eyJ"}, headers | evil):
        answer = post(client, refused)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:dynamo:error:origin")
    assert post(client, {"authorization": "Bearer dyn_guessed"}).status_code == 401
    assert post(client, headers).status_code == 201
    assert post(client, {"x-user": "anonymous:admin"} | OURS).status_code == 201


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"{}", {"content-type": "text/plain"}, 415, "must be JSON"),
        (b"item=a", {"content-type": "application/x-www-form-urlencoded"}, 415, "must be JSON"),
        (b"{}", {}, 415, "must be JSON"),
        (b"{", {}, 422, "JSON decode error"),
        (b"", {}, 422, "Field required"),
        (b"[]", {}, 422, "valid dictionary"),
        (b"null", {}, 422, ""),
        (b"[" * 100_000, {}, 422, "nested too deeply"),
        (b'{"item":' * 50_000 + b"1" + b"}" * 50_000, {}, 422, "nested too deeply"),
        (b'{"item": "\xff"}', {}, 422, "not UTF-8"),
        (b'{"item": ' + b"9" * 5_000 + b"}", {}, 422, "a number is too long"),
        (b'{"item": "a\\u0000b", "reason": "x"}', {}, 422, "there is a NUL"),
        (b'{"item": "a\\\\\\u0000b", "reason": "x"}', {}, 422, "there is a NUL"),
        (b'{"item": "/A\\\\u0000*", "reason": "x"}', {}, 201, ""),
        (b'{"item": "/\\ud83d\\ude00*", "reason": "x"}', {}, 201, ""),
        (b'{"item": "\\ud800", "reason": "x"}', {}, 422, "half a character"),
        (b'{"item": "\\uDC00", "reason": "x"}', {}, 422, "half a character"),
        (b'{"item": "\\ud83dx\\ude00", "reason": "x"}', {}, 422, "half a character"),
        (b'{"item": "/\\ud83d\\ude00\\ud83d\\ude00*", "reason": "x"}', {}, 201, ""),
        (b'{"item": "/\\\\ud800*", "reason": "x"}', {}, 201, ""),
        (b'{"item": "/A/*", "reason": "x"}', {"content-type": "application/json; charset=utf-8"}, 201, ""),
        (b'{"item": "/A/*", "reason": "x", "item": "/B/*"}', {}, 201, ""),
        (b"x", {"content-length": "5000001"}, 413, "5 MB at most"),
        (b"x", {"content-length": "many"}, 400, "no number"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_body_is_json_of_some_size(
    client: TestClient, stock: Stock, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    default = {} if headers == {} and content == b"{}" else {"content-type": "application/json"}
    answer = client.post("/locks", content=content, headers=headers_of(stock, "olga", "operator") | default | headers)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["next_step"]


def test_no_more_is_read_than_a_body_may_have(client: TestClient, stock: Stock) -> None:
    from dynamo_web.body import MOST_BYTES, read_body

    sent = 0

    def pieces() -> Any:
        nonlocal sent
        while True:
            sent += 100_000
            yield b" " * 100_000

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    endless = pieces()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": next(endless), "more_body": True}

    import asyncio

    refusal: Any = asyncio.run(read_body(scope, receive))
    assert refusal.status_code == 413
    assert sent <= MOST_BYTES + 200_000
    chunked = (b" " * 100_000 for _ in range(60))
    headers = headers_of(stock, "olga", "operator") | {"content-type": "application/json"}
    answer = client.post("/locks", content=chunked, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:dynamo:error:body-size")


def test_who_goes_away_while_sending_has_done_nothing(client: TestClient, stock: Stock) -> None:
    import asyncio

    from dynamo_web.app import app

    sent: list[Any] = []

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/locks", "query_string": b"", "scheme": "http",
             "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer dyn_x")]}  # fmt: skip
    asyncio.run(app(scope, gone, send))
    assert sent == []


def test_a_call_with_a_key_is_done_once(olga: Call, stock: Stock) -> None:
    first = olga("POST", "/locks", LOCK, code=201, key="a1")
    assert (first.headers["location"], "idempotent-replay" in first.headers) == ("/dynamo/v1/locks/1", False)
    again = olga("POST", "/locks", LOCK, code=201, key="a1")
    assert (again.content, again.headers["location"]) == (first.content, first.headers["location"])
    assert again.headers["idempotent-replay"] == "true"
    assert locks(stock) == 1
    assert audit.records(stock.db, action="lock")["key"].to_list() == ["a1"]
    for path, body, params in (
        ("/locks", LOCK | {"reason": "other"}, {}),
        ("/locks?dry_run=false", LOCK, {}),
    ):
        problem = olga("POST", path, body, code=409, key="a1", **params).json()
        assert problem["type"] == "urn:dynamo:error:used-key"
        assert "a key of its own" in problem["next_step"]
    assert olga("POST", "/locks", LOCK, code=201, key="a2").json()["id"] == 2
    for key in ("a b", "x" * 65, "ä"):
        assert "printable" in olga("POST", "/locks", LOCK, code=422, key=key.encode()).json()["detail"]


def test_a_key_is_that_of_its_person(olga: Call, client: TestClient, stock: Stock) -> None:
    olga("POST", "/locks", LOCK, code=201, key="a1")
    other = headers_of(stock, "otto", "operator") | {"idempotency-key": "a1"}
    assert post(client, other, LOCK | {"reason": "mine"}).json()["id"] == 2


def test_a_call_that_is_under_way_is_to_be_sent_again_later(
    olga: Call, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynamo_web.api.inventory import locks as module

    add = module.store.add_lock

    def add_while_it_comes_again(database: Any, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(module.store, "add_lock", add)
        answer = olga("POST", "/locks", LOCK, code=409, key="a1")
        assert (answer.json()["type"], answer.headers["retry-after"]) == ("urn:dynamo:error:under-way", "1")
        assert "Send the same again" in answer.json()["next_step"]
        return add(database, *args, **options)

    monkeypatch.setattr(module.store, "add_lock", add_while_it_comes_again)
    olga("POST", "/locks", LOCK, code=201, key="a1")
    assert locks(stock) == 1


def test_what_was_refused_may_be_sent_again_with_its_key(olga: Call, stock: Stock) -> None:
    body = LOCK | {"item": "/New/B-v1/AOD"}
    assert olga("POST", "/locks", body, code=404, key="a1").json()["type"] == "urn:dynamo:error:unknown-name"
    stock.dataset("/New/B-v1/AOD")
    olga("POST", "/locks", body, code=201, key="a1")
    assert olga("POST", "/locks", body, code=201, key="a1").headers["idempotent-replay"] == "true"


def test_a_dry_run_says_what_would_happen_and_does_nothing(olga: Call, stock: Stock) -> None:
    answer = olga("POST", "/locks", LOCK | {"item": "/None/*"}, key="a1", dry_run="true")
    assert answer.json() == {
        "item": "/None/*",
        "warnings": ["no dataset matches /None/* now: it will cover those that come"],
        "given_back": {"num_files": 0, "num_too_late": 0, "num_block_replicas": 0},
        "dry_run": True,
    }
    assert "location" not in answer.headers
    assert locks(stock) == 0
    (noted,) = audit.records(stock.db, action="lock").to_dicts()
    assert (noted["outcome"], noted["person"], noted["key"], noted["ids"]) == ("dry_run", "olga", "a1", [])
    assert olga("POST", "/locks", LOCK, code=201, key="a1").json()["dry_run"] is False


def test_a_slip_is_named(olga: Call, stock: Stock) -> None:
    for body, fields in (
        ({"itme": FIRST, "reason": "x"}, {"item", "itme"}),
        (LOCK | {"force": "yes"}, {"force"}),
        (LOCK | {"until": 7}, {"until"}),
        (LOCK | {"item": ["a"]}, {"item"}),
    ):
        problem = olga("POST", "/locks", body, code=422).json()
        assert {fault["parameter"] for fault in problem["facts"]["faults"]} == fields, problem
    assert "dryrun" in olga("POST", "/locks?dryrun=1", LOCK, code=422).json()["detail"]
    assert "say why" in olga("POST", "/locks", LOCK | {"reason": " "}, code=422).json()["detail"]
    assert "is over" in olga("POST", "/locks", LOCK | {"until": "2001-01-01"}, code=422).json()["detail"]
    assert locks(stock) == 0


def test_there_are_so_many_calls_a_second(client: TestClient, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynamo_web.caller.rates import READS, WRITES

    for rate in (READS, WRITES):
        monkeypatch.setattr(rate, "_clock", lambda: 0.0)  # all within one moment, however long they take
    headers = headers_of(stock, "olga", "operator")
    answers = [client.delete("/locks/1?reason=x", headers=headers) for _ in range(12)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:10] == [404] * 10
    assert statuses[-1] == 429
    assert (answers[-1].headers["retry-after"], answers[-1].json()["type"]) == ("1", "urn:dynamo:error:busy")
    assert client.delete("/locks/1?reason=x", headers=headers_of(stock, "otto")).status_code == 404
    assert client.get("/me", headers=headers).status_code == 200
    READS.forget()
    for _ in range(100):
        READS.take("olga")
    assert client.get("/me", headers=headers).status_code == 429
    WRITES.forget()


def test_a_rate_comes_back_with_time_and_forgets_who_is_gone(airflow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynamo_web.caller import rates
    from dynamo_web.problem import BusyError

    now = 0.0
    rate = rates.Rate(2, "writes", lambda: now)
    for _ in range(10):
        rate.take("ada")
    with pytest.raises(BusyError, match="2 writes a second"):
        rate.take("ada")
    now = 0.5
    rate.take("ada")
    with pytest.raises(BusyError):
        rate.take("ada")
    monkeypatch.setattr(rates, "MOST_KNOWN", 3)
    now = 100.0
    for name in "abcd":
        rate.take(name)
    assert set(rate._left) == set("abcd")


def test_a_lock_is_shown_and_taken_back(olga: Call, stock: Stock) -> None:
    made = olga("POST", "/locks", LOCK | {"site": "T2_A", "until": "30 days"}, code=201)
    shown = olga("GET", made.headers["location"].removeprefix("/dynamo/v1")).json()
    assert (shown["item"], shown["sites"], shown["created_by"], shown["is_in_force"]) == (FIRST, "T2_A", "olga", True)
    assert [lock["id"] for lock in olga("GET", "/locks").json()["items"]] == [1]
    assert olga("DELETE", "/locks/1", code=422).json()["detail"].startswith("lock 1: say why")
    assert olga("DELETE", "/locks/1", reason="done", dry_run=True).json()["dry_run"] is True
    assert olga("GET", "/locks/1").json()["is_in_force"] is True
    gone = olga("DELETE", "/locks/1", reason="done").json()
    assert (gone["id"], gone["state"], gone["is_in_force"], gone["dry_run"]) == (1, "removed", False, False)
    assert (gone["num_datasets"], [row["site"] for row in gone["sites"]]) == (1, ["T2_A"])  # nothing else protects it
    assert "was removed by olga: done" in olga("DELETE", "/locks/1", code=422, reason="again").json()["detail"]
    assert olga("GET", "/locks").json()["items"] == []
    assert [lock["removed_by"] for lock in olga("GET", "/locks", over=True).json()["items"]] == ["olga"]
    assert "Did you mean" in olga("GET", "/locks", code=404, item="/A/B-v1/AODD").json()["detail"]
    assert json.loads(olga("GET", "/locks/2", code=404).content)["detail"] == "there is no lock 2"
