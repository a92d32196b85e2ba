"""A described JSON service: pages, words, and what it must not do."""

# ruff: noqa: ARG005  answers of servers share one signature

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import PermanentRemoteError, SourceDataError
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
        server.asked[0][0] == "/sets/%2FJets%20and%20more%2FR%C3%BCn2026A-v2%2Fit%27s%20%22RAW%22%2C%20they%20say/files"
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
        (b'{"result": {"items": [nan]}}', "is not JSON"),
        ({"result": {"items": [7]}}, "record 0: not a JSON object"),
        (
            {"result": {"items": [row(state="SHINY"), row(name="/D/E/F", state="SHINY")]}},
            "/A/B/C: state is 'SHINY', expected one of GOOD, RUNNING",
        ),
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


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (row(state="SHINY"), "/A/B/C: state is 'SHINY', expected one of GOOD, RUNNING"),
        (row(modified="now"), "/A/B/C: modified is 'now', expected a time in unix milliseconds"),
        (row(modified=10**15), "/A/B/C: modified is 1000000000000000"),
    ],
    ids=["status", "no time", "microseconds"],
)
def test_a_bad_record_is_a_fault_of_its_dataset(
    backend: JsonBackend, server: JsonServer, record: dict[str, object], told: str
) -> None:
    document = {"result": {"items": [row(name="/D/E/F"), record]}}
    datasets = answering(backend, server, document).datasets(None, LATER)
    good, bad = datasets.select("dataset", "status", "fault").rows()
    assert good == ("/D/E/F", "valid", None)
    assert bad[:2] == ("/A/B/C", None)
    assert told in bad[2]
    assert bad[2].startswith("catalogue: ")


def test_a_block_that_does_not_say_its_dataset_is_named(backend: JsonBackend, server: JsonServer) -> None:
    blocks = [{"name": "b-1", "open": True, "bytes": 1, "files": 1, "modified": 5}]
    source = answering(backend, server, blocks)
    server.answer = lambda path, query: blocks if path.endswith("blocks") else []
    told = pl.concat(part.faults for part in source.details(["/A/B/C"]))
    assert told["dataset"].to_list() == ["/A/B/C"]
    assert "/A/B/C: record 0: name is ['b-1', 'without #'], expected a text" in told["fault"].item()


def test_a_404_is_an_error_unless_it_means_that_there_is_nothing(backend: JsonBackend, server: JsonServer) -> None:
    source = answering(backend, server, (404, {"error": "no such set"}))
    with pytest.raises(PermanentRemoteError, match="404"):
        list(source.details(["/A/B/C"]))
    tables = {table: {**backend._options()[table], "not_found": "empty"} for table in ("blocks", "files")}
    lenient = answering(backend, server, (404, {"error": "no such set"}), **tables)
    assert whole(list(lenient.details(["/A/B/C"]))).files.is_empty()


def paged(backend: JsonBackend, server: JsonServer, answer: Callable[[dict[str, str]], Any], **page: Any) -> Any:
    """A source whose list of datasets comes in pages of that rule, and is what ``answer`` says."""
    server.answer = lambda path, query: {"result": {"items": answer(query)}}
    listing = {**backend._options()["datasets"], "page": {"parameter": "at", "size_parameter": "most", **page}}
    del listing["next"]
    options = {**backend._options(), "datasets": listing}
    del options["count"]
    return backend.made(options)


ALL = [row(name=f"/A/B/C{number}") for number in range(250)]


def test_a_service_that_gives_less_than_it_was_asked_for_is_read_to_its_end(
    backend: JsonBackend, server: JsonServer
) -> None:
    source = paged(backend, server, lambda query: ALL[int(query["at"]) :][:100], size=1000)
    assert source.datasets(None, LATER)["dataset"].n_unique() == 250
    assert [query["at"] for _, query in server.asked] == ["0", "100", "200", "250"]
    assert source.count_datasets() == 250


def test_numbered_pages_are_asked_for_until_one_is_empty(backend: JsonBackend, server: JsonServer) -> None:
    def answer(query: dict[str, str]) -> Any:
        return ALL[100 * int(query["at"]) :][:100]

    assert paged(backend, server, answer, size=100, counts="pages").datasets(None, LATER).height == 250
    assert [query["at"] for _, query in server.asked] == ["0", "1", "2", "3"]
    own_size = paged(backend, server, answer, size=1000, size_parameter=None, counts="pages")
    assert own_size.datasets(None, LATER).height == 250


def test_a_service_that_may_leave_rows_out_between_its_pages_is_refused(
    backend: JsonBackend, server: JsonServer
) -> None:
    def answer(query: dict[str, str]) -> Any:
        return ALL[200 * int(query["at"]) :][:100]  # its pages begin where those of the asked size would

    with pytest.raises(SourceDataError, match=r"datasets: page 1 has 100 rows of the 200 asked for.*set page\.size"):
        paged(backend, server, answer, size=200, counts="pages").datasets(None, LATER)


def test_a_service_that_refuses_the_page_behind_its_last_is_not_asked_for_it(
    backend: JsonBackend, server: JsonServer
) -> None:
    def answer(query: dict[str, str]) -> Any:
        return ALL[int(query["at"]) :][:100]

    source = paged(backend, server, answer, size=100, ends="short")
    assert source.datasets(None, LATER).height == 250
    assert [query["at"] for _, query in server.asked] == ["0", "100", "200"]


def test_a_block_that_is_added_while_its_dataset_is_asked_for_lacks_files_at_most(
    backend: JsonBackend, server: JsonServer
) -> None:
    source = backend.source([MUONS])
    told = server.answer
    is_new = "#" + MUONS.blocks[-1].block

    def answer(path: str, query: dict[str, str]) -> Any:
        rows = told(path, query)
        if len(server.asked) == 1:  # before production added the block
            rows = [row for row in rows if not str(row.get("in", row.get("name"))).endswith(is_new)]
        return rows

    server.answer = answer
    blocks, files = whole(list(source.details([MUONS.dataset])))
    assert set(files["block"]) <= set(blocks["block"])
    assert blocks.height == len(MUONS.blocks)


def test_the_dataset_is_named_where_the_address_is_not_shown_whole(backend: JsonBackend, server: JsonServer) -> None:
    options = backend._options()
    options["files"] = {**options["files"], "url": "/files?set={dataset}&token=SECRET"}
    source = answering(backend, server, (404, {}), files=options["files"])
    with pytest.raises(PermanentRemoteError, match=r"set=…&token=….*dataset /A/B/C") as caught:
        list(source.details(["/A/B/C"]))
    assert "SECRET" not in str(caught.value)
    assert caught.value.facts["dataset"] == "/A/B/C"


def test_a_count_that_is_none_is_named(backend: JsonBackend, server: JsonServer) -> None:
    with pytest.raises(SourceDataError, match=r"sets\.all is 'many', expected a whole number"):
        answering(backend, server, {"sets": {"all": "many"}}).count_datasets()
