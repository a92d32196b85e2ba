"""``dynamo policy …``: what it prints, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.database.connection import Database
from dynamo_ops.policy.language.reference import markdown
from dynamo_ops.policy.language.variables import BUILT_IN
from tests import ROOT
from tests.installation import installed

CASE = ROOT / "tests" / "golden" / "cases" / "d01_first_match"
GOOD = """\
Partition all
On site.name == T2_A
When site.occupancy > 0.9
Until site.occupancy < 0.8
Protect blockreplica.owner == physics
Dismiss
Order none
"""
WRONG = "Partition all\nOn site.nmae == T2_A\nProtect replica.size >\nWhen never\nUntil never\n"
TESTS = """\
groups: {physics: dataset}
sites: {T2_A: {}}
tests:
  - {name: owned, datasets: {/a: {replicas: {T2_A: {owner: physics}}}}, expect: protect by Protect}
  - {name: free, datasets: {/a: {replicas: [T2_A]}}, expect: keep by Dismiss}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation with one policy, its tests, and no database."""
    (tmp_path / "dynamo.yaml").write_text("")
    (tmp_path / "partitions.txt").write_text("all: dataset.name == /*\n")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "all.txt").write_text(GOOD)
    (tmp_path / "policies" / "all.test.yaml").write_text(TESTS)
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("DYNAMO_POLICY_DIR", str(tmp_path / "policies"))
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "policies"
    settings.cache_clear()


def dynamo(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main.app, ["policy", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def told(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    found = json.loads(dynamo(*arguments, "--json", code=code).output)
    assert isinstance(found, list)
    return found


def test_check_says_ok_with_the_number_of_lines_and_the_partition(folder: Path) -> None:
    for arguments in ((), ("all",), (str(folder / "all.txt"),)):
        assert dynamo("check", *arguments).output == f"{folder / 'all.txt'}: OK, 1 policy lines, partition all\n"
    assert told("check") == []


def test_check_tells_all_errors_of_all_files(folder: Path) -> None:
    (folder / "wrong.txt").write_text(WRONG)
    (folder / "odd.txt").write_bytes(b"On \xff")
    shown = dynamo("check", code=2).output
    assert "all.txt: OK" in shown
    assert "wrong.txt:3:23: read the end of the line, expected a value" in shown
    assert [(Path(e["file"]).name, e["line"], e["column"], e["severity"]) for e in told("check", code=2)] == [
        ("odd.txt", 1, 4, "error"),
        ("wrong.txt", 2, 4, "error"),
        ("wrong.txt", 3, 23, "error"),
    ]
    (folder / "wrong.txt").write_text(WRONG.replace(" >", " > x"))
    found = told("check", "wrong", "nosuch", code=2)
    assert [(Path(each["file"]).name, each["line"]) for each in found] == [
        ("wrong.txt", 2),
        ("wrong.txt", 3),
        ("wrong.txt", 5),
        ("nosuch.txt", None),
    ]
    assert set(found[0]) == {"file", "line", "column", "message", "severity"}
    assert "Did you mean site.name" in found[0]["message"]
    assert "cannot be read" in found[3]["message"]


def test_lint_without_a_database_says_what_is_not_checked(folder: Path) -> None:
    shown = dynamo("lint").output
    assert "sites and groups are not checked: no database is running" in shown
    assert shown.endswith("1 policies: 0 errors, 0 warnings, 0 notes\n")
    assert not (folder.parent / "home" / "postgres").exists()


def test_lint_ends_with_1_for_warnings_and_2_for_errors(folder: Path) -> None:
    file = folder / "all.txt"
    file.write_text(GOOD.replace("0.8", "0.9").replace("Partition all", "Partition al"))
    found = told("lint", code=1)
    assert [(each["line"], each["code"], each["severity"]) for each in found] == [
        (1, "unknown-partition", "warning"),
        (4, "no-gap", "warning"),
    ]
    assert f"{file}:4:7: warning: no gap" in dynamo("lint", code=1).output
    file.write_text(GOOD.replace("blockreplica.owner == physics", "replica.has_locked_block"))
    assert [each["severity"] for each in told("lint")] == ["note"]
    file.write_text(WRONG)
    assert [each["severity"] for each in told("lint", code=2)] == ["error", "error"]


def test_lint_knows_the_names_of_a_folder(folder: Path) -> None:
    found = told("lint", "--inventory", str(CASE), code=1)
    assert {"unknown-site", "unknown-group", "unknown-partition"} <= {each["code"] for each in found}


def test_lint_knows_the_names_of_the_database(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    settings.cache_clear()
    with database.begin() as connection:
        connection.execute(text("INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')"))
    assert [each["code"] for each in told("lint", code=1)] == ["unknown-group"]
    with database.begin() as connection:
        connection.execute(text("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset')"))
    assert told("lint") == []


def test_a_database_that_is_away_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_DB_URL", "postgresql://nobody@localhost:1/none")
    settings.cache_clear()
    assert "sites and groups are not checked: database " in dynamo("lint").output


def test_variables(folder: Path) -> None:
    assert dynamo("variables", "--markdown").output == markdown(BUILT_IN)
    found = {row["name"]: row for row in told("variables")}
    assert set(found) == {variable.name for variable in BUILT_IN}
    assert found["dataset.on_tape"]["values"] == ["NONE", "PARTIAL", "FULL"]
    assert found["replica.last_used"]["attributes"] == ["last_access"]
    shown = dynamo("variables").output
    assert "dataset.usage_rank  (number; of a dataset; needs the attribute usage_rank)" in shown


def test_tests_that_pass(folder: Path) -> None:
    for arguments in ((), ("all",), (str(folder / "all.test.yaml"),)):
        assert dynamo("test", *arguments).output == f"{folder / 'all.test.yaml'}: 2 of 2 tests pass\n"
    assert [(each["test"], each["passed"]) for each in told("test")] == [("owned", True), ("free", True)]


def test_tests_that_fail(folder: Path) -> None:
    (folder / "all.txt").write_text(GOOD.replace("Protect", "Protect dataset.name == /b and"))
    shown = dynamo("test", code=1).output
    assert "all.test.yaml: FAILED: owned" in shown
    assert "all: expected protect by Protect, found keep by line 0 (Dismiss)" in shown
    assert "1 of 2 tests pass" in shown
    assert told("test", code=1)[0]["failures"] == ["all: expected protect by Protect, found keep by line 0 (Dismiss)"]


def test_lines_without_a_test_are_named(folder: Path) -> None:
    (folder / "all.test.yaml").write_text(TESTS[: TESTS.index("  - {name: free")])
    assert dynamo("test").output.endswith("1 of 1 tests pass\n    no test for: Dismiss\n")
