"""Decisions as rows: one a dataset replica where its blocks agree."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.detox.report.decisions_file import collapsed, decision_rows, write_rows
from tests.detox.told import SIZE, told


def test_a_star_stands_for_all_blocks_that_one_line_decided() -> None:
    plan = told(
        "/B Y b2 keep 0", "/B Y b1 keep 0", "/A X b1 protect 1", "/A X b2 keep 0", "/C X b1 keep 0", "/C X b2 keep 2"
    )
    assert decision_rows(plan.decisions).collect().rows() == [
        ("/A", "X", "b1", "protect", 1, SIZE),
        ("/A", "X", "b2", "keep", 0, SIZE),
        ("/B", "Y", "*", "keep", 0, 2 * SIZE),
        ("/C", "X", "b1", "keep", 0, SIZE),
        ("/C", "X", "b2", "keep", 2, SIZE),
    ]


def test_the_same_dataset_elsewhere_and_another_dataset_there_are_other_rows() -> None:
    plan = told("/A X b1 delete 0", "/A Y b1 keep 0", "/B X b1 keep 0")
    assert decision_rows(plan.decisions).collect()["block"].to_list() == ["*", "*", "*"]


def test_decisions_are_spelt_as_in_the_golden_files() -> None:
    words = ("delete", "keep", "protect", "ignore", "reowned")
    plan = told(*(f"/A{number} X b1 {word} 0" for number, word in enumerate(words)))
    assert decision_rows(plan.decisions).collect()["decision"].to_list() == [
        "delete",
        "keep",
        "protect",
        "ignored",
        "reowned",
    ]


@pytest.mark.parametrize(
    ("lines", "blocks"),
    [
        ([1, 1], ["*"]),
        ([1, 2], ["b0", "b1"]),
        ([None, None], ["*"]),
        ([1, None], ["b0", "b1"]),
        ([None, 0], ["b0", "b1"]),
    ],
)
def test_nulls_agree_with_nulls_alone(lines: list[int | None], blocks: list[str]) -> None:
    rows = pl.LazyFrame(
        {"dataset": "/A", "site": "X", "block": ["b0", "b1"], "line": lines, "size_bytes": SIZE},
        schema_overrides={"line": pl.Int32},
    )
    assert collapsed(rows, ["line"]).collect()["block"].to_list() == blocks


def test_rows_are_written_with_their_size(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    assert write_rows(decision_rows(told("/A X b1 keep 0").decisions), file) == 1
    assert file.read_text() == "dataset,site,block,decision,line,size\n/A,X,*,keep,0,100\n"


def test_a_plan_that_decides_nothing_is_a_file_without_rows(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    assert write_rows(decision_rows(told().decisions), file) == 0
    assert file.read_text() == "dataset,site,block,decision,line,size\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be written"):
        write_rows(decision_rows(told().decisions), tmp_path / "no" / "out.csv")
