"""docs/rest.md: its calls are answered, its table has every route, its error is what is answered."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from tests import ROOT
from tests.documented.pages import blocks
from tests.documented.shell import lines_of
from tests.plugins.web.callers import headers_of
from tests.plugins.web.test_login import READ_BY_POST
from tests.plugins.web.test_login import routes as all_routes
from tests.query.stock import Stock

PAGE = (ROOT / "docs" / "rest.md").read_text()
CALLS = [[line for line in lines_of(block.text) if line.startswith("curl ")] for block in blocks("sh rest")]
"""Of each block. One that only reads may be typed in any order, by anybody."""
ERRORS = [json.loads(block.text) for block in blocks("json problem")]


@pytest.fixture
def physics(stock: Stock) -> None:
    """What the page speaks of."""
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset')")


@dataclass
class Curl:
    """What a line of the page calls."""

    method: str
    url: str
    headers: dict[str, str]
    body: str | None

    @classmethod
    def of(cls, line: str) -> Curl:
        _, *words = shlex.split(line.replace("$DYNAMO", "http://localhost/dynamo/v1"))
        options = {"-X": ["GET"], "-H": [], "-d": []}
        places = []
        for word in (remaining := iter(words)):
            if word in options:
                options[word].append(next(remaining))
            else:
                places.append(word)
        (url,) = places
        headers = dict(re.split(": ", header, maxsplit=1) for header in options["-H"])
        return cls(options["-X"][-1], url, headers, "".join(options["-d"]) or None)


def is_write(line: str) -> bool:
    return Curl.of(line).method != "GET"


READS = [line for lines in CALLS if not any(map(is_write, lines)) for line in lines]
WALKS = [lines for lines in CALLS if any(map(is_write, lines))]


@pytest.mark.parametrize("line", READS)
def test_a_call_of_the_page_is_answered(line: str, client: TestClient, physics: None) -> None:
    call = Curl.of(line)
    assert call.headers.pop("Authorization") == "Bearer $TOKEN"
    answer = client.get(call.url, headers={**call.headers, "x-user": "ada:viewer"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == call.headers.get("Accept", "application/json")


@pytest.mark.parametrize("lines", WALKS, ids=lambda lines: lines[0][:60])
def test_what_writes_can_be_typed_line_by_line(
    lines: list[str], client: TestClient, stock: Stock, physics: None
) -> None:
    from dynamo_web.caller.rates import WRITES

    token = headers_of(stock, "olga", "operator")
    stock.subscription("copy", stock.files_of["c1"], "T2_A", origin="dealer")
    for line in lines:
        WRITES.forget()
        call = Curl.of(line)
        assert call.headers.pop("Authorization") == "Bearer $TOKEN"
        answer = client.request(call.method, call.url, headers=call.headers | token, content=call.body)
        assert answer.status_code in (200, 201), f"{line}\n{answer.text}"
        if is_write(line):
            assert answer.json()["dry_run"] == ("dry_run=true" in line)
    assert len(WALKS) > 1


def test_every_write_is_in_the_table_and_every_field(airflow: None) -> None:
    from dynamo_web.app import VERSION

    rows = {
        (method, VERSION + path): words
        for words in PAGE.splitlines()
        for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", words.split("|")[1:2][0] if "|" in words else "")
    }
    read = {"GET", "HEAD"}
    written = [route for route in all_routes() if route.methods.isdisjoint(read) and route.path not in READ_BY_POST]
    for route in written:
        (method,) = route.methods
        (words,) = [words for (of, path), words in rows.items() if of == method and route.path_regex.match(path)]
        models = [each.field_info.annotation for each in (*route.dependant.body_params, *query_params(route.dependant))]
        fields = {name for model in models if hasattr(model, "model_fields") for name in model.model_fields}
        assert {name for name in fields - {"dry_run"} if f"`{name}`" not in words} == set(), (method, route.path)
    assert len(rows) == len({(*route.methods, route.path) for route in written})


def query_params(dependant: Any) -> list[Any]:
    return [*dependant.query_params, *(each for inner in dependant.dependencies for each in query_params(inner))]


@pytest.mark.parametrize("shown", ERRORS, ids=lambda shown: shown["type"])
def test_an_error_of_the_page_is_what_is_answered(shown: dict[str, object], client: TestClient, physics: None) -> None:
    answer = client.get("/groups/physic", headers={"x-user": "ada:viewer"}).json()
    assert {**answer, "detail": ""} == {**shown, "detail": ""}
    for part in ("there is no group 'physic'", "Did you mean physics?"):
        assert part in str(shown["detail"])
        assert part in answer["detail"]


def test_every_route_is_in_the_table_and_every_parameter(airflow: None) -> None:
    from dynamo_web.app import VERSION

    rows = {
        VERSION + path: words
        for words in PAGE.splitlines()
        for path in re.findall(r"`(/[^`]*)`", words.split("|")[1:2][0] if "|" in words else "")
    }
    calls = {urlsplit(Curl.of(line).url).path.removeprefix("/dynamo") for line in READS}
    routes = [route for route in all_routes() if "GET" in route.methods]
    unknown = {path for path in {*rows, *calls} if not any(route.path_regex.match(path) for route in routes)}
    assert unknown == set()
    of_lists = {"limit", "cursor", "fields", "count"}
    for route in routes:
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
