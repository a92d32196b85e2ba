"""A metadata synchronisation killed with -9 while it pulls, copies or merges, and run again: as if never disturbed.

The inventory lags behind the source in every way that a merge can mend, so that each statement of it has work to do.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from dynamo_ops.inventory import embedded
from dynamo_ops.inventory.database import Database
from dynamo_ops.sources import steps
from simgrid.grid import Grid
from simgrid.scenario import parse_scenario
from tests.chaos.conftest import TABLES, Outcome, Worker
from tests.chaos.sync_worker import FIRST, RUN, run_task, settings_for
from tests.conftest import TEMPLATE
from tests.inventory.test_vanished import NAMED
from tests.inventory.told import accept

pytestmark = pytest.mark.chaos

SCENARIO = {
    "name": "sync",
    "sites": [{"name": "T2_A"}],
    "generators": [
        {"name": "/Sim{n:02d}/R-v1/AOD", "count": 3, "blocks": 2, "files_per_block": 3, "file_size_bytes": [5, 9]},
        {"name": "/Open{n:02d}/R-v1/AOD", "count": 1, "blocks": 2, "files_per_block": 3, "file_size_bytes": [5, 9],
         "status": "PRODUCTION", "open": True},
    ],
}  # fmt: skip
PREPARED = "sync_prepared"
LAGGING = (
    """INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')""",
    """INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset')""",
    # a dataset, a block and a file not known yet; replicas that grow, and that become incomplete
    """DELETE FROM dataset_sources USING datasets d WHERE d.id = dataset_id AND d.name LIKE '/Sim02/%'""",
    """DELETE FROM files USING blocks b, datasets d
       WHERE b.id = block_id AND d.id = b.dataset_id AND d.name LIKE '/Sim02/%'""",
    """DELETE FROM blocks USING datasets d WHERE d.id = dataset_id AND d.name LIKE '/Sim02/%'""",
    """DELETE FROM datasets WHERE name LIKE '/Sim02/%'""",
    """DELETE FROM files WHERE block_id = (SELECT max(b.id) FROM blocks b JOIN datasets d ON d.id = b.dataset_id
                                           WHERE d.name LIKE '/Sim03/%')""",
    """DELETE FROM blocks WHERE id = (SELECT max(b.id) FROM blocks b JOIN datasets d ON d.id = b.dataset_id
                                      WHERE d.name LIKE '/Sim03/%')""",
    """DELETE FROM files WHERE id IN (SELECT max(f.id) FROM files f JOIN blocks b ON b.id = f.block_id
                                      JOIN datasets d ON d.id = b.dataset_id WHERE d.name LIKE '/Open%')""",
    """INSERT INTO dataset_replicas (dataset_id, site_id, is_growing, group_id)
       SELECT d.id, s.id, true, g.id FROM datasets d, sites s, groups g""",
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
       SELECT b.id, s.id, b.dataset_id, g.id, true, b.size_bytes, now() FROM blocks b, sites s, groups g""",
    # changes of state, a checksum to fill in
    """UPDATE datasets SET status = 'production', last_update_at = last_update_at - interval '1 day'
       WHERE name LIKE '/Sim01/%'""",
    """UPDATE blocks SET is_open = true, last_update_at = last_update_at - interval '1 day'
       WHERE id = (SELECT min(id) FROM blocks)""",
    """UPDATE files SET adler32 = NULL WHERE id = (SELECT min(id) FROM files)""",
    # what the source does not tell any more, and what it tells again
    """INSERT INTO datasets (name, status, is_open, last_update_at) VALUES ('/Gone/R-v1/AOD', 'valid', false, now())""",
    """INSERT INTO dataset_sources (dataset_id, source, is_open, known_until)
       SELECT max(id), 'dbs', false, timestamptz '2100-01-01' FROM datasets""",
    """INSERT INTO blocks (dataset_id, name, is_open, last_update_at)
       SELECT id, 'gone', false, now() FROM datasets WHERE name LIKE '/Sim01/%'""",
    """INSERT INTO files (block_id, lfn, size_bytes) SELECT min(id), '/store/gone', 0 FROM blocks""",
    """INSERT INTO vanished (source, kind, name, size_bytes) SELECT 'dbs', 'file', lfn, size_bytes FROM files
       ORDER BY id LIMIT 1""",
    """INSERT INTO invalidations (kind, name, size_bytes, num_files, reason, created_by)
       SELECT 'file', replace(lfn, '/store', '/never'), 0, 1, 'test', 'ada' FROM files ORDER BY id LIMIT 1""",
)
QUERIES = {
    **NAMED,
    "block_replicas": "SELECT d.name AS dataset, b.name, r.is_complete, r.size_bytes, r.group_id"
    " FROM block_replicas r JOIN blocks b ON b.id = r.block_id JOIN datasets d ON d.id = b.dataset_id",
    "block_replica_files": "SELECT f.lfn FROM block_replica_files r JOIN files f ON f.id = r.file_id",
}
STAGED = ("staged_datasets", "staged_blocks", "staged_files")
_counter = itertools.count()


@dataclass
class Sync:
    """A database whose inventory lags behind the grid's DBS."""

    grid: Grid
    db: Database

    def inventory(self) -> dict[str, list[tuple[object, ...]]]:
        return {name: sorted(self.db.frame(query).rows(), key=repr) for name, query in QUERIES.items()}

    def staged(self) -> dict[str, list[tuple[object, ...]]]:
        return {table: self._staged(table) for table in STAGED}

    def _staged(self, table: str) -> list[tuple[object, ...]]:
        rows = self.db.frame(f"SELECT * FROM {table} WHERE run_key = $1", (RUN,)).drop("id")
        return sorted(rows.rows(), key=repr)

    def run(self, task: str) -> None:
        run_task(self.db, settings_for(self.grid.endpoints), task, PAGES)


