"""A day of popularity killed with -9 while it is pulled, replaced or ranked, and made again: as if never disturbed.

The day was aggregated before, from an older answer; use of days before waits by name for what is known by now, so that
each statement has work to do.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from demo.dump import dump
from dynamo_ops.inventory import embedded
from dynamo_ops.inventory.database import Database
from dynamo_ops.popularity import aggregate
from dynamo_ops.popularity.attributes import produce_attributes, producers
from dynamo_ops.sources.steps import merge
from simgrid.grid import Grid
from tests.chaos.conftest import TABLES, Worker
from tests.chaos.popularity_worker import RUN, TASKS, run_task, settings_for
from tests.conftest import TEMPLATE
from tests.inventory.told import accept
from tests.sources import pocket

pytestmark = pytest.mark.chaos

PREPARED = "popularity_prepared"
REPLICAS = (
    "INSERT INTO dataset_replicas (dataset_id, site_id) SELECT d.id, s.id FROM datasets d, sites s",
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, is_complete, size_bytes, last_update_at)
       SELECT b.id, s.id, b.dataset_id, true, b.size_bytes, b.last_update_at FROM blocks b, sites s""",
)
OLDER = (
    "UPDATE accesses_daily SET num_accesses = num_accesses + 1",
    "UPDATE demand_daily SET num_jobs = num_jobs + 1",
    "UPDATE aggregated_days SET num_told = 1, most_told = 1",
    # known by now, counted at the next ranking; one for nobody's, too old to wait any longer
    """INSERT INTO unknown_use (day, source, kind, lfn, site, number)
       SELECT CURRENT_DATE - 5, 'monit', 'accesses', min(lfn), 'T2_BB', 7 FROM files""",
    """INSERT INTO unknown_use (day, source, kind, dataset, site, number)
       SELECT CURRENT_DATE - 5, 'drop', 'accesses', min(name), 'T2_BB', 7 FROM datasets""",
    """INSERT INTO unknown_use (day, source, kind, dataset, number)
       SELECT CURRENT_DATE - 5, 'queue', 'demand', min(name), 7 FROM datasets""",
    """INSERT INTO unknown_use (day, source, kind, dataset, number)
       VALUES (CURRENT_DATE - 5000, 'queue', 'demand', '/Not/Known-v1/HERE', 7)""",
    "UPDATE use_resolved SET file_id = 0, site_id = 0",
)
_counter = itertools.count()


def change(db: Database, statements: Iterable[str]) -> None:
    with db.begin() as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount, statement


@dataclass
class Outside:
    """A grid. ``endpoints``: what a worker is told of it, with the day and the file of its jobs."""

    pocket: Grid
    endpoints: dict[str, Any]


@dataclass
class Use:
    """A database whose days are older than what their sources tell."""

    grid: Outside
    db: Database

    def staged(self) -> list[tuple[object, ...]]:
        rows = [self.db.frame(f"SELECT * FROM staged_{kind}").drop("id").rows() for kind in ("accesses", "demand")]
        return sorted((row for kind in rows for row in kind if RUN in str(row)), key=repr)

    def run(self, task: str, run: str = RUN) -> None:
        ends = self.grid.endpoints
        run_task(self.db, settings_for(ends), task, ends["day"], run)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("use")
    with Grid(pocket.TINY, folder / "grid") as grid:
        day = sorted({access.day for access in grid.catalogue.accesses})[-2]  # the last complete one
        jobs = folder / f"{day}.csv"
        names = [dataset.name for dataset in grid.catalogue.datasets]
        jobs.write_text(
            "dataset,num_jobs\n" + "".join(f"{name},{n}\n" for n, name in enumerate([*names, "/No/R/X"], 1))
        )
        yield Outside(grid, {**grid.endpoints, "demand": str(folder / "{day}.csv"), "day": day})


@pytest.fixture(scope="module")
def popularity_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"), "tests.chaos.popularity_worker")
    yield made
    made.close()


