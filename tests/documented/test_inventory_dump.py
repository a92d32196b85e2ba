"""docs/inventory-dump.md names each file of an inventory in CSV files, and its columns: those that the reader needs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.detox.trial import DUMP_FILES, dump_inputs
from dynamo_ops.inventory.folder import ATTRIBUTES, MORE_ATTRIBUTES
from tests import ROOT

CASES = ROOT / "tests" / "golden" / "cases"
PAGE = (ROOT / "docs" / "inventory-dump.md").read_text()
FREE = {"dataset_attrs.csv", "locks.csv"}
"""Files that need not have all of their columns."""


def listed() -> dict[str, list[str]]:
    """File of the page's first table → its columns; the files that must be there end in ``*``."""
    files: dict[str, list[str]] = {}
    for line in PAGE.partition("`detox_decisions.csv`")[0].splitlines():
        if row := re.match(r"\| (?:`(?P<file>[\w.]+)`(?P<needed> \*)?)? ?\| (?P<columns>[^|]*)\|", line):
            if row["file"]:
                name = row["file"] + ("*" if row["needed"] else "")
            files.setdefault(name, []).extend(re.findall(r"`(\w+)`", row["columns"]))
    return files


FILES = {name.rstrip("*"): columns for name, columns in listed().items()}
COLUMNS = [(file, column) for file, columns in FILES.items() if file not in FREE for column in columns]


def test_the_files_that_must_be_there_are_marked() -> None:
    assert {name.rstrip("*") for name in listed() if name.endswith("*")} == set(DUMP_FILES)


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_every_file_of_a_case_is_listed_with_its_columns(case: Path) -> None:
    for file in (file for file in case.iterdir() if file.is_file()):
        assert file.name in FILES
        if file.suffix == ".csv":
            columns = FILES[file.name]
            known = {*columns, *ATTRIBUTES, *MORE_ATTRIBUTES} if file.name == "dataset_attrs.csv" else {*columns}
            assert {re.sub(r"^(site|group).+", r"\1", name) for name in pl.read_csv(file).columns} <= known


@pytest.mark.parametrize(("file", "column"), COLUMNS)
def test_a_listed_column_is_needed(file: str, column: str, tmp_path: Path) -> None:
    shutil.copytree(CASES / "k01_dealer", tmp_path / "dump")
    table = pl.read_csv(tmp_path / "dump" / file, infer_schema=False)
    table.drop(column).write_csv(tmp_path / "dump" / file)
    with pytest.raises(InventoryError, match=f"lacks the columns {column}"):
        dump_inputs(tmp_path / "dump")


def test_the_attributes_are_listed() -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `dataset_attrs.csv`")]
    names = ", ".join(f"`{name}`" for name in (*ATTRIBUTES, *MORE_ATTRIBUTES))
    assert names in row
