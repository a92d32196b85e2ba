"""What a plan is made of, from a folder: what the folder says, and what is given instead."""

from __future__ import annotations

import gzip
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dynamo_ops.base.errors import InventoryError, PlanError, PolicyError, SettingsError
from dynamo_ops.detox import trial
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy
from tests import ROOT

CASE = ROOT / "tests/golden/cases" / "d14_enforcer_protected"
NOW = trial.dump_now(CASE)


def policy(partition: str = "") -> CheckedPolicy:
    line = f"Partition {partition}\n" if partition else ""
    return load_policy(f"{line}On always\nWhen always\nUntil never\nProtect\n", now=NOW, file="mine.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CASE, tmp_path / "case"))


def test_everything_comes_from_the_folder() -> None:
    found = trial.dump_inputs(CASE)
    assert found.now == NOW == datetime(2018, 1, 15, 12, tzinfo=UTC)
    assert "AnalysisOps" in found.partitions.conditions
    assert {rule.name for rule in found.rules} == {"usa_miniaod", "notprotecting"}
    assert found.protected_sites == tuple((CASE / "protected_sites.txt").read_text().split())
    assert found.protected_sites
    assert found.frames.block_replicas.height > 0


def test_what_is_given_replaces_what_the_folder_says(folder: Path, tmp_path: Path) -> None:
    partitions, rules = tmp_path / "p.txt", tmp_path / "r.json"
    partitions.write_text("Mine: site.name == *\n")
    rules.write_text('{"rules": {}}')
    later = NOW + timedelta(days=1)
    found = trial.dump_inputs(folder, now=later, partitions=partitions, enforcer=rules)
    assert (list(found.partitions.conditions), found.rules, found.now) == (["Mine"], (), later)


def test_a_folder_may_do_without_rules_but_not_without_partitions(folder: Path) -> None:
    (folder / "enforcer.json").unlink()
    assert trial.dump_inputs(folder).rules == ()
    (folder / "partitions.txt").unlink()
    with pytest.raises(PolicyError, match="no partition is defined there"):
        trial.dump_inputs(folder)


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("case.json", '{"now": "today"}', InventoryError, "the unix time 'now'"),
        ("block_replicas.csv", None, InventoryError, r"block_replicas.csv \(plain or .gz\) not there"),
        ("sites.csv", "site\nX\n", InventoryError, "lacks the columns storage_type, status"),
        ("quotas.csv", "site,partition,quota_bytes\nX,Y,much\n", InventoryError, "cannot be read as an inventory"),
        ("enforcer.json", '{"rules": 5}', SettingsError, "rules: expected a mapping"),
        ("partitions.txt", "AnalysisOps\n", PolicyError, "partitions.txt:1:1"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(
    folder: Path, name: str, text: str | None, error: type[Exception], message: str
) -> None:
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(error, match=message):
        trial.dump_inputs(folder)


@pytest.mark.parametrize("name", ["case.json", "partitions.txt", "block_replicas.csv"])
def test_a_gzipped_file_that_is_cut_off_is_told(folder: Path, name: str) -> None:
    whole = gzip.compress((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / f"{name}.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InventoryError, match="cannot be read"):
        trial.dump_inputs(folder)


def test_one_of_policy_and_command_names_the_partition() -> None:
    assert trial.partition_of(policy("A"), None) == "A"
    assert trial.partition_of(policy("A"), "A") == "A"
    assert trial.partition_of(policy(), "B") == "B"
    with pytest.raises(PlanError, match=r"mine.txt has no Partition line"):
        trial.partition_of(policy(), None)
    with pytest.raises(PlanError, match=r"mine.txt is the policy of partition 'A', the command names 'B'"):
        trial.partition_of(policy("A"), "B")


def test_an_unknown_partition_is_told_with_near_names() -> None:
    with pytest.raises(PolicyError, match=r"unknown partition 'AnalysisOp'. Did you mean AnalysisOps"):
        trial.decide(trial.dump_inputs(CASE), policy("AnalysisOp"), "AnalysisOp")


def test_a_policy_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"Protect \xff\xfe\n")
    with pytest.raises(PolicyError, match="is not UTF-8"):
        trial.policy_of_file(tmp_path / "mine.txt", NOW)
