"""``dynamo inventory vanished`` as a shell would use it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.test_cli import dynamo
from tests.cli.test_cli import fails as fails
from tests.cli.test_cli import stock as stock
from tests.inventory.factory import Inventory


@pytest.fixture
def gone(stock: Inventory) -> None:
    stock.rows("""INSERT INTO vanished (source, kind, name, size_bytes)
                  VALUES ('dbs', 'dataset', '/A/B/C', 2000000000000), ('dbs', 'block', '/D/E/F#1', 5000000000),
                         ('lab', 'file', '/store/1', 7), ('lab', 'file', '/store/0', 3)""")


def test_nothing_vanished(stock: Inventory) -> None:
    assert dynamo("inventory", "vanished").output.endswith("nothing; in all 0 B\n")
    assert json.loads(dynamo("inventory", "vanished", "--json").output) == []


def test_what_vanished_is_listed_with_sizes_and_a_total(gone: None) -> None:
    shown = dynamo("inventory", "vanished").output
    assert "/A/B/C" in shown
    assert shown.endswith("1 dataset (2.00 TB), 1 block (5.00 GB), 2 files (10 B); in all 2.01 TB\n")
    assert dynamo("inventory", "vanished", "--kind", "file").output.endswith("2 files (10 B); in all 10 B\n")
    rows = json.loads(dynamo("inventory", "vanished", "--source", "lab", "--json").output)
    assert [(row["kind"], row["name"], row["size_bytes"]) for row in rows] == [
        ("file", "/store/0", 3),
        ("file", "/store/1", 7),
    ]
    assert rows[0]["vanished_at"]


def test_the_list_can_be_had_as_a_document(gone: None) -> None:
    assert json.loads(dynamo("inventory", "vanished", "--document").output) == {
        "datasets": ["/A/B/C"],
        "blocks": ["/D/E/F#1"],
        "files": ["/store/0", "/store/1"],
    }


def test_an_unknown_kind_is_refused(fails: Callable[..., str], stock: Inventory) -> None:
    assert "no kind 'site' of things; there are dataset, block, file" in fails(
        "inventory", "vanished", "--kind", "site"
    )
