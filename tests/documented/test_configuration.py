"""Configurations that the pages show are read, whole or put into the shipped one, by what would read them."""

from __future__ import annotations

import shutil
import tomllib
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_ops.base.installation import find_installation
from dynamo_ops.configuration.check import check_configuration
from dynamo_ops.detox.testing.run import read_policy_test, run_policy_test
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.source import SourceText
from tests import ROOT
from tests.documented.pages import BLOCKS, Block, blocks

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OTHERS = {"yaml physics.test.yaml", "yaml prometheus.yml", "yaml prometheus-rules.yml"}
"""Files that are none of the configuration's."""
FILES = [block for block in BLOCKS if block.kind.startswith("yaml ") and block.kind not in OTHERS]
FRAME = "On site.name == *\nWhen always\nUntil never\nOrder none\n{}Dismiss\n"
POLICIES = [(block, block.text) for block in blocks("policy")]
LINES = [(block, block.text if "On " in block.text else FRAME.format(block.text)) for block in blocks("policy-lines")]
WHOLE = {"plugins", "fts"}
ENDED = "When always\nUntil never\nOrder none\nDismiss\n"


def merged(shipped: Any, shown: Any) -> Any:
    """What is shown, in the place where it stands in the shipped file; of plugins, and of FTS servers, nothing else."""
    if not isinstance(shipped, dict) or not isinstance(shown, dict):
        return shown
    return {**shipped, **{key: shown[key] if key in WHOLE else merged(shipped.get(key), shown[key]) for key in shown}}


@pytest.mark.parametrize("block", FILES, ids=str)
def test_a_configuration_has_no_fault(block: Block, tmp_path: Path, own_packages: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(ROOT / "include" / "config", config)
    file = config / block.kind.removeprefix("yaml ")
    shown = yaml.safe_load(block.text)
    file.write_text(yaml.safe_dump(merged(yaml.safe_load(file.read_text()), shown)))
    checked = check_configuration(config, None, NOW)
    assert [str(fault) for fault in checked.faults] == []
    (tmp_path / "as_shown.yaml").write_text(block.text)
    checked.check_repeated(tmp_path / "as_shown.yaml")
    assert [str(fault) for fault in checked.faults] == []


@pytest.mark.parametrize("block", blocks("toml dynamo.toml"), ids=str)
def test_a_marker_of_a_home_is_read(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dynamo.toml").write_text(block.text)
    monkeypatch.setenv("DYNAMO_HOME", str(tmp_path))
    installation = find_installation()
    assert installation is not None
    assert installation.config_dir == tmp_path / "config"
    assert installation.policy_dir == tmp_path / "policies"


@pytest.mark.parametrize("block", blocks("toml pyproject.toml"), ids=str)
def test_the_entry_points_of_a_package_of_yours_can_be_loaded(block: Block, own_packages: Path) -> None:
    for group, names in tomllib.loads(block.text)["project"]["entry-points"].items():
        for name in names:
            (point,) = [point for point in entry_points(group=group) if point.name == name]
            assert point.value == names[name]
            assert point.load() is not None


@pytest.mark.parametrize(("block", "text"), POLICIES + LINES, ids=lambda value: str(value).partition("\n")[0])
def test_a_policy_can_be_used(block: Block, text: str) -> None:
    load_policy(text if "Until" in text else text + ENDED, now=NOW)


def test_the_test_of_a_policy_passes(tmp_path: Path) -> None:
    (test,) = blocks("yaml physics.test.yaml")
    policy, *_ = blocks("policy", page=test.page)
    (tmp_path / "physics.txt").write_text(policy.text)
    (tmp_path / "physics.test.yaml").write_text(test.text)
    partitions = SourceText("partitions", "physics: blockreplica.owner == physics\n")
    outcomes = run_policy_test(read_policy_test(tmp_path / "physics.test.yaml", partitions))
    assert [outcome.failures for outcome in outcomes] == [(), ()]
