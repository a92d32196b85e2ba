"""Who calls copies bad, or takes that or an invalidation back, is killed with -9 anywhere: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dynamo_ops.database import embedded
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from tests.chaos.conftest import Worker
from tests.chaos.damage_worker import TASKS, run_task
from tests.chaos.task_kills import Prepared, Rows, Run, Undisturbed, killed_and_run_again, killed_everywhere
from tests.inventory.factory import Inventory
from tests.people import ADA

pytestmark = pytest.mark.chaos
QUERIES = {
    "bad_replicas": "SELECT file_id, site_id, state, reason, created_by FROM bad_replicas",
    "subscriptions": "SELECT file_id, site_id, action, state, origin FROM subscriptions",
    "block_replicas": "SELECT block_id, site_id, group_id, is_complete, size_bytes FROM block_replicas",
    "block_replica_files": "SELECT * FROM block_replica_files",
    "events": "SELECT kind, object_name, facts::text FROM events",
    "invalidations": "SELECT kind, name, undone_at IS NULL AS is_barred, undone_by FROM invalidations",
    "audit": "SELECT DISTINCT action, object, outcome FROM audit",
}
"""Of the audit not how often: who calls the same bad twice has said it twice."""


class Damage(Run):
    """b1 at two sites, b2 at one; something else is invalid."""

    what = "who calls copies bad"
    tasks = TASKS

    def run(self, task: str) -> None:
        run_task(self.db, task)

    def staged(self) -> Rows:
        return []

    def tables(self) -> dict[str, Rows]:
        return {name: sorted(self.db.frame(query).rows(), key=repr) for name, query in QUERIES.items()}


@pytest.fixture(scope="module")
def new_damage(postgres: embedded.EmbeddedPostgres) -> Iterator[Prepared]:
    prepared = Prepared(postgres, "damage", lambda db: Damage(SimpleNamespace(endpoints={}), db))
    with prepared.prepare() as db:
        _fill(db)
    yield prepared
    prepared.drop()


def _fill(db: Database) -> None:
    inventory = Inventory(db)
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    for block in ("b1", "b2", "b3"):
        inventory.block(block, 3)
        inventory.replica(block, "T2_A")
    inventory.replica("b1", "T2_B")
    invalidate(db, {"blocks": ["/A/B-v1/AOD#b3"], "files": ["/store/b2/f2"]}, reason="wrong", by=ADA)


@pytest.fixture(scope="module")
def undisturbed(new_damage: Prepared) -> Undisturbed:
    with new_damage() as run:
        found = Undisturbed.of(run)
    assert all(found.during(task)[0] != found.during(task)[-1] for task in TASKS)
    return found


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"), "tests.chaos.damage_worker")
    yield made
    made.close()


CHOSEN = [
    ("bad", "before INSERT INTO subscriptions"),
    ("bad", "before UPDATE bad_replicas"),
    ("bad", "before COMMIT of INSERT INTO audit"),
    ("bad", "after COMMIT of INSERT INTO audit"),
    ("good", "before INSERT INTO bad_replicas"),
    ("undo", "before DROP TABLE taken_back"),
    ("undo", "after COMMIT of INSERT INTO audit"),
]


@pytest.mark.parametrize(("task", "point"), CHOSEN, ids=[": ".join(chosen) for chosen in CHOSEN])
def test_killed_there_it_is_done_whole_or_not_at_all(
    new_damage: Prepared, person: Worker, undisturbed: Undisturbed, task: str, point: str
) -> None:
    with new_damage() as run:
        assert killed_and_run_again(run, person, task, point, undisturbed) == []


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_killed_anywhere_it_is_done_whole_or_not_at_all(
    new_damage: Prepared, person: Worker, undisturbed: Undisturbed, task: str
) -> None:
    problems = killed_everywhere(new_damage, person, task, undisturbed)
    assert len(problems) > 10
    assert {point: wrong for point, wrong in problems.items() if wrong} == {}
