"""Which requests come in at all, what every answer carries, and how errors are told."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.base.errors import (
    GateError,
    PermanentRemoteError,
    PlanError,
    PolicyError,
    RetryableRemoteError,
    SettingsError,
)
from dynamo_ops.base.settings import settings
from tests.plugins.web.conftest import Ask
from tests.query.stock import Stock

ADA = {"x-user": "ada:viewer"}


@pytest.mark.parametrize("access", [{"hosts": ["Dynamo.example.org", "*.cern.ch"]}])
def test_only_a_host_of_ours_is_answered(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def status(host: str) -> int:
        return client.get("/me", headers={**ADA, "host": host}).status_code

    for ours in (
        "localhost:8080",
        "127.0.0.1",
        "[::1]:8080",
        "dynamo.example.org",
        "DYNAMO.example.org:443",
        "a.cern.ch",
    ):
        assert status(ours) == 200, ours
    for other in ("evil.example", "localhost.evil.example", "cern.ch", "", "[::1", "airflow.example.org"):
        assert status(other) == 400, other
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/af")
    assert status("airflow.example.org") == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_what_can_be_done_is_said_where_something_else_cannot(client: TestClient, method: str) -> None:
    answer = client.request(method, "/datasets", headers={**ADA, "x-dynamo": "1", "origin": "http://localhost"})
    of_the_app = method in ("OPTIONS", "HEAD", "TRACE")
    assert answer.status_code == 405
    assert answer.headers["allow"] == ("DELETE, GET, PATCH, POST, PUT" if of_the_app else "GET")


def test_what_reads_is_refused_by_the_database_if_it_would_write(client: TestClient) -> None:
    from dynamo_web.databases import reading
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    with pytest.raises(DBAPIError, match="read-only transaction"), reading().begin() as connection:
        connection.execute(text("DELETE FROM datasets"))


def test_every_answer_carries_the_security_headers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_by(monkeypatch, ZeroDivisionError("secret"))
    answers = [
        client.get("/health"),
        client.get("/datasets", headers=ADA),
        client.get("/datasets", headers={**ADA, "accept": "text/csv"}),
        client.get("/datasets"),
        client.get("/nothing"),
        client.post("/datasets"),
        client.post("/datasets", headers={"x-dynamo": "1", "origin": "http://localhost"}),
        client.get("/me", headers={"host": "evil.example"}),
        client.get("/sites", headers=ADA),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401, 404, 403, 405, 400, 500]
    for answer in answers:
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert {*answer.json()} == {"type", "title", "status", "detail", "facts", "next_step"}
            assert answer.json()["next_step"]
    assert "secret" not in answers[-1].text


def fail_by(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from dynamo_web.api.inventory import sites

    def fail(_database: Any) -> None:
        raise error

    monkeypatch.setattr(sites, "site_states", fail)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (PolicyError("line 3", line=3), 422, "policy"),
        (PlanError("plan 7 is committed", plan_id=7), 409, "plan"),
        (GateError("too many", gate="g", failures=["one"]), 409, "gate"),
        (RetryableRemoteError("database postgresql://host", service="postgresql"), 503, "retryable-remote"),
        (PermanentRemoteError("https://inside refused"), 502, "permanent-remote"),
        (SettingsError("/etc/dynamo.yaml", file="/etc/dynamo.yaml"), 500, "settings"),
    ],
)
def test_an_error_of_ours_is_a_problem(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Any, status: int, kind: str
) -> None:
    """What is of our insides is in the log only."""
    fail_by(monkeypatch, error)
    answer = client.get("/sites", headers=ADA)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"urn:dynamo:error:{kind}")
    assert problem["next_step"]
    assert ("retry-after" in answer.headers) == (status == 503)
    if status < 500:
        assert (problem["detail"], problem["facts"]) == (error.message, error.facts)
    else:
        assert (error.message in answer.text, problem["facts"]) == (False, {})


def test_a_database_that_is_away_is_to_be_asked_again(client: TestClient) -> None:
    from dynamo_web.databases import databases

    with patch.dict(os.environ, DYNAMO_DB_URL="postgresql://nobody@127.0.0.1:1/none"):
        settings.cache_clear()
        databases.cache_clear()
        answer = client.get("/me", headers=ADA)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "127.0.0.1:1" not in answer.text


def test_a_slip_is_told_by_its_name(ada: Ask) -> None:
    problem = ada("/datasets", code=422, nmae="/A/*", limit="ten")
    assert {fault["parameter"] for fault in problem["facts"]["faults"]} == {"nmae", "limit"}
    assert "nmae" in problem["detail"]
    assert ada("/datasets", code=422, larger="9" * 5000)["facts"]["faults"][0]["parameter"] == "larger"
    for path in ("/datasets/x", "/datasets/0", f"/datasets/{2**63}", "/datasets/-1/blocks"):
        assert ada(path, code=422)["type"] == "urn:dynamo:error:parameter"
    assert ada("/datasets?name=%00", code=422)["detail"] == "there is a NUL in the address"
    assert ada("/sites/%00", code=422)["detail"] == "there is a NUL in the address"


def test_what_cannot_be_is_refused_and_what_is_not_there_is_not_found(ada: Ask, stock: Stock) -> None:
    for path, params in (
        ("/datasets", {"status": "vlid"}),
        ("/datasets", {"larger": "much"}),
        ("/datasets", {"updated_since": "soon"}),
        ("/datasets", {"fields": "nmae"}),
        ("/datasets", {"limit": 1001}),
        ("/datasets", {"cursor": "forged"}),
        ("/usage", {"by": "colour"}),
        ("/replicas", {"block": "a1"}),
        ("/replicas/locate", {}),
        ("/replicas/locate", {"lfn": "/a", "dataset": "/A/B-v1/AOD"}),
        ("/files", {"lfn": ["/a"] * 1001}),
    ):
        assert ada(path, code=422, **params)["type"] == "urn:dynamo:error:inventory", (path, params)
    for path, params in (
        ("/datasets", {"name": "/A/B-v1/AODD"}),
        ("/datasets", {"site": "T2_X"}),
        ("/datasets", {"group": "nobody*"}),
        ("/datasets/999", {}),
        ("/datasets/999/blocks", {}),
        (f"/datasets/{stock.dataset_ids['/A/B-v1/AOD']}/blocks", {"block": "zz"}),
        ("/blocks/999/files", {}),
        ("/sites/T2_X", {}),
        ("/sites/T2_X/only-here", {}),
        ("/groups/userz", {}),
        ("/overrides", {"site": "T2_X"}),
        ("/downtimes", {"site": "T9_*"}),
        ("/quotas/partitions", {"partition": "physicz"}),
        ("/quotas/partitions/changes", {"partition": "x*"}),
        ("/quotas/partitions/use", {"site": "T2_X"}),
        ("/replicas/locate", {"lfn": "/nothing"}),
    ):
        assert ada(path, code=404, **params)["type"] == "urn:dynamo:error:unknown-name", (path, params)
    assert "Did you mean" in ada("/groups/userz", code=404)["detail"]
