"""A metadata synchronisation killed with -9 while it pulls, copies or merges, and run again: as if never disturbed.

The inventory lags behind the source in every way that a merge can mend, so that each statement of it has work to do.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import psycopg2
import pytest

from dynamo_ops.base.errors import InventoryError, RetryableRemoteError
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.sources import tasks as steps
from simgrid.grid import Grid
from simgrid.scenario import parse_scenario
from tests.chaos.conftest import Worker
from tests.chaos.sync_worker import FIRST, RUN, TASKS, run_task, settings_for
from tests.chaos.task_kills import Prepared, Rows, Run, Undisturbed, change, killed_and_run_again, killed_everywhere
from tests.inventory.catalogue.test_vanished import NAMED
from tests.inventory.told import accept
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.chaos
Answer = TypeVar("Answer")

SCENARIO = {
    "name": "sync",
    "sites": [{"name": "T2_A"}],
    "generators": [
        {"name": "/Sim{n:02d}/R-v1/AOD", "count": 3, "blocks": 2, "files_per_block": 3, "file_size_bytes": [5, 9]},
        {"name": "/Open{n:02d}/R-v1/AOD", "count": 1, "blocks": 2, "files_per_block": 3, "file_size_bytes": [5, 9],
         "status": "PRODUCTION", "open": True},
    ],
}  # fmt: skip
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


class Sync(Run):
    """An inventory that lags behind the grid's DBS."""

    what = "a synchronisation"
    tasks = TASKS

    def run(self, task: str) -> None:
        run_task(self.db, settings_for(self.grid.endpoints), task)

    def staged(self) -> Rows:
        rows = [
            self.db.frame(f"SELECT * FROM {table} WHERE run_key = $1", (RUN,)).drop("id").rows() for table in STAGED
        ]
        return sorted((row for table in rows for row in table), key=repr)

    def tables(self) -> dict[str, Rows]:
        return {name: sorted(self.db.frame(query).rows(), key=repr) for name, query in QUERIES.items()}


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
def new_sync(dbs: Grid, postgres: embedded.EmbeddedPostgres) -> Iterator[Prepared]:
    prepared = Prepared(postgres, "sync", lambda db: Sync(dbs, db))
    settings = settings_for(dbs.endpoints)
    with prepared.prepare() as db:
        for page in steps.pull_datasets(db, settings, "first", "dbs", FIRST, FIRST, full=True, page_size=2):
            steps.pull_details(db, settings, "first", "dbs", page)
        accept(db, "first")
        steps.merge(db, "first", ["dbs"], [], FIRST)
        change(db, LAGGING)
    yield prepared
    prepared.drop()


@pytest.fixture(scope="module")
def undisturbed(new_sync: Prepared) -> Undisturbed:
    with new_sync() as sync:
        found = Undisturbed.of(sync)
    assert {name for name in QUERIES if found.last[name] != found.first[name]} == set(QUERIES)
    return found


CHOSEN = [
    ("pull_datasets", "COPY half sent"),
    ("pull_details 0", "after GET /dbs/prod/global/DBSReader/files, answer not used (2)"),
    ("pull_details 0", "COPY half sent (3)"),
    ("merge", "before INSERT INTO files (2)"),
    ("merge", "before UPDATE datasets"),
    ("merge", "after COMMIT of UPDATE vanished"),
]


@pytest.mark.parametrize(("task", "point"), CHOSEN, ids=[": ".join(each) for each in CHOSEN])
def test_chosen_point(new_sync: Prepared, sync_worker: Worker, undisturbed: Undisturbed, task: str, point: str) -> None:
    with new_sync() as sync:
        assert killed_and_run_again(sync, sync_worker, task, point, undisturbed) == []


@pytest.fixture
def own_server() -> Iterator[embedded.EmbeddedPostgres]:
    """A PostgreSQL that may be killed and loses no commit then.

    It is not below pytest's own folder: see ``folder`` of the embedded server's tests.
    """
    with tempfile.TemporaryDirectory(prefix="dynamo-test-") as folder:
        yield embedded.start(Path(folder), create=True)
        embedded.stop(Path(folder))


def test_a_server_that_dies_in_a_merge_loses_what_was_staged_and_nothing_else(
    dbs: Grid, own_server: embedded.EmbeddedPostgres
) -> None:
    """Staging is unlogged: PostgreSQL empties it when it recovers. The merge says so, and the pull brings it again."""
    runs = []
    for name in ("calm", "killed"):
        own_server.create_database(name)
        runs.append(Sync(dbs, Database(own_server.url(name))))
        migrate.upgrade(runs[-1].db)
        for task in TASKS[:-1]:
            runs[-1].run(task)
    calm, killed = runs
    calm.run("merge")
    before = killed.tables()
    with closing(psycopg2.connect(own_server.url("killed"))) as blocker, ThreadPoolExecutor() as threads:
        blocker.cursor().execute("LOCK TABLE files IN SHARE MODE")
        merge = threads.submit(killed.run, "merge")
        waiting = "SELECT pid, query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INTO files%'"
        os.kill(until(lambda: calm.db.frame(waiting)["pid"].item()), signal.SIGKILL)
        with pytest.raises(RetryableRemoteError):
            merge.result()
    with pytest.raises(InventoryError, match="run 'next' staged no metadata of source 'dbs'; pull them again"):
        until(lambda: killed.run("merge"))  # the server still ends, or recovers
    assert killed.tables() == before
    for task in TASKS:
        killed.run(task)
    assert killed.tables() == calm.tables() != before
    for run in runs:
        run.db.dispose()


def until(ask: Callable[[], Answer], timeout_s: float = PATIENCE_S) -> Answer:
    """The first answer that is not an error."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except (RetryableRemoteError, ValueError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", ["pull_datasets", "pull_details 0", "merge"])
def test_every_point(new_sync: Prepared, sync_worker: Worker, undisturbed: Undisturbed, task: str) -> None:
    found = killed_everywhere(new_sync, sync_worker, task, undisturbed)
    assert len(found) > 10
    assert {point: problems for point, problems in found.items() if problems} == {}
