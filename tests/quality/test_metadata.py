"""The gate of the metadata: what it lets in, what it refuses, in which words, and that a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from dynamo_ops.errors import GateError
from dynamo_ops.inventory.database import Database
from dynamo_ops.quality.suites.metadata import check_metadata, check_sites, check_source
from dynamo_ops.quality.thresholds import Gates, MetadataThresholds, SiteThresholds
from dynamo_ops.sources.steps import merge as merge_all
from simgrid.grid import Grid
from tests.inventory.told import RUN, Row, block, dataset, file, merge, site, stage, stage_sites, sync_sites
from tests.sources.pocket import NOW, inventory_counts, pull_all, settings_for

GOOD = [dataset()], [block("b1"), block("b2")], [file("/a/1"), file("/a/2"), file("/a/3", in_block="b2")]
LATE = datetime(2026, 1, 5, tzinfo=UTC)


def judge(db: Database, run_key: str = RUN) -> None:
    check_source(db, run_key, "dbs", MetadataThresholds())


@pytest.fixture
def filled(database: Database) -> Database:
    """An inventory that holds GOOD."""
    merge(database, *GOOD)
    return database


def test_good_data_pass_and_every_check_is_kept(database: Database) -> None:
    stage(database, *GOOD)
    report = check_source(database, RUN, "dbs", MetadataThresholds())
    assert report.warnings == []
    kept = database.frame("SELECT gate, subject, is_success, is_blocking FROM gate_results")
    assert kept.height == len(report.outcomes) == 19
    assert kept["is_success"].all()
    assert kept.filter("is_blocking").height == 18


def test_judging_again_replaces_the_results(database: Database) -> None:
    stage(database, *GOOD)
    judge(database)
    judge(database)
    assert database.frame("SELECT count(*) AS n FROM gate_results").item() == 19


BAD: dict[str, tuple[Sequence[Sequence[Row]], str]] = {
    "dataset without status": (([dataset(status=None)],), "a field is missing in 1 dataset: /A/B-v1/C status=None"),
    "dataset of an odd status": (
        ([dataset(status="shiny")],),
        "status is unknown to us in 1 dataset: /A/B-v1/C status=shiny",
    ),
    "dataset twice": (
        ([dataset(), dataset(last_update_at=LATE)],),
        "listed more than once in 1 dataset: /A/B-v1/C times=2",
    ),
    "block without name and size": (
        ([dataset()], [block(size_bytes=None, name="")]),
        "a field is missing in 1 block: /A/B-v1/C",
    ),
    "block of negative size": (
        ([dataset()], [block(size_bytes=-5)]),
        "size_bytes is negative in 1 block: /A/B-v1/C#b1 size_bytes=-5",
    ),
    "block of an unknown dataset": (
        ([dataset()], [block(of="/X/Y/Z")]),
        "the dataset is unknown in 1 block: /X/Y/Z#b1",
    ),
    "block twice": (
        ([dataset()], [block(), block(last_update_at=LATE)]),
        "listed more than once in 1 block: /A/B-v1/C#b1 times=2",
    ),
    "file without size": (
        ([dataset()], [block()], [file("/a/1", size_bytes=None)]),
        "a field is missing in 1 file: /A/B-v1/C#b1 /a/1 size_bytes=None",
    ),
    "file of negative size": (
        ([dataset()], [block(size_bytes=0)], [file("/a/1", size_bytes=-5)]),
        "size_bytes is negative in 1 file: /A/B-v1/C#b1 /a/1 size_bytes=-5",
    ),
    "file with an odd checksum": (
        ([dataset()], [block()], [file("/a/1", adler32="nonsense")]),
        "adler32 is not a checksum in 1 file: /A/B-v1/C#b1 /a/1 adler32=nonsense",
    ),
    "file outside of the namespace": (
        ([dataset()], [block()], [file("/a/../../etc/passwd")]),
        "the LFN is not a clean absolute path in 1 file: /A/B-v1/C#b1 /a/../../etc/passwd",
    ),
    "file without leading slash": (([dataset()], [block()], [file("a/b")]), "not a clean absolute path in 1 file"),
    "file with a line break": (([dataset()], [block()], [file("/a/b\nc")]), "not a clean absolute path in 1 file"),
    "file in two blocks": (
        ([dataset()], [block("b1"), block("b2")], [file("/a/1"), file("/a/1", in_block="b2")]),
        "the LFN is listed more than once in 1 file: /a/1 first_block=/A/B-v1/C#b1 last_block=/A/B-v1/C#b2",
    ),
    "file of an unknown block": (
        ([dataset()], [block()], [file("/a/1", in_block="b7")]),
        "the block is unknown in 1 file: /A/B-v1/C#b7 /a/1",
    ),
    "no dataset at all": (([],), "listed no dataset, or far fewer than it counts, in 1 full pull"),
}


@pytest.mark.parametrize(("told", "words"), BAD.values(), ids=BAD.keys())
def test_bad_data_are_refused_by_name(database: Database, told: Sequence[Sequence[Row]], words: str) -> None:
    merge(database, [dataset("/Before/B/C")], run_key="before")
    before = inventory_counts(database)
    stage(database, *told, count=1)
    with pytest.raises(GateError, match="metadata gate refused source 'dbs': ") as caught:
        judge(database)
    assert words in str(caught.value)
    assert inventory_counts(database) == before
    assert database.frame("SELECT count(*) AS n FROM gate_results WHERE NOT is_success").item() >= 1


CONTRADICTIONS: dict[str, tuple[Row, str]] = {
    "another size": (
        file("/a/1", size_bytes=11),
        "size_bytes of a known file changed in 1 file: /A/B-v1/C#b1 /a/1 size_before=10 size_bytes=11",
    ),
    "another checksum": (
        file("/a/1", adler32="0000000b"),
        "adler32 of a known file changed in 1 file: /A/B-v1/C#b1 /a/1 adler32_before=0000000a adler32=0000000b",
    ),
    "another block": (
        file("/a/3", in_block="b1"),
        "is in another block of the inventory in 1 file: /A/B-v1/C#b1 /a/3 inventory_block=/A/B-v1/C#b2",
    ),
}


@pytest.mark.parametrize(("told", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_known_file_stays_what_and_where_it_is(filled: Database, told: Row, words: str) -> None:
    before = inventory_counts(filled)
    stage(filled, [dataset()], [block("b1")], [told], run_key="next")
    with pytest.raises(GateError) as caught:
        judge(filled, "next")
    assert words in str(caught.value)
    assert inventory_counts(filled) == before


def test_several_faults_are_told_at_once_with_three_examples(database: Database) -> None:
    files = [file(f"/a/{n}", size_bytes=-n) for n in range(1, 6)]
    stage(database, [dataset(status="shiny")], [block(size_bytes=0)], files)
    with pytest.raises(GateError) as caught:
        judge(database)
    message = str(caught.value)
    assert "status is unknown" in message
    assert "size_bytes is negative in 5 files: " in message
    assert message.count("size_bytes=-") == 3
    assert message.endswith("; …")
    assert caught.value.facts["failures"] == ["dataset_status", "file_size"]


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


def test_a_check_can_be_made_a_warning(database: Database) -> None:
    stage(database, [dataset()], [block(num_files=3)], [file("/a/1")])
    report = check_source(database, RUN, "dbs", MetadataThresholds())
    assert report.warnings == [
        ("the number of files is not the one told in 1 closed block: /A/B-v1/C#b1 num_files=3 num_listed=1")
    ]
    with pytest.raises(GateError, match="number of files"):
        check_source(database, RUN, "dbs", MetadataThresholds(warn_only=frozenset()))


def test_names_that_mean_something_to_sql_are_only_names(database: Database) -> None:
    run_key, source = "run ':x' {y} %s $1 \\", "d'b{s}:s"
    stage(database, *GOOD, run_key=run_key, source=source)
    assert check_source(database, run_key, source, MetadataThresholds()).warnings == []


SITES_BEFORE = [site(f"T2_{letter}") for letter in "ABCDEF"]
BAD_SITES = {
    "odd status": (
        [*SITES_BEFORE, site("T2_G", "shiny")],
        "unknown to us in 1 site: T2_G storage_type=disk status=shiny",
    ),
    "odd type": (
        [*SITES_BEFORE, site("T2_G", storage_type="dvd")],
        "unknown to us in 1 site: T2_G storage_type=dvd status=ready",
    ),
    "twice": ([*SITES_BEFORE, site("T2_A", "waitroom")], "listed more than once in 1 site: T2_A times=2"),
    "no name": ([*SITES_BEFORE, site("")], "a field is missing in 1 site"),
    "none": ([], "no site is listed in 1 pull"),
    "many lost": (
        [*SITES_BEFORE[:3], site("T2_D", "morgue")],
        (
            "more than 30% of the ready sites are not ready any more, in 3 sites: "
            "T2_D status=morgue; T2_E status=(not listed); T2_F status=(not listed)"
        ),
    ),
}


@pytest.mark.parametrize(("told", "words"), BAD_SITES.values(), ids=BAD_SITES.keys())
def test_bad_sites_are_refused_by_name(database: Database, told: list[Row], words: str) -> None:
    sync_sites(database, *SITES_BEFORE)
    before = inventory_counts(database)
    stage_sites(database, *told, run_key="next")
    with pytest.raises(GateError, match="sites gate refused source 'cric': ") as caught:
        check_sites(database, "next", "cric", SiteThresholds())
    assert words in str(caught.value)
    assert inventory_counts(database) == before


def test_one_site_may_always_be_lost(database: Database) -> None:
    sync_sites(database, site("T2_A"), site("T2_B"))
    stage_sites(database, site("T2_A"), run_key="next")
    assert check_sites(database, "next", "cric", SiteThresholds()).warnings == []


FAULTS = {
    "negative size": ({"dbs": {"negative_size": True}}, "size_bytes is negative in 6 files: /"),
    "vanished half": ({"dbs": {"vanished_half": True}}, "5% of its datasets in 1 pull: num_before=6 num_datasets=3"),
    "duplicate LFN": ({"dbs": {"duplicate_lfn": True}}, "the LFN is listed more than once in 6 files: /store/"),
    "unknown status of a site": ({"site_status": {"unknown_status": ["T2_BB"]}}, "T2_BB storage_type=disk status=???"),
    "vanished sites": ({"site_status": {"vanished": ["T2_BB", "T2_CC"]}}, "T2_BB status=(not listed)"),
}


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_service_changes_nothing(
    database: Database, grid: Grid, fault: dict[str, dict[str, object]], words: str
) -> None:
    settings = settings_for(grid)
    pull_all(database, settings, "first")
    check_metadata(database, "first", ["dbs"], ["cric"], Gates())
    merge_all(database, "first", ["dbs"], ["cric"], NOW)
    before = inventory_counts(database)
    assert (before["datasets"], before["blocks"], before["files"], before["sites"]) == (6, 15, 79, 5)
    grid.fault(**fault)
    pull_all(database, settings, "next", full=True)
    with pytest.raises(GateError) as caught:
        check_metadata(database, "next", ["dbs"], ["cric"], Gates())
    assert words in str(caught.value)
    assert inventory_counts(database) == before
