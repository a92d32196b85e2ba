"""``dynamo detox plan --inventory`` against the golden cases, with no database and no installation behind it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from dynamo_ops.cli import main
from tests.golden import compare
from tests.golden.test_detox import POLICIES, label

pytestmark = pytest.mark.golden

COLUMNS = ["dataset", "site", "block", "decision", "line", "size"]


@pytest.fixture(autouse=True)
def no_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation that was asked anything would fail."""
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(tmp_path / "no-such-configuration"))
    monkeypatch.setenv("DYNAMO_DB_URL", "postgresql://nobody@nowhere.invalid/none")


def arguments(case: Path, policy: Path, decisions: Path) -> list[str]:
    step = json.loads((policy / "config.json").read_text())["deletion_per_iteration"]
    given = ["--inventory", str(case), "--policy", str(policy / "policy.txt"), "--deletion-per-iteration", str(step)]
    return ["detox", "plan", *given, "--decisions", str(decisions)]


def check(policy: Path, decisions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--lines", "--handover", str(policy / "reowned.csv")]
    code = compare.main([str(policy.parent.parent), str(policy / "decisions.csv"), str(decisions), *options])
    assert code == 0, capsys.readouterr().out
    assert pl.read_csv(decisions).columns == COLUMNS


@pytest.mark.parametrize("policy", POLICIES, ids=label)
def test_decisions_are_the_golden_ones(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decisions = tmp_path / "out.csv"
    result = CliRunner().invoke(main.app, arguments(policy.parent.parent, policy, decisions), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    check(policy, decisions, capsys)


def test_as_a_command_of_its_own_on_gzipped_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = next(path for path in POLICIES if path.parent.parent.name == "d14_enforcer_protected")
    case = tmp_path / "case"
    case.mkdir()
    for file in policy.parent.parent.iterdir():
        if file.is_file():
            (case / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    decisions = tmp_path / "out.csv"
    command = [sys.executable, "-m", "dynamo_ops.cli", *arguments(case, policy, decisions)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=clean())
    assert (result.returncode, result.stderr) == (0, "")
    assert "would delete" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if "│" in line) <= 160
    check(policy, decisions, capsys)


def test_the_example_of_the_guide_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/detox.md: the what-if on the dealer's case, word for word but for the width of lines."""
    root = Path(main.__file__).parents[2]
    today = (root / "tests/golden/cases/k01_dealer/detox/Physics/policy.txt").read_text()
    new = (
        today.replace("> 0.9", "> 0.65")
        .replace("< 0.85", "< 0.6")
        .replace("common_owner < 2", "common_owner < 2 and dataset.name != /Last/T2_C-4*")
    )
    monkeypatch.chdir(tmp_path)
    Path("today.txt").write_text(today)
    Path("new.txt").write_text(new)
    guide = (root / "docs" / "detox.md").read_text()
    case = "tests/golden/cases/k01_dealer"
    plans = [
        line.split()[3:]
        for line in guide.splitlines()
        if line.strip().startswith(f"$ dynamo detox plan --inventory {case}")
    ]
    assert len(plans) == 2
    for words in plans:
        given = [str(root / case) if word == case else word for word in words]
        shown = CliRunner().invoke(main.app, ["detox", *given], catch_exceptions=False).stdout
        told = {" ".join(line.split()) for line in guide.splitlines()}
        sentence, *_ = [line for line in shown.splitlines() if " would " in line]
        assert sentence in " ".join(guide.split())
        tables = [" ".join(line.split()) for line in shown.splitlines() if "│" in line]
        missing = [line for line in tables if line not in told]
        assert not [line for line in missing if not line.startswith(("T1_", "T2_"))]


def clean() -> dict[str, str]:
    """The environment of a shell in which Dynamo is not set up."""
    return {**os.environ, "PYTHONPATH": str(Path(main.__file__).parents[2])}


def test_a_block_row_is_written_only_where_blocks_are_decided_otherwise(tmp_path: Path) -> None:
    """The rows of a dataset replica are one ``*``, or one for each block replica of its image; sizes add up."""
    policy = next(path for path in POLICIES if path.parent.parent.name == "d02_block_actions")
    decisions = tmp_path / "out.csv"
    CliRunner().invoke(main.app, arguments(policy.parent.parent, policy, decisions), catch_exceptions=False)
    rows = pl.read_csv(decisions)
    kinds = rows.group_by("dataset", "site").agg(
        stars=(pl.col("block") == "*").sum(), rows=pl.len(), verdicts=pl.struct("decision", "line").n_unique()
    )
    assert kinds.filter(pl.col("stars") > 0)["rows"].unique().to_list() == [1]
    assert (kinds.filter(pl.col("stars") == 0)["verdicts"] > 1).all()
    assert kinds.filter(pl.col("stars") == 0).height > 0
