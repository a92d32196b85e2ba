"""The script that tags a release, on repositories made for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ROOT

LOG = "# Changelog\n\n## {heading}\n\n- What is new.\n\n## 0.1.0 (2026-11-22)\n\n- What was new.\n"


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for part in (".ci", "dynamo_ops"):
        (tmp_path / part).mkdir()
    shutil.copy(ROOT / ".ci" / "tag", tmp_path / ".ci" / "tag")
    (tmp_path / "dynamo_ops" / "__init__.py").write_text('__version__ = "0.2.0"\n')
    (tmp_path / "docker-compose.yaml").write_text("image: dynamo:0.2.0\n")
    (tmp_path / "CHANGELOG.md").write_text(LOG.format(heading="0.2.0 (2026-12-01)"))
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "config", "user.name", "t")
    git(tmp_path, "config", "user.email", "t@localhost")
    commit(tmp_path)
    return tmp_path


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "x")


def tag(repository: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([repository / ".ci" / "tag"], capture_output=True, text=True, check=False)


def test_the_tag_has_what_is_new_as_its_message(repository: Path) -> None:
    done = tag(repository)
    assert (done.returncode, done.stdout) == (0, "tagged v0.2.0; git push origin v0.2.0\n")
    message = git(repository, "tag", "-l", "--format=%(contents)", "v0.2.0")
    assert "- What is new." in message
    assert "What was new" not in message


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("CHANGELOG.md", LOG.format(heading="0.2.0 (unreleased)"), "give its section its day"),
        ("docker-compose.yaml", "image: dynamo:0.1.0\n", "docker-compose.yaml names another version"),
        ("dynamo_ops/__init__.py", "", "names no version"),
    ],
)
def test_what_is_not_ready_is_not_tagged(repository: Path, file: str, text: str, reason: str) -> None:
    (repository / file).write_text(text)
    commit(repository)
    done = tag(repository)
    assert done.returncode == 1
    assert reason in done.stderr
    assert git(repository, "tag") == ""


def test_what_is_not_committed_or_was_tagged_is_not_tagged(repository: Path) -> None:
    assert tag(repository).returncode == 0
    assert "v0.2.0 is there: raise the version" in tag(repository).stderr
    (repository / "new").write_text("")
    assert "not committed" in tag(repository).stderr
