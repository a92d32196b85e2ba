"""The replica tables have one writer each, and one place says what a copy is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import ROOT

CODE = [
    file
    for folder in ("dynamo_ops", "plugins", "dags")
    for file in (ROOT / folder).rglob("*.py")
    if "migrations" not in file.parts
]
OWNERS = {
    "dataset_replicas": "dataset_replica.py",
    "block_replicas": "block_replica.py",
    "block_replica_files": "present_file.py",
    "usage_now": "usage.py",
    "usage_unique": "usage.py",
    "usage_daily": "usage.py",
}


def writers(table: str) -> set[str]:
    writing = re.compile(
        rf"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE|COPY|MERGE\s+INTO)\s+(ONLY\s+)?{table}\b", re.I
    )
    return {str(file.relative_to(ROOT)) for file in CODE if writing.search(file.read_text())}


@pytest.mark.parametrize(("table", "owner"), OWNERS.items(), ids=OWNERS)
def test_a_replica_table_has_one_writer(table: str, owner: str) -> None:
    assert writers(table) == {f"dynamo_ops/inventory/replica/{owner}"}


def asks_whether_a_file_is_there(file: Path) -> bool:
    """``is_complete OR <a row of block_replica_files>`` in any form."""
    return bool(re.search(r"is_complete\s+OR\s+(EXISTS|\w+\.file_id\s+IS\s+NOT\s+NULL)", file.read_text()))


def test_one_place_says_whether_a_file_is_there() -> None:
    asking = {str(file.relative_to(ROOT)) for file in CODE if asks_whether_a_file_is_there(file)}
    assert asking == {"dynamo_ops/inventory/replica/copies.py"}
