"""Which installation is found: that of DYNAMO_HOME, else the nearest above; a home that is none is an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.installation import find_installation
from dynamo_ops.base.settings import read_settings, settings
from dynamo_ops.configuration.new_installation import mark

NOBODY = 65534


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a blank in its path, of its own configuration, with a folder below it."""
    home = tmp_path / "my home"
    (home / "config" / "dealer").mkdir(parents=True)
    (home / "config" / "dynamo.yaml").write_text("retries: {count: 9}\n")
    mark(home)
    return home


def found() -> Path | None:
    installation = find_installation()
    return installation and installation.home


def test_a_folder_below_knows_its_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (home, home / "config" / "dealer"):
        monkeypatch.chdir(folder)
        assert found() == home
    assert (settings().home, settings().retries.count) == (home, 9)
    assert (settings().config_dir, settings().policy_dir) == (home / "config", home / "policies")
    assert settings().files_at("plans") == f"{home}/frames/plans"


def test_the_nearest_counts_and_outside_there_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = home / "config" / "dealer"
    mark(inner)
    monkeypatch.chdir(inner)
    assert found() == inner
    monkeypatch.chdir(home.parent)
    assert found() is None
    assert settings().home is None
    with pytest.raises(SettingsError, match=r"no installation here: .*`dynamo init DIR` makes one"):
        settings().files_at("plans")


def test_the_variable_wins(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    mark(other, config="/etc/dynamo", policies="rules", database="postgresql://a/b")
    monkeypatch.chdir(home)
    monkeypatch.setenv("DYNAMO_HOME", "../other")
    installation = find_installation()
    assert installation
    assert installation.home.resolve() == other
    assert installation.config_dir == Path("/etc/dynamo")
    assert installation.policy_dir.resolve() == other / "rules"
    assert installation.db_url == "postgresql://a/b"


def test_variables_win_over_what_it_says(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dynamo.yaml").write_text("retries: {count: 1}\n")
    monkeypatch.setenv("DYNAMO_HOME", str(home))
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("DYNAMO_POLICY_DIR", "/elsewhere")
    monkeypatch.setenv("DYNAMO_DB_URL", "postgresql://a/c")
    assert (settings().home, settings().retries.count) == (home, 1)
    assert (settings().policy_dir, settings().db_url) == (Path("/elsewhere"), "postgresql://a/c")


def test_where_things_are_is_said_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    file = home / "config" / "dynamo.yaml"
    file.write_text("home: /elsewhere\n")
    with pytest.raises(SettingsError, match=r"dynamo\.yaml: home: .*dynamo\.toml says it; remove it"):
        settings()
    assert read_settings(file).home == Path("/elsewhere")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda _: None, "there is no such folder; `dynamo init ", id="missing"),
        pytest.param(lambda home: home.mkdir(), "is no installation, it has no dynamo.toml; `dynamo init ", id="empty"),
        pytest.param(lambda home: home.write_text(""), "is a file, not a folder; set DYNAMO_HOME", id="file"),
        pytest.param(
            lambda home: (home / "postgres").mkdir(parents=True),
            "has a database, but no dynamo.toml: if it is an installation of before",
            id="of before",
        ),
        pytest.param(lambda home: (home / "dynamo.toml").mkdir(parents=True), "cannot be read: ", id="no file"),
    ],
)
def test_a_home_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], message: str
) -> None:
    home = tmp_path / "some home"
    make(home)
    monkeypatch.setenv("DYNAMO_HOME", str(home))
    with pytest.raises(SettingsError) as error:
        settings()
    assert error.value.message.startswith(str(home))
    assert message in error.value.message


@pytest.mark.parametrize("name", ["", "  "], ids=["empty", "blank"])
def test_a_variable_that_names_nothing(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("DYNAMO_HOME", name)
    with pytest.raises(SettingsError, match="DYNAMO_HOME is set and empty: name the folder"):
        settings()


@contextmanager
def as_somebody_else(home: Path) -> Iterator[None]:
    """``home`` may not be read: by an ordinary user because nobody may, by root as another user."""
    home.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        home.chmod(0o755)


def test_a_home_of_somebody_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_HOME", str(home))
    with as_somebody_else(home), pytest.raises(SettingsError, match="cannot be read: Permission denied; work as"):
        find_installation()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"config = ", "is not TOML: ", id="broken"),
        pytest.param(b"\xff", "is not TOML: ", id="no text"),
        pytest.param(b'polices = "x"', "unknown key 'polices'; there are config, policies, database Did", id="key"),
        pytest.param(b"config = 7", "config: expected a text", id="number"),
        pytest.param(b'database = ""', "database: expected a text", id="empty"),
    ],
)
def test_a_mark_that_is_wrong(home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str) -> None:
    (home / "dynamo.toml").write_bytes(content)
    monkeypatch.chdir(home / "config")
    with pytest.raises(SettingsError) as error:
        find_installation()
    assert error.value.message.startswith(f"{home / 'dynamo.toml'}: {message}")


def test_a_mark_with_nothing_in_it_is_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "dynamo.toml").write_text("")
    monkeypatch.chdir(home)
    assert settings().config_dir == home / "config"
