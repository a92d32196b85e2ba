"""Merging what was staged into the inventory."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.merge import MergeSummary, merge_metadata
from dynamo_ops.inventory.subscription.subscribe import resubscribe_incomplete
from tests.inventory.told import LATER, RUN, T0, UNTIL, accept, block, dataset, file, merge, site, stage, sync_sites
from tests.people import inject

NOTHING = MergeSummary(0, 0, 0, 0, 0, 0, 0, 0)


BLOCKS = [block("b1"), block("b2", is_open=True)]
FILES = [file("/a/1"), file("/a/2", size_bytes=5), file("/a/3", in_block="b2")]


def first_merge(db: Database) -> MergeSummary:
    datasets = [dataset(), dataset("/D/E-v1/F", is_open=True, status="production")]
    return merge(db, datasets, BLOCKS, [*FILES, file("/a/bad", in_block="b2", is_valid=False)])


def dataset_rows(db: Database) -> list[tuple[object, ...]]:
    return db.frame(
        "SELECT name, status, is_open, size_bytes, num_blocks, num_files FROM datasets ORDER BY name"
    ).rows()


def block_replicas(db: Database) -> list[tuple[object, ...]]:
    return db.frame("""
        SELECT b.name AS block, s.name AS site, g.name AS owner, r.is_complete, r.size_bytes,
               (SELECT count(*) FROM block_replica_files AS f
                WHERE (f.block_id, f.site_id) = (r.block_id, r.site_id)) AS num_listed
        FROM block_replicas AS r JOIN blocks AS b ON b.id = r.block_id JOIN sites AS s ON s.id = r.site_id
        LEFT JOIN groups AS g ON g.id = r.group_id ORDER BY 1, 2""").rows()


def place(db: Database, *, growing: bool) -> None:
    sync_sites(db, site("T2_X"))
    inject(
        db,
        {
            "groups": [{"name": "phys", "ownership_level": "dataset"}],
            "dataset_replicas": [{"dataset": "/A/B-v1/C", "site": "T2_X", "group": "phys", "growing": growing}],
        },
    )


def test_all_is_new_at_first(database: Database) -> None:
    assert first_merge(database) == MergeSummary(2, 0, 2, 0, 3, 25, 0, 0)
    assert dataset_rows(database) == [
        ("/A/B-v1/C", "valid", True, 25, 2, 3),
        ("/D/E-v1/F", "production", True, 0, 0, 0),
    ]
    assert database.frame("SELECT name, size_bytes, num_files FROM blocks ORDER BY name").rows() == [
        ("b1", 15, 2),
        ("b2", 10, 1),
    ]


def test_an_invalid_file_does_not_enter(database: Database) -> None:
    first_merge(database)
    assert database.frame("SELECT lfn FROM files ORDER BY lfn")["lfn"].to_list() == ["/a/1", "/a/2", "/a/3"]


def test_merging_again_changes_nothing(database: Database) -> None:
    first_merge(database)
    before = database.frame("SELECT * FROM datasets ORDER BY id"), database.frame("SELECT * FROM files ORDER BY id")
    assert merge_metadata(database, RUN, "dbs", UNTIL) == NOTHING
    assert merge_metadata(database, RUN, "dbs", UNTIL) == NOTHING
    assert database.frame("SELECT * FROM datasets ORDER BY id").equals(before[0])
    assert database.frame("SELECT * FROM files ORDER BY id").equals(before[1])


def test_what_is_not_told_stays(database: Database) -> None:
    first_merge(database)
    assert merge(database, [dataset("/New/B/C")], run_key="next") == MergeSummary(1, 0, 0, 0, 0, 0, 0, 0)
    assert len(dataset_rows(database)) == 3


def test_a_change_of_status_is_taken_over_and_a_missing_release_is_not(database: Database) -> None:
    first_merge(database)
    told = [dataset(status="invalid", software_release=None)], [block("b1"), block("b2", is_open=False)], FILES
    summary = merge(database, *told, run_key="next", since=T0)
    assert (summary.changed_datasets, summary.changed_blocks) == (1, 1)
    assert database.frame("SELECT status, is_open, software_release FROM datasets ORDER BY name").row(0) == (
        "invalid",
        False,
        "SW_1",
    )


def test_a_dataset_is_closed_with_its_last_open_block(database: Database) -> None:
    first_merge(database)
    stage(database, [], [block("b1"), block("b2")], FILES, run_key="next", since=UNTIL)
    accept(database, "next")
    merge_metadata(database, "next", "dbs", UNTIL)
    assert dataset_rows(database)[0][:3] == ("/A/B-v1/C", "valid", False)
    assert dataset_rows(database)[1][:3] == ("/D/E-v1/F", "production", True)


def test_a_checksum_is_filled_in_but_never_changed(database: Database) -> None:
    merge(database, [dataset()], [block()], [file("/a/1", adler32=None), file("/a/2", adler32="0000000b")])
    merge(database, [dataset()], [block()], [file("/a/1", adler32="0000000c"), file("/a/2", adler32="0000000d")])
    assert database.frame("SELECT lfn, adler32 FROM files ORDER BY lfn").rows() == [
        ("/a/1", "0000000c"),
        ("/a/2", "0000000b"),
    ]


def test_new_files_make_complete_replicas_incomplete(database: Database) -> None:
    first_merge(database)
    place(database, growing=False)
    assert block_replicas(database) == [("b1", "T2_X", "phys", True, 15, 0), ("b2", "T2_X", "phys", True, 10, 0)]
    grown = [dataset()], BLOCKS, [*FILES, file("/a/4", in_block="b2", size_bytes=7)]
    assert merge(database, *grown, run_key="next", since=T0) == MergeSummary(0, 0, 0, 0, 1, 7, 1, 0)
    assert block_replicas(database) == [("b1", "T2_X", "phys", True, 15, 0), ("b2", "T2_X", "phys", False, 10, 1)]
    assert dataset_rows(database)[0] == ("/A/B-v1/C", "valid", True, 32, 2, 4)
    assert merge(database, *grown, run_key="next", since=T0) == NOTHING


@pytest.mark.parametrize("growing", [True, False], ids=["growing", "not growing"])
def test_new_blocks_go_to_growing_replicas(database: Database, growing: bool) -> None:
    first_merge(database)
    place(database, growing=growing)
    told = [dataset()], [*BLOCKS, block("b3")], [*FILES, file("/a/5", in_block="b3")]
    assert merge(database, *told, run_key="next", since=T0) == MergeSummary(0, 0, 1, 0, 1, 10, 0, int(growing))
    assert block_replicas(database)[2:] == ([("b3", "T2_X", "phys", False, 0, 0)] if growing else [])


def test_a_block_deleted_on_purpose_does_not_grow_back(database: Database) -> None:
    first_merge(database)
    place(database, growing=True)
    with database.begin() as connection:
        connection.execute(text("DELETE FROM block_replicas"))
    merge_metadata(database, RUN, "dbs", UNTIL)
    assert block_replicas(database) == []


def test_the_state_of_the_source_is_kept(database: Database) -> None:
    first_merge(database)
    state = "SELECT full_sync_at IS NOT NULL AS is_full, merged_until, num_datasets FROM source_states"
    assert database.frame(state).row(0) == (True, UNTIL, 2)
    stage(database, [dataset()], run_key="old", since=T0, count=3)
    accept(database, "old")
    merge_metadata(database, "old", "dbs", T0)
    assert database.frame(state).row(0) == (True, UNTIL, 2)
    stage(database, [dataset()], run_key="new", since=T0, count=3)
    accept(database, "new")
    merge_metadata(database, "new", "dbs", LATER)
    assert database.frame(state).row(0) == (True, LATER, 3)


def test_an_incremental_merge_does_not_count_as_whole(database: Database) -> None:
    merge(database, [dataset()], since=T0)
    assert database.frame("SELECT full_sync_at FROM source_states").item() is None


def test_merging_what_was_not_staged_is_refused(database: Database) -> None:
    with pytest.raises(InventoryError, match="staged no metadata of source 'dbs'"):
        merge_metadata(database, RUN, "dbs", UNTIL)


def declare_invalid(db: Database, kind: str, *names: str) -> None:
    """As ``dynamo invalidate`` notes it; the thing is not in the inventory (any more)."""
    with db.begin() as connection:
        for name in names:
            connection.execute(
                text("""INSERT INTO invalidations (kind, name, size_bytes, num_files, reason, created_by)
                        VALUES (:kind, :name, 0, 0, 'corrupt', 'ada')"""),
                {"kind": kind, "name": name},
            )


@pytest.mark.parametrize(
    ("kind", "names", "left_out", "num_left"),
    [
        ("dataset", ["/A/B-v1/C"], 1, (1, 0, 0)),
        ("block", ["/A/B-v1/C#b1", "/A/B-v1/C#b9"], 1, (2, 1, 1)),
        ("file", ["/a/1", "/a/3", "/a/nowhere"], 2, (2, 2, 1)),
    ],
)
def test_what_was_declared_invalid_is_left_out(
    database: Database, kind: str, names: list[str], left_out: int, num_left: tuple[int, ...]
) -> None:
    declare_invalid(database, kind, *names)
    for _ in range(2):  # of new blocks, then of known ones
        assert first_merge(database).left_out == left_out
        tables = ("datasets", "blocks", "files")
        assert tuple(database.frame(f"SELECT count(*) AS n FROM {table}").item() for table in tables) == num_left
        assert database.frame("SELECT * FROM vanished").is_empty()


def test_an_older_telling_changes_nothing_that_is_known_newer(database: Database) -> None:
    newer = {"last_update_at": UNTIL}
    merge(database, [dataset(status="invalid", software_release="SW_2", **newer)], [block(**newer)], until=LATER)
    old = [dataset(is_open=True, status="production")], [block(is_open=True)]
    summary = merge(database, *old, run_key="old", since=T0, until=UNTIL)
    assert (summary.changed_datasets, summary.changed_blocks) == (0, 0)
    assert database.frame("SELECT status, is_open, software_release, last_update_at FROM datasets").row(0) == (
        "invalid",
        False,
        "SW_2",
        UNTIL,
    )


def test_of_two_tellings_of_the_same_time_the_later_pull_counts(database: Database) -> None:
    merge(database, [dataset(status="invalid")], [block()], until=LATER)
    merge(database, [dataset()], [block(is_open=True)], run_key="old", since=T0, until=UNTIL)
    assert dataset_rows(database)[0][:3] == ("/A/B-v1/C", "invalid", False)
    merge(database, [dataset(status="deprecated")], [block()], run_key="new", since=T0, until=LATER)
    assert dataset_rows(database)[0][:3] == ("/A/B-v1/C", "deprecated", False)


def test_an_lfn_that_another_block_has_stays_there(database: Database) -> None:
    """The gate refuses it; without a gate nothing is doubled or moved."""
    merge(database, [dataset()], [block("b1"), block("b2")], [file("/a/1"), file("/a/2", in_block="b2")])
    again = [file("/a/1"), file("/a/1", in_block="b2"), file("/a/2", in_block="b2"), file("/a/2", in_block="b3")]
    merge(database, [dataset()], [block("b1"), block("b2"), block("b3")], again, run_key="next", since=T0)
    assert database.frame(
        "SELECT f.lfn, b.name FROM files AS f JOIN blocks AS b ON b.id = f.block_id ORDER BY lfn"
    ).rows() == [("/a/1", "b1"), ("/a/2", "b2")]


def test_what_is_told_twice_is_merged_once(database: Database) -> None:
    twice = [[row, row] for row in (dataset(), block(), file("/a/1"))]
    for run_key in ("new", "known"):
        merge(database, *twice, run_key=run_key)
        assert dataset_rows(database) == [("/A/B-v1/C", "valid", False, 10, 1, 1)]


def test_what_a_merge_adds_is_subscribed_for_by_the_next_recovery(database: Database) -> None:
    """A new block of a growing replica, and a new file of a block that was complete."""
    first_merge(database)
    place(database, growing=True)
    more = [file("/a/4", in_block="b2"), file("/a/5", in_block="b3")]
    merge(database, [dataset()], [*BLOCKS, block("b3")], [*FILES, *more], run_key="next", since=T0)
    assert resubscribe_incomplete(database).num_created == 2
    subscriptions = """SELECT f.lfn, t.name AS site, s.action FROM subscriptions AS s
    JOIN files AS f ON f.id = s.file_id
                JOIN sites AS t ON t.id = s.site_id ORDER BY f.lfn"""
    assert database.frame(subscriptions).rows() == [("/a/4", "T2_X", "copy"), ("/a/5", "T2_X", "copy")]
    merge_metadata(database, "next", "dbs", UNTIL)
    assert resubscribe_incomplete(database).num_created == 0


def test_what_no_source_knows_stays_as_it_is(database: Database) -> None:
    """An open dataset that was injected: the source is asked about it, and has nothing to tell."""
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO datasets (name, status, is_open, last_update_at) VALUES ('/Own/B/C', 'valid', true, now())"
            )
        )
    assert merge(database, [], since=T0) == NOTHING
    assert dataset_rows(database) == [("/Own/B/C", "valid", True, 0, 0, 0)]
    assert database.frame("SELECT * FROM vanished").is_empty()
