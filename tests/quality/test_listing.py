"""The gate of the metadata: files that blocks tell of are listed, and known files do not cease to be told in masses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dynamo_ops.base.errors import GateError
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.gate import GateReport
from dynamo_ops.quality.suites.metadata import check_source
from dynamo_ops.quality.thresholds import MetadataThresholds
from tests.inventory.told import LATER, RUN, T0, UNTIL, Row, block, dataset, file, merge, stage

STRICT = {"files_lost_tolerated": 0, "file_bytes_lost_tolerated": 0}
FILES = [file(f"/a/{number}") for number in range(20)]


def judge(db: Database, run_key: str = RUN, **limits: object) -> GateReport:
    return check_source(db, run_key, "dbs", MetadataThresholds.model_validate(limits))


def told(db: Database, blocks: Sequence[Row], files: Sequence[Row] = (), status: str = "valid") -> None:
    stage(db, [dataset(status=status)], blocks, files)


@pytest.mark.parametrize(
    "size", [{"size_bytes": 5 * 10**12, "num_files": 1000}, {"size_bytes": 200}, {"num_files": 2, "size_bytes": 0}]
)
def test_blocks_that_tell_of_files_of_which_none_is_listed_are_refused(database: Database, size: Row) -> None:
    told(database, [block(**size)])
    with pytest.raises(GateError, match="are not listed, in 1 closed block: /A/B-v1/C#b1 num_files=") as caught:
        judge(database)
    assert caught.value.facts["failures"] == ["files_listed"]
    assert judge(database, warn_only=["files_listed", "block_num_files", "block_file_sizes"]).warnings


@pytest.mark.parametrize(
    ("kind", "changes", "status"),
    [
        ("open", {"is_open": True}, "valid"),
        ("invalid", {}, "invalid"),
        ("empty", {"num_files": 0, "size_bytes": 0}, "valid"),
    ],
    ids=["open", "invalid", "empty"],
)
def test_blocks_that_need_no_files(database: Database, kind: str, changes: Row, status: str) -> None:
    told(database, [block(kind, **{"num_files": 1000, "size_bytes": 10**13, **changes})], status=status)
    judge(database, **STRICT)


@pytest.mark.parametrize(
    ("changes", "limits", "is_refused"),
    [
        ({"num_files": 21}, STRICT, False),
        ({"num_files": 22}, STRICT, True),
        ({"num_files": 22}, {**STRICT, "files_lost_tolerated": 2}, False),
        ({"num_files": 22}, {**STRICT, "max_files_lost_fraction": 0.1}, False),
        ({"size_bytes": 210}, STRICT, False),
        ({"size_bytes": 220}, STRICT, True),
        ({"size_bytes": 220}, {**STRICT, "file_bytes_lost_tolerated": 20}, False),
    ],
    ids=["5% fewer", "9% fewer", "two tolerated", "10% tolerated", "5% smaller", "9% smaller", "20 bytes tolerated"],
)
def test_some_files_may_lack(database: Database, changes: Row, limits: Row, is_refused: bool) -> None:
    told(database, [block(**changes)], FILES)
    if not is_refused:
        judge(database, **limits)
        return
    with pytest.raises(GateError, match="more than 5% of the files that blocks tell of"):
        judge(database, **limits)


def again(db: Database, files: Sequence[Row], *, is_open: bool = False, run_key: str = "next") -> None:
    """The next pull: the block says what is listed."""
    stage(db, [dataset()], [block(is_open=is_open)], files, run_key=run_key)


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
def test_known_files_do_not_cease_to_be_told_in_masses(database: Database, is_open: bool) -> None:
    merge(database, [dataset()], [block()], FILES)
    again(database, FILES[:18], is_open=is_open)
    with pytest.raises(
        GateError, match="not told any more, in 1 block: /A/B-v1/C#b1 num_lost=2 lost_bytes=20"
    ) as caught:
        judge(database, "next", **STRICT)
    assert caught.value.facts["failures"] == ["files_lost"]
    judge(database, "next")
    judge(database, "next", **{**STRICT, "max_files_lost_fraction": 0.1})
    judge(database, "next", files_lost_tolerated=2, file_bytes_lost_tolerated=20)
    again(database, FILES[:19], is_open=is_open)
    judge(database, "next", **STRICT)


def test_other_names_for_all_files_are_refused_although_their_number_is_right(database: Database) -> None:
    merge(database, [dataset()], [block()], FILES)
    again(database, [file(f"/b/{number}") for number in range(20)])
    with pytest.raises(GateError, match="num_lost=20"):
        judge(database, "next", **STRICT)


def test_all_files_told_as_invalid_are_refused(database: Database) -> None:
    merge(database, [dataset()], [block()], FILES)
    again(database, [file(each["lfn"], is_valid=False) for each in FILES])
    with pytest.raises(GateError, match="num_lost=20"):
        judge(database, "next", **STRICT)


def test_files_of_a_dataset_that_is_not_usable_any_more_are_not_missed(database: Database) -> None:
    merge(database, [dataset()], [block()], FILES)
    stage(database, [dataset(status="invalid")], run_key="next")
    judge(database, "next", **STRICT)


def test_what_vanished_before_does_not_count_again(database: Database) -> None:
    merge(database, [dataset()], [block()], FILES, until=UNTIL)
    merge(database, [dataset()], [block()], FILES[:10], run_key="accepted", until=LATER)
    again(database, FILES[:10])
    judge(database, "next", **STRICT)
    again(database, FILES[:8])
    with pytest.raises(GateError, match="num_lost=2 lost_bytes=20"):
        judge(database, "next", **STRICT)


def test_an_older_pull_need_not_know_what_a_newer_one_told(database: Database) -> None:
    merge(database, [dataset()], [block()], FILES, until=UNTIL)
    again(database, FILES[:10])
    check_source(database, "next", "dbs", MetadataThresholds(**STRICT), T0)
    with pytest.raises(GateError, match="num_lost=10"):
        check_source(database, "next", "dbs", MetadataThresholds(**STRICT), UNTIL)
