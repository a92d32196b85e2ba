"""The gate of the metadata: what is compared with what, and what is kept. Kinds of bad input: test_bad_input_table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dynamo_ops.base.errors import GateError
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.suites.metadata import check_metadata, check_source
from dynamo_ops.quality.suites.sites import check_sites
from dynamo_ops.quality.thresholds import Gates, MetadataThresholds, SiteThresholds
from dynamo_ops.sources.tasks import merge as merge_all
from simgrid.grid import Grid
from tests.inventory.told import RUN, block, dataset, file, merge, site, stage, stage_sites, sync_sites
from tests.sources.pocket import NOW, inventory_counts, pull_all, settings_for

GOOD = [dataset()], [block("b1"), block("b2")], [file("/a/1"), file("/a/2"), file("/a/3", in_block="b2")]
LATE = datetime(2026, 1, 5, tzinfo=UTC)
NUM_CHECKS = 35
STRICT = MetadataThresholds(max_set_aside=0)
"""Nothing may be set aside: then each fault refuses."""


def judge(db: Database, run_key: str = RUN) -> None:
    check_source(db, run_key, "dbs", STRICT)


def test_good_data_pass_and_all_is_kept_again_when_asked_again(database: Database) -> None:
    stage(database, *GOOD)
    judge(database)
    report = check_source(database, RUN, "dbs", MetadataThresholds(), LATE)
    assert report.warnings == []
    kept = database.frame("SELECT gate, subject, is_success, is_blocking FROM gate_results")
    assert kept.height == len(report.outcomes) == NUM_CHECKS
    assert kept["is_success"].all()
    assert kept.filter("is_blocking").height == NUM_CHECKS - len(MetadataThresholds().warn_only)
    figures = database.frame("SELECT metric, value FROM gate_metrics WHERE as_of = $1", (LATE,))
    assert dict(figures.iter_rows()) == report.figures
    assert report.figures == {
        "source_datasets": 1,
        "datasets": 1,
        "known_datasets": 0,
        "blocks": 2,
        "block_bytes": 30,
        "files": 3,
        "file_bytes": 30,
    }


def test_several_faults_are_told_at_once_with_three_examples_and_where_to_read_on(database: Database) -> None:
    files = [file(f"/a/{n}", size_bytes=-n) for n in range(1, 6)]
    stage(database, [dataset(status="shiny")], [block(size_bytes=0)], files)
    with pytest.raises(GateError) as caught:
        judge(database)
    message = str(caught.value)
    assert message.startswith(
        "metadata gate refused source 'dbs': a record is bad (set aside are 0 at most, of new ones 3 or 0.10% of the "
        "run), in 1 dataset: /A/B-v1/C fault=status is unknown to us: /A/B-v1/C status=shiny\nand "
        "status is unknown to us in 1 dataset: /A/B-v1/C status=shiny\nand "
        "size_bytes is negative in 5 files: /A/B-v1/C#b1 /a/1 size_bytes=-1; "
    )
    assert message.count("size_bytes=-") == 3
    assert caught.value.message.endswith("; …")
    assert message.endswith(f"; …\nAll results: dynamo gate results --run '{RUN}'")
    assert caught.value.facts == {
        "gate": "metadata",
        "subject": "source 'dbs'",
        "failures": ["datasets_set_aside", "dataset_status", "file_size"],
    }


@pytest.mark.parametrize(("count", "is_refused"), [(96, False), (94, True), (0, True)])
def test_datasets_do_not_vanish_in_masses(database: Database, count: int, is_refused: bool) -> None:
    merge(database, [dataset()])
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE source_states SET num_datasets = 100")
    stage(database, [dataset()], run_key="next", since=LATE, count=count)
    if not is_refused:
        judge(database, "next")
        return
    with pytest.raises(GateError, match=f"more than 5% of its datasets in 1 pull: num_before=100 num_datasets={count}"):
        judge(database, "next")


def test_a_full_pull_lists_what_the_source_counts(database: Database) -> None:
    stage(database, [dataset()], count=2)
    with pytest.raises(GateError, match="far fewer than it counts, in 1 full pull: num_datasets=2 num_listed=1"):
        judge(database)


def test_bytes_that_a_source_tells_no_more_are_lost_only_above_both_limits(database: Database) -> None:
    merge(database, *GOOD)
    stage(database, [dataset()], [block("b1", size_bytes=10)], [file("/a/1")], run_key="next")
    tolerant = MetadataThresholds(bytes_lost_tolerated=20, max_bytes_lost_fraction=0)
    assert not [text for text in check_source(database, "next", "dbs", tolerant).warnings if "smaller" in text]
    fraction = MetadataThresholds(bytes_lost_tolerated=0, max_bytes_lost_fraction=0.7)
    assert not [text for text in check_source(database, "next", "dbs", fraction).warnings if "smaller" in text]
    strict = MetadataThresholds(bytes_lost_tolerated=19, max_bytes_lost_fraction=0.6)
    with pytest.raises(GateError, match="in 1 dataset: /A/B-v1/C before_bytes=30 told_bytes=10"):
        check_source(database, "next", "dbs", strict)


def test_a_dataset_that_comes_back_is_a_warning(database: Database) -> None:
    merge(database, [dataset(status="invalid")])
    stage(database, [dataset()], run_key="next")
    (warning,) = check_source(database, "next", "dbs", MetadataThresholds()).warnings
    assert warning.endswith("usable again, in 1 dataset: /A/B-v1/C status_before=invalid status=valid")


def test_warnings_of_blocks_and_files_can_be_made_to_refuse(database: Database) -> None:
    stage(database, [dataset()], [block(num_files=3, size_bytes=11)], [file("/a/1")])
    report = check_source(database, RUN, "dbs", MetadataThresholds(lfn_prefix="/store"))
    assert report.warnings == [
        "the number of files is not the one told in 1 closed block: /A/B-v1/C#b1 num_files=3 num_listed=1",
        "size_bytes is not that of its files in 1 closed block: /A/B-v1/C#b1 size_bytes=11 listed_bytes=10",
        "the LFN is not below /store/ in 1 file: /A/B-v1/C#b1 /a/1",
    ]
    with pytest.raises(GateError, match=r"number of files .*\nand size_bytes is not that of its files"):
        check_source(database, RUN, "dbs", MetadataThresholds(warn_only=frozenset(), max_set_aside=0))


def test_a_source_that_took_over_anothers_datasets_is_let_in(database: Database) -> None:
    merge(database, *GOOD)
    stage(database, *GOOD, run_key="next", source="dbs-new")
    assert check_source(database, "next", "dbs-new", MetadataThresholds()).warnings == []


def test_names_that_mean_something_to_sql_are_only_names(database: Database) -> None:
    run_key, source = "run ':x' {y} %s $1 \\", "d'b{s}:s"
    stage(database, *GOOD, run_key=run_key, source=source)
    assert check_source(database, run_key, source, MetadataThresholds()).warnings == []


def test_one_site_may_always_be_lost_and_a_site_that_becomes_tape_is_a_warning(database: Database) -> None:
    sync_sites(database, site("T2_A"), site("T2_B"))
    stage_sites(database, site("T2_A", storage_type="mss"), run_key="next")
    report = check_sites(database, "next", "cric", SiteThresholds())
    assert report.warnings == ["storage_type of a known site changed in 1 site: T2_A type_before=disk storage_type=mss"]
    assert report.figures == {"sites": 1, "ready_sites": 1}


def test_two_sources_that_tell_of_one_site_are_refused(database: Database) -> None:
    stage_sites(database, site("T2_A"), run_key="next")
    stage_sites(database, site("T2_A", "morgue"), run_key="next", source="other")
    with pytest.raises(GateError, match="another source tells of it too, in 1 site: T2_A other_source=other"):
        check_sites(database, "next", "cric", SiteThresholds())


FAULTS = {
    "negative size": ({"dbs": {"negative_size": True}}, "size_bytes is negative in 6 files: /"),
    "vanished half": ({"dbs": {"vanished_half": True}}, "5% of its datasets in 1 pull: num_before=6 num_datasets=3"),
    "duplicate LFN": ({"dbs": {"duplicate_lfn": True}}, "the LFN is listed more than once in 6 files: /store/"),
    "unknown status of a site": ({"site_status": {"unknown_status": ["T2_BB"]}}, "T2_BB storage_type=disk status=???"),
    "vanished sites": ({"site_status": {"vanished": ["T2_BB", "T2_CC"]}}, "T2_BB status=(not listed)"),
}


def test_a_faulty_service_changes_nothing(database: Database, grid: Grid) -> None:
    settings = settings_for(grid)
    pull_all(database, settings, "first")
    check_metadata(database, "first", ["dbs"], ["cric"], Gates(), NOW)
    merge_all(database, "first", ["dbs"], ["cric"], NOW)
    before = inventory_counts(database)
    for name, (fault, words) in FAULTS.items():
        grid.fault(**fault)
        pull_all(database, settings, name, full=True)
        with pytest.raises(GateError) as caught:
            check_metadata(database, name, ["dbs"], ["cric"], Gates(), NOW)
        grid.heal()
        assert words in str(caught.value), name
        assert inventory_counts(database) == before
