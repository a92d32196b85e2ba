"""A call with a key, killed with -9 anywhere between its coming and its answer, and sent again: done once."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from dynamo_ops.access.once import UnderWayError, once
from dynamo_ops.database.connection import Database
from tests.chaos.conftest import TABLES, Worker
from tests.chaos.write_worker import DATASET, TASKS, run_task
from tests.inventory.factory import Inventory
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.chaos
KILLS = 1_000
_keys = itertools.count()


@dataclass
class Desk:
    """Where calls come in. ``grid``: as the worker's orders have it."""

    db: Database
    grid: Any = field(default_factory=lambda: SimpleNamespace(endpoints={}))

    def new_key(self) -> str:
        self.grid.endpoints["key"] = f"key{next(_keys)}"
        return str(self.grid.endpoints["key"])

    def effects(self, task: str, key: str) -> int:
        """How often the call had its effect: seen in what it made, and in the audit, which must say the same."""
        if task == "lock":
            made = self.db.frame("SELECT id FROM locks WHERE item = $1", (f"/{key}/*",)).height
        else:
            made = int(self.db.frame("SELECT coalesce(sum(num_asked), 0)::bigint AS n FROM requests").item())
        sql = "SELECT id FROM audit WHERE outcome = 'done' AND key = $1"
        noted = self.db.frame(sql, (key,)).height if task == "lock" else self.db.frame(
            "SELECT id FROM audit WHERE outcome = 'done' AND action = 'ask for copies'").height  # fmt: skip
        assert made == noted
        return made

    def send(self, task: str, key: str) -> dict[str, Any]:
        """As who sends it again until it is answered: a killed call's connection is seen to be gone in a moment."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return asdict(run_task(self.db, task, key))
            except UnderWayError:
                assert time.monotonic() < end
                time.sleep(0.01)


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("sender"), "tests.chaos.write_worker")
    yield made
    made.close()


@pytest.fixture
def desk(database: Database) -> Desk:
    inventory = Inventory(database)
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.block("b1", 1)
    assert database.frame("SELECT name FROM datasets").item() == DATASET
    return Desk(database)


def killed_and_sent_again(desk: Desk, sender: Worker, task: str, **kill: Any) -> bool:
    """Whether the effect was there already when it was sent again."""
    key = desk.new_key()
    before = desk.effects(task, key)
    outcome = sender.run(desk, task, **kill)  # type: ignore[arg-type]
    assert outcome.signal == signal.SIGKILL, f"{kill} was not reached: {outcome.text[-2000:]}"
    again = desk.send(task, key)
    assert desk.effects(task, key) == before + 1, (task, kill)
    third = desk.send(task, key)
    assert third == again | {"is_replay": True}
    assert desk.effects(task, key) == before + 1
    return bool(again["is_replay"])


def points_of(desk: Desk, sender: Worker, task: str) -> list[str]:
    desk.new_key()
    *points, _ = sender.run(desk, task).points  # type: ignore[arg-type]
    return points


@pytest.mark.parametrize("task", TASKS)
def test_killed_anywhere_and_sent_again_it_is_done_once(desk: Desk, sender: Worker, task: str) -> None:
    points = points_of(desk, sender, task)
    if task == "copy":
        points = points_of(desk, sender, task)  # asked before: the statements are others
    was_done = [killed_and_sent_again(desk, sender, task, kill_at=point) for point in points]
    assert was_done == sorted(was_done), list(zip(points, was_done, strict=True))
    committed = next(point for point, done in zip(points, was_done, strict=True) if done)
    assert committed == "after COMMIT of UPDATE idempotency"
    assert points[-1] == "answer not sent"
    assert len(points) > 12
    TABLES.setdefault("a call killed with -9, and sent again", [("call", "points", "in the end")]).append(
        (task, str(len(points)), "done once at each, and answered the same")
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_kills_and_nothing_is_done_twice(desk: Desk, sender: Worker) -> None:
    points = points_of(desk, sender, "lock")
    begun = time.monotonic()
    was_done = [
        killed_and_sent_again(desk, sender, "lock", kill_at=point)
        for point in itertools.islice(itertools.cycle(points), KILLS)
    ]
    assert desk.db.frame("SELECT id FROM locks").height == KILLS + 1
    seconds = time.monotonic() - begun
    TABLES["a thousand calls killed with -9, and sent again"] = [
        ("kills", "done before the kill", "done once", "seconds"),
        (str(KILLS), str(sum(was_done)), str(KILLS), f"{seconds:.0f}"),
    ]


def test_what_is_wrong_is_seen(desk: Desk, sender: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose answer is not kept with its effect is done twice, and this test sees that."""
    from dynamo_ops.access import once as module

    monkeypatch.setattr(module, "_keep", lambda *_: None)
    key = desk.new_key()
    for times in (1, 2):
        desk.send("lock", key)
        assert desk.effects("lock", key) == times
    assert json.loads(desk.send("lock", key)["body"])["id"] == 3
    assert once is module.once
