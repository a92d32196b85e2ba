"""What pip installs: all that an installation and Airflow need, away from the checkout; and the client alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dynamo_ops.cli.nouns import NOUNS
from tests import ROOT
from tests.plugins.web.test_commands import BOTH

pytestmark = pytest.mark.server

MOST_PACKAGES = 15
"""That a client brings with it, itself included."""
LOADS = """
from importlib import import_module
import pkgutil, sys
import dynamo_ops.cli.afar
from dynamo_ops.cli.nouns import NOUNS
for noun in NOUNS:
    if noun.name in {nouns!r}:
        noun.load()
for module in pkgutil.iter_modules(dynamo_ops.cli.afar.__path__):
    import_module("dynamo_ops.cli.afar." + module.name)
print(len(sys.modules))
"""


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of what is in the repository, and of nothing that lies beside it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if name.split("/")[0] in {"dynamo_ops", "dags", "plugins", "include", "pyproject.toml", "README.md", "LICENSE"}:
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(folder / "source")], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; all else that it needs comes from ours."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        str(python),
    ]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return folder


def dynamo(installed: Path, *words: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A command of the environment, as somebody who has an empty home."""
    environment = {
        "PATH": f"{installed / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home.parent),
        "DYNAMO_HOME": str(home),
        "PYTHONPATH": sysconfig.get_path("purelib"),  # without its .pth files, which would lead to the checkout
    }
    command = [str(installed / "bin" / "dynamo"), *words]
    return subprocess.run(command, env=environment, cwd=home.parent, capture_output=True, text=True, check=False)


def test_every_file_that_is_shipped_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name.partition(".data/data/")[2] or name for name in opened.namelist()}
    parts = {"dags": "dags", "plugins": "plugins", "include/config": "config", "include/policies": "policies"}
    shipped = {
        f"share/dynamo/{part}{name.removeprefix(folder)}"
        for name in tracked()
        for folder, part in parts.items()
        if name.startswith(f"{folder}/")
    }
    assert len(shipped) > 60
    assert shipped - names == set()
    code = {name for name in tracked() if name.startswith("dynamo_ops/") and not name.endswith(".md")}
    assert code - names == set()
    assert [name for name in names if name.split("/")[0] in {"tests", "demo", "simgrid", "benchmarks"}] == []


def test_an_installation_is_made_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = dynamo(installed, "init", str(home), "--only-home", "--json", home=home)
    assert made.returncode == 0, made.stderr
    try:
        assert (home / "policies" / "physics.txt").read_bytes() == (ROOT / "include/policies/physics.txt").read_bytes()
        for words in (["config", "check"], ["policy", "check"], ["inventory", "summary"]):
            done = dynamo(installed, *words, home=home)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        told = dynamo(installed, "airflow", "env", "--json", home=home)
        variables = json.loads(told.stdout)
        assert variables["DYNAMO_HOME"] == str(home)
        folders = [Path(variables[f"AIRFLOW__CORE__{name}_FOLDER"]) for name in ("DAGS", "PLUGINS")]
        assert [folder.is_relative_to(installed) for folder in folders] == [True, True]
    finally:
        dynamo(installed, "db", "stop", home=home)


def test_airflow_parses_what_is_installed(installed: Path, tmp_path: Path) -> None:
    """The DAGs and the plugin, from where `dynamo airflow env` says that they are."""
    share = installed / "share" / "dynamo"
    code = """
import json
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
from airflow import plugins_manager
bag = DagBag()
import dynamo_ops, dynamo_web
print(json.dumps([sorted(bag.dag_ids), bag.import_errors, dynamo_ops.__file__, dynamo_web.__file__]))
"""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(share / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(share / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }
    command = [str(installed / "bin" / "python"), "-c", code]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    dags, errors, ours, web = json.loads(done.stdout.splitlines()[-1])
    assert errors == {}
    assert {"detox_physics", "dealer_physics", "transfers", "errands", "metadata_sync"} <= set(dags)
    assert all(Path(file).is_relative_to(installed) for file in (ours, web))


def needed(requirements: Iterable[str], seen: set[str]) -> set[str]:
    """The distributions that these bring with them, without extras."""
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        if name not in seen and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            seen.add(name)
            needed(metadata.requires(name) or (), seen)
    return seen


def top_levels(names: set[str]) -> Iterator[Path]:
    """What these distributions put beside one another."""
    for name in names:
        for file in metadata.files(name) or ():
            if file.parts[0] not in ("..", "__pycache__"):
                yield (
                    Path(str(file.locate())).parents[len(file.parts) - 2]
                    if len(file.parts) > 1
                    else Path(str(file.locate()))
                )


def test_a_client_is_small_and_needs_nothing_of_what_works_on_a_database(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        (place,) = [name for name in opened.namelist() if name.endswith("/METADATA")]
        told = message_from_bytes(opened.read(place)).get_all("Requires-Dist") or []
    names = needed(told, set())
    assert len(names) < MOST_PACKAGES, sorted(names)
    for place in {*top_levels(names)}:
        (tmp_path / place.name).symlink_to(place)
    (tmp_path / "dynamo_ops").symlink_to(ROOT / "dynamo_ops")
    nouns = {words.split()[0] for words in BOTH} | {"login", "logout", "whoami", "server"}
    assert nouns <= {noun.name for noun in NOUNS}
    code = f"import sys; sys.path = [p for p in sys.path if 'site-packages' not in p] + [{str(tmp_path)!r}]\n"
    command = [sys.executable, "-I", "-S", "-c", code + LOADS.format(nouns=nouns)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
