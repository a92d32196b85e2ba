"""Merging what was staged into the inventory."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from dynamo_ops.errors import InventoryError
from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.injection import inject
from dynamo_ops.inventory.merge import MergeSummary, SiteSummary, merge_metadata, merge_sites
from tests.inventory.told import RUN, T0, UNTIL, block, dataset, file, merge, site, stage, sync_sites

NOTHING = MergeSummary(0, 0, 0, 0, 0, 0, 0, 0)


def first_merge(db: Database) -> MergeSummary:
    return merge(
        db,
        [dataset(), dataset("/D/E-v1/F", is_open=True, status="production")],
        [block("b1"), block("b2", is_open=True)],
        [
            file("/a/1"),
            file("/a/2", size_bytes=5),
            file("/a/3", in_block="b2"),
            file("/a/bad", in_block="b2", is_valid=False),
        ],
    )


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
    summary = merge(
        database, [dataset(status="invalid", software_release=None)], [block("b2", is_open=False)], run_key="next"
    )
    assert (summary.changed_datasets, summary.changed_blocks) == (1, 1)
    assert database.frame("SELECT status, is_open, software_release FROM datasets ORDER BY name").row(0) == (
        "invalid",
        False,
        "SW_1",
    )


def test_a_dataset_is_closed_with_its_last_open_block(database: Database) -> None:
    first_merge(database)
    stage(database, [], [block("b1"), block("b2")], run_key="next", since=UNTIL)
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
    grown = [dataset()], [block("b2", is_open=True)], [file("/a/4", in_block="b2", size_bytes=7)]
    assert merge(database, *grown, run_key="next") == MergeSummary(0, 0, 0, 0, 1, 7, 1, 0)
    assert block_replicas(database) == [("b1", "T2_X", "phys", True, 15, 0), ("b2", "T2_X", "phys", False, 10, 1)]
    assert dataset_rows(database)[0] == ("/A/B-v1/C", "valid", True, 32, 2, 4)
    assert merge(database, *grown, run_key="next") == NOTHING


@pytest.mark.parametrize("growing", [True, False], ids=["growing", "not growing"])
def test_new_blocks_go_to_growing_replicas(database: Database, growing: bool) -> None:
    first_merge(database)
    place(database, growing=growing)
    summary = merge(database, [dataset()], [block("b3")], [file("/a/5", in_block="b3")], run_key="next")
    assert summary == MergeSummary(0, 1, 1, 0, 1, 10, 0, int(growing))
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
    merge_metadata(database, "old", "dbs", T0)
    assert database.frame(state).row(0) == (True, UNTIL, 3)


def test_an_incremental_merge_does_not_count_as_whole(database: Database) -> None:
    merge(database, [dataset()], since=T0)
    assert database.frame("SELECT full_sync_at FROM source_states").item() is None


def test_merging_what_was_not_staged_is_refused(database: Database) -> None:
    with pytest.raises(InventoryError, match="staged no metadata of source 'dbs'"):
        merge_metadata(database, RUN, "dbs", UNTIL)
    with pytest.raises(InventoryError, match="staged no sites of source 'cric'"):
        merge_sites(database, RUN, "cric")


def site_rows(db: Database) -> list[tuple[object, ...]]:
    return db.frame("SELECT name, storage_type, status FROM sites ORDER BY name").rows()


def test_sites_come_change_and_are_lost(database: Database) -> None:
    assert sync_sites(database, site("T2_A"), site("T2_B"), site("T1_M", storage_type="mss")) == SiteSummary(3, 0, 0)
    assert merge_sites(database, RUN, "cric") == SiteSummary(0, 0, 0)
    assert sync_sites(database, site("T2_A", "waitroom"), site("T1_M", storage_type="mss")) == SiteSummary(0, 1, 1)
    assert site_rows(database) == [("T1_M", "mss", "ready"), ("T2_A", "disk", "waitroom"), ("T2_B", "disk", "unknown")]
    assert sync_sites(database, site("T2_B")) == SiteSummary(0, 1, 2)


def test_the_time_of_a_status_changes_with_the_status_only(database: Database) -> None:
    query = "SELECT status_changed_at FROM sites"
    sync_sites(database, site("T2_A"))
    first = database.frame(query).item()
    sync_sites(database, site("T2_A", storage_type="buffer"))
    assert database.frame(query).item() == first
    sync_sites(database, site("T2_A", "morgue"))
    assert database.frame(query).item() > first


def test_a_site_is_lost_by_the_source_that_told_of_it_only(database: Database) -> None:
    sync_sites(database, site("T2_A"))
    assert sync_sites(database, site("T2_B"), source="lab") == SiteSummary(1, 0, 0)
    assert site_rows(database) == [("T2_A", "disk", "ready"), ("T2_B", "disk", "ready")]


def test_endpoints_follow_the_source(database: Database) -> None:
    query = "SELECT protocol, prefix FROM site_endpoints"
    sync_sites(database, site("T2_A", prefix="davs://one/"))
    sync_sites(database, site("T2_A", prefix="davs://two/"))
    assert database.frame(query).rows() == [("davs", "davs://two/")]
    sync_sites(database, site("T2_A", prefix=None))
    assert database.frame(query).is_empty()
