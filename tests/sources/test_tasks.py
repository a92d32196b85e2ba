"""The steps of a synchronisation: what they log and return, and how many pages there are."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import Settings, SourceSettings
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.suites.metadata import check_source
from dynamo_ops.quality.thresholds import MetadataThresholds
from dynamo_ops.sources import tasks as steps
from dynamo_ops.sources.reading.bad_records import BadRecords
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES, Details
from tests.inventory.told import LATER, RUN, T0, UNTIL, accept, block, dataset, file

NAMES = [f"/D{n:03d}/R-v1/AOD" for n in range(9)]


class Told:
    """A source with a block and a file in each dataset, told one by one."""

    name = "dbs"

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        return pl.DataFrame([dataset(name) for name in NAMES], schema=dict(DATASETS))

    def count_datasets(self) -> int:
        return len(NAMES)

    def details(self, datasets: Sequence[str]) -> Iterator[Details]:
        for name in datasets:
            yield Details(
                pl.DataFrame([block(of=name, size_bytes=10, num_files=1)], schema=dict(BLOCKS)),
                pl.DataFrame([file(f"/store{name}", of=name)], schema=dict(FILES)),
            )


@pytest.fixture
def two_sources(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(steps, "metadata_source", lambda *_: Told())
    return Settings(metadata_sources=[SourceSettings(name=name, type="told") for name in ("dbs", "lab")])


def test_a_run_has_a_bounded_number_of_pages_and_says_how_far_it_is(
    database: Database, two_sources: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(steps, "PAGES_AT_MOST", 6)  # of both sources
    monkeypatch.setattr(steps, "TELL_EVERY_S", 0)
    assert steps.pull_datasets(database, two_sources, RUN, "dbs", T0, UNTIL, page_size=1) == [0, 1, 2]
    with caplog.at_level(logging.INFO):
        assert steps.pull_details(database, two_sources, RUN, "dbs", 1) == {"datasets": 3, "blocks": 3, "files": 3}
    told = [message.split(" so far")[0] for message in caplog.messages]
    assert "dbs, page 1 (3 datasets): 2 datasets, 2 blocks, 2 files" in told
    assert told[-1] == "dbs, page 1 (3 datasets): 3 datasets, 3 blocks, 3 files"


def test_a_merge_says_whether_anything_changed(
    database: Database, two_sources: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    steps.pull_datasets(database, two_sources, RUN, "dbs", T0, UNTIL)
    steps.pull_details(database, two_sources, RUN, "dbs", 0)
    accept(database, RUN)
    with caplog.at_level(logging.INFO):
        assert steps.merge(database, RUN, ["dbs"], [], UNTIL)["is_changed"] is True
        assert steps.merge(database, RUN, ["dbs"], [], UNTIL)["is_changed"] is False
    assert caplog.messages[-2:] == [
        "merged dbs: new datasets 9, new blocks 9, new files 9, new bytes 90 B",
        "merged dbs: nothing",
    ]


class Mended(Told):
    """A source that lists one of its datasets only when it is asked for all, with a bad record until it is mended."""

    is_mended = False

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        if since is not None:
            return super().datasets(None, until).head(1)
        good = super().datasets(None, until)
        return good if self.is_mended else BAD.beside(good.filter(pl.col("dataset") != NAMES[3]))


BAD = BadRecords()
BAD.note(NAMES[3], SourceDataError("dbs: status is 'shiny'"))


def test_a_dataset_whose_own_record_was_bad_comes_in_though_nothing_says_that_it_changed(
    database: Database, two_sources: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Mended()
    monkeypatch.setattr(steps, "metadata_source", lambda *_: source)

    def run(run_key: str, until: datetime) -> dict[str, Any]:
        for page in steps.pull_datasets(database, two_sources, run_key, "dbs", T0, until):
            steps.pull_details(database, two_sources, run_key, "dbs", page)
        check_source(database, run_key, "dbs", MetadataThresholds())
        summary: Any = steps.merge(database, run_key, ["dbs"], [], until)
        return dict(summary["metadata"]["dbs"])

    first = run("first", UNTIL)
    assert (first["new_datasets"], first["num_set_aside"]) == (len(NAMES) - 1, 1)
    assert run("again", LATER)["num_set_aside"] == 1
    asked = database.frame("SELECT dataset FROM staged_datasets WHERE run_key = 'again' ORDER BY dataset")
    assert asked["dataset"].to_list() == [NAMES[0], NAMES[3]]
    source.is_mended = True
    mended = run("mended", LATER + timedelta(days=1))
    assert (mended["new_datasets"], mended["new_files"], mended["num_set_aside"]) == (1, 1, 0)
    assert database.frame("SELECT * FROM set_aside_datasets").is_empty()
