"""Every source of accesses and of demand of ours does what every one must do, and what is special to each."""

# ruff: noqa: ARG005  all worlds are made in the same way

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.usage.source import ACCESSES, access_source, demand_source
from simgrid.grid import Grid
from tests.sources.conformance import ACCESS_CHECKS, DAY, DEMAND_CHECKS
from tests.sources.pocket import settings_for
from tests.sources.server import JsonServer
from tests.sources.told import MUONS, STRANGE
from tests.sources.usage.backends import (
    FilesAccessBackend,
    FilesDemandBackend,
    HtcondorAccessBackend,
    HtcondorDemandBackend,
    JsonAccessBackend,
    ad,
    written_ads,
)


def named(check: Callable[[Any], None]) -> str:
    return check.__name__.replace("_", " ")


def nothing(path: str, query: dict[str, str]) -> Any:
    return []


ACCESS = {
    "json": lambda folder, stack: JsonAccessBackend(stack.enter_context(JsonServer(nothing))),
    "json of files": lambda folder, stack: JsonAccessBackend(stack.enter_context(JsonServer(nothing)), "file"),
    "JSON lines": lambda folder, stack: FilesAccessBackend("jsonl", str(folder)),
    "JSON lines by time, of files": lambda folder, stack: FilesAccessBackend("jsonl.gz", str(folder), "time", "file"),
    "CSV by time": lambda folder, stack: FilesAccessBackend("csv", "memory://accesses-csv", "time"),
    "CSV by path": lambda folder, stack: FilesAccessBackend("csv.gz", str(folder), "path"),
    "Parquet": lambda folder, stack: FilesAccessBackend("parquet", str(folder)),
    "Parquet by path, of files": lambda folder, stack: FilesAccessBackend(
        "parquet", "memory://accesses-parquet", "path", "file"
    ),
    "HTCondor's -json": lambda folder, stack: HtcondorAccessBackend("json", folder),
    "HTCondor's -jsonl": lambda folder, stack: HtcondorAccessBackend("jsonl", folder),
}
DEMAND = {
    "JSON lines": lambda folder: FilesDemandBackend("jsonl", str(folder)),
    "CSV": lambda folder: FilesDemandBackend("csv", "memory://demand-csv"),
    "Parquet": lambda folder: FilesDemandBackend("parquet", str(folder)),
    "HTCondor": HtcondorDemandBackend,
}


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as closing:
        yield closing


