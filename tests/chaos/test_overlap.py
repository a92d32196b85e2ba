"""Two runs of both DAGs at the same time, killed with -9 again and again wherever they happen to be.

Each worker runs cycles until nothing moves. It is killed after a random number of points (``tests/chaos/worker.py``)
and started anew, some times; the last time it may end by itself.
"""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynamo_ops.deletion import directories
from dynamo_ops.transfer import observe
from tests.chaos.conftest import TABLES, Worker
from tests.chaos.scene import Scene
from tests.inventory.factory import withdraw

pytestmark = pytest.mark.chaos
KILLS = 4  # of each worker
MOST_POINTS = 400  # two cycles pass about as many
TITLE = "two runs at once, killed again and again"


def clean_up(scene: Scene) -> None:
    """What the last task of ``deletions`` does once a killed run is cleared: no later run does it in its place."""
    ids = [row[0] for row in scene.inventory.rows("SELECT id FROM deletion_batches")]
    directories.clean_directories(scene.db, ids, scene.hands.storage)


def run_over_and_over(scene: Scene, worker: Worker, lives: list[int]) -> int:
    """Kill the worker after so many points, each time, and let it end then; how often it really died."""
    died = 0
    for points in lives:
        outcome = worker.run(scene, "cycles", kill_after=points)
        assert outcome.signal in (0, signal.SIGKILL), outcome.text
        assert outcome.exit_code <= 0, outcome.text[-3000:]
        died += outcome.signal == signal.SIGKILL
    last = worker.run(scene, "cycles")
    assert (last.signal, last.exit_code) == (0, 0), last.text[-3000:]
    return died


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 21))])
def test_two_runs_at_once(scene: Scene, worker: Worker, second_worker: Worker, seed: int) -> None:
    scene.copy(scene.block("disk", "T2_A", "T2_C", num_files=20), "T2_B")
    scene.copy(scene.block("tape", "T1_TAPE", num_files=6), "T2_B")
    scene.copy(scene.block("direct", "T2_A", num_files=6), "T2_D")
    scene.delete(scene.block("gone", "T2_A", "T2_C", num_files=12), "T2_C")
    chance = random.Random(seed)
    scene.grid.fault(fts={"fail_fraction": 0.1})
    lives = [[chance.randrange(1, MOST_POINTS) for _ in range(KILLS)] for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        died = sum(threads.map(run_over_and_over, [scene, scene], [worker, second_worker], lives))
    scene.grid.heal()
    observe.observe_and_apply(scene.db, scene.client)
    scene.run_to_the_end()
    clean_up(scene)
    problems = scene.problems()
    TABLES.setdefault(TITLE, [("subscriptions", "seed", "died", "in the end")]).append(
        ("stand", str(seed), str(died), "; ".join(problems) or "all well")
    )
    assert problems == []


def change_minds(scene: Scene, chance: random.Random, lfns: list[str], site: str) -> None:
    """Subscription these files to the site, or away from it; or, sometimes, nothing of some copies any more."""
    kind = chance.choice(("copy", "copy", "delete", "delete", "withdraw" if site == "T2_B" else "copy"))
    if kind == "withdraw":
        rows = scene.inventory.rows(
            """SELECT s.id FROM subscriptions s JOIN files f ON f.id = s.file_id
            WHERE f.lfn = ANY(:lfns) AND s.site_id = :site AND s.action = 'copy'""",
            lfns=lfns,
            site=scene.inventory.site_ids[site],
        )
        withdraw(scene.db, [row[0] for row in rows])
        for lfn in lfns:  # there or not: either will do
            scene.expected.pop((site, lfn), None)
    elif kind == "delete":
        scene.delete(lfns, site)
    else:
        scene.copy(lfns, site)
        scene.gone -= {(site, lfn) for lfn in lfns}


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 21))])
def test_minds_are_changed_meanwhile(scene: Scene, worker: Worker, second_worker: Worker, seed: int) -> None:
    """Files are subscribed to a site and away again at any moment: in the end the last subscription is true of each."""
    chance = random.Random(seed)
    toggled = scene.block("toggled", "T2_A", num_files=15)
    scene.copy(toggled, "T2_B")
    direct = scene.block("direct", "T2_A", num_files=6)
    scene.copy(direct, "T2_D")
    lives = [[chance.randrange(1, MOST_POINTS) for _ in range(KILLS)] for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        ends = threads.map(run_over_and_over, [scene, scene], [worker, second_worker], lives)
        for _ in range(12):
            time.sleep(0.15)
            change_minds(scene, chance, chance.sample(toggled, 5), "T2_B")
            change_minds(scene, chance, chance.sample(direct, 2), "T2_D")
        died = sum(ends)
    scene.run_to_the_end()
    clean_up(scene)
    problems = [
        problem
        for problem in scene.problems()
        if "copied" not in problem and not problem.endswith(": cancelled")  # both come of changed minds
    ]
    TABLES.setdefault(TITLE, [("subscriptions", "seed", "died", "in the end")]).append(
        ("change", str(seed), str(died), "; ".join(problems) or "all well")
    )
    assert problems == []
