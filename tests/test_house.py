"""Rules of the house that no single module can keep: who may import whom, what is documented, what we ship."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dynamo_ops.dealer.config import load_config
from dynamo_ops.dealer.plugin import load_plugin
from dynamo_ops.policy.check import load_policy
from dynamo_ops.policy.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from dynamo_ops.quality.thresholds import read_thresholds
from dynamo_ops.settings import read_settings

ROOT = Path(__file__).resolve().parents[1]
INCLUDE = ROOT / "include"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
MODULES = sorted(path for path in (ROOT / "dynamo_ops").rglob("*.py") if "migrations" not in path.parts)

BASE = {"errors", "settings", "units"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "units": set(),
    "inventory": BASE,
    "policy": BASE | {"inventory"},
    "quality": BASE | {"inventory"},
    "sources": BASE | {"inventory"},
    "popularity": BASE | {"inventory", "sources"},
    "fileops": BASE | {"inventory"},
    "requests": BASE | {"fileops", "inventory", "policy"},
    "detox": BASE | {"fileops", "inventory", "policy", "quality"},
    "examples": BASE | {"detox", "inventory", "policy"},
    "dealer": BASE | {"detox", "fileops", "inventory", "policy", "quality", "requests"},
    "consistency": BASE | {"fileops", "inventory"},
    "alerts": BASE | {"inventory"},
}
"""Layer → the layers below it. ``cli`` may use all of them, and nobody uses ``cli``."""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer(path: Path) -> str:
    return path.relative_to(ROOT / "dynamo_ops").parts[0].removesuffix(".py")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_the_domain_knows_neither_airflow_nor_the_pocket_grid_nor_what_is_built_on_it(path: Path) -> None:
    above = {"airflow", "simgrid", "demo", "dags", "dynamo_airflow", "dynamo_web", "tests"}
    assert {name for name in imports(path) if name.split(".")[0] in above} == set()


def test_the_pocket_grid_knows_nothing_of_ours() -> None:
    for path in sorted((ROOT / "simgrid").rglob("*.py")):
        assert not [name for name in imports(path) if name.split(".")[0] in {"dynamo_ops", "airflow"}], path


@pytest.mark.parametrize("name", sorted({layer(path) for path in MODULES} - {"cli", "__init__"}))
def test_layers_point_one_way(name: str) -> None:
    used = {
        imported.split(".")[1]
        for path in MODULES
        if layer(path) == name
        for imported in imports(path)
        if imported.startswith("dynamo_ops.") and imported.split(".")[1] != "__version__"
    }
    assert used - {name} <= MAY_IMPORT[name]


def test_no_circle_of_layers() -> None:
    done: set[str] = set()
    left = {name: set(below) for name, below in MAY_IMPORT.items()}
    while left:
        free = {name for name, below in left.items() if below <= done}
        assert free, f"these go round in a circle: {sorted(left)}"
        done |= free
        left = {name: below for name, below in left.items() if name not in free}


def undocumented(path: Path) -> Iterator[str]:
    """The module, and its public functions and classes, where they have no docstring."""
    tree = ast.parse(path.read_text())
    if not ast.get_docstring(tree):
        yield "the module"
    public = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, public) and not node.name.startswith("_") and not ast.get_docstring(node):
            yield node.name


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_what_is_public_says_what_it_is_for(path: Path) -> None:
    assert list(undocumented(path)) == []


POLICIES = sorted((INCLUDE / "policies").glob("*.txt"))
DEALERS = sorted((INCLUDE / "config" / "dealer").glob("*.yaml"))


def is_partition(name: str) -> bool:
    file = INCLUDE / "config" / "partitions.txt"
    return bool(load_partitions(file.read_text(), now=NOW, file=str(file)).leaves(name))


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_every_policy_that_we_ship_can_be_used(file: Path) -> None:
    policy = load_policy(file.read_text(), now=NOW, file=str(file))
    assert policy.partition == file.stem
    assert is_partition(policy.partition)


@pytest.mark.parametrize("file", DEALERS, ids=lambda file: file.stem)
def test_every_dealer_configuration_that_we_ship_can_be_used(file: Path) -> None:
    config = load_config(file.read_text(), file=str(file))
    assert config.partition == file.stem
    assert is_partition(config.partition)
    assert config.detox_policy is None or (INCLUDE / "policies" / config.detox_policy).exists()
    for name, plugin in config.plugins.items():
        assert load_plugin(name)(plugin.settings)


@pytest.mark.parametrize("file", sorted((INCLUDE / "config" / "enforcer").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_enforcer_rule_that_we_ship_can_be_used(file: Path) -> None:
    assert load_rules(file.read_text(), now=NOW, file=str(file))
    assert is_partition(file.stem)


def test_policies_and_dealers_are_there_and_the_gates_have_limits() -> None:
    assert POLICIES
    assert DEALERS
    assert read_thresholds(read_settings(INCLUDE / "config" / "dynamo.yaml"))
