"""Python and SQL of the pages are run; what is a plugin there keeps its protocol."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory import properties
from dynamo_ops.policy.language.variables import known_variables
from dynamo_ops.popularity.attributes import producers
from tests import ROOT
from tests.dealer.plugins.conformance import RULES, make_context, make_frames
from tests.dealer.plugins.conformance import load_rules as read_rules
from tests.detox.small import NOW
from tests.documented.pages import BLOCKS, Block, blocks
from tests.inventory.factory import Inventory


def names_of(page: str) -> dict[str, Any]:
    """What the text around the blocks of a page speaks of."""
    if page == "metadata.md":
        return dict(vars(properties))
    return {"frames": make_frames(), "context": make_context(), "rules": read_rules(RULES, now=NOW)}


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_a_piece_of_python_runs(block: Block) -> None:
    exec(compile(block.text, str(block), "exec"), names_of(block.page))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.own_file], ids=str)
def test_a_file_of_a_package_of_yours_is_what_its_place_says(block: Block, own_packages: Path) -> None:
    """It can be imported; a file of tests has some, and they pass."""
    assert block.own_file is not None
    file = own_packages / block.own_file
    module = block.own_file.removesuffix(".py").replace("/", ".")
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), str(file)]
    ended = subprocess.run(
        [sys.executable, *(command if file.name.startswith("test_") else ("-c", f"import {module}"))],
        cwd=ROOT,
        env={"PYTHONPATH": f"{own_packages}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_producer_and_its_variable_are_known_and_produce(own_packages: Path, inventory: Inventory) -> None:
    """plugins.md: an attribute of datasets becomes a variable."""
    site_id = inventory.site("T2_A")
    inventory.rows(
        """INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
           VALUES ('2026-03-01', 'night_jobs', :d, :s, 7), ('2026-03-01', 'day_jobs', :d, :s, 9),
                  ('2026-02-28', 'night_jobs', :d, :s, 11)""",
        d=inventory.dataset_id,
        s=site_id,
    )
    (night,) = [producer for producer in producers() if producer.name == "nights"]
    assert list(inspect.signature(night.produce).parameters) == ["snapshot"]
    with inventory.db.snapshot() as snapshot:
        produced = night.produce(snapshot)
    assert produced is not None
    assert set(produced.values) == set(night.attributes)
    assert produced.values["num_night_jobs"].rows() == [(inventory.dataset_id, 7.0)]
    assert known_variables()["dataset.num_night_jobs"].attributes == night.attributes


@pytest.mark.parametrize("block", blocks("sql"), ids=str)
def test_a_query_can_be_made(block: Block, database: Database) -> None:
    assert database.frame(block.text.rstrip().rstrip(";")).width > 0