PAGES = [0, 1]
TASKS = ("pull_datasets", "pull_details", "gate", "merge")
"""The gate lets in what is staged: what it judges is another test's matter."""


@pytest.fixture(scope="module")
def dbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(parse_scenario(SCENARIO), tmp_path_factory.mktemp("dbs") / "grid") as grid:
        yield grid


@pytest.fixture(scope="module")
def sync_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"), "tests.chaos.sync_worker")
    yield made
    made.close()


@pytest.fixture(scope="module")
def new_sync(dbs: Grid, postgres: embedded.EmbeddedPostgres) -> Iterator[Callable[[], AbstractContextManager[Sync]]]:
    """A context manager that gives a lagging inventory; they are all the same."""
    postgres.create_database(PREPARED, template=TEMPLATE)
    db = Database(postgres.url(PREPARED))
    settings = settings_for(dbs.endpoints)
    for page in steps.pull_datasets(db, settings, "first", "dbs", FIRST, FIRST, full=True, page_size=2):
        steps.pull_details(db, settings, "first", "dbs", page)
    accept(db, "first")
    steps.merge(db, "first", ["dbs"], [], FIRST)
    with db.begin() as connection:
        for statement in LAGGING:
            assert connection.execute(text(statement)).rowcount, statement
    db.dispose()

    @contextmanager
    def make() -> Iterator[Sync]:
        name = f"sync_{next(_counter)}"
        postgres.create_database(name, template=PREPARED)
        made = Sync(dbs, Database(postgres.url(name)))
        try:
            yield made
        finally:
            made.db.dispose()
            postgres.drop_database(name)

    yield make
    postgres.drop_database(PREPARED)


@dataclass
class Undisturbed:
    """What a run leaves that nobody kills. ``states``: the inventory before and after its merge."""

    staged: dict[str, list[tuple[object, ...]]]
    states: list[dict[str, list[tuple[object, ...]]]]


@pytest.fixture(scope="module")
def undisturbed(new_sync: Callable[[], AbstractContextManager[Sync]]) -> Undisturbed:
    with new_sync() as sync:
        before = sync.inventory()
        for task in TASKS:
            sync.run(task)
        found = Undisturbed(sync.staged(), [before, sync.inventory()])
    assert found.states[0] != found.states[1]
    assert all(found.states[1][name] != before[name] for name in QUERIES if name != "groups")
    return found


def killed_and_run_again(sync: Sync, worker: Worker, task: str, point: str, undisturbed: Undisturbed) -> list[str]:
    """What is wrong right after the kill, and after the task and those behind it have run."""
    for earlier in TASKS[: TASKS.index(task)]:
        sync.run(earlier)
    outcome: Outcome = worker.run(sync, task, PAGES[:1], kill_at=point)
    assert outcome.signal == signal.SIGKILL, f"{task}: {point!r} was not reached: {outcome.text[-2000:]}"
    problems = []
    states = undisturbed.states if task == "merge" else undisturbed.states[:1]
    if sync.inventory() not in states:
        problems.append("half of it in the inventory")
    assert worker.run(sync, task, PAGES[:1]).points
    for later in TASKS[TASKS.index(task) + (task != "pull_details") :]:  # its other pages are to come
        sync.run(later)
    if sync.staged() != undisturbed.staged:
        problems.append("other rows staged")
    if sync.inventory() != undisturbed.states[-1]:
        problems.append("another inventory")
    title = "synchronisation killed with -9, and run again"
    TABLES.setdefault(title, [("task", "point", "after the second run")]).append(
        (task, point, "; ".join(problems) or "as if undisturbed")
    )
    return problems


CHOSEN = [
    ("pull_datasets", "COPY half sent"),
    ("pull_details", "after GET /dbs/prod/global/DBSReader/files, answer not used (2)"),
    ("pull_details", "COPY half sent (3)"),
    ("merge", "before INSERT INTO files (2)"),
    ("merge", "before UPDATE datasets"),
    ("merge", "after COMMIT of UPDATE vanished"),
]


@pytest.mark.parametrize(("task", "point"), CHOSEN, ids=[": ".join(each) for each in CHOSEN])
def test_chosen_point(
    new_sync: Callable[[], AbstractContextManager[Sync]],
    sync_worker: Worker,
    undisturbed: Undisturbed,
    task: str,
    point: str,
) -> None:
    with new_sync() as sync:
        assert killed_and_run_again(sync, sync_worker, task, point, undisturbed) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", ["pull_datasets", "pull_details", "merge"])
def test_every_point(
    new_sync: Callable[[], AbstractContextManager[Sync]], sync_worker: Worker, undisturbed: Undisturbed, task: str
) -> None:
    with new_sync() as sync:
        for earlier in TASKS[: TASKS.index(task)]:
            sync.run(earlier)
        points = sync_worker.run(sync, task, PAGES[:1]).points
    found = {}
    for point in [point for point in points if "SET LOCAL" not in point]:
        with new_sync() as sync:
            found[point] = killed_and_run_again(sync, sync_worker, task, point, undisturbed)
    assert len(found) > 10
    assert {point: problems for point, problems in found.items() if problems} == {}
