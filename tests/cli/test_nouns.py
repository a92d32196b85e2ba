"""The sub-commands: each is there, and none is imported before it is called."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dynamo_ops.cli.main import app
from dynamo_ops.cli.nouns import NOUNS
from tests import ROOT

HEAVY = {
    "adbc_driver_manager",
    "alembic",
    "boto3",
    "fsspec",
    "great_expectations",
    "httpx",
    "lark",
    "numpy",
    "pandas",
    "polars",
    "psycopg2",
    "pyarrow",
    "requests",
    "sqlalchemy",
    "XRootD",
}
TASKS = ("consistency", "dealer", "deletion", "detox", "popularity", "sources", "transfer")
NEVER_AT_ONCE = {"alembic", "boto3", "great_expectations", "httpx", "pandas", "pyarrow", "XRootD"}
"""What no sub-command imports before it needs it."""


def imported(code: str) -> set[str]:
    """Which of ``HEAVY`` a fresh interpreter has after ``code``."""
    script = f"{code}\nimport json, sys\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nothing"]])
def test_what_needs_no_sub_command_imports_none(arguments: list[str]) -> None:
    code = "from typer.testing import CliRunner; from dynamo_ops.cli.main import app"
    assert imported(f"{code}; CliRunner().invoke(app, {arguments})") == set()


def test_a_sub_command_imports_what_it_needs_when_it_needs_it() -> None:
    code = "from dynamo_ops.cli.nouns import NOUNS\nfor noun in NOUNS: noun.load()"
    assert imported(code) & NEVER_AT_ONCE == set()


def test_who_decides_from_files_loads_no_database() -> None:
    case = ROOT / "tests" / "golden" / "cases" / "k01_dealer"
    command = ["detox", "plan", "--policy", str(case / "detox" / "Physics" / "policy.txt"), "--inventory", str(case)]
    code = "from typer.testing import CliRunner; from dynamo_ops.cli.main import app"
    code += f"; done = CliRunner().invoke(app, {command}); assert not done.exit_code, done.output"
    assert imported(code) == {"numpy", "polars", "lark"}


def test_tasks_load_what_decides_lists_and_signs_when_they_do() -> None:
    names = ", ".join(f"dynamo_ops.{room}.tasks" for room in TASKS)
    assert imported(f"import {names}") & {*NEVER_AT_ONCE, "numpy"} == set()


@pytest.mark.parametrize("name", [noun.name for noun in NOUNS])
def test_each_says_what_it_is_for(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert (done.exit_code, f"Usage: dynamo {name}" in done.output) == (0, True)


def test_the_list_is_whole_at_80_columns() -> None:
    lines = CliRunner().invoke(app, ["--help"], terminal_width=80).output.splitlines()
    listed = lines[lines.index("Commands:") + 1 :]
    assert [line.split(maxsplit=1) for line in listed] == [[noun.name, noun.help] for noun in NOUNS]


def test_a_near_name_is_told() -> None:
    done = CliRunner().invoke(app, ["plam"])
    assert done.exit_code == 2
    assert "Did you mean plan?" in done.output
