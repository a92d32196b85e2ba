from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simgrid.grid import Grid
from tests import ROOT
from tests.simgrid.client import FtsClient

TINY = ROOT / "include/scenarios/tiny.yaml"


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    """A fresh tiny grid."""
    with Grid(TINY, tmp_path / "grid") as running:
        yield running


@pytest.fixture
def fts(grid: Grid) -> FtsClient:
    """A client of the grid's FTS that has delegated."""
    client = FtsClient(grid.endpoints)
    client.delegate()
    return client
