"""docs/rest.md: its calls are answered, its table has every route, its error is what is answered."""

from __future__ import annotations

import json
import re
import shlex
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from tests import ROOT
from tests.documented.pages import blocks
from tests.documented.shell import lines_of
from tests.query.stock import Stock

PAGE = (ROOT / "docs" / "rest.md").read_text()
CALLS = [line for block in blocks("sh rest") for line in lines_of(block.text) if line.startswith("curl ")]
ERRORS = [json.loads(block.text) for block in blocks("json problem")]


@pytest.fixture
def physics(stock: Stock) -> None:
    """What the page speaks of."""
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset')")


@pytest.mark.parametrize("line", CALLS)
def test_a_call_of_the_page_is_answered(line: str, client: TestClient, physics: None) -> None:
    _, *words = shlex.split(line.replace("$DYNAMO", "http://localhost/dynamo/v1"))
    headers = dict(re.split(": ", words[n + 1], maxsplit=1) for n, word in enumerate(words) if word == "-H")
    assert headers.pop("Authorization") == "Bearer $TOKEN"
    answer = client.get(words[-1], headers={**headers, "x-user": "ada:viewer"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == headers.get("Accept", "application/json")


@pytest.mark.parametrize("shown", ERRORS, ids=lambda shown: shown["type"])
def test_an_error_of_the_page_is_what_is_answered(shown: dict[str, object], client: TestClient, physics: None) -> None:
    answer = client.get("/groups/physic", headers={"x-user": "ada:viewer"}).json()
    assert {**answer, "detail": ""} == {**shown, "detail": ""}
    for part in ("there is no group 'physic'", "Did you mean physics?"):
        assert part in str(shown["detail"])
        assert part in answer["detail"]


def test_every_route_is_in_the_table_and_every_parameter(airflow: None) -> None:
    from dynamo_web.app import VERSION, app

    rows = {
        VERSION + path: words
        for words in PAGE.splitlines()
        for path in re.findall(r"`(/[^`]*)`", words.split("|")[1:2][0] if "|" in words else "")
    }
    calls = {f"{VERSION}{urlsplit(shlex.split(line)[-1]).path.removeprefix('$DYNAMO')}" for line in CALLS}
    unknown = {path for path in {*rows, *calls} if not any(route.path_regex.match(path) for route in app.routes)}
    assert unknown == set()
    of_lists = {"limit", "cursor", "fields", "count"}
    for route in app.routes:
        words = next((words for path, words in rows.items() if route.path_regex.match(path)), None)
        if words is None:
            assert route.path.removeprefix(VERSION) in PAGE, route.path
            continue
        asked = [
            parameter
            for model in route.dependant.query_params
            for parameter in model.field_info.annotation.model_fields
        ]
        assert {name for name in asked if f"`{name}`" not in words} <= of_lists, route.path
