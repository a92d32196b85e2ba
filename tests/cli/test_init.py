"""``dynamo init`` as a shell would use it, and commands that find what it made, or say that there is nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.instance import Instance
from demo.up import write_configuration
from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from tests import ROOT
from tests.cli.test_cli import dynamo, fails
from tests.patience import PATIENCE_S

__all__ = ["fails"]

NEED_AN_INSTALLATION = (
    ("inventory", "summary"),
    ("plan", "list"),
    ("transfers", "status"),
    ("digest",),
    ("db", "status"),
    ("db", "upgrade"),
    ("db", "stop"),
)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database with nothing in it, not even a schema."""
    postgres.create_database("to_be_initialised")
    yield postgres.url("to_be_initialised")
    postgres.drop_database("to_be_initialised")


@pytest.fixture
def home() -> Iterator[Path]:
    """Where an installation may be made; not below pytest's own folder, which is closed to PostgreSQL's user."""
    with tempfile.TemporaryDirectory(prefix="dynamo-test-") as parent:
        home = Path(parent).resolve() / "my own" / "home"
        yield home
        embedded.stop(home / "postgres")


@pytest.mark.server
def test_an_installation_is_made_and_found(
    home: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    shown = dynamo("init", str(home), "--only-home").output
    assert f"{home} is an installation now" in shown
    assert "Last copies: never deleted" in shown
    assert f"export DYNAMO_HOME='{home}'" in shown
    monkeypatch.chdir(home / "config" / "dealer")
    assert "T2" not in dynamo("inventory", "summary").output
    assert dynamo("plan", "list").output.strip() == "Plans: none"
    assert f"{home}/policies/physics.txt: OK" in dynamo("policy", "check").output
    assert f"{home}/policies/physics.test.yaml: " in dynamo("policy", "test").output
    assert fails("init", str(home), "--cache").startswith(f"dynamo: {home}/dynamo.toml: is there already")
    assert "last_copies: never" in (home / "config" / "gates.yaml").read_text()
    assert dynamo("db", "stop").output == "stopped\n"


def test_a_database_that_is_named_is_migrated_and_used(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "may be deleted" in dynamo("init", str(tmp_path), "--cache", "--database", url).output
    assert not (tmp_path / "postgres").exists()
    monkeypatch.setenv("DYNAMO_HOME", str(tmp_path))
    database = Database(url)
    assert migrate.revision(database) == migrate.head()
    assert dynamo("db", "status").output.startswith(database.safe_url)
    database.dispose()


def test_variables_that_win_are_warned_of(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_DB_URL", url)
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", "/elsewhere")
    shown = dynamo("init", str(tmp_path), "--cache")
    assert shown.stderr == f"warning: DYNAMO_CONFIG_DIR is set and wins over what {tmp_path} says: unset it\n"
    assert url in (tmp_path / "dynamo.toml").read_text()


@pytest.mark.parametrize(
    "url", ["rubbish", f"postgresql://nobody@/none?host={tempfile.gettempdir()}/none"], ids=["no url", "away"]
)
def test_where_the_database_cannot_be_had_nothing_is_written(
    tmp_path: Path, fails: Callable[..., str], url: str
) -> None:
    assert "database" in fails("init", str(tmp_path), "--cache", "--database", url)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(fails: Callable[..., str]) -> None:
    assert fails("init", "/proc/none", "--cache").startswith("dynamo: /proc/none: ")


def test_nobody_to_ask_is_told_the_flags(tmp_path: Path, fails: Callable[..., str]) -> None:
    message = fails("init", str(tmp_path / "home"))
    assert "say --only-home (the last copy of a block is never deleted) or --cache (it may be)" in message
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("answer", "word"), [("y", "never"), ("n", "always")])
def test_a_person_is_asked(url: str, tmp_path: Path, answer: str, word: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dynamo_ops.cli", "init", str(tmp_path / "home"), "--database", url]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, env=environment, text=True) as process:
        os.write(ours, f"\n{answer}\n".encode())  # an empty line is no answer
        shown, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert shown.count("Are these storages the only home of the data?") == 2
    assert f"  last_copies: {word} " in (tmp_path / "home" / "config" / "gates.yaml").read_text()


@pytest.mark.parametrize("arguments", NEED_AN_INSTALLATION, ids=" ".join)
@pytest.mark.parametrize("kind", ["none", "missing", "empty", "file", "database lost"])
def test_without_an_installation_commands_say_so_and_make_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str], kind: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    if kind != "none":
        monkeypatch.setenv("DYNAMO_HOME", str(home))
    if kind in ("empty", "database lost"):
        home.mkdir()
    if kind == "file":
        home.write_text("")
    if kind == "database lost":
        (home / "dynamo.toml").write_text(f'config = "{ROOT}/include/config"\npolicies = "{ROOT}/include/policies"\n')
        if arguments == ("db", "stop"):
            assert dynamo(*arguments).output == "it was not running\n"
            return
    before = sorted(tmp_path.rglob("*"))
    message = fails(*arguments)
    assert ("dynamo init" in message) == (kind != "file")
    assert "DYNAMO_HOME" in message or kind == "database lost"
    assert sorted(tmp_path.rglob("*")) == before


def test_policies_can_be_tried_without_an_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = ROOT / "include" / "policies" / "physics.txt"
    assert dynamo("policy", "check", str(file)).output.startswith(f"{file}: OK")
    assert "no database is running" in dynamo("policy", "lint", str(file)).output
    assert list(tmp_path.iterdir()) == []


def test_the_home_of_the_demo_says_where_its_configuration_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = ("ca", "user_cert", "user_key", "dbs", "site_status", "accesses", "fts", "webhook")
    instance = Instance(home=tmp_path)
    instance.grid_folder.mkdir()
    instance.grid_file.write_text(json.dumps({peer: f"https://grid.example.org/{peer}" for peer in peers}))
    for _ in range(2):
        write_configuration(instance)
    monkeypatch.setenv("DYNAMO_HOME", str(tmp_path))
    assert (settings().fts.url, settings().home) == ("https://grid.example.org/fts", tmp_path)
    assert (settings().config_dir, settings().policy_dir) == (tmp_path / "config", ROOT / "include" / "policies")
    assert f"{ROOT}/include/policies/physics.txt: OK" in dynamo("policy", "check").output


def test_help_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_HOME", str(tmp_path / "none"))
    assert "init" in dynamo("--help").output
    assert "--only-home" in dynamo("init", "--help").output
    assert main.app.info.name == "dynamo"
