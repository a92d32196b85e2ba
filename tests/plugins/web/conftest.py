"""The app as Airflow mounts it, over an inventory with something to find. Of Airflow only who is logged in is faked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient

from dynamo_ops.access import tokens
from dynamo_ops.access.person import Grant
from tests.dags.house import environment
from tests.people import ROOT_USER
from tests.query.stock import Stock, stocked

Ask = Callable[..., Any]


class User:
    """Of SimpleAuth: one role, or none."""

    def __init__(self, name: str, role: str | None = None) -> None:
        self.name = name
        if role is not None:
            self.role = role

    def get_name(self) -> str:
        return self.name


async def fake_get_user(request: Any, _oauth: Any, bearer: Any) -> User:
    """The header ``x-user``: a name, and behind a colon a role."""
    if bearer is not None:
        raise HTTPException(403, "Invalid JWT token")
    name, _, role = request.headers.get("x-user", "").partition(":")
    if not name:
        raise HTTPException(401, "Not authenticated")
    return User(name, role or None)


@pytest.fixture
def stock(database: Any) -> Stock:
    return stocked(database)


@pytest.fixture
def access() -> dict[str, Any]:
    """The section ``access`` of the settings; a test that needs another one parametrises it."""
    return {}


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Calls the app below /dynamo, over the database of the settings, as nobody."""
    from dynamo_web.caller import login
    from dynamo_web.caller.rates import READS, WRITES
    from dynamo_web.databases import databases
    from dynamo_web.mount import PREFIX, mounted

    READS.forget()
    WRITES.forget()
    monkeypatch.setattr(login, "get_user", fake_get_user)
    server = FastAPI()
    server.mount(PREFIX, mounted)
    databases.cache_clear()
    yield TestClient(server, base_url="http://localhost/dynamo/v1", raise_server_exceptions=False)
    databases().dispose()
    databases.cache_clear()


@pytest.fixture
def client(
    airflow: None, stock: Stock, access: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """Over ``stock``."""
    with environment(tmp_path, {"access": access}, DYNAMO_DB_URL=stock.db.url), served(monkeypatch) as called:
        yield called


@pytest.fixture
def ada(client: TestClient) -> Ask:
    """What ada reads who is logged in to Airflow as a viewer: the answer's document."""
    return asking(client)


def asking(client: TestClient, user: str = "ada:viewer") -> Ask:
    """What somebody reads: the answer's document."""

    def ask(path: str, *, code: int = 200, accept: str = "application/json", **params: Any) -> Any:
        answer = client.get(path, params=params or None, headers={"x-user": user, "accept": accept})
        assert answer.status_code == code, answer.text
        return answer.json() if "json" in accept and "ndjson" not in accept else answer.text

    return ask


@pytest.fixture
def token(stock: Stock) -> Callable[..., str]:
    """Makes a real token of somebody."""

    def make(person: str, *grants: Grant, days: float = 1) -> str:
        given = list(grants) or None
        return tokens.make(stock.db, "test", days=days, by=ROOT_USER, person=person, grants=given).secret

    return make
