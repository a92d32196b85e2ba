"""The DBS source against the pocket grid's DBS."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import DynamoError, RetryableRemoteError, ServiceIllError, SettingsError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.checksum import adler32_digits
from dynamo_ops.sources.loader import metadata_source
from dynamo_ops.sources.metadata.dbs import DbsSource
from dynamo_ops.sources.reading.http import HttpJson
from dynamo_ops.sources.reading.records import Records
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES, Details
from simgrid.grid import Grid
from tests.sources.conformance import Whole
from tests.sources.conformance import whole as whole_of
from tests.sources.pocket import NOW, settings_for


def source_at(grid: Grid, **options: object) -> DbsSource:
    settings = settings_for(grid)
    named = SourceSettings(name="dbs", type="dbs", options={"url": grid.endpoints["dbs"], **options})
    return DbsSource(named, settings.tls)


def whole(parts: Iterable[Details]) -> Whole:
    """All parts in one."""
    return whole_of(list(parts))


def test_all_datasets_with_status_and_release(grid: Grid) -> None:
    datasets = source_at(grid, with_release=True).datasets(None, NOW)
    assert dict(datasets.schema) == dict(DATASETS)
    assert datasets.height == source_at(grid).count_datasets() == 6
    open_ones = datasets.filter("is_open")
    assert open_ones.row(0)[:4] == ("/SimTop/Run2026A-v1/MINI", "production", True, "SW_1_0_0")
    assert open_ones.height == 1


def test_only_what_changed_since(grid: Grid) -> None:
    since = datetime.now(UTC) - timedelta(days=20)
    changed = source_at(grid).datasets(since, NOW)
    assert sorted(changed["dataset"]) == ["/Muons/Run2026A-v1/AOD", "/Stream/Express2026A-v1/FEVT"]
    assert changed["last_update_at"].min() > since  # type: ignore[operator]
    assert changed["software_release"].null_count() == 2


def test_details_of_several_datasets(grid: Grid) -> None:
    names = ["/Muons/Run2026A-v1/AOD", "/Jets/Run2025B-v2/RAW", "/No/Such-v1/DATASET"]
    blocks, files = whole(source_at(grid).details(names))
    assert dict(blocks.schema) == dict(BLOCKS)
    assert dict(files.schema) == dict(FILES)
    assert (blocks.height, files.height) == (6, 36)
    assert not blocks["block"].str.contains("#").any()
    sums = files.group_by("dataset", "block").agg(pl.col("size_bytes").sum(), num_files=pl.len().cast(pl.Int64))
    told = blocks.select("dataset", "block", "size_bytes", "num_files")
    assert told.sort("block").equals(sums.sort("block"))
    assert files["adler32"].str.contains("^[0-9a-f]{8}$").all()
    assert files["is_valid"].all()
    assert blocks.filter("is_open").height == 1


def test_details_of_nothing_are_no_parts(grid: Grid) -> None:
    assert list(source_at(grid).details([])) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"broken_json": True}, ServiceIllError),
        ({"http_500": True}, RetryableRemoteError),
        ({"down": True}, RetryableRemoteError),
    ],
    ids=["broken JSON", "500", "down"],
)
def test_a_broken_service_is_told_apart(grid: Grid, fault: dict[str, bool], kind: type[DynamoError]) -> None:
    source = source_at(grid)
    grid.fault(dbs=fault)
    with pytest.raises(kind, match="dbs: "):
        list(source.details(["/Muons/Run2026A-v1/AOD", "/Jets/Run2025B-v2/RAW"]))


def test_one_500_is_no_trouble(grid: Grid) -> None:
    grid.fault(dbs={"http_500": 1})
    assert source_at(grid).count_datasets() == 6


def test_a_status_nobody_defined_is_a_fault_of_its_dataset(own_grid: Grid) -> None:
    own_grid.catalogue.datasets[1].status = "SHINY"
    datasets = source_at(own_grid).datasets(None, NOW)
    assert datasets.height == 6
    (faulty,) = datasets.filter(pl.col("fault").is_not_null()).rows(named=True)
    assert faulty["fault"].startswith("dbs: /Muons/Run2025B-v1/AOD: dataset_access_type is 'SHINY'")
    assert (faulty["dataset"], faulty["status"]) == ("/Muons/Run2025B-v1/AOD", None)


def test_a_huge_dataset_is_asked_for_block_by_block(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["/Muons/Run2026A-v1/AOD", "/Jets/Run2025B-v2/RAW"]
    expected = whole(source_at(grid).details(names))
    asked: list[dict[str, object]] = []
    real = HttpJson.frame

    def frame(self: HttpJson, url: str, records: Records, params: dict[str, object], *more: Any) -> pl.DataFrame:
        asked.append({"api": url.rsplit("/", 1)[-1], **params})
        return real(self, url, records, params, *more)

    monkeypatch.setattr(HttpJson, "frame", frame)
    monkeypatch.setattr("dynamo_ops.sources.metadata.dbs.FILES_PER_REQUEST", 5)
    found = whole(source_at(grid).details(names))
    for told, wanted in zip(found, expected, strict=True):
        assert told.sort(told.columns).equals(wanted.sort(wanted.columns))
    of_files = [params for params in asked if params["api"] == "files"]
    assert len(of_files) == expected.blocks.height
    assert all("block_name" in params and "dataset" not in params for params in of_files)


@pytest.mark.parametrize("is_known_later", [True, False], ids=["added meanwhile", "never listed"])
def test_a_block_that_is_added_between_both_questions_is_told(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, is_known_later: bool
) -> None:
    name = "/Muons/Run2026A-v1/AOD"
    expected = whole(source_at(grid).details([name]))
    new = expected.blocks["block"][-1]
    asked: list[str] = []
    real = HttpJson.frame

    def frame(self: HttpJson, url: str, records: Records, params: dict[str, object], *more: Any) -> pl.DataFrame:
        asked.append(url.rsplit("/", 1)[-1])
        told = real(self, url, records, params, *more)
        if asked[-1] == "blocks" and (len(asked) == 1 or not is_known_later):
            return told.filter(~pl.col("block").str.ends_with(f"#{new}"))
        return told

    monkeypatch.setattr(HttpJson, "frame", frame)
    blocks, files = whole(source_at(grid).details([name]))
    assert asked == ["blocks", "files", "blocks"]
    assert files.height == expected.files.height, "what has no block even so is for the gate"
    assert (new in blocks["block"]) is is_known_later


def test_a_block_of_another_dataset_is_a_fault_of_the_one_asked_for(own_grid: Grid) -> None:
    own_grid.catalogue.datasets[0].blocks[0].name = "/Other/Run2026A-v1/AOD#1"
    name, other = (dataset.name for dataset in own_grid.catalogue.datasets[:2])
    told = list(source_at(own_grid).details([name, other]))
    (fault,) = pl.concat(part.faults for part in told).rows()
    assert fault == (name, f"dbs: {name}: block_name is '/Other/Run2026A-v1/AOD#1', expected '{name}#…'")
    assert {dataset for part in told for dataset in part.files["dataset"]} == {other}


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("8168fc9a", "8168fc9a"),
        ("8168FC9A", "8168fc9a"),
        ("0x1f", "0000001f"),
        (" ab ", "000000ab"),
        (None, None),
        ("", None),
        ("NOTSET", None),
        ("nonsense", "nonsense"),
        ("123456789", "123456789"),
    ],
)
def test_adler32_is_eight_lower_case_digits(told: str | None, kept: str | None) -> None:
    frame = pl.DataFrame({"adler32": [told]}, schema={"adler32": pl.String})
    assert frame.select(adler32_digits()).item() == kept


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "source 'dbs': options.url: Field required"),
        ({"url": "ftp://x"}, "source 'dbs': options.url"),
        ({"url": "https://x", "thread": 3}, "source 'dbs': options.thread"),
        ({"url": "https://x", "threads": 0}, "source 'dbs': options.threads"),
    ],
    ids=["no url", "no http", "unknown option", "no threads"],
)
def test_a_wrong_option_is_named(options: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        metadata_source(SourceSettings(name="dbs", type="dbs", options=options), Tls())
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"path": "/x", "storage_options": {"key": "SECRET"}, "columns": {"files": {"lfm": "x"}}},
        {"path": "/x", "storage_options": "SECRET"},
        {"path": "/x", "tokn": "SECRET"},
        {"url": "SECRET.example.org"},
    ],
    ids=["the options whole", "a setting of secrets", "an unknown key", "a mistyped url"],
)
def test_what_may_be_a_secret_is_not_repeated(options: dict[str, object]) -> None:
    kind = "dbs" if "url" in options else "files"
    with pytest.raises(SettingsError) as caught:
        metadata_source(SourceSettings(name="drop", type=kind, options=options), Tls())
    assert "SECRET" not in f"{caught.value} {caught.value.facts}"
    assert caught.value.__cause__ is None, "pydantic's own text repeats all that was given"


def test_an_unknown_type_comes_with_near_ones() -> None:
    with pytest.raises(
        SettingsError, match=r"no plugin of type 'dsb' in dynamo_ops\.metadata_sources; there are .*Did you mean dbs"
    ):
        metadata_source(SourceSettings(name="catalogue", type="dsb", options={}), Tls())
