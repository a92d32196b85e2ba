"""The commit of a plan, or the repair of a site, is killed with -9 anywhere: after the next run all is as if not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import event

from dynamo_ops.database import embedded
from dynamo_ops.database.connection import Database
from tests.chaos.conftest import Worker
from tests.chaos.decision_worker import TASKS, run_task
from tests.chaos.task_kills import Prepared, Rows, Run, Undisturbed, killed_and_run_again, killed_everywhere
from tests.dealer.test_commit import Stock as DealerStock
from tests.detox.test_commit import Stock

pytestmark = pytest.mark.chaos
QUERIES = {
    "subscriptions": "SELECT file_id, site_id, action, state, origin, is_last_allowed, plan_id FROM subscriptions",
    "block_replicas": "SELECT block_id, site_id, group_id, is_complete, size_bytes FROM block_replicas",
    "block_replica_files": "SELECT * FROM block_replica_files",
    "dataset_replicas": "SELECT dataset_id, site_id, group_id, is_growing FROM dataset_replicas",
    "plans": "SELECT id, state FROM plans",
    "checks": "SELECT id, state FROM consistency_checks",
    "findings": "SELECT kind, state, lfn FROM consistency_findings",
    "events": "SELECT kind, object_name FROM events",
}
WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)
ORPHANS = [f"/store/lost/o{number}" for number in range(3)]


class Decisions(Run):
    """A plan of Detox takes b1 from T2_B, one of the Dealer brings b2 to T2_C; T2_A has orphans and lacks a file."""

    what = "a commit or a repair"
    tasks = TASKS

    @property
    def folder(self) -> Path:
        return Path(self.grid.endpoints["T2_A"])

    def run(self, task: str) -> None:
        run_task(self.db, task, self.folder)

    def staged(self) -> Rows:
        return []

    def tables(self) -> dict[str, Rows]:
        tables: dict[str, Rows] = {
            name: sorted(self.db.frame(query).rows(), key=repr) for name, query in QUERIES.items()
        }
        return tables


@pytest.fixture(scope="module")
def new_decisions(postgres: embedded.EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    plans = tmp_path_factory.mktemp("plans")

    def made(db: Database) -> Decisions:
        folder = tmp_path_factory.mktemp("T2_A")
        for lfn in ORPHANS:
            path = folder / lfn.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            os.utime(path, (WRITTEN_AT.timestamp(), WRITTEN_AT.timestamp()))
        return Decisions(SimpleNamespace(endpoints={"T2_A": str(folder)}), db)

    prepared = Prepared(postgres, "decisions", made)
    with prepared.prepare() as db:
        _fill(db, plans)
    yield prepared
    prepared.drop()


def _fill(db: Database, plans: Path) -> None:
    stock = Stock(db, plans)
    stock.plan(("b1", "T2_B"))
    DealerStock.plan(stock, ("b2", "T2_C"))  # type: ignore[arg-type]
    check_id = stock.scalar(
        """INSERT INTO consistency_checks (run_key, site_id, state, inventory_read_at, storage_listed_at)
           VALUES ('run', :site, 'compared', now(), now()) RETURNING id""",
        site=stock.site_ids["T2_A"],
    )
    missing = stock.files_of["b2"][0]
    for kind, lfn, file_id in [
        *(("orphan", lfn, None) for lfn in ORPHANS),
        ("missing", missing, stock.file_ids[missing]),
    ]:
        stock.rows(
            """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, modified_at, file_id)
               VALUES (:check, :kind, 'found', :lfn, 1, :at, :file)""",
            at=WRITTEN_AT,
            check=check_id,
            kind=kind,
            lfn=lfn,
            file=file_id,
        )


def after_each_transaction(run: Run, task: str) -> list[object]:
    """The tables as others see them whenever the task begins a transaction, and in the end."""
    states: list[object] = []
    other = Database(run.db.url)

    def look(_: object) -> None:
        tables = type(run)(run.grid, other).tables()
        if tables not in states:
            states.append(tables)

    event.listen(run.db.engine, "begin", look)
    run.run(task)
    event.remove(run.db.engine, "begin", look)
    other.dispose()
    return [*states, run.tables()]


@pytest.fixture(scope="module")
def undisturbed(new_decisions: Prepared) -> Undisturbed:
    with new_decisions() as run:
        found = Undisturbed(run.staged(), [("", run.tables())])
        for task in TASKS:
            found.states += [(task, tables) for tables in after_each_transaction(run, task)]
        assert not [lfn for lfn in ORPHANS if (Path(run.grid.endpoints["T2_A"]) / lfn.removeprefix("/")).exists()]
    assert all(found.during(task)[0] != found.during(task)[-1] for task in TASKS)
    return found


@pytest.fixture(scope="module")
def decider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"), "tests.chaos.decision_worker")
    yield made
    made.close()


CHOSEN = [
    ("repair", "before COMMIT of INSERT INTO events"),
    ("repair", "after COMMIT of UPDATE consistency_findings"),
    ("commit deletions", "before COPY planned_sites"),
    ("commit deletions", "after COMMIT of INSERT INTO events"),
    ("commit copies", "before COPY made"),
    ("commit copies", "after COMMIT of INSERT INTO events"),
]


@pytest.mark.parametrize(("task", "point"), CHOSEN, ids=[": ".join(chosen) for chosen in CHOSEN])
def test_killed_there_it_is_done_once(
    new_decisions: Prepared, decider: Worker, undisturbed: Undisturbed, task: str, point: str
) -> None:
    with new_decisions() as run:
        assert killed_and_run_again(run, decider, task, point, undisturbed) == []


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_killed_anywhere_it_is_done_once(
    new_decisions: Prepared, decider: Worker, undisturbed: Undisturbed, task: str
) -> None:
    problems = killed_everywhere(new_decisions, decider, task, undisturbed)
    assert len(problems) > 10
    assert {point: wrong for point, wrong in problems.items() if wrong} == {}