@pytest.fixture(scope="module")
def new_use(
    outside: Outside, postgres: embedded.EmbeddedPostgres
) -> Iterator[Callable[[], AbstractContextManager[Use]]]:
    """A context manager that gives a database; they are all the same."""
    postgres.create_database(PREPARED, template=TEMPLATE)
    first = Use(outside, Database(postgres.url(PREPARED)))
    pocket.pull_all(first.db, pocket.settings_for(outside.pocket), "first")
    accept(first.db, "first")
    accept(first.db, "first", "cric", "sites")
    merge(first.db, "first", ["dbs"], ["cric"], pocket.NOW)
    change(first.db, REPLICAS)
    for task in TASKS:
        first.run(task, "first")
    change(first.db, OLDER)
    first.db.dispose()

    @contextmanager
    def make() -> Iterator[Use]:
        name = f"use_{next(_counter)}"
        postgres.create_database(name, template=PREPARED)
        made = Use(outside, Database(postgres.url(name)))
        try:
            yield made
        finally:
            made.db.dispose()
            postgres.drop_database(name)

    yield make
    postgres.drop_database(PREPARED)


@dataclass
class Undisturbed:
    """What a run leaves that nobody kills. ``states``: the tables after each of its transactions."""

    staged: list[tuple[object, ...]]
    states: list[dict[str, str]]


@pytest.fixture(scope="module")
def undisturbed(new_use: Callable[[], AbstractContextManager[Use]]) -> Undisturbed:
    with new_use() as use:
        states = [dump(use.db)]
        for task in TASKS[:-1]:
            use.run(task)
            states.append(dump(use.db))
        aggregate.resolve_unknown(use.db)
        states.append(dump(use.db))
        aggregate.prune_unknown(use.db, keep_days=60)
        states.append(dump(use.db))
        for producer in producers():
            produce_attributes(use.db, [producer])
            states.append(dump(use.db))
        found = Undisturbed(use.staged(), states)
    with new_use() as use:
        for task in TASKS:
            use.run(task)
        assert dump(use.db) == states[-1], "the tasks do what their parts do"
    made = ("accesses_daily", "demand_daily", "aggregated_days", "unknown_use", "dataset_attributes")
    assert all(states[-1][name] != states[0][name] for name in made)
    return found


def killed_and_run_again(use: Use, worker: Worker, task: str, point: str, undisturbed: Undisturbed) -> list[str]:
    """What is wrong right after the kill, and after the task and those behind it have run."""
    place = TASKS.index(task)
    for earlier in TASKS[:place]:
        use.run(earlier)
    outcome = worker.run(use, task, kill_at=point)
    assert outcome.signal == signal.SIGKILL, f"{task}: {point!r} was not reached: {outcome.text[-2000:]}"
    problems = []
    if dump(use.db) not in undisturbed.states:
        problems.append("half of a transaction")
    assert worker.run(use, task).points
    for later in TASKS[place + 1 :]:
        use.run(later)
    if use.staged() != undisturbed.staged:
        problems.append("other rows staged")
    if dump(use.db) != undisturbed.states[-1]:
        problems.append("other tables")
    title = "a day of popularity killed with -9, and made again"
    TABLES.setdefault(title, [("task", "point", "after the second run")]).append(
        (task, point, "; ".join(problems) or "as if undisturbed")
    )
    return problems


CHOSEN = [
    ("pull accesses", "COPY half sent"),
    ("replace_day accesses", "before INSERT INTO accesses_daily"),
    ("replace_day demand", "after COMMIT of INSERT INTO aggregated_days"),
    ("rank", "before COMMIT of INSERT INTO use_resolved"),
    ("rank", "COPY half sent (2)"),
]


@pytest.mark.parametrize(("task", "point"), CHOSEN, ids=[": ".join(each) for each in CHOSEN])
def test_chosen_point(
    new_use: Callable[[], AbstractContextManager[Use]],
    popularity_worker: Worker,
    undisturbed: Undisturbed,
    task: str,
    point: str,
) -> None:
    with new_use() as use:
        assert killed_and_run_again(use, popularity_worker, task, point, undisturbed) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", [task for task in TASKS if task != "gate"])
def test_every_point(
    new_use: Callable[[], AbstractContextManager[Use]], popularity_worker: Worker, undisturbed: Undisturbed, task: str
) -> None:
    with new_use() as use:
        for earlier in TASKS[: TASKS.index(task)]:
            use.run(earlier)
        points = popularity_worker.run(use, task).points
    found = {}
    for point in [point for point in points if "SET LOCAL" not in point]:
        with new_use() as use:
            found[point] = killed_and_run_again(use, popularity_worker, task, point, undisturbed)
    assert len(found) > 5
    assert {point: problems for point, problems in found.items() if problems} == {}
