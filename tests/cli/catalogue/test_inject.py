"""``dynamo inject`` as a shell would use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import DATASET, dynamo
from tests.cli.test_cli import fails as fails
from tests.cli.test_cli import stock as stock
from tests.inventory.factory import Inventory


def document(**changes: Any) -> str:
    return json.dumps(
        {
            "quotas": [{"site": "T2_B", "partition": "physics", "quota_bytes": 5000}],
            "dataset_replicas": [{"dataset": DATASET, "site": "T2_B", "group": "physics"}],
            **changes,
        }
    )


def replicas_at(stock: Inventory, site: str) -> int:
    return int(stock.scalar("SELECT count(*) FROM block_replicas WHERE site_id = :s", s=stock.site_ids[site]))


def lines(output: str) -> list[list[str]]:
    return [line.replace("│", " ").split() for line in output.splitlines()]


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_inject_writes_what_the_document_says(stock: Inventory, tmp_path: Path, way: str) -> None:
    file = tmp_path / "replicas.json"
    file.write_text(document())
    shown = dynamo("inject", str(file)) if way == "file" else dynamo("inject", "-", stdin=document())
    assert shown.output.startswith("Written")
    assert ["quotas", "1", "0", "0"] in lines(shown.output)
    assert ["block", "replicas", "1", "0", "0"] in lines(shown.output)
    assert "new files: 0 B; new or changed block replicas: 2.00 kB\n" in shown.output
    assert replicas_at(stock, "T2_B") == 1
    again = dynamo("inject", str(file)).output if way == "file" else dynamo("inject", "-", stdin=document()).output
    assert again.endswith("the inventory says so already\n")
    assert ["block", "replicas", "0", "0", "1"] in lines(again)


def test_a_dry_run_tells_and_changes_nothing(stock: Inventory) -> None:
    shown = dynamo("inject", "--dry-run", "-", stdin=document()).output
    assert shown.startswith("Would be written")
    assert ["dataset", "replicas", "1", "0", "0"] in lines(shown)
    assert replicas_at(stock, "T2_B") == 0


def test_blocks_that_gain_files_are_told(stock: Inventory) -> None:
    stock.rows("UPDATE dataset_replicas SET is_growing = true")
    blocks = [{"name": "b1", "files": [{"lfn": "/store/b1/new", "size_bytes": 5}]}, {"name": "b9"}]
    shown = dynamo("inject", "-", stdin=json.dumps({"datasets": [{"name": DATASET, "blocks": blocks}]})).output
    assert "1 block replicas are incomplete: their blocks gained files\n" in shown
    assert "1 empty block replicas where datasets grow\n" in shown
    assert "new files: 5 B" in shown


def test_the_summary_as_json(stock: Inventory) -> None:
    found = json.loads(dynamo("inject", "-", "--json", "--by", "ada", stdin=document()).output)
    assert (found["block_replicas"], found["dry_run"]) == ({"new": 1, "changed": 0, "unchanged": 0}, False)
    assert stock.rows("SELECT changed_by FROM quotas") == [("ada",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b'{"groups": [\n ,', "cannot be read as JSON: line 2, column 2: Expecting value", id="cut off"),
        pytest.param(b"", "cannot be read as JSON: line 1, column 1", id="empty"),
        pytest.param(b"\xff\xfe{}", "cannot be read as JSON", id="no text"),
        pytest.param(b"[1]", "injection refused, nothing was written:\ndocument: ", id="a list"),
        pytest.param(b'{"grups": []}', "grups: ", id="an unknown key"),
        pytest.param(
            b'{"dataset_replicas": [{"dataset": "/No/Such-v1/AOD", "site": "T2_B"}]}',
            "dataset_replicas[0].dataset: unknown dataset '/No/Such-v1/AOD'",
            id="an unknown dataset",
        ),
        pytest.param(
            b'{"quotas": [{"site": "T2_B", "partition": "phyics", "quota_bytes": 1}]}',
            "quotas[0].partition: unknown partition 'phyics'; known: ",
            id="an unknown partition",
        ),
    ],
)
def test_a_broken_document_is_told(
    stock: Inventory, tmp_path: Path, fails: Callable[..., str], text: bytes, message: str
) -> None:
    file = tmp_path / "replicas.json"
    file.write_bytes(text)
    assert message in fails("inject", str(file))
    assert replicas_at(stock, "T2_B") == 0


def test_a_file_that_is_not_there_is_told_in_a_line(stock: Inventory, fails: Callable[..., str]) -> None:
    assert "/no/such.json" in fails("inject", "/no/such.json")
