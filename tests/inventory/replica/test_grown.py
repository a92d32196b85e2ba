"""Blocks gain files while transfers and deletions change their replicas: what is written must be what is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl
import pytest
from sqlalchemy import Connection, event, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica import files as replicas
from tests.inventory.factory import fill_changed
from tests.inventory.told import LATER, UNTIL, block, dataset, file, merge, site, sync_sites
from tests.people import inject

BLOCK = "/A/B-v1/C#b1"
WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"""
REPLICAS = """
    SELECT s.name AS site, r.is_complete, r.size_bytes,
           (SELECT string_agg(f.lfn, ' ' ORDER BY f.lfn) FROM block_replica_files AS p
            JOIN files AS f ON f.id = p.file_id WHERE p.block_id = r.block_id AND p.site_id = r.site_id) AS files
    FROM block_replicas AS r JOIN sites AS s ON s.id = r.site_id ORDER BY 1"""


def placed(db: Database, *lfns: str) -> None:
    """A block of /a/1 and /a/2, at T2_X with these."""
    sync_sites(db, site("T2_X"), site("T2_Y"))
    merge(db, [dataset()], [block(is_open=True)], [file("/a/1"), file("/a/2")])
    copy = {"dataset": "/A/B-v1/C", "site": "T2_X", "blocks": [{"name": BLOCK, "files": list(lfns)}]}
    inject(db, {"dataset_replicas": [copy]})


def told_by_a_source(db: Database) -> None:
    told = [file("/a/1"), file("/a/2"), file("/a/3")]
    merge(
        db,
        [dataset(last_update_at=UNTIL)],
        [block(is_open=True, last_update_at=UNTIL)],
        told,
        run_key="next",
        until=LATER,
    )


def injected(db: Database) -> None:
    files = [{"lfn": "/a/3", "size_bytes": 10}]
    inject(db, {"datasets": [{"name": "/A/B-v1/C", "blocks": [{"name": "b1", "files": files}]}]})


GROWTH = pytest.mark.parametrize("grow", [told_by_a_source, injected])


def change(db: Database, connection: Connection, what: Callable[[Connection], object], at: str, *lfns: str) -> None:
    """Files came to a site, or went."""
    rows = db.frame("SELECT f.id, f.lfn, s.id AS site_id FROM files AS f, sites AS s WHERE s.name = $1", (at,))
    changed = rows.filter(pl.col("lfn").is_in(lfns)).rename({"id": "file_id"})
    fill_changed(connection, changed)
    what(connection)


def until_done_or_waiting(db: Database, task: Future[None]) -> None:
    while not task.done() and not db.frame(WAITING).item():
        time.sleep(0.01)


KEEP_OLD_FILES = "INSERT INTO block_replica_files"
MAKE_INCOMPLETE = "UPDATE block_replicas AS replica SET is_complete"


@GROWTH
def test_a_file_that_is_deleted_meanwhile_does_not_come_back(
    database: Database, grow: Callable[[Database], None]
) -> None:
    placed(database, "/a/1", "/a/2")
    with ThreadPoolExecutor() as pool:
        with database.begin() as connection:
            change(database, connection, replicas.leave, "T2_X", "/a/1")
            growth = pool.submit(grow, database)
            until_done_or_waiting(database, growth)
        growth.result()
    assert database.frame(REPLICAS).rows() == [("T2_X", False, 10, "/a/2")]


@GROWTH
@pytest.mark.parametrize("moment", [KEEP_OLD_FILES, MAKE_INCOMPLETE, "UPDATE blocks AS b SET size_bytes"])
@pytest.mark.parametrize("at", ["T2_X", "T2_Y"], ids=["known replica", "new replica"])
def test_what_is_copied_meanwhile_is_counted_with_the_new_files(
    database: Database, grow: Callable[[Database], None], moment: str, at: str
) -> None:
    placed(database, "/a/1")
    tasks: list[Future[None]] = []

    def arrive() -> None:
        with database.begin() as connection:
            change(database, connection, replicas.arrive, at, *(["/a/2"] if at == "T2_X" else ["/a/1", "/a/2"]))

    with ThreadPoolExecutor() as pool:

        def meanwhile(*given: object) -> None:
            if not tasks and str(given[2]).strip().startswith(moment.strip()):
                tasks.append(pool.submit(arrive))
                until_done_or_waiting(database, tasks[0])

        event.listen(database.engine, "before_cursor_execute", meanwhile)
        grow(database)
        tasks[0].result()
    other = [("T2_X", False, 10, "/a/1")] if at == "T2_Y" else []
    assert database.frame(REPLICAS).rows() == [*other, (at, False, 20, "/a/1 /a/2")]


@GROWTH
def test_a_deletion_and_a_growth_do_not_wait_in_a_circle(database: Database, grow: Callable[[Database], None]) -> None:
    placed(database, "/a/1", "/a/2")
    tasks: list[Future[None]] = []

    def vanish() -> None:
        with database.begin() as connection:
            change(database, connection, replicas.leave, "T2_X", "/a/1")

    with ThreadPoolExecutor() as pool:

        def meanwhile(*given: object) -> None:
            if not tasks and str(given[2]).strip().startswith(MAKE_INCOMPLETE):
                tasks.append(pool.submit(vanish))
                until_done_or_waiting(database, tasks[0])

        event.listen(database.engine, "before_cursor_execute", meanwhile)
        grow(database)
        tasks[0].result()
    assert database.frame(REPLICAS).rows() == [("T2_X", False, 10, "/a/2")]
    assert database.frame("SELECT size_bytes, num_files FROM blocks").rows() == [(30, 3)]


def test_nothing_is_waited_for_where_no_block_grows(database: Database) -> None:
    placed(database, "/a/1", "/a/2")
    with database.begin() as connection:
        connection.execute(text("SELECT 1 FROM block_replicas FOR UPDATE"))
        merge(database, [dataset()], [block(is_open=True)], [file("/a/1"), file("/a/2")], run_key="again")
