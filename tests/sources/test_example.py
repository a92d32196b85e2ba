"""The example of a package with sources of its own: built, installed beside us, found by its entry points, checked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.sources.conformance import ACCESS_CHECKS, METADATA_CHECKS, SITE_CHECKS

EXAMPLE = ROOT / "docs/examples/dynamo-example-sources"


@pytest.mark.thorough
def test_the_example_is_installed_found_and_does_what_every_source_does(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "package")
    site = tmp_path / "site"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run(
        [sys.executable, *install, "--no-build-isolation", "--target", site, tmp_path / "package"],
        check=True,
        capture_output=True,
    )
    assert (site / "dynamo_example_sources-1.0.dist-info" / "entry_points.txt").exists()
    done = subprocess.run(
        [sys.executable, "-m", "tests.sources.example_backends"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{site}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    number = len(METADATA_CHECKS) + len(SITE_CHECKS) + len(ACCESS_CHECKS)
    assert done.stdout.strip() == f"{number} checks passed by {site / 'dynamo_example_sources.py'}"
