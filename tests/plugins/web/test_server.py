"""A real api-server with two workers, and people who log in to it: what they may, and what is known to both workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from dynamo_ops.access.actions import Action
from dynamo_ops.database.connection import Database
from tests.api_server import ApiServer, api_server
from tests.installation import installed
from tests.query.stock import stocked

PEOPLE = {"vera": "viewer", "olga": "op", "adam": "admin"}
OFTEN = 6
"""Calls by connections of their own, so that both workers answer some; no more than somebody may send at once."""


@pytest.fixture
def served(airflow: None, database: Database, tmp_path: Path) -> Iterator[ApiServer]:
    stocked(database)
    airflow_url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    home = Path(installed(tmp_path / "home"))
    options = {"workers": 2, "people": PEOPLE, "is_migrated": True}
    with api_server(tmp_path, home, airflow_url, **options, DYNAMO_DB_URL=database.url) as server:
        yield server


def test_two_workers_know_the_same_people_tokens_and_keys(served: ApiServer) -> None:
    def call(method: str, path: str, headers: dict[str, str], body: Any = None) -> requests.Response:
        return requests.request(method, served.v1 + path, json=body, headers=headers, timeout=60, proxies={"http": ""})

    def everywhere(method: str, path: str, headers: dict[str, str], body: Any = None) -> list[requests.Response]:
        with ThreadPoolExecutor(OFTEN) as pool:
            return list(pool.map(lambda _: call(method, path, headers, body), range(OFTEN)))

    vera, olga, adam = (served.log_in(name, name) for name in PEOPLE)
    known = call("GET", "/me", olga).json()
    assert (known["name"], [grant["role"] for grant in known["grants"]]) == ("olga", ["operator"])
    assert call("GET", "/datasets", {}).status_code == 401
    assert call("GET", "/datasets", {"authorization": "Bearer nonsense"}).status_code == 401

    lock = {"item": "/A/*", "reason": "thesis"}
    assert {answer.status_code for answer in everywhere("POST", "/locks", vera, lock)} == {403}

    token = call("POST", "/me/tokens", olga, {"name": "robot", "days": 1}).json()
    robot = {"authorization": f"Bearer {token['secret']}"}
    assert {answer.status_code for answer in everywhere("GET", "/locks", robot)} == {200}
    tried = everywhere("POST", "/locks", robot | {"idempotency-key": "thesis"}, lock)
    assert {answer.status_code for answer in tried} <= {201, 409}
    assert len({answer.json()["id"] for answer in tried if answer.status_code == 201}) == 1
    assert len(call("GET", "/locks", robot).json()["items"]) == 1

    assert call("DELETE", f"/me/tokens/{token['id']}", olga).status_code == 200
    assert {answer.status_code for answer in everywhere("GET", "/locks", robot)} == {401}
    audit = call("GET", "/audit?limit=1000", adam).json()["items"]
    assert {(row["person"], row["known_by"], row["outcome"]) for row in audit if row["action"] == Action.LOCK} == {
        ("vera", "airflow", "refused"),
        ("olga", "token", "done"),
    }
