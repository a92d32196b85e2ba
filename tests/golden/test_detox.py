"""Detox against the golden cases: decision, policy line, hand-overs and bytes, block by block."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.detox.engine.plan import DeletionPlan, plan_deletions
from dynamo_ops.inventory.folder import InventoryFolder, read_folder
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions

CASES = Path(__file__).parent / "cases"
POLICIES = sorted(path for path in CASES.glob("*/detox/*") if path.is_dir())

NOT_SUPPORTED_YET: dict[str, str] = {}
"""Case/policy to the reason why it cannot pass yet: these must be refused, never answered wrongly. Empty: all pass."""

pytestmark = pytest.mark.golden


def label(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.name}"


def plan_of(path: Path) -> tuple[InventoryFolder, DeletionPlan]:
    folder = read_folder(path.parent.parent)
    policy = load_policy((path / "policy.txt").read_text(), now=folder.now, file=str(path / "policy.txt"))
    plan = plan_deletions(
        folder.frames,
        policy,
        load_partitions(folder.partitions_text, now=folder.now),
        now=folder.now,
        enforcer_rules=load_rules(folder.enforcer_text, now=folder.now) if folder.enforcer_text else (),
        protected_sites=folder.protected_sites,
        **json.loads((path / "config.json").read_text()),
    )
    return folder, plan


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


SUPPORTED = [path for path in POLICIES if label(path) not in NOT_SUPPORTED_YET]


def test_table_of_unsupported_cases_is_true() -> None:
    assert set(NOT_SUPPORTED_YET) <= {label(path) for path in POLICIES}
    assert len(POLICIES) == 67


@pytest.mark.parametrize("path", SUPPORTED, ids=label)
def test_decisions(path: Path, tmp_path: Path) -> None:
    folder, plan = plan_of(path)
    candidate = tmp_path / "decisions.csv"
    plan.decisions.rename({"size_bytes": "size"}).write_csv(candidate)
    compare = [sys.executable, str(CASES.parent / "compare.py"), str(folder.path), str(path / "decisions.csv")]
    options = ["--lines", "--handover", str(path / "reowned.csv")]
    result = subprocess.run([*compare, str(candidate), *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    if (path / "unstable.csv").exists():
        check_variants(path, plan)
    else:
        if (path / "occupancy.csv").exists():
            check_sites(path, plan)
        check_handovers(path, folder, plan)


def check_sites(path: Path, plan: DeletionPlan) -> None:
    wanted = {
        (r["site"], int(r["bytes_before"]), int(r["bytes_after"]), r["triggered"] == "1")
        for r in rows(path / "occupancy.csv")
    }
    assert set(plan.site_states.select("site", "bytes_before", "bytes_after", "is_triggered").iter_rows()) == wanted


def check_handovers(path: Path, folder: InventoryFolder, plan: DeletionPlan) -> None:
    wanted = {(r["dataset"], r["site"], r["block"], r["new_group"]) for r in rows(path / "reowned.csv")}
    groups = folder.frames.groups.select(new_group_id="group_id", new_group="group")
    found = plan.handovers.join(groups, on="new_group_id").select("dataset", "site", "block", "new_group")
    assert set(found.iter_rows()) == wanted


def check_variants(path: Path, plan: DeletionPlan) -> None:
    """Where the recorded answer depended on chance, ours is one of the recorded ones."""
    column = "variants(decision@line xblocks : orderings)"
    for row in rows(path / "unstable.csv"):
        allowed = {variant.split(" x")[0].strip() for variant in row[column].split("|")}
        mine = plan.decisions.filter((pl.col("dataset") == row["dataset"]) & (pl.col("site") == row["site"]))
        found = {f"{decision}@{line}" for decision, line in mine.select("decision", "line").iter_rows()}
        assert found <= allowed, row
