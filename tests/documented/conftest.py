"""What several kinds of blocks need."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_ops.policy.language.variables import known_variables
from tests import ROOT
from tests.documented.pages import BLOCKS, blocks


@pytest.fixture
def own_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The packages of the pages' ``pyproject.toml``, as if they were installed: their entry points, and the examples.

    Returns the folder that they are in.
    """
    for number, block in enumerate(blocks("toml pyproject.toml")):
        metadata = tmp_path / "installed" / f"ours{number}-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Name: ours{number}\nVersion: 1\n")
        groups = tomllib.loads(block.text)["project"]["entry-points"]
        named = [f"[{group}]\n" + "".join(f"{key} = {at}\n" for key, at in groups[group].items()) for group in groups]
        (metadata / "entry_points.txt").write_text("".join(named))
    for block in BLOCKS:
        if block.own_file:
            file = tmp_path / "installed" / block.own_file
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)
    folders = [tmp_path / "installed", *(ROOT / "docs" / "examples").glob("*/")]
    before = set(sys.modules)
    for folder in folders:
        monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    known_variables.cache_clear()
    yield tmp_path / "installed"
    known_variables.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith(("our_experiment", "dynamo_example")):
            del sys.modules[name]
