"""``dynamo replica`` as a shell would use it: files by name or from a file, what becomes of them, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.test_cli import dynamo
from tests.cli.test_cli import fails as fails
from tests.cli.test_cli import stock as stock
from tests.inventory.factory import Inventory

WHY = ("--reason", "reads end early")
FILES = ["/store/b1/f0", "/store/b1/f1"]


def test_what_becomes_of_bad_copies_is_said_and_listed(stock: Inventory, tmp_path: Path) -> None:
    stock.replica("b1", "T2_B")
    lost = tmp_path / "pool.txt"
    lost.write_text(f"# pool 7\n\n{FILES[1]}\n")
    tried = dynamo("replica", "bad", "T2_A", FILES[0], "--file", str(lost), *WHY, "--dry-run").output
    assert tried.startswith(
        "would be called: 2 files (2.00 kB) at T2_A, 2 of them newly called so\n  2 bad: fetched again"
    )
    assert json.loads(dynamo("replica", "list", "--json").output) == []
    found = json.loads(dynamo("replica", "bad", "T2_A", *FILES, *WHY, "--json").output)
    assert (found["num_copying"], found["dry_run"]) == (2, False)
    shown = dynamo("replica", "bad", "T2_B", "--file", "-", *WHY, stdin=f"{FILES[0]}\n").output
    assert "1 bad: no other copy is good" in shown
    assert f"warning: a person must decide, as no other site has a good copy; the first: {FILES[0]}" in shown
    listed = json.loads(dynamo("replica", "list", "--json").output)
    assert [(row["site"], row["state"], row["copy_state"]) for row in listed] == [
        ("T2_B", "last_copy", None),
        ("T2_A", "copying", "new"),
        ("T2_A", "copying", "new"),
    ]
    assert "reads end early" in dynamo("replica", "list", "--site", "T2_B", "--state", "last_copy").output
    back = dynamo("replica", "good", "T2_A", *FILES, "--reason", "wrong pool").output
    assert back == "2 files at T2_A: good, 2 of them not fetched again\n"
    assert [row["site"] for row in json.loads(dynamo("replica", "list", "--json").output)] == ["T2_B"]


def test_what_is_wrong_is_told(stock: Inventory, tmp_path: Path, fails: Callable[..., str]) -> None:
    assert "unknown file '/store/none'" in fails("replica", "bad", "T2_A", "/store/none", *WHY)
    assert "no file is named" in fails("replica", "suspicious", "T2_A", *WHY)
    assert "cannot be read" in fails("replica", "good", "T2_A", "--file", str(tmp_path / "none"), *WHY)
    assert "'odd' is no state of a bad copy" in fails("replica", "list", "--state", "odd")
