"""Histories: as a state machine that Hypothesis drives and shrinks, as many drawn from seeds, and with old faults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.histories.history import LATEST_DEATH, MOST, Event, draw, happen, run, settle
from tests.histories.installation import world_of
from tests.histories.old_faults import OLD_FAULTS
from tests.histories.steps import WEIGHTS
from tests.histories.world import World

NUMBERS = st.integers(0, MOST - 1)
DEATHS = st.none() | st.integers(0, LATEST_DEATH)
SEEDS_A_TEST = 20
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_of(tmp_path_factory.mktemp("histories") / "world") as world:
        yield world


class Machine(RuleBasedStateMachine):
    """What can happen, in any order. The world is the one of the test."""

    world: World

    @initialize(layout=NUMBERS)
    def begins(self, layout: int) -> None:
        self.world.begin(layout)

    def teardown(self) -> None:
        settle(self.world)


def _add(name: str) -> None:
    def happens(machine: Machine, a: int, b: int, c: int, dies_at: int | None) -> None:
        happen(machine.world, Event(name, a, b, c, dies_at))

    happens.__name__ = name
    setattr(Machine, name, rule(a=NUMBERS, b=NUMBERS, c=NUMBERS, dies_at=DEATHS)(happens))


for step in WEIGHTS:
    _add(step.__name__)


@pytest.mark.thorough
def test_nothing_is_lost_whatever_happens(world: World) -> None:
    """SEMANTICS §10: a copy that goes is not the last, unless somebody allowed it; the inventory does not say what is
    not so; every subscription ends."""

    class InThisWorld(Machine):
        pass

    InThisWorld.world = world
    few = settings(
        max_examples=20,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,  # CI shall say the same twice; ``python -m tests.histories`` draws others
    )
    run_state_machine_as_test(InThisWorld, settings=few)


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(0, 200, SEEDS_A_TEST))
def test_nothing_is_lost_in_a_drawn_history(world: World, first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        violation = run(world, draw(seed, 20))
        assert violation is None, f"seed {seed}: {violation}"


@pytest.mark.thorough
def test_an_old_fault_is_found_at_once() -> None:
    """So the histories of this file can fail."""
    assert "goes at" in _with_fault("cancelled-deletion-counts", 50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", OLD_FAULTS)
def test_an_old_fault_is_found_within_1000_histories(fault: str) -> None:
    assert "seed" in _with_fault(fault, 1000)


def _with_fault(fault: str, number: int) -> str:
    arguments = ["--fault", fault, "--number", str(number), "--most", "1", "--no-shrink"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.histories", *arguments],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def _environment() -> dict[str, Any]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
