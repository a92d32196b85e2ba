"""Events over REST: who reads which, in pages and in their order; and a secret is shown once."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.event.kinds import EventKind
from tests.event.receiver import happen
from tests.plugins.web.callers import headers_of
from tests.plugins.web.test_login import PAGE_OF_OURS
from tests.query.stock import Stock

WEBHOOK = "https://chat.example.org/hooks/a-secret-path"
ADA, VERA = {"x-user": "ada:viewer", **PAGE_OF_OURS}, {"x-user": "vera:viewer", **PAGE_OF_OURS}


def numbers(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in answer.json()["items"]]


@pytest.fixture
def happened(stock: Stock) -> Stock:
    happen(stock.db, EventKind.REQUEST_STUCK, "1", "2")
    happen(stock.db, EventKind.TOKEN_ENDING, "7", person="ada")
    happen(stock.db, EventKind.REQUEST_COMPLETED, "1", site="T2_B")
    happen(stock.db, EventKind.SITE_FULL, "T2_B", site="T2_B", person="bob")
    return stock


def test_newest_first_and_of_a_token_its_owner_only(client: TestClient, happened: Stock) -> None:
    assert numbers(client.get("/events", headers=ADA)) == [5, 4, 3, 2, 1]
    assert numbers(client.get("/events", headers=VERA)) == [5, 4, 2, 1]
    assert numbers(client.get("/events", headers=headers_of(happened, "olga", "operator"))) == [5, 4, 2, 1]
    event = client.get("/events", headers=VERA).json()["items"][1]
    assert event.pop("at").endswith(("Z", "+00:00"))
    assert event == {
        "id": 4, "kind": "request.completed", "object_kind": "request", "object_name": "1", "person": "ada",
        "groups": ["ops"], "sites": ["T2_B"], "datasets": ["/A/B-v1/AOD"], "facts": {"size_bytes": 17},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("kind=request.*", [4, 2, 1]),
        ("kind=site.full&kind=request.stuck", [5, 2, 1]),
        ("object=request 1", [4, 1]),
        ("object=request 1&object=site T2_B", [5, 4, 1]),
        ("person=b*", [5]),
        ("group=op?", [5, 4, 2, 1]),
        ("site=T2_B", [5, 4]),
        ("dataset=/A/*&site=T2_A", [2, 1]),
        ("dataset=/Z/*", []),
        ("since=1h", [5, 4, 2, 1]),
        ("after=1", [2, 4, 5]),
        ("after=5", []),
    ],
)
def test_it_is_narrowed(client: TestClient, happened: Stock, asked: str, found: list[int]) -> None:
    assert numbers(client.get(f"/events?{asked}", headers=VERA)) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [("kind=requests.*", "no kind of events"), ("object=request", "no object"), ("object=reqest 1", "Did you mean")],
)
def test_what_means_nothing_is_named(client: TestClient, happened: Stock, asked: str, message: str) -> None:
    answer = client.get(f"/events?{asked}", headers=VERA)
    assert answer.status_code in (404, 422)
    assert message in answer.json()["detail"]


def test_pages_go_on_where_they_ended(client: TestClient, happened: Stock) -> None:
    first = client.get("/events?after=0&limit=2", headers=VERA).json()
    happen(happened.db, EventKind.REQUEST_COMPLETED, "2")
    rest = client.get(f"/events?after=0&limit=5&cursor={first['next']}", headers=VERA).json()
    assert [event["id"] for event in (*first["items"], *rest["items"])] == [1, 2, 4, 5, 6]
    assert rest["next"] is None


def test_a_secret_is_in_one_answer_only(client: TestClient, happened: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynamo_web.api.people import subscriptions

    from dynamo_ops.base.settings import settings

    allowed = settings().model_copy(update={"events": {"hosts": ["chat.example.org"]}})
    monkeypatch.setattr(subscriptions, "settings", lambda: allowed)
    body = {"kinds": ["request.*"], "webhook": WEBHOOK}
    sent = {"json": body, "headers": {**VERA, "idempotency-key": "k1"}}
    made = client.post("/me/event-subscriptions", **sent)
    assert made.status_code == 201
    secret = made.json()["secret"]
    again = client.post("/me/event-subscriptions", **sent)
    assert (again.json()["id"], again.json()["secret"]) == (made.json()["id"], None)
    listed = client.get("/me/event-subscriptions", headers=VERA)
    tables = ("audit", "idempotency")
    kept = [str(happened.rows(f"SELECT * FROM {table}")) for table in tables]
    for text in (listed.text, again.text, *kept):
        assert secret not in text
        assert "a-secret-path" not in text
    assert client.get("/me/event-subscriptions", headers=ADA).json()["items"] == []
    refused = client.get("/groups/users/event-subscriptions", headers=VERA)
    assert refused.status_code == 403
    assert client.get("/groups/user/event-subscriptions", headers=VERA).status_code == 404
    elsewhere = client.post(
        "/me/event-subscriptions", json={**body, "webhook": "https://169.254.169.254/x"}, headers=VERA
    )
    assert elsewhere.status_code == 422
    assert "events.hosts" in elsewhere.json()["detail"]
