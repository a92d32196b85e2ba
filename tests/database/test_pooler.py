"""Behind PgBouncer, on a PostgreSQL of Debian's: what Dynamo does there is what it does without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.database.locks import alone
from dynamo_ops.deletion import execute, queue
from dynamo_ops.inventory.replica import usage
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.posix import PosixStorage
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.transfer.direct import DirectSummary, execute_direct
from tests.database.pooler import debian_postgres, pgbouncer
from tests.detox.test_tasks import House
from tests.inventory.factory import SIZE, Inventory
from tests.people import inject
from tests.transfer.test_direct import Lab

pytestmark = pytest.mark.slow

NUM_AT_ONCE = 4
DOCUMENT: dict[str, Any] = {
    "sites": [{"name": "T2_A", "storage_type": "disk", "status": "ready"}],
    "datasets": [
        {
            "name": "/A/B-v1/C",
            "blocks": [{"name": "b1", "files": [{"lfn": f"/store/b1/f{n}", "size_bytes": n} for n in range(100)]}],
        }
    ],
    "dataset_replicas": [{"dataset": "/A/B-v1/C", "site": "T2_A"}],
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with debian_postgres() as running:
        yield running


@pytest.fixture(params=["transaction", "session"])
def pooled(request: pytest.FixtureRequest, server: EmbeddedPostgres) -> Iterator[Database]:
    """A database with the schema, made through the pooler. Of sessions each client keeps one, so there must be many."""
    name = f"pooled_{request.param}"
    server.create_database(name)
    with pgbouncer(server, request.param, pool_size=8 if request.param == "transaction" else 40) as url:
        database = Database(url.format(name))
        migrate.upgrade(database)
        yield database
        database.dispose()
    server.drop_database(name)


def at_once(pooled: Database, act: Callable[[Database, int], Any]) -> list[Any]:
    """What ``act`` gave to so many processes at once, each with connections of its own."""
    barrier = Barrier(NUM_AT_ONCE)

    def one(number: int) -> Any:
        own = Database(pooled.url)
        try:
            barrier.wait()
            return act(own, number)
        finally:
            own.dispose()

    with ThreadPoolExecutor(NUM_AT_ONCE) as threads:
        return list(threads.map(one, range(NUM_AT_ONCE)))


def test_one_task_at_a_time(pooled: Database) -> None:
    with alone(pooled, "transfer batch 7") as first:
        assert first is not None
        for _ in range(20):  # more than there are sessions: one of them is the one of the first
            with alone(pooled, "transfer batch 7") as second:
                assert second is None
        first.execute(text("SELECT 1"))
    with alone(pooled, "transfer batch 7") as again:
        assert again is not None


def test_reads_with_parameters_are_their_own(pooled: Database) -> None:
    def read(own: Database, number: int) -> list[tuple[Any, ...]]:
        sql = "SELECT $1::text AS name, $2::bigint AS number, txid_current_if_assigned()"
        return [own.frame(sql, (f"process {number}", turn)).row(0) for turn in range(50)]

    assert at_once(pooled, read) == [
        [(f"process {number}", turn, None) for turn in range(50)] for number in range(NUM_AT_ONCE)
    ]


def test_what_is_set_for_one_is_set_for_no_other(pooled: Database) -> None:
    reads = Database(pooled.url, ("SET TRANSACTION READ ONLY", "SET LOCAL statement_timeout = '7s'"))
    shown = "SELECT current_setting('transaction_read_only') AS is_read_only, current_setting('statement_timeout')"
    for _ in range(10):
        assert reads.frame(shown).row(0) == ("on", "7s")
        with reads.begin() as connection:
            assert connection.execute(text(shown)).one() == ("on", "7s")
        with pooled.begin() as connection:
            assert connection.execute(text(shown)).one() == ("off", "0")
        assert pooled.frame(shown).row(0) == ("on", "0")
    reads.dispose()


def test_the_same_document_from_several_is_in_the_inventory_once(pooled: Database) -> None:
    summaries = at_once(pooled, lambda own, _: inject(own, DOCUMENT))
    assert sorted(summary.files.new for summary in summaries) == [0, 0, 0, 100]
    assert usage.fold(pooled) > 0
    assert pooled.frame("SELECT count(*) FROM files").item() == 100


def test_a_cycle_of_detox_up_to_the_deletion_of_files(pooled: Database, tmp_path: Path) -> None:
    """Its gate works in temporary tables over many statements; its deletions are done by several at once."""
    house = House(pooled, tmp_path)
    for lfn in pooled.frame("SELECT lfn FROM files")["lfn"]:
        for site in ("T2_A", "T2_B"):
            path = tmp_path / site / lfn.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(SIZE))
    plan = house.plan()
    house.gate(plan)
    house.commit(plan)
    names = {number: name for name, number in house.site_ids.items()}

    def opened(site_id: int) -> PosixStorage:
        endpoint = Endpoint(names[site_id], "file", f"file://{tmp_path / names[site_id]}")
        return PosixStorage(endpoint, StorageOptions(threads=2))

    batches = queue.plan_deletions(pooled)
    done = at_once(pooled, lambda own, _: [execute.execute_batch(own, batch, opened) for batch in batches])
    num_deleted = sum(summary.num_deleted for summaries in done for summary in summaries)
    assert num_deleted == pooled.frame("SELECT count(*) FROM deletions").item() > 0
    assert set(house.subscriptions().values()) == {"done"}


def test_copies_of_one_batch_are_made_by_one(pooled: Database, tmp_path: Path) -> None:
    lab = Lab(Inventory(pooled), tmp_path, num_files=12)
    done = at_once(pooled, lambda own, _: execute_direct(own, lab.batch, lab.open))
    assert {summary.outcome for summary in done} <= {"finished", "busy", "ended"}
    assert sum(summary.num_done for summary in done) == 12
    assert lab.destination.num_finished == 12
    assert lab.arrived() == lab.contents
    assert isinstance(done[0], DirectSummary)


def test_a_pooler_of_statements_is_refused(server: EmbeddedPostgres) -> None:
    server.create_database("pooled_statement")
    with pgbouncer(server, "statement") as url:
        database = Database(url.format("pooled_statement"))
        with pytest.raises(RetryableRemoteError, match="transaction blocks not allowed in statement pooling mode"):
            database.frame("SELECT 1")
        with pytest.raises(RetryableRemoteError):
            migrate.upgrade(database)
        database.dispose()
    assert Database(server.url("pooled_statement")).frame("SELECT to_regclass('sites') IS NULL").item()
