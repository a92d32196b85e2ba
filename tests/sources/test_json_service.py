"""A described JSON service: pages, words, and what it must not do."""

# ruff: noqa: ARG005  answers of servers share one signature

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dynamo_ops.errors import PermanentRemoteError, SourceDataError
from tests.sources.backends import JsonBackend
from tests.sources.conformance import LATER, whole
from tests.sources.server import JsonServer
from tests.sources.told import MUONS, STRANGE, WORLD, day


@pytest.fixture
def server() -> Iterator[JsonServer]:
    with JsonServer(lambda path, query: []) as running:
        yield running


@pytest.fixture
def backend(server: JsonServer) -> JsonBackend:
    return JsonBackend(server)


def test_the_interval_is_asked_for_and_names_are_quoted(backend: JsonBackend, server: JsonServer) -> None:
    source = backend.source(WORLD)
    source.datasets(day(1), day(2))
    assert server.asked == [("/sets", {"from": "1772323200", "to": "1772409600"})]
    assert server.headers[0]["Authorization"] == "Bearer none"
    server.asked.clear()
    list(source.details([STRANGE.dataset]))
    assert (
        server.asked[0][0]
        == "/sets/%2FJets%20and%20more%2FR%C3%BCn2026A-v2%2Fit%27s%20%22RAW%22%2C%20they%20say/blocks"
    )


def test_all_pages_are_asked_for_and_no_more_threads_than_allowed(backend: JsonBackend, server: JsonServer) -> None:
    source = backend.source(WORLD)
    assert source.datasets(None, LATER).height == 4
    assert [query.get("start") for _, query in server.asked] == [None, "2"]
    server.asked.clear()
    assert whole(list(source.details([MUONS.dataset] * 20))).files.height == 160
    assert server.most_at_once <= 2
    assert [query["page"] for path, query in server.asked if path.endswith("files")].count("4") >= 20


def test_a_count_without_a_page_of_its_own_lists_all(backend: JsonBackend, server: JsonServer) -> None:
    backend.source(WORLD)
    options = backend._options()
    del options["count"]
    assert backend.made(options).count_datasets() == 4
    assert server.asked[0][1] == {"from": "0", "to": "32503680000"}


def answering(backend: JsonBackend, server: JsonServer, document: Any, **options: Any) -> Any:
    server.answer = lambda path, query: document
    return backend.made({**backend._options(), **options})


def row(**more: object) -> dict[str, object]:
    good = {"name": "/A/B/C", "state": "GOOD", "closed": "yes", "software": {"release": None}, "modified": 5}
    return {**good, **more}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "is not a JSON document with a list at result.items"),
        ({"result": {"items": {}}}, "is not a JSON document with a list at result.items"),
        (b"<html>", "is not JSON"),
        ({"result": {"items": [7]}}, "record 0: not a JSON object"),
        ({"result": {"items": [row(state="SHINY")]}}, "/A/B/C: state is 'SHINY', expected one of GOOD, RUNNING"),
        (
            {"result": {"items": [row(modified="now")]}},
            "/A/B/C: modified is 'now', expected a time in unix milliseconds",
        ),
        ({"result": {"items": [row(modified=10**15)]}}, "/A/B/C: modified is 1000000000000000"),
        ({"result": {"items": [{"state": "GOOD"}]}}, "record 0: name is missing"),
        ({"result": {"items": [row(name=None), row(name=5)]}}, "record 1: name is 5, expected a text"),
        (
            {"result": {"items": [row()], "next": "http://elsewhere.example.org/"}},
            "expected another page of the same service",
        ),
        ({"result": {"items": [row()], "next": 7}}, "result.next is 7, expected another page of the same service"),
        ({"result": {"items": [row()], "next": "/again"}}, "/A/B/C: comes again at the head of page 2"),
    ],
)
def test_what_cannot_be_right_is_named(backend: JsonBackend, server: JsonServer, document: Any, told: str) -> None:
    with pytest.raises(SourceDataError) as caught:
        answering(backend, server, document).datasets(None, LATER)
    assert told in str(caught.value)
    assert str(caught.value).startswith("catalogue: ")
    assert server.url in str(caught.value)


def test_a_block_that_does_not_say_its_dataset_is_named(backend: JsonBackend, server: JsonServer) -> None:
    blocks = [{"name": "b-1", "open": True, "bytes": 1, "files": 1, "modified": 5}]
    with pytest.raises(SourceDataError, match=r"/A/B/C: record 0: name is \['b-1', 'without #'\], expected a text"):
        list(answering(backend, server, blocks).details(["/A/B/C"]))


def test_a_404_is_an_error_unless_it_means_that_there_is_nothing(backend: JsonBackend, server: JsonServer) -> None:
    source = answering(backend, server, (404, {"error": "no such set"}))
    with pytest.raises(PermanentRemoteError, match="404"):
        list(source.details(["/A/B/C"]))
    tables = {table: {**backend._options()[table], "not_found": "empty"} for table in ("blocks", "files")}
    lenient = answering(backend, server, (404, {"error": "no such set"}), **tables)
    assert whole(list(lenient.details(["/A/B/C"]))).files.is_empty()


def test_a_count_that_is_none_is_named(backend: JsonBackend, server: JsonServer) -> None:
    with pytest.raises(SourceDataError, match=r"sets\.all is 'many', expected a whole number"):
        answering(backend, server, {"sets": {"all": "many"}}).count_datasets()
