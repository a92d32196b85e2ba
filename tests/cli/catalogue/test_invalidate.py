"""``dynamo invalidate`` as a shell would use it: it says what goes, asks, and does it once."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynamo_ops.cli import main
from tests.cli.test_cli import DATASET, dynamo
from tests.cli.test_cli import fails as fails
from tests.cli.test_cli import stock as stock
from tests.inventory.factory import Inventory

WHY = ("--reason", "lost in the fire")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "lost.json"
    path.write_text(json.dumps({"datasets": [DATASET]}))
    return str(path)


def num_files(stock: Inventory) -> int:
    return int(stock.scalar("SELECT count(*) FROM files"))


def test_it_tells_asks_and_does_it(stock: Inventory, file: str) -> None:
    stock.rows("UPDATE block_replicas SET is_custodial = true")
    stock.rows("UPDATE datasets SET num_files = 2")
    shown = dynamo("invalidate", file, *WHY, stdin="2\n").output
    assert "leaves the inventory: 1 dataset, 1 block, 2 files, 2.00 kB" in shown
    assert "files no other" in shown
    assert "warning: 0 B of it are on tape, 2.00 kB are custodial" in shown
    assert "What goes does not come back. Type 2 (the files that go) to do it" in shown
    assert "gone from the inventory: 1 dataset, 1 block, 2 files, 2.00 kB; their files stay" in shown
    assert num_files(stock) == 0
    assert dynamo("invalidate", file, *WHY).output == "1 name of the document went before\nnothing to do\n"
    told = dynamo("invalidated").output
    assert "lost in the fire" in told
    assert getpass.getuser() in told
    (row,) = json.loads(dynamo("invalidated", "/A/*", "--json").output)
    assert (row["kind"], row["name"], row["num_files"]) == ("dataset", DATASET, 2)


@pytest.mark.parametrize("answer", ["y", "no", "1"])
def test_any_other_answer_is_no(stock: Inventory, file: str, answer: str) -> None:
    ended = CliRunner().invoke(main.app, ["invalidate", file, *WHY], input=f"{answer}\n")
    assert ended.exit_code == 1
    assert ended.output.endswith("nothing was changed\n")
    assert num_files(stock) == 2


def test_a_dry_run_only_tells(stock: Inventory, file: str) -> None:
    assert "leaves the inventory: 1 dataset" in dynamo("invalidate", file, *WHY, "--dry-run").output
    found = json.loads(dynamo("invalidate", file, *WHY, "--dry-run", "--json").output)
    assert (found["num_files"], found["dry_run"], found["sites"][0]["site"]) == (2, True, "T2_A")
    assert num_files(stock) == 2


def test_scripts_say_yes(stock: Inventory) -> None:
    document = json.dumps({"files": ["/store/b1/f0"]})
    ended = CliRunner().invoke(main.app, ["invalidate", "-", *WHY], input=document)
    assert ended.exit_code == 2
    assert "say --yes, or --dry-run" in ended.output
    found = json.loads(dynamo("invalidate", "-", *WHY, "--yes", "--json", "--by", "ada", stdin=document).output)
    assert (found["num_files"], found["dry_run"]) == (1, False)
    assert json.loads(dynamo("invalidated", "--json").output)[0]["created_by"] == "ada"
    assert num_files(stock) == 1
    assert "gone from the inventory" in dynamo("invalidate", "-", *WHY, "--yes", stdin=document).output


def test_what_is_wrong_is_told(stock: Inventory, tmp_path: Path, fails: Callable[..., str]) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"blocks": [f"{DATASET}#b7"]}))
    told = fails("invalidate", str(path), *WHY, "--yes")
    assert f"blocks[0]: unknown block '{DATASET}#b7'. Did you mean {DATASET}#b1" in told
    path.write_text("{")
    assert "line 1, column 2" in fails("invalidate", str(path), *WHY, "--dry-run")


def test_it_is_taken_back_by_name_or_glob(stock: Inventory, file: str, fails: Callable[..., str]) -> None:
    again = ("--undo", "--reason", "made again")
    dynamo("invalidate", file, *WHY, "--yes")
    assert dynamo("invalidate", "/A/*", *again, "--dry-run").output == f"may come in again: {DATASET}\n"
    shown = dynamo("invalidate", "/A/*", *again, stdin="y\n").output
    assert "Take back that 1 name may not come in?" in shown
    assert f"may come in again, from its source or by an injection: {DATASET}" in shown
    assert num_files(stock) == 0
    (row,) = json.loads(dynamo("invalidated", "--json").output)
    assert (row["undone_by"], row["undone_because"]) == (getpass.getuser(), "made again")
    assert "nothing that is invalid is called" in fails("invalidate", DATASET, *again, "--yes")
