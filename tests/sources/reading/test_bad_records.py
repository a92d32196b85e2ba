"""Records that cannot be read, among many that can."""

from __future__ import annotations

import json

import polars as pl
import pytest

from dynamo_ops.base.errors import DynamoError, ServiceIllError, SourceDataError
from dynamo_ops.sources.reading.bad_records import MOST_DATASETS, PIECE, BadRecords
from dynamo_ops.sources.reading.columns import Column
from dynamo_ops.sources.reading.records import Records

COLUMNS = (Column("dataset", pl.String, "dataset"), Column("size", pl.Int64, "size"))
NUMBER = 3 * PIECE


def fault(what: str, **_: object) -> DynamoError:
    return SourceDataError(what)


def lines(wrong: dict[int, object], number: int = NUMBER) -> bytes:
    """Records of datasets of ten; ``wrong``: sizes by the number of the record."""
    records = ({"dataset": f"/D{row // 10}", "size": wrong.get(row, row)} for row in range(number))
    return b"\n".join(json.dumps(record).encode() for record in records)


def records() -> Records:
    return Records(COLUMNS)


def test_the_datasets_of_bad_records_are_left_out_and_the_others_are_whole() -> None:
    bad = BadRecords()
    frame = records().lines(lines({5: "big", 9: None, 1999: 0.5, 2000: [1], 2001: "no"}), 1, fault, None, bad)
    assert dict(bad.frame().iter_rows()) == {
        "/D0": "line 6: size is 'big', expected a whole number",
        "/D199": "line 2000: size is 0.5, expected a whole number",
        "/D200": "line 2001: size is [1], expected a whole number",
    }
    assert frame.height == NUMBER - 30
    assert frame["size"].to_list() == [row for row in range(NUMBER) if row // 10 not in (0, 199, 200)]


def test_only_what_was_asked_for_is_noted() -> None:
    bad = BadRecords({"/D1"})
    document = b"[" + lines({5: "big"}, 20).replace(b"\n", b",") + b"]"
    assert records().frame(document, fault, 1, bad).height == 10
    assert not bad


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"dataset": 7, "size": 1}\n{"dataset": "/A", "size": 1}', "dataset is 7, expected a text"),
        (b'{"size": 1}\n{"dataset": "/A", "size": 1}', "line 1: dataset is missing"),
        (b'{"dataset": "/A"}\n{"dataset": "/A"}\n', "line 1: size is missing"),
        (b'{"dataset": "/A", "size": "x"}\n{"dataset": "/B", "size": "y"}', "line 1: size is 'x'"),
        (lines(dict.fromkeys(range(0, 20_000, 10), "x"), 10 * MOST_DATASETS + 20), "line 1: size is 'x'"),
    ],
    ids=["no name", "no dataset", "a field that none has", "nothing good of several", "too many"],
)
def test_what_no_dataset_can_be_set_aside_for_is_raised(content: bytes, words: str) -> None:
    with pytest.raises(SourceDataError, match=words):
        records().lines(content, 1, fault, None, BadRecords())


def test_a_service_that_is_ill_is_raised() -> None:
    def ill(what: str, **_: object) -> DynamoError:
        return ServiceIllError(what, service="s", url="u", status=None)

    with pytest.raises(ServiceIllError):
        records().lines(lines({5: "big"}), 1, ill, None, BadRecords())
