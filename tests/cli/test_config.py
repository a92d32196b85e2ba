"""``dynamo config``: what it prints, and how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.database.connection import Database
from tests import ROOT
from tests.installation import installed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The shipped configuration in an installation without a database."""
    shutil.copytree(ROOT / "include" / "config", tmp_path / "config")
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path / "home"))
    (tmp_path / "home" / "policies").symlink_to(ROOT / "include" / "policies")
    settings.cache_clear()
    yield tmp_path / "config"
    settings.cache_clear()


def dynamo(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main.app, ["config", *arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def test_a_configuration_without_faults(folder: Path) -> None:
    output = dynamo("check").output
    assert "are not looked up: no database is running" in output
    assert output.endswith("8 files read, 0 faults\n")
    assert "not looked up" not in dynamo("check", "--no-inventory").output


def test_faults_are_lines_and_an_exit_code(folder: Path) -> None:
    (folder / "gates.yaml").write_text("detocks: {}\n")
    (folder / "consistency.yaml").write_text("defaults: {max_age: soon}\n")
    lines = dynamo("check", "--no-inventory", code=2).output.splitlines()
    assert lines[0].startswith(f"{folder}/gates.yaml: detocks: there is no such setting")
    assert lines[1].startswith(f"{folder}/consistency.yaml: defaults.max_age: Input should be a valid timedelta")
    assert lines[2] == "8 files read, 2 faults"


def test_for_programs(folder: Path) -> None:
    (folder / "gates.yaml").write_text("detocks: {}\n")
    document = json.loads(dynamo("check", "--json", code=2).output)
    (fault,) = document["faults"]
    assert (fault["file"], fault["key"]) == (f"{folder}/gates.yaml", "detocks")
    assert len(document["files"]) == 8
    assert "no database is running" in document["unchecked"]


def test_an_inventory_that_is_asked_for_must_be_there(folder: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be looked up: no database is running"):
        dynamo("check", "--against-inventory")


def test_names_are_looked_up_where_the_database_runs(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    settings.cache_clear()
    (folder / "consistency.yaml").write_text("sites: {T1_*: {max_orphan: 1}, T2_a: {max_orphan: 2}}\n")
    assert "the inventory has no sites yet" in dynamo("check").output
    with database.begin() as connection:
        connection.execute(text("INSERT INTO sites (name, storage_type, status) VALUES ('T1_A_Disk', 'disk', 'ready')"))
        connection.execute(text("INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')"))
        connection.execute(
            text("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset'), ('express', 'dataset')")
        )
    (line, last) = dynamo("check", code=2).output.splitlines()
    assert line.startswith(f"{folder}/consistency.yaml: sites.T2_a: matches no site of the inventory")
    assert last == "8 files read, 1 fault"


def test_settings_by_a_part_of_their_key() -> None:
    lines = dynamo("settings", "fts.retr").output.splitlines()
    assert lines[0] == "dynamo.yaml: fts.retries  (integer, ≥ 0; default 2)"
    assert len(lines) == 4
    (only,) = json.loads(dynamo("settings", "fts.pin_s", "--json").output)
    assert (only["file"], only["default"], only["unit"]) == ("dynamo.yaml", "64800", "s")
    assert "Did you mean fts.url" in dynamo("settings", "fst.url", code=2).output
