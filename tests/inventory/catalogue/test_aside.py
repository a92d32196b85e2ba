"""Of a dataset with a bad record nothing is merged; it is noted, asked for again, and comes in when it is mended."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import GateError, InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.aside import set_aside
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.catalogue.merge import MergeSummary, merge_metadata
from dynamo_ops.inventory.catalogue.vanished import vanished
from dynamo_ops.inventory.staging import pull as staging
from dynamo_ops.inventory.staging.faults import to_be_listed
from dynamo_ops.quality.suites.metadata import check_source
from dynamo_ops.quality.thresholds import MetadataThresholds
from dynamo_ops.sources.source import DATASETS
from tests.inventory.told import LATER, RUN, T0, UNTIL, Row, accept, block, dataset, file, merge, stage
from tests.people import TESTER

ONE, TWO, NEW = "/A/B-v1/C", "/A/B-v2/C", "/A/B-v3/C"
DAY = timedelta(days=1)
WHY = {ONE: "dbs: files: record 7: size_bytes is 'big', expected a whole number"}
KNOWN = """SELECT d::text, o::text, b::text, f::text FROM datasets AS d
           LEFT JOIN dataset_sources AS o ON o.dataset_id = d.id LEFT JOIN blocks AS b ON b.dataset_id = d.id
           LEFT JOIN files AS f ON f.block_id = b.id WHERE d.name = $1 ORDER BY b.id, f.id"""


def of(name: str, *lfns: str, in_block: str = "b1", **changes: object) -> tuple[Row, Row, list[Row]]:
    return dataset(name, **changes), block(in_block, name), [file(lfn, name, in_block) for lfn in lfns]


def told(*datasets: tuple[Row, Row, list[Row]]) -> tuple[list[Row], list[Row], list[Row]]:
    return (
        [listed for listed, _, _ in datasets],
        [its_block for _, its_block, _ in datasets],
        [its_file for _, _, files in datasets for its_file in files],
    )


BOTH = told(of(ONE, "/a/1", "/a/2"), of(TWO, "/b/1"))


def known(db: Database, name: str = ONE) -> list[tuple[object, ...]]:
    return db.frame(KNOWN, (name,)).rows()


def names(db: Database) -> list[str]:
    return db.frame("SELECT name FROM datasets ORDER BY name")["name"].to_list()


def aside(db: Database) -> list[str]:
    return set_aside(db)["dataset"].to_list()


def test_what_is_known_of_it_stays_as_it_was_and_all_else_is_merged(database: Database) -> None:
    merge(database, *BOTH)
    before = known(database)
    more = told(of(ONE, "/a/1", status="invalid"), of(TWO, "/b/1", "/b/2"), of(NEW, "/c/1"))
    summary = merge(database, *more, run_key="next", until=LATER, bad=WHY)
    assert (summary.num_set_aside, summary.new_datasets, summary.new_files) == (1, 1, 2)
    assert (summary.changed_datasets, summary.vanished_files, summary.vanished_datasets) == (0, 0, 0)
    assert known(database) == before
    assert vanished(database).is_empty()
    (row,) = set_aside(database).rows(named=True)
    assert (row["dataset"], row["source"], row["reason"]) == (ONE, "dbs", WHY[ONE])
    assert (row["until"], row["num_runs"], row["run_key"], row["is_known"]) == (LATER, 1, "next", True)
    state = database.frame("SELECT merged_until, num_datasets FROM source_states").row(0)
    assert state == (LATER, 3)


def test_a_new_one_is_not_there_and_no_replica_changes(database: Database) -> None:
    merge(database, *told(of(NEW, "/c/1"), of(TWO, "/b/1")), bad={NEW: "why"})
    assert names(database) == [TWO]
    assert database.frame("SELECT lfn FROM files")["lfn"].to_list() == ["/b/1"]
    assert not set_aside(database)["is_known"].item()


def test_merged_twice_it_is_one_run_and_mended_it_is_as_if_nothing_had_been(database: Database) -> None:
    merge(database, *BOTH, bad=WHY)
    merge_metadata(database, RUN, "dbs", UNTIL)
    assert set_aside(database)["num_runs"].item() == 1
    merge(database, *BOTH, run_key="again", until=LATER, bad=WHY)
    assert set_aside(database).select("num_runs", "until").row(0) == (2, LATER)
    merge(database, *BOTH, run_key="good", until=LATER + DAY)
    assert aside(database) == []
    assert len(known(database)) == 2
    assert merge_metadata(database, "good", "dbs", LATER + DAY) == MergeSummary(0, 0, 0, 0, 0, 0, 0, 0)


def pulled_again(db: Database, run_key: str = "next") -> list[tuple[object, ...]]:
    """What an incremental pull asks for that the source does not list as changed."""
    frame = pl.DataFrame(schema=dict(DATASETS))
    staging.stage_datasets(db, run_key, "dbs", frame, 10, since=UNTIL, num_source_datasets=2)
    return db.frame(
        "SELECT dataset, status, is_again FROM staged_datasets WHERE run_key = $1 ORDER BY dataset", (run_key,)
    ).rows()


def test_the_next_pull_asks_for_it_again_as_it_was_listed_and_it_comes_in(database: Database) -> None:
    merge(database, *BOTH)
    changed = told(of(ONE, status="invalid", last_update_at=UNTIL), of(NEW, status="production"))
    merge(database, changed[0], run_key="bad", until=LATER, since=UNTIL, bad={**WHY, NEW: "why"})
    assert pulled_again(database) == [(ONE, "invalid", True), (NEW, "production", True)]
    assert staging.staged_datasets(database, "next", "dbs", 0) == [ONE, NEW]
    stage(database, [], *told(of(ONE, "/a/1", "/a/3"), of(NEW, "/c/1"))[1:], run_key="next", since=UNTIL)
    accept(database, "next")
    summary = merge_metadata(database, "next", "dbs", LATER + DAY)
    assert (summary.new_datasets, summary.changed_datasets, summary.new_files, summary.num_set_aside) == (1, 1, 2, 0)
    assert aside(database) == []
    statuses = database.frame("SELECT name, status FROM datasets ORDER BY name").rows()
    assert statuses == [(ONE, "invalid"), (TWO, "valid"), (NEW, "production")]
    assert pulled_again(database, "after") == []


def test_what_the_source_does_not_tell_when_asked_again_stays_set_aside_until_it_is_asked_for_all(
    database: Database,
) -> None:
    merge(database, *BOTH)
    before = known(database)
    merge(database, *told(of(ONE), of(NEW)), run_key="bad", until=LATER, since=UNTIL, bad={**WHY, NEW: "why"})
    merge(database, [], run_key="silent", until=LATER + DAY, since=UNTIL)
    assert aside(database) == [ONE, NEW]
    assert (known(database), names(database)) == (before, [ONE, TWO])
    assert vanished(database).is_empty()
    summary = merge(database, *told(of(TWO, "/b/1")), run_key="full", until=LATER + 2 * DAY)
    assert aside(database) == []
    assert summary.vanished_datasets == 1
    assert vanished(database)["name"].to_list() == [ONE]


def test_one_whose_own_record_is_bad_has_to_be_listed_anew(database: Database) -> None:
    merge(database, *BOTH)
    before = known(database)
    listed = told(of(TWO, "/b/1"))
    merge(database, *listed, run_key="bad", until=LATER, bad_records={ONE: "status is 'shiny'"})
    assert staging.staged_datasets(database, "bad", "dbs", 0) == [TWO]
    assert (aside(database), to_be_listed(database, "dbs")) == ([ONE], [ONE])
    assert pulled_again(database) == []
    assert known(database) == before
    merge(database, *BOTH, run_key="listed", until=LATER + DAY, since=UNTIL)
    assert (aside(database), to_be_listed(database, "dbs")) == ([], [])


def test_an_older_run_merged_late_neither_lets_it_in_for_good_nor_sets_aside_what_is_mended(database: Database) -> None:
    merge(database, *BOTH, run_key="newer", until=LATER + DAY, bad=WHY)
    merge(database, *BOTH, run_key="older", until=LATER)
    assert aside(database) == [ONE], "the newest word of it is bad"
    assert vanished(database).is_empty()
    merge(database, *BOTH, run_key="mended", until=LATER + 2 * DAY)
    assert aside(database) == []
    before = known(database)
    merge(database, *BOTH, run_key="late", until=LATER + DAY, bad=WHY)
    assert (aside(database), known(database)) == ([], before)


def test_what_had_vanished_stays_noted_while_it_is_set_aside(database: Database) -> None:
    merge(database, *BOTH)
    merge(database, *told(of(TWO, "/b/1")), run_key="gone", until=LATER)
    assert vanished(database)["name"].to_list() == [ONE]
    merge(database, *BOTH, run_key="bad", until=LATER + DAY, bad=WHY)
    assert vanished(database)["name"].to_list() == [ONE]
    merge(database, *BOTH, run_key="mended", until=LATER + 2 * DAY)
    assert vanished(database).is_empty()


def test_what_a_person_declares_invalid_meanwhile_is_left_out_and_not_set_aside(database: Database) -> None:
    merge(database, *BOTH)
    merge(database, *BOTH, run_key="bad", until=LATER, bad=WHY)
    stage(database, *BOTH, run_key="next", bad=WHY)
    accept(database, "next")
    invalidate(database, {"datasets": [ONE]}, reason="wrong", by=TESTER)
    assert aside(database) == []
    summary = merge_metadata(database, "next", "dbs", LATER + DAY)
    assert (summary.num_set_aside, aside(database), names(database)) == (0, [], [TWO])


def test_another_source_that_takes_it_over_lets_it_in(database: Database) -> None:
    merge(database, *BOTH, bad=WHY)
    merge(database, *BOTH, run_key="other", source="lab", until=LATER)
    assert aside(database) == []


def test_a_page_that_is_pulled_again_after_the_gate_is_judged_again(database: Database) -> None:
    stage(database, *BOTH, bad=WHY)
    check_source(database, RUN, "dbs", MetadataThresholds())
    stage(database, *told(of(ONE, "/a/1", "/a/2"), of(TWO, "/b/1", "/b/1")))
    with pytest.raises(InventoryError, match="it was staged again after the gate looked"):
        merge_metadata(database, RUN, "dbs", UNTIL)
    check_source(database, RUN, "dbs", MetadataThresholds())
    merge_metadata(database, RUN, "dbs", UNTIL)
    assert (aside(database), names(database)) == ([TWO], [ONE])
    check_source(database, RUN, "dbs", MetadataThresholds(max_set_aside=2))
    assert database.frame("SELECT stage, dataset FROM staged_faults").rows() == [("gate", TWO)]


def test_killed_before_its_end_a_merge_sets_nothing_aside(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(database, *BOTH, bad=WHY)
    accept(database)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("dynamo_ops.inventory.catalogue.merge.note_vanished", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_metadata(database, RUN, "dbs", UNTIL)
    assert (aside(database), names(database)) == ([], [])
    merge_metadata(database, RUN, "dbs", UNTIL)
    assert (aside(database), names(database)) == ([ONE], [TWO])


def test_two_datasets_that_claim_a_file_are_both_set_aside_unless_one_has_it(database: Database) -> None:
    stage(database, *told(of(ONE, "/a/1"), of(TWO, "/a/1", "/b/1"), of(NEW, "/c/1")))
    check_source(database, RUN, "dbs", MetadataThresholds())
    merge_metadata(database, RUN, "dbs", UNTIL)
    assert (aside(database), names(database)) == ([ONE, TWO], [NEW])
    stage(database, *told(of(ONE, "/c/1"), of(TWO, "/b/1"), of(NEW, "/c/1")), run_key="next")
    check_source(database, "next", "dbs", MetadataThresholds())
    merge_metadata(database, "next", "dbs", LATER)
    assert (aside(database), names(database)) == ([ONE], [TWO, NEW])


def many(number: int, bad: int) -> tuple[list[Row], list[Row], list[Row]]:
    listed = told(*(of(f"/D{n:04d}/R-v1/AOD", f"/d/{n}") for n in range(number)))
    for row in listed[2][:bad]:
        row["size_bytes"] = -1
    return listed


def test_more_than_a_few_new_ones_refuse_and_those_known_before_do_not_count(database: Database) -> None:
    limits = MetadataThresholds(set_aside_tolerated=2)
    stage(database, *many(10, 3))
    with pytest.raises(GateError, match=r"of new ones 2 or 0\.10% of the run\), in 3 datasets: /D0000") as caught:
        check_source(database, RUN, "dbs", limits)
    assert "size_bytes is negative in 3 files: /D0000/R-v1/AOD#b1 /d/0 size_bytes=-1; " in str(caught.value)
    stage(database, *many(10, 2))
    warnings = check_source(database, RUN, "dbs", limits).warnings
    assert any("a record is bad" in warning and "in 2 datasets: /D0000" in warning for warning in warnings)
    merge_metadata(database, RUN, "dbs", UNTIL)
    stage(database, *many(10, 4), run_key="next")
    check_source(database, "next", "dbs", limits)
    merge_metadata(database, "next", "dbs", LATER)
    assert len(aside(database)) == 4
    with pytest.raises(GateError, match="set aside are 3 at most"):
        check_source(database, "next", "dbs", MetadataThresholds(max_set_aside=3))


@pytest.mark.parametrize(("number", "is_refused"), [(1, False), (2, True)])
def test_a_source_of_which_nothing_is_good_is_refused_where_it_told_of_several(
    database: Database, number: int, is_refused: bool
) -> None:
    stage(database, *many(number, number))
    if is_refused:
        with pytest.raises(GateError, match=f"in {number} datasets"):
            check_source(database, RUN, "dbs", MetadataThresholds())
        return
    check_source(database, RUN, "dbs", MetadataThresholds())
    assert merge_metadata(database, RUN, "dbs", UNTIL).num_set_aside == 1


def test_what_is_lost_in_masses_is_seen_beside_what_is_set_aside(database: Database) -> None:
    merge(database, *many(10, 0))
    rest = many(10, 1)
    with_losses = rest[0], rest[1], rest[2][:5]
    stage(database, *with_losses, run_key="next")
    limits = MetadataThresholds(files_lost_tolerated=2)
    with pytest.raises(GateError, match="of the known files, all together, are not told any more, in 5 blocks"):
        check_source(database, "next", "dbs", limits)
    stage(database, *rest[:2], rest[2][1:], run_key="large", bad={"/D0000/R-v1/AOD": "why"})
    check_source(database, "large", "dbs", MetadataThresholds(files_lost_tolerated=0, max_files_lost_fraction=0))


def test_its_replicas_are_as_before_and_grow_by_nothing(database: Database) -> None:
    merge(database, *BOTH)
    with database.begin() as connection:
        connection.execute(text("INSERT INTO sites (name, storage_type, status) VALUES ('T2_X', 'disk', 'ready')"))
        connection.execute(
            text("""INSERT INTO dataset_replicas (dataset_id, site_id, is_growing)
                    SELECT d.id, s.id, true FROM datasets AS d, sites AS s""")
        )
    more = told(of(ONE, "/a/9", in_block="b9"), of(TWO, "/b/9", in_block="b9"))
    summary = merge(database, *more, run_key="next", since=T0, until=LATER, bad=WHY)
    assert summary.replicas_grown == 1
    replicas = database.frame("SELECT d.name FROM block_replicas AS r JOIN datasets AS d ON d.id = r.dataset_id")
    assert replicas["name"].to_list() == [TWO]
