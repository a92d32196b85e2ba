"""A server that is killed with -9 while it answers a call: the call is sent again to another, and was done once."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests import ROOT
from tests.chaos.conftest import Worker
from tests.patience import PATIENCE_S
from tests.plugins.web.callers import headers_of
from tests.query.stock import Stock

pytestmark = pytest.mark.chaos


def sent_again(client: TestClient, call: dict[str, Any]) -> Any:
    """Until it is answered: a moment may pass until PostgreSQL sees that the killed one is gone."""
    from dynamo_web.caller.rates import WRITES

    end = time.monotonic() + PATIENCE_S
    while True:
        WRITES.forget()
        answer = client.post(call["path"], json=call["body"], headers=call["headers"])
        if answer.status_code != 409:
            return answer
        assert answer.json()["type"] == "urn:dynamo:error:under-way"
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_anywhere_and_sent_again_it_is_done_once(
    client: TestClient, stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "plugins"))
    token = headers_of(stock, "olga", "operator")
    server = Worker(tmp_path, "tests.plugins.web.kill_worker")

    def call_number(number: int) -> Any:
        stock.rows("UPDATE tokens SET last_used_at = NULL")  # so that each call notes that, too
        call = {
            "path": "/locks",
            "body": {"item": f"/{number}/*", "reason": "why"},
            "headers": token | {"idempotency-key": f"k{number}"},
        }
        return SimpleNamespace(db=stock.db, grid=SimpleNamespace(endpoints=call))

    *points, answered = server.run(call_number(0), "").points
    assert json.loads(answered)["item"] == "/0/*"
    assert len(points) > 30
    was_done = []
    for number, point in enumerate(points, start=1):
        call = call_number(number)
        outcome = server.run(call, "", kill_at=point)
        assert outcome.signal == signal.SIGKILL, f"{point} was not reached: {outcome.text[-2000:]}"
        answer = sent_again(client, call.grid.endpoints)
        assert (answer.status_code, answer.json()["item"]) == (201, f"/{number}/*"), point
        was_done.append("idempotent-replay" in answer.headers)
    server.close()
    assert stock.rows("SELECT item, count(*) FROM locks GROUP BY 1 HAVING count(*) <> 1") == []
    noted = stock.rows("SELECT count(*), count(DISTINCT key) FROM audit WHERE outcome = 'done' AND action = 'lock'")
    assert noted == [(len(points) + 1, len(points) + 1)]
    committed = next(point for point, done in zip(points, was_done, strict=True) if done)
    assert (was_done, committed) == (sorted(was_done), "after COMMIT of UPDATE idempotency")
