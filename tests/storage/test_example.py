"""The example of a package with a storage of its own: built, installed beside us, found by its entry point, used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from dynamo_ops.database.connection import Database
from tests import ROOT
from tests.installation import installed

PACKAGE = ROOT / "docs/examples/dynamo-example-storage"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, folder / "package")
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run(
        [sys.executable, *install, "--no-build-isolation", "--target", folder / "site", folder / "package"],
        check=True,
        capture_output=True,
    )
    return folder / "site"


def run(site: Path, *arguments: str, **variables: str) -> str:
    """What Python prints where the package is installed."""
    environment: Mapping[str, str] = {"PYTHONPATH": f"{site}:{ROOT}", "PATH": "/usr/bin:/bin", **variables}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.thorough
def test_the_example_does_what_every_storage_does(site: Path) -> None:
    suite = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/storage/test_conformance.py", "-k", "cupboard")
    assert "passed" in run(site, *suite)


def test_a_protocol_of_others_is_listed_copied_and_deleted_by_once_the_settings_name_it(
    site: Path, database: Database, tmp_path: Path
) -> None:
    named = {"protocols": {"own": ["davs", "cupboard"]}, "fts": {"url": None}}
    (tmp_path / "dynamo.yaml").write_text(yaml.safe_dump(named))
    shutil.copy(ROOT / "include/config/consistency.yaml", tmp_path)
    variables = {"DYNAMO_HOME": installed(tmp_path / "home", tmp_path), "DYNAMO_DB_URL": database.url}
    assert json.loads(run(site, "-m", "tests.storage.example", **variables)) == {
        "copied": 1,
        "listed": [1, 0, 0],
        "deleted": 1,
        "here": [],
        "there": ["/store/b1/a file"],
    }
