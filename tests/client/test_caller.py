"""Pages, streams and files, whole or not at all; errands until they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_ops.client import (
    BrokenStreamError,
    Dynamo,
    ForbiddenError,
    ServerError,
    StillRunningError,
    UnexpectedAnswerError,
)
from tests.client.script import Reply, Script, document

NDJSON = "application/x-ndjson"
ROWS = b'{"name": "/A"}\n{"name": "/B"}\n'
WHOLE = Reply(200, ROWS + b'{"end": {"rows": 2}}\n', NDJSON)


def test_pages_are_asked_for_when_they_are_come_to(script: Script, dynamo: Dynamo) -> None:
    script.says(
        document({"items": [{"id": 1}, {"id": 2}], "next": "c1"}),
        document({"items": [], "next": "c 2"}),
        document({"items": [{"id": 3}], "next": None}),
    )
    rows = dynamo.pages("/datasets", name="/A/*", limit=2)
    assert script.asked == []
    assert [next(rows), next(rows)] == [{"id": 1}, {"id": 2}]
    assert len(script.asked) == 1
    assert list(rows) == [{"id": 3}]
    queries = [asked.path.partition("?")[2].rpartition("limit=2")[2] for asked in script.asked]
    assert queries == ["", "&cursor=c1", "&cursor=c+2"]


def test_what_is_no_list_has_no_pages(script: Script, dynamo: Dynamo) -> None:
    script.says(document({"name": "ada"}))
    for read in (dynamo.pages, dynamo.stream):
        with pytest.raises(UnexpectedAnswerError, match="/me answers one document"):
            list(read("/me"))


def test_a_stream_is_all_rows(script: Script, dynamo: Dynamo) -> None:
    script.says(WHOLE)
    assert [row["name"] for row in dynamo.stream("/datasets")] == ["/A", "/B"]
    assert script.asked[0].headers["Accept"] == NDJSON
    script.says(document({"items": [{"id": 1}], "next": None}))
    assert list(dynamo.stream("/sites")) == [{"id": 1}]  # a list that has one page always


BROKEN = {
    "no end": Reply(200, ROWS, NDJSON),
    "cut in a row": Reply(200, WHOLE.body, NDJSON, cut_after=20),
    "cut between rows": Reply(200, WHOLE.body, NDJSON, cut_after=len(ROWS)),
    "half a row": Reply(200, ROWS[:20], NDJSON),
    "too few": Reply(200, ROWS + b'{"end": {"rows": 3}}\n', NDJSON),
    "rows behind the end": Reply(200, WHOLE.body + ROWS, NDJSON),
    "nothing": Reply(200, b"", NDJSON),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_breaks_off_is_no_stream(script: Script, dynamo: Dynamo, tmp_path: Path, reply: Reply) -> None:
    script.says(reply)
    with pytest.raises(BrokenStreamError, match="/datasets: ") as caught:
        list(dynamo.stream("/datasets"))
    assert caught.value.facts["num_rows"] <= 2
    with pytest.raises(BrokenStreamError):
        dynamo.download("/datasets", tmp_path / "datasets", "ndjson")
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_has_an_end_is_a_row(script: Script, dynamo: Dynamo) -> None:
    script.says(Reply(200, b'{"end": "2026-03-01"}\n{"end": {"rows": 1}}\n', NDJSON))
    assert list(dynamo.stream("/requests")) == [{"end": "2026-03-01"}]


def test_a_file_is_there_whole_or_not_at_all(script: Script, dynamo: Dynamo, tmp_path: Path) -> None:
    script.says(WHOLE)
    place = dynamo.download("/datasets", tmp_path / "datasets.ndjson", "ndjson", name="/*")
    assert place.read_bytes() == b'{"name":"/A"}\n{"name":"/B"}\n'
    csv = Reply(200, b"name\n/A\n/B\n", "text/csv; charset=utf-8")
    script.says(csv)
    place = dynamo.download("/datasets", str(tmp_path / "datasets.csv"))
    assert place.read_bytes() == csv.body
    script.says(Reply(200, csv.body, csv.media_type, cut_after=8))
    with pytest.raises(BrokenStreamError, match=r"the stream broke off$"):
        dynamo.download("/datasets", place)
    assert place.read_bytes() == csv.body
    assert sorted(file.name for file in tmp_path.iterdir()) == ["datasets.csv", "datasets.ndjson"]


def test_an_errand_is_waited_for(script: Script, dynamo: Dynamo, slept: list[float]) -> None:
    waiting = {"id": 7, "state": "waiting", "answer": None, "problem": None}
    script.says(
        document(waiting, Retry_After="5"),
        document({**waiting, "state": "running"}),
        document({**waiting, "state": "running"}),
        document({**waiting, "state": "done", "answer": {"num_files": 3}}),
    )
    assert dynamo.wait({"errand": 7, "state": "waiting"})["answer"] == {"num_files": 3}
    assert slept == [5, 1.5, 2.25]
    assert {asked.path for asked in script.asked} == {"/dynamo/v1/errands/7"}


def test_an_errand_that_failed_is_refused_as_a_call_is(script: Script, dynamo: Dynamo) -> None:
    refusal = {"type": "urn:dynamo:error:access", "status": 403, "detail": "not any more", "facts": {"needs": ["x"]}}
    script.says(document({"id": 7, "state": "failed", "problem": refusal}))
    with pytest.raises(ForbiddenError, match="not any more"):
        dynamo.wait(7)
    script.says(document({"id": 7, "state": "failed", "problem": None}))
    with pytest.raises(ServerError, match="errand 7 has failed"):
        dynamo.wait({"id": 7})


def test_it_is_not_waited_for_longer_than_is_said(script: Script, dynamo: Dynamo, slept: list[float]) -> None:
    script.says(document({"id": 7, "state": "running"}, Retry_After="60"))
    with pytest.raises(StillRunningError, match="errand 7 is running after 30 s") as caught:
        dynamo.wait(7, timeout_s=30)
    assert (caught.value.errand, slept) == (7, [])
