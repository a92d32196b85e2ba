"""Rules of the house that no single module can keep: who may import whom, what is documented, what we ship."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dynamo_ops.base.settings import read_settings
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.plugin import load_plugin
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from dynamo_ops.quality.thresholds import read_thresholds
from tests import ROOT

INCLUDE = ROOT / "include"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
MODULES = sorted(path for path in (ROOT / "dynamo_ops").rglob("*.py") if "migrations" not in path.parts)

ROOMS = (
    "base",
    "base.http",
    "client",
    "database.schema",
    "database",
    "access",
    "fts",
    "event",
    "pause",
    "inventory",
    "inventory.staging",
    "inventory.site",
    "inventory.replica",
    "inventory.subscription",
    "inventory.catalogue",
    "inventory.catalogue.injection",
    "inventory.doubt",
    "lock",
    "policy.language",
    "policy.linter",
    "policy.evaluation",
    "policy",
    "quality",
    "quality.suites",
    "plan",
    "storage",
    "transfer.verification",
    "transfer.server",
    "transfer.submission",
    "transfer",
    "deletion",
    "consistency.matching",
    "consistency",
    "sources.reading",
    "sources",
    "sources.metadata",
    "sources.usage",
    "popularity",
    "request",
    "detox.engine",
    "detox",
    "detox.testing",
    "detox.report",
    "dealer.engine",
    "dealer.plugins",
    "dealer",
    "dealer.report",
    "errand",
    "configuration",
    "alerts",
    "query.paging",
    "query",
    "query.decision",
    "query.movement",
    "query.record",
    "metrics",
    "cli.terminal",
    "cli.here",
    "cli.afar",
    "cli.machine",
    "cli.people",
    "cli.catalogue",
    "cli.decision",
    "cli",
)
"""Every room, from the ground up: it may import from those before it, and from none after it."""

FACES_WITH_NAMES = {"client", "database.schema"}
"""What others import from the room itself: who writes programs for Dynamo shall not need to know its modules."""

MODULES_A_ROOM = 14
"""With its face: what somebody can take in at one glance."""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room(name: str) -> str:
    """The room of a module or of a name in one, without ``dynamo_ops``; empty for the package itself."""
    parts = name.split(".")[1:]
    while parts and not (ROOT / "dynamo_ops").joinpath(*parts).is_dir():
        parts = parts[:-1]
    return ".".join(parts)


def room_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "dynamo_ops").parent.parts)


def rooms_used(name: str) -> set[str]:
    """The rooms that the modules of a room import from, itself and the package's version aside."""
    used = {
        room(imported)
        for path in MODULES
        if room_of(path) == name
        for imported in imports(path)
        if imported.split(".")[0] == "dynamo_ops"
    }
    return used - {name, ""}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_the_domain_knows_neither_airflow_nor_the_pocket_grid_nor_what_is_built_on_it(path: Path) -> None:
    above = {"airflow", "simgrid", "demo", "dags", "dynamo_airflow", "dynamo_web", "tests"}
    assert {name for name in imports(path) if name.split(".")[0] in above} == set()


def test_the_pocket_grid_knows_nothing_of_ours() -> None:
    for path in sorted((ROOT / "simgrid").rglob("*.py")):
        assert not [name for name in imports(path) if name.split(".")[0] in {"dynamo_ops", "airflow"}], path


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in MODULES} - {""} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_no_arrow_runs_up(name: str) -> None:
    assert rooms_used(name) <= set(ROOMS[: ROOMS.index(name)])


def test_no_two_houses_look_into_each_other() -> None:
    """What is on the top level has one direction too, whatever its rooms do among themselves."""
    pairs = {(name.split(".")[0], used.split(".")[0]) for name in ROOMS for used in rooms_used(name)}
    assert {(one, other) for one, other in pairs if one < other and (other, one) in pairs} == set()


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_can_be_taken_in_at_a_glance(name: str) -> None:
    assert sum(room_of(path) == name for path in MODULES) <= MODULES_A_ROOM


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_says_what_lives_there_and_what_may_be_called(name: str) -> None:
    face = ROOT / "dynamo_ops" / name.replace(".", "/") / "__init__.py"
    tree = ast.parse(face.read_text())
    assert ast.get_docstring(tree)
    assert name in FACES_WITH_NAMES or tree.body[1:] == []


@pytest.mark.parametrize("name", ROOMS)
def test_a_face_names_every_module_of_its_room_and_none_that_is_not_there(name: str) -> None:
    folder = ROOT / "dynamo_ops" / name.replace(".", "/")
    face = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    assert {module for module in modules if not re.search(rf"\b{module}\b", face)} <= {
        module for module in modules if module.endswith("_view")
    }
    called = set(re.findall(r"Call: ``(\w+)[.`]", face)) | set(re.findall(r"``(\w+)`` \(", face))
    assert called <= modules | {path.name for path in folder.iterdir()}


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


SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|JOIN|ORDER BY)\b")


def test_commands_hold_no_sql() -> None:
    """A page or a REST call must be able to show what a command shows: what is asked of the database lies below."""
    for path in sorted((ROOT / "dynamo_ops" / "cli").rglob("*.py")):
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert [text for text in texts if isinstance(text, str) and SQL.search(text)] == [], path
        assert not {"sqlalchemy", "psycopg2"} & {name.split(".")[0] for name in imports(path)}, path


def test_commands_print_in_one_way() -> None:
    """By ``cli.terminal``, which folds, pages, and bears a closed pipe."""
    for path in sorted((ROOT / "dynamo_ops" / "cli").rglob("*.py")):
        if path.parent.name != "terminal":
            assert not re.search(
                r"typer\.(s?echo|confirm|prompt)\(|\bprint\(|import rich|from rich", path.read_text()
            ), path


WEB = sorted((ROOT / "plugins" / "dynamo_web").rglob("*.py"))
MOST_LINES_OF_A_ROUTER = 200


def test_what_is_served_over_http_holds_no_sql_and_says_what_it_is_for() -> None:
    """Parse, ask whether they may, call, shape: what is read and done lies below, where a command can call it too."""
    for path in WEB:
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert [text for text in texts if isinstance(text, str) and SQL.search(text)] == [], path
        assert not {"psycopg2", "sqlalchemy.text"} & {*imports(path)}, path
        assert list(undocumented(path)) == [], path
        assert len(path.read_text().splitlines()) < MOST_LINES_OF_A_ROUTER or path.parent.name != "api", path
    assert len(WEB) > 10


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


SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\s+\w")


def test_the_command_line_has_no_sql() -> None:
    """Nor will REST and pages: what they show is read in a room that all of them can call."""
    assert [path.name for path in MODULES if room_of(path).startswith("cli") and SQL.search(path.read_text())] == []
