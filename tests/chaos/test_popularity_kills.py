"""A day of popularity killed with -9 while it is pulled, replaced or ranked, and made again: as if never disturbed.

The day was aggregated before, from an older answer; use of days before waits by name for what is known by now, so that
each statement has work to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from demo.dump import dump
from dynamo_ops.database import embedded
from dynamo_ops.popularity import aggregate
from dynamo_ops.popularity.attributes import produce_attributes, producers
from dynamo_ops.sources.tasks import merge
from simgrid.grid import Grid
from tests.chaos.conftest import Worker
from tests.chaos.popularity_worker import RUN, TASKS, run_task, settings_for
from tests.chaos.task_kills import Prepared, Rows, Run, Undisturbed, change, killed_and_run_again, killed_everywhere
from tests.inventory.told import accept
from tests.sources import pocket

pytestmark = pytest.mark.chaos

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


@dataclass
class Outside:
    """A grid. ``endpoints``: what a worker is told of it, with the day and the file of its jobs."""

    pocket: Grid
    endpoints: dict[str, Any]


class Day(Run):
    """A day that is older in the tables than what its sources tell."""

    what = "a day of popularity"
    tasks = TASKS

    def run(self, task: str, run: str = RUN) -> None:
        ends = self.grid.endpoints
        run_task(self.db, settings_for(ends), task, ends["day"], run)

    def staged(self) -> Rows:
        rows = [self.db.frame(f"SELECT * FROM staged_{kind}").drop("id").rows() for kind in ("accesses", "demand")]
        return sorted((row for kind in rows for row in kind if RUN in str(row)), key=repr)

    def tables(self) -> dict[str, str]:
        return dump(self.db)

    def steps(self) -> Iterator[str]:
        for task in self.tasks[:-1]:
            self.run(task)
            yield task
        aggregate.resolve_unknown(self.db)
        yield "rank"
        aggregate.prune_unknown(self.db, keep_days=60)
        yield "rank"
        for producer in producers():
            produce_attributes(self.db, [producer])
            yield "rank"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("use")
    with Grid(pocket.TINY, folder / "grid") as grid:
        day = sorted({access.day for access in grid.catalogue.accesses})[-2]  # the last complete one
        names = [*(dataset.name for dataset in grid.catalogue.datasets), "/No/R/X"]
        jobs = "".join(f"{name},{n}\n" for n, name in enumerate(names, 1))
        (folder / f"{day}.csv").write_text(f"dataset,num_jobs\n{jobs}")
        yield Outside(grid, {**grid.endpoints, "demand": str(folder / "{day}.csv"), "day": day})


@pytest.fixture(scope="module")
def popularity_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"), "tests.chaos.popularity_worker")
    yield made
    made.close()


@pytest.fixture(scope="module")
def new_day(outside: Outside, postgres: embedded.EmbeddedPostgres) -> Iterator[Prepared]:
    prepared = Prepared(postgres, "popularity", lambda db: Day(outside, db))
    with prepared.prepare() as db:
        pocket.pull_all(db, pocket.settings_for(outside.pocket), "first")
        accept(db, "first")
        accept(db, "first", "cric", "sites")
        merge(db, "first", ["dbs"], ["cric"], pocket.NOW)
        change(db, REPLICAS)
        for task in TASKS:
            Day(outside, db).run(task, "first")
        change(db, OLDER)
    yield prepared
    prepared.drop()


@pytest.fixture(scope="module")
def undisturbed(new_day: Prepared) -> Undisturbed:
    with new_day() as day:
        found = Undisturbed.of(day)
    with new_day() as day:
        for task in TASKS:
            day.run(task)
        last = day.tables()
    assert last == found.last, "the tasks do what their parts do"
    changed = {name for name in last if last[name] != found.first[name]}
    assert changed >= {"accesses_daily", "demand_daily", "aggregated_days", "unknown_use", "dataset_attributes"}
    return found


CHOSEN = [
    ("pull accesses", "COPY half sent"),
    ("replace_day accesses", "before INSERT INTO accesses_daily"),
    ("replace_day demand", "after COMMIT of INSERT INTO aggregated_days"),
    ("rank", "before COMMIT of INSERT INTO use_resolved"),
    ("rank", "COPY half sent (2)"),
]


@pytest.mark.parametrize(("task", "point"), CHOSEN, ids=[": ".join(each) for each in CHOSEN])
def test_chosen_point(
    new_day: Prepared, popularity_worker: Worker, undisturbed: Undisturbed, task: str, point: str
) -> None:
    with new_day() as day:
        assert killed_and_run_again(day, popularity_worker, task, point, undisturbed) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", [task for task in TASKS if task != "gate"])
def test_every_point(new_day: Prepared, popularity_worker: Worker, undisturbed: Undisturbed, task: str) -> None:
    found = killed_everywhere(new_day, popularity_worker, task, undisturbed)
    assert len(found) > 5
    assert {point: problems for point, problems in found.items() if problems} == {}
