"""Who calls, in tests of writes: people with tokens of ours and grants, over HTTP as programs do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import grants, tokens
from dynamo_ops.access.person import Grant, Role, Scope
from dynamo_ops.plan.store import StoredPlan
from tests.people import ROOT_USER
from tests.plan.test_store import save
from tests.query.stock import Stock

Call = Callable[..., Any]


def headers_of(stock: Stock, name: str, *held: str) -> dict[str, str]:
    """What a program sends that acts as ``name``, who holds ``role@scope`` …"""
    for written in held:
        role, _, scope = written.partition("@")
        grants.grant(stock.db, name, Grant(Role(role), Scope.parse(scope or "*")), by=ROOT_USER, reason="of the test")
    secret = tokens.make(stock.db, "test", days=1, by=ROOT_USER, person=name).secret
    return {"authorization": f"Bearer {secret}"}


def passed_plan(stock: Stock, folder: Path, *, is_passed: bool = True, **options: Any) -> StoredPlan:
    """A stored plan at which its gate has looked."""
    plan = save(stock.db, folder / "plans", **options)
    stock.rows(
        """INSERT INTO gate_results (gate, run_key, subject, expectation, is_success, is_blocking, examples, checked_at)
           SELECT 'detox', 'r1', :subject, 'e' || n, n = 1 OR :passed, n > 0, '[]', now()
           FROM generate_series(0, 2) AS n""",
        subject="partition 'physics'",
        passed=is_passed,
    )
    return plan


@pytest.fixture
def olga(client: TestClient, stock: Stock) -> Call:
    """An operator's program: the answer, whose status is looked at."""
    from dynamo_web.caller.rates import WRITES

    headers = headers_of(stock, "olga", "operator")

    def call(
        method: str,
        path: str,
        body: Any = None,
        *,
        code: int = 200,
        key: str | None = None,
        seen: str | None = None,
        **params: Any,
    ) -> Any:
        WRITES.forget()
        sent = headers | ({"idempotency-key": key} if key else {}) | ({"if-match": seen} if seen else {})
        if isinstance(body, bytes):
            answer = client.request(method, path, content=body, headers=sent | {"content-type": "application/json"})
        else:
            answer = client.request(method, path, json=body, params=params or None, headers=sent)
        assert answer.status_code == code, answer.text
        return answer

    return call
