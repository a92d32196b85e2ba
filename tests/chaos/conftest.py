"""A running grid for all tests of this folder, scenes in it, and the worker that is killed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.database import embedded
from dynamo_ops.database.connection import Database
from dynamo_ops.fts.client import FtsClient
from simgrid.grid import Grid
from simgrid.scenario import parse_scenario
from tests import ROOT
from tests.chaos.scene import Scene
from tests.conftest import TABLES, TEMPLATE
from tests.inventory.factory import Inventory
from tests.patience import PATIENCE_S

__all__ = ["TABLES"]

SCENARIO = {
    "name": "chaos",
    "time_scale": 0.002,
    "fts": {"workers": 16, "per_link": 16},
    "sites": [
        {"name": "T2_A"},
        {"name": "T2_B"},
        {"name": "T2_C"},
        {"name": "T2_D"},
        {"name": "T1_TAPE", "storage_type": "mss", "staging_delay": 1},
    ],
}
_counter = itertools.count()


@dataclass
class Outcome:
    """How a task in the worker ended. ``signal`` 0: by itself; ``text``: the points it passed, or what went wrong."""

    signal: int
    exit_code: int
    text: str

    @property
    def points(self) -> list[str]:
        assert (self.signal, self.exit_code) == (0, 0), self.text
        return list(json.loads(self.text))


class Worker:
    """The forking worker (``tests/chaos/worker.py``), or another of its kind."""

    def __init__(self, folder: Path, module: str = "tests.chaos.worker") -> None:
        self._report = folder / "report"
        # One thread a library: a process that forks must have no others.
        quiet = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | quiet,
        )

    def run(
        self,
        scene: Scene,
        task: str,
        ids: list[int] | None = None,
        kill_at: str | None = None,
        kill_after: int | None = None,
    ) -> Outcome:
        """Run one task on the scene: to its end, or to the point ``kill_at``, or until it has passed so many."""
        self._report.unlink(missing_ok=True)
        order = {
            "task": task,
            "ids": ids or [],
            "kill_at": kill_at,
            "kill_after": kill_after,
            "database": scene.db.url,
            "endpoints": scene.grid.endpoints,
            "report": str(self._report),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        text = self._report.read_text() if self._report.exists() else ""
        return Outcome(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, os.waitstatus_to_exitcode(status), text)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def second_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(parse_scenario(SCENARIO), tmp_path_factory.mktemp("arena") / "grid") as grid:
        yield grid


@pytest.fixture(scope="session")
def fts(arena: Grid) -> Iterator[FtsClient]:
    ends = arena.endpoints
    with FtsClient(ends["fts"], ca=ends["ca"], cert=ends["user_cert"], key=ends["user_key"], timeout=(5, 10)) as client:
        client.ensure_delegation()
        yield client


@pytest.fixture
def new_scene(arena: Grid, fts: FtsClient, postgres: embedded.EmbeddedPostgres) -> Callable[[], Any]:
    """A context manager that gives a scene and takes its database away again; faults are healed around it."""

    @contextmanager
    def make() -> Iterator[Scene]:
        name = f"chaos_{next(_counter)}"
        postgres.create_database(name, template=TEMPLATE)
        db = Database(postgres.url(name))
        arena.heal()
        try:
            inventory = Inventory(db)
            for site, ends in arena.endpoints["sites"].items():
                inventory.site(site, ends["storage_type"], prefix=ends["prefix"])
            yield Scene(arena, db, fts, inventory)
        finally:
            arena.heal()
            db.dispose()
            postgres.drop_database(name)

    return make


@pytest.fixture
def scene(new_scene: Callable[[], Any]) -> Iterator[Scene]:
    with new_scene() as made:
        yield made
