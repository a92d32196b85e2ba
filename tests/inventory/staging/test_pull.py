"""Staging: pages, repeats, and what to ask a source for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.merge import merge_metadata
from dynamo_ops.inventory.staging import pull as staging
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES
from tests.inventory.told import RUN, T0, UNTIL, accept, block, dataset, file, merge, site, stage, stage_sites
from tests.patience import PATIENCE_S, wait_until

HOUR = timedelta(hours=1)


def datasets(*names: str) -> pl.DataFrame:
    return pl.DataFrame([dataset(name) for name in names], schema=dict(DATASETS))


def rows(db: Database, table: str) -> int:
    return db.frame(f"SELECT count(*) AS n FROM {table}").item()


def test_datasets_are_dealt_into_pages(database: Database) -> None:
    names = [f"/A{n}/B/C" for n in range(5)]
    assert staging.stage_datasets(database, RUN, "dbs", datasets(*names), 2) == [0, 1, 2]
    pages = [staging.staged_datasets(database, RUN, "dbs", page) for page in range(4)]
    assert pages == [["/A0/B/C", "/A1/B/C"], ["/A2/B/C", "/A3/B/C"], ["/A4/B/C"], []]


def test_no_dataset_is_no_page(database: Database) -> None:
    assert staging.stage_datasets(database, RUN, "dbs", datasets(), 2) == []


def test_a_page_of_nothing_is_refused(database: Database) -> None:
    with pytest.raises(InventoryError, match="page_size is 0"):
        staging.stage_datasets(database, RUN, "dbs", datasets("/A/B/C"), 0)


def test_staging_again_replaces_what_was_there(database: Database) -> None:
    staging.stage_datasets(database, RUN, "dbs", datasets("/A/B/C", "/D/E/F"), 1)
    staging.stage_datasets(database, RUN, "dbs", datasets("/A/B/C"), 1)
    assert staging.staged_datasets(database, RUN, "dbs", 1) == []
    assert rows(database, "staged_datasets") == 1


def test_a_page_of_details_replaces_only_itself(database: Database) -> None:
    staging.stage_datasets(database, RUN, "dbs", datasets("/A/B/C", "/D/E/F"), 1)
    blocks = pl.DataFrame([block(of="/A/B/C")], schema=dict(BLOCKS))
    files = pl.DataFrame([file("/a/1", of="/A/B/C"), file("/a/2", of="/A/B/C")], schema=dict(FILES))
    for page in (0, 1, 0, 0):
        staging.stage_details(database, RUN, "dbs", page, [(blocks, files)])
    assert rows(database, "staged_blocks") == 2
    assert rows(database, "staged_files") == 4


def test_runs_and_sources_do_not_mix(database: Database) -> None:
    staging.stage_datasets(database, "run 1", "dbs", datasets("/A/B/C"), 5)
    staging.stage_datasets(database, "run 1", "rucio", datasets("/D/E/F"), 5)
    staging.stage_datasets(database, "run 2", "dbs", datasets("/G/H/I"), 5)
    assert staging.staged_datasets(database, "run 1", "dbs", 0) == ["/A/B/C"]
    assert staging.staged_datasets(database, "run 1", "rucio", 0) == ["/D/E/F"]
    assert staging.staged_datasets(database, "run 2", "dbs", 0) == ["/G/H/I"]


def test_odd_names_survive(database: Database) -> None:
    name = '/A,"B"/ünï\'code{}/C%:x'
    staging.stage_datasets(database, "run ':x' {y}", "dbs", datasets(name), 5)
    assert staging.staged_datasets(database, "run ':x' {y}", "dbs", 0) == [name]


def test_a_source_never_merged_is_pulled_whole(database: Database) -> None:
    assert staging.interval_to_pull(database, "dbs", T0, UNTIL) == (None, UNTIL)


@pytest.mark.parametrize(
    ("start", "since"),
    [
        (UNTIL, UNTIL - staging.OVERLAP),
        (UNTIL + HOUR, UNTIL - staging.OVERLAP),
        (UNTIL - HOUR, UNTIL - HOUR - staging.OVERLAP),
    ],
    ids=["next hour", "hours were missed", "backfill of an old hour"],
)
def test_an_incremental_pull_leaves_no_gap(database: Database, start: datetime, since: datetime) -> None:
    merge(database, [dataset()])
    assert staging.interval_to_pull(database, "dbs", start, start + HOUR) == (since, start + HOUR)
    assert staging.interval_to_pull(database, "dbs", start, start + HOUR, full=True) == (None, start + HOUR)


def test_an_incremental_pull_asks_for_open_datasets_too(database: Database) -> None:
    told = [dataset("/Open/B/C", is_open=True, status="production"), dataset("/Half/B/C"), dataset("/Shut/B/C")]
    merge(database, told, [block(of="/Half/B/C", is_open=True)])
    stage(database, [dataset("/New/B/C")], run_key="next", since=UNTIL)
    assert staging.staged_datasets(database, "next", "dbs", 0) == ["/Half/B/C", "/New/B/C", "/Open/B/C"]
    stage(database, [dataset("/New/B/C")], run_key="full")
    assert staging.staged_datasets(database, "full", "dbs", 0) == ["/New/B/C"]


def test_pages_get_larger_rather_than_many(database: Database) -> None:
    names = [f"/A{n:02d}/B/C" for n in range(10)]
    assert staging.stage_datasets(database, RUN, "dbs", datasets(*names), 2, max_pages=3) == [0, 1, 2]
    assert [len(staging.staged_datasets(database, RUN, "dbs", page)) for page in range(3)] == [4, 4, 2]


def test_a_task_that_was_given_up_and_its_next_try_stage_their_rows_once(database: Database) -> None:
    """Both are half way at the same time: one waits for the other, and replaces what it staged."""
    staging.stage_datasets(database, RUN, "dbs", datasets("/A/B/C"), 1)
    blocks = pl.DataFrame([block(of="/A/B/C")], schema=dict(BLOCKS))
    files = pl.DataFrame([file("/a/1", of="/A/B/C"), file("/a/2", of="/A/B/C")], schema=dict(FILES))
    second = threading.Thread(
        target=lambda: staging.stage_details(database, RUN, "dbs", 0, [(blocks, files)]), daemon=True
    )

    def first() -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        yield blocks.clear(), files
        second.start()
        await_waiting(database)
        yield blocks, files.clear()

    staging.stage_details(database, RUN, "dbs", 0, first())
    second.join(timeout=PATIENCE_S)
    assert (rows(database, "staged_blocks"), rows(database, "staged_files")) == (1, 2)


def await_waiting(db: Database, kind: str = "advisory") -> None:
    """Until some transaction waits for a lock of another."""
    waiting = """SELECT 1 AS n FROM pg_locks WHERE locktype = $1 AND NOT granted AND pid IN
                 (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"""
    wait_until(lambda: db.frame(waiting, (kind,)).height, lambda: "nobody waits")


def test_a_name_with_a_nul_sets_its_dataset_aside_alone(database: Database) -> None:
    staging.stage_datasets(database, RUN, "dbs", datasets("/A/B-v1/C", "/D/E/F", "/G/\0/H"), 9)
    files = pl.DataFrame([file("/a/1"), file("/a/\0"), file("/d/1", "/D/E/F")], schema=dict(FILES))
    staging.stage_details(database, RUN, "dbs", 0, [(pl.DataFrame(schema=dict(BLOCKS)), files)])
    faults = database.frame("SELECT dataset, fault, is_of_record FROM staged_faults ORDER BY dataset").rows()
    assert faults == [
        ("/A/B-v1/C", r"a NUL in lfn '/a/\x00'", False),
        (r"/G/\x00/H", r"a NUL in dataset '/G/\x00/H'", True),
    ]
    assert staging.staged_datasets(database, RUN, "dbs", 0) == ["/A/B-v1/C", "/D/E/F"]
    assert database.frame("SELECT lfn FROM staged_files").rows() == [("/d/1",)]


def test_an_incremental_pull_does_not_ask_for_what_another_source_told_of(database: Database) -> None:
    merge(database, [dataset("/Open/B/C", is_open=True, status="production")])
    stage(database, [], run_key="next", since=UNTIL, source="lab")
    assert staging.staged_datasets(database, "next", "lab", 0) == []


@pytest.mark.parametrize("again", ["datasets", "details"])
def test_what_a_pull_that_was_given_up_brings_after_the_gate_is_not_merged(database: Database, again: str) -> None:
    stage(database, [dataset()], [block()], [file("/a/1")])
    with pytest.raises(InventoryError, match="no gate let it in; clear the gate task"):
        merge_metadata(database, RUN, "dbs", UNTIL)
    accept(database)
    if again == "datasets":
        staging.stage_datasets(database, RUN, "dbs", datasets("/A/B-v1/C"), 1)
    else:
        staging.stage_details(database, RUN, "dbs", 0, [])
    with pytest.raises(InventoryError, match="was staged again after the gate looked; clear the gate task"):
        merge_metadata(database, RUN, "dbs", UNTIL)
    assert database.frame("SELECT count(*) FROM datasets").item() == 0
    accept(database)
    assert merge_metadata(database, RUN, "dbs", UNTIL).new_datasets == 1


def test_what_is_staged_while_the_gate_looks_is_not_merged(database: Database) -> None:
    stage(database, [dataset()])
    staged = staging.staged_now(database, RUN, "dbs", "metadata")
    stage(database, [dataset("/D/E-v1/F")])
    with database.begin() as connection:
        staging.note_judgement(connection, RUN, staged, is_accepted=True)
    with pytest.raises(InventoryError, match="was staged again"):
        merge_metadata(database, RUN, "dbs", UNTIL)


def test_what_is_staged_while_it_is_merged_waits(database: Database) -> None:
    stage_sites(database, site("T2_A"))
    accept(database, RUN, "cric", "sites")
    other = threading.Thread(target=lambda: stage_sites(database, site("T2_B")), daemon=True)
    with database.begin() as connection:
        staging.staged_pull(connection, RUN, "cric", "sites")
        other.start()
        await_waiting(database, "transactionid")
        assert connection.execute(text("SELECT site FROM staged_sites")).scalars().all() == ["T2_A"]
    other.join()
    assert database.frame("SELECT site FROM staged_sites").rows() == [("T2_B",)]