@pytest.fixture(scope="module", params=ACCESS)
def accesses(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> Any:
    return ACCESS[request.param](tmp_path_factory.mktemp("accesses"), stack)


@pytest.fixture(scope="module", params=DEMAND)
def demand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return DEMAND[request.param](tmp_path_factory.mktemp("demand"))


@pytest.mark.parametrize("check", ACCESS_CHECKS, ids=named)
def test_access_source(accesses: Any, check: Callable[[Any], None]) -> None:
    check(accesses)


@pytest.mark.parametrize("check", DEMAND_CHECKS, ids=named)
def test_demand_source(demand: Any, check: Callable[[Any], None]) -> None:
    check(demand)


def drops(**options: object) -> Any:
    return access_source(SourceSettings(name="drops", type="files", options=options), Tls())


def test_files_and_datasets_of_the_grids_feed_add_up_to_the_same(grid: Grid) -> None:
    settings = settings_for(grid)
    day = date.fromisoformat(min(access.day for access in grid.catalogue.accesses))
    options = settings.access_sources[0].options
    by_dataset, by_file = (
        access_source(
            SourceSettings(name="monit", type="json", options={**options, "level": level}), settings.tls
        ).accesses(day)
        for level in ("dataset", "file")
    )
    assert dict(by_file.schema) == dict(ACCESSES)
    assert by_file["lfn"].str.starts_with("/store/").all()
    assert by_file["dataset"].null_count() == by_file.height > by_dataset.height
    assert by_file["num_accesses"].sum() == by_dataset["num_accesses"].sum() > 0


def test_a_day_without_a_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = f"{tmp_path}/{{day:%Y/%m/%d}}/*.csv"
    with pytest.raises(SourceDataError) as caught:
        drops(path=path).accesses(DAY)
    assert f"drops: no file for day 2026-03-01 at {tmp_path}/2026/03/01/*.csv; clear the task" in str(caught.value)
    assert drops(path=path, missing="empty").accesses(DAY).is_empty()
    assert drops(path=path).fingerprint(DAY) is None


def test_the_day_of_a_dated_file_is_as_told(tmp_path: Path) -> None:
    (tmp_path / "2026-03-01.csv").write_text("day,dataset,site,num_accesses\n2026-03-02,/A/B/C,T2_BB,1\n")
    assert drops(path=f"{tmp_path}/{{day}}.csv").accesses(DAY)["day"].to_list() == [date(2026, 3, 2)]


def test_records_without_a_number_count_one_each_and_sites_get_our_names(tmp_path: Path) -> None:
    lines = [{"ds": "/A/B/C", "rse": "T2_BB_cms", "ts": 1772323200 + n} for n in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = drops(
        path=str(tmp_path),
        columns={"dataset": "ds", "site": "rse", "time": "ts"},
        day_from="time",
        times="unix",
        one_per_record=True,
        sites={"T2_BB_cms": "T2_BB"},
    ).accesses(DAY)
    assert found.rows() == [(DAY, "/A/B/C", None, "T2_BB", 3)]


def test_records_that_cannot_be_right_are_not_added_up(tmp_path: Path) -> None:
    rows = [
        ("/A/B/C", "T2_BB", 1),
        ("/A/B/C", "T2_BB", 2),
        ("/A/B/C", None, 1),
        (None, "T2_BB", 1),
        ("/A/B/C", "T2_BB", None),
    ]
    frame = pl.DataFrame(rows, schema=["dataset", "site", "num_accesses"], orient="row").with_columns(day=pl.lit(DAY))
    frame.write_parquet(tmp_path / "a.parquet")
    found = drops(path=str(tmp_path)).accesses(DAY)
    assert found.select("dataset", "site", "num_accesses").rows() == [("/A/B/C", "T2_BB", 3), *rows[2:]]


def test_unfinished_files_are_left_alone(tmp_path: Path) -> None:
    good = "day,dataset,site,num_accesses\n2026-03-01,/A/B/C,T2_BB,1\n"
    (tmp_path / "a.csv").write_text(good)
    for name in ("_SUCCESS", ".a.csv.crc", "b.csv.tmp", "_c.csv"):
        (tmp_path / name).write_text("half a")
    assert drops(path=str(tmp_path)).accesses(DAY).height == 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "day,dataset,site\n", "column 'num_accesses' is missing; there are day, dataset, site"),
        ("a.csv", "", "column 'dataset' is missing; there are none"),
        ("a.csv", "day,dataset,site,num_accesses\n2026-03-01,/A/B/C\n", "line 2: 2 columns, the header has 4"),
        ("a.csv", "day,dataset,site,num_accesses\n2026-03-41,/A,T,1\n", "line 2: day is '2026-03-41', expected an ISO"),
        (
            "a.csv",
            "day,dataset,site,num_accesses\n2026-03-01,/A,T,1.5\n",
            "line 2: num_accesses is '1.5', expected a whole",
        ),
        ("a.jsonl", '{"day": "2026-03-01"}\n', "line 1: dataset is missing"),
        ("a.jsonl", '\n{"day": "2026-03-01", "data', "line 2: not JSON"),
        ("a.jsonl", "[]\n{}", "is not JSON"),
        ("a.parquet", "PAR1", "cannot be read"),
        ("a.jsonl.gz", "\x1f\u008b\b", "cannot be read"),
        ("a.xml", "<a/>", "expected a name in .jsonl, .csv or .parquet"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(SourceDataError) as caught:
        drops(path=f"{tmp_path}/a.*").accesses(DAY)
    assert f"drops: {tmp_path}/{name}: " in str(caught.value)
    assert told in str(caught.value)


def pool(folder: Path, ads: list[dict[str, Any]], **options: object) -> Any:
    (folder / "history.json").write_text(written_ads(ads, "json"))
    return access_source(
        SourceSettings(name="pool", type="htcondor", options={"history": str(folder / "history.json"), **options}),
        Tls(),
    )


def test_a_job_counts_for_each_of_its_datasets_once(tmp_path: Path) -> None:
    job = {**ad(1, f"{MUONS.dataset}, {STRANGE.dataset[:4]}/v/AOD,{MUONS.dataset}", "T2_BB"), "Pileup": "/P/I/LE"}
    source = pool(tmp_path, [job, job], attributes={"dataset": ["DESIRED_CMSDataset", "Pileup"]})
    assert sorted(source.accesses(DAY)["dataset"]) == ["/Jet/v/AOD", "/Muons/Run2026A-v1/AOD", "/P/I/LE"]
    assert source.accesses(DAY)["num_accesses"].to_list() == [1, 1, 1]


def test_values_that_are_none_are_none(tmp_path: Path) -> None:
    ads = [ad(number, name, "T2_BB") for number, name in enumerate(["undefined", "", "/Expr(undefined)/", None])]
    assert pool(tmp_path, ads).accesses(DAY).is_empty()
    nowhere = pool(tmp_path, [ad(1, MUONS.dataset, "Unknown")]).accesses(DAY)
    assert nowhere["site"].to_list() == [None], "for the gate to see"


@pytest.mark.parametrize("between", ["", "\n\n", "[\n]\n", "\n[\n]\n[]\n"])
def test_lists_one_behind_the_other_are_the_jobs_of_all(tmp_path: Path, between: str) -> None:
    """As ``condor_q -global`` writes them, a list for each schedd, and several ``condor_history`` into one file."""
    ads = [[ad(1, MUONS.dataset, "T2_BB")], [ad(2, MUONS.dataset, "T2_BB"), ad(3, MUONS.dataset, "T2_BB")]]
    (tmp_path / "jobs.json").write_text(between + between.join(written_ads(some, "json") for some in ads) + between)
    options = {"history": str(tmp_path / "jobs.json")}
    source = access_source(SourceSettings(name="pool", type="htcondor", options=options), Tls())
    assert source.accesses(DAY)["num_accesses"].to_list() == [3]


@pytest.mark.parametrize("cut", [-1, -3, -40, -200])
def test_of_lists_of_which_one_is_cut_none_gets_in(tmp_path: Path, cut: int) -> None:
    whole = written_ads([ad(1, MUONS.dataset, "T2_BB")], "json")
    (tmp_path / "queue.json").write_text(whole + whole.rstrip()[:cut])
    options = {"queue": str(tmp_path / "queue.json")}
    with pytest.raises(SourceDataError, match=r"queue\.json: is not JSON"):
        demand_source(SourceSettings(name="pool", type="htcondor", options=options), Tls()).demand(DAY)


def test_a_time_that_is_an_expression_is_none_and_the_others_count(tmp_path: Path) -> None:
    ads = [{**ad(1, MUONS.dataset, "T2_BB"), "CompletionDate": "/Expr(undefined)/"}, ad(2, MUONS.dataset, "T2_BB")]
    assert pool(tmp_path, ads).accesses(DAY)["num_accesses"].to_list() == [1]
    with pytest.raises(SourceDataError, match="CompletionDate is 'noon'"):
        pool(tmp_path, [{**ads[0], "CompletionDate": "noon"}]).accesses(DAY)


def test_the_first_site_that_is_one_counts_under_our_name(tmp_path: Path) -> None:
    job = {**ad(1, MUONS.dataset, "T2_BB"), "MATCH_EXP_JOBGLIDEIN_CMSSite": "T2_CC_opportunistic"}
    source = pool(tmp_path, [job], sites={"T2_CC_opportunistic": "T2_CC"})
    assert source.accesses(DAY)["site"].to_list() == ["T2_CC"]


def test_jobs_without_a_global_id_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    ads = [
        {key: value for key, value in ad(n, MUONS.dataset, "T2_BB").items() if key != "GlobalJobId"} for n in (1, 1, 2)
    ]
    assert pool(tmp_path, ads).accesses(DAY)["num_accesses"].to_list() == [2]


@pytest.mark.parametrize("missing", ["CompletionDate", "DESIRED_CMSDataset"])
def test_an_attribute_that_no_job_has_is_a_mistake_and_no_empty_day(tmp_path: Path, missing: str) -> None:
    ads = [{key: value for key, value in ad(n, MUONS.dataset, "T2_BB").items() if key != missing} for n in (1, 2)]
    with pytest.raises(SourceDataError, match=f"no record for day {DAY} has the attribute .*{missing}"):
        pool(tmp_path, ads).accesses(DAY)


def test_an_empty_queue_writes_nothing_and_is_no_demand(tmp_path: Path) -> None:
    (tmp_path / "queue.json").write_text("")
    options = {"queue": str(tmp_path / "queue.json")}
    assert demand_source(SourceSettings(name="pool", type="htcondor", options=options), Tls()).demand(DAY).is_empty()
