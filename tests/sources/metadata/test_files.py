"""Drops of metadata: what is absent, damaged or odd is named with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import PermanentRemoteError, RetryableRemoteError, SettingsError, SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import metadata_source
from tests.sources.backends import NOBODY, written
from tests.sources.conformance import LATER, whole
from tests.sources.told import INVALID, MUONS, WORLD, blocks_frame, datasets_frame, day, files_frame


def source_at(path: object, **options: object) -> Any:
    return metadata_source(SourceSettings(name="drop", type="files", options={"path": str(path), **options}), Tls())


def drop(folder: Path, files: pl.DataFrame | None = None, kind: str = "parquet") -> Path:
    written(str(folder), "datasets", datasets_frame(WORLD), kind)
    written(str(folder), "blocks", blocks_frame(WORLD), kind)
    written(str(folder), "files", files_frame(WORLD) if files is None else files, kind)
    return folder


def faults(source: Any) -> dict[str, str]:
    """By dataset, what is wrong with a record of it."""
    return dict(pl.concat([part.faults for part in source.details([one.dataset for one in WORLD])]).iter_rows())


def refusal(source: Any) -> str:
    with pytest.raises(SourceDataError) as caught:
        list(source.details([MUONS.dataset]))
    assert caught.value.facts["source"] == "drop"
    return str(caught.value)


def test_the_password_of_a_place_is_not_told() -> None:
    with pytest.raises((SettingsError, RetryableRemoteError, PermanentRemoteError)) as caught:
        source_at("sftp://usr:SECRET@127.0.0.1:1/drop").datasets(None, LATER)
    assert "127.0.0.1:1/drop" in str(caught.value)
    assert "SECRET" not in f"{caught.value} {caught.value.facts}"


def test_an_absent_folder_and_an_empty_one_are_errors(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "nowhere", empty):
        with pytest.raises(SourceDataError) as caught:
            source_at(folder).datasets(None, LATER)
        assert str(caught.value) == f"drop: no file of datasets at {folder}/datasets*"


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    path = drop(tmp_path) / "files.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    assert f"drop: {path}: cannot be read: " in refusal(source_at(tmp_path))


def test_a_parquet_file_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    path = drop(tmp_path) / "files.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(bytes(content))
    assert f"drop: {path}: " in refusal(source_at(tmp_path))


def test_a_packed_file_that_is_cut_is_named(tmp_path: Path) -> None:
    path = drop(tmp_path, kind="jsonl.gz") / "files.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert f"drop: {path}: cannot be read: " in refusal(source_at(tmp_path))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_column_that_is_missing_is_named(tmp_path: Path, kind: str) -> None:
    drop(tmp_path, files_frame(WORLD).drop("size_bytes"), kind)
    told = refusal(source_at(tmp_path))
    assert f"files.{kind}: " in told
    assert "size_bytes" in told
    assert "missing" in told


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_what_a_drop_need_not_know_is_as_documented(tmp_path: Path, kind: str) -> None:
    drop(tmp_path, files_frame(WORLD).drop("adler32", "is_valid"), kind)
    written(str(tmp_path), "datasets", datasets_frame(WORLD).drop("is_open", "software_release"), kind)
    source = source_at(tmp_path)
    datasets = source.datasets(None, LATER)
    assert datasets.filter("is_open")["dataset"].to_list() == [MUONS.dataset]
    assert datasets["software_release"].null_count() == datasets.height
    files = whole(list(source.details([MUONS.dataset]))).files
    assert files["adler32"].null_count() == files.height == 8
    assert files["is_valid"].all()


def test_a_file_of_no_dataset_is_named(tmp_path: Path) -> None:
    files = files_frame([MUONS]).with_columns(
        dataset=pl.when(pl.col("lfn").str.ends_with("1/003.root")).then(None).otherwise("dataset")
    )
    drop(tmp_path, files)
    assert refusal(source_at(tmp_path)).endswith("files.parquet: /store/muons/1/003.root: dataset is null")


def test_a_status_that_nobody_mapped_is_a_fault(tmp_path: Path) -> None:
    drop(tmp_path)
    source = source_at(tmp_path, statuses={"valid": "valid", "production": "production"})
    faulty = source.datasets(None, LATER).filter(pl.col("fault").is_not_null())
    assert INVALID.dataset in faulty["dataset"].to_list()
    assert all("expected one of valid, production" in fault for fault in faulty["fault"])


def test_sizes_and_times_may_be_null_for_the_gate_to_judge(tmp_path: Path) -> None:
    drop(tmp_path, files_frame(WORLD).with_columns(size_bytes=pl.lit(None, pl.Int64)), "csv")
    written(
        str(tmp_path),
        "datasets",
        datasets_frame(WORLD).with_columns(last_update_at=pl.lit(None, pl.Datetime("us", "UTC"))),
        "csv",
    )
    source = source_at(tmp_path)
    assert source.datasets(day(1), day(2)).height == len(WORLD)
    assert whole(list(source.details([MUONS.dataset]))).files["size_bytes"].null_count() == 8


@pytest.mark.parametrize("dtype", [pl.Int32, pl.UInt64, pl.Float64], ids=str)
def test_numbers_of_other_widths_are_numbers(tmp_path: Path, dtype: Any) -> None:
    drop(tmp_path, files_frame(WORLD).with_columns(pl.col("size_bytes").cast(dtype)))
    files = whole(list(source_at(tmp_path).details([MUONS.dataset]))).files
    assert files["size_bytes"].equals(files_frame([MUONS])["size_bytes"])


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_half_a_byte_is_no_size_and_the_fault_of_its_dataset(tmp_path: Path, kind: str) -> None:
    files = files_frame(WORLD)
    half = pl.when(pl.col("lfn") == files["lfn"][1]).then(0.5).otherwise(0)
    drop(tmp_path, files.with_columns(size_bytes=pl.col("size_bytes") + half), kind)
    (told,) = faults(source_at(tmp_path)).items()
    assert told[0] == files["dataset"][1]
    assert f"files.{kind}" in told[1]
    assert "expected a whole number" in told[1]
    others = pl.concat([part.files for part in source_at(tmp_path).details([one.dataset for one in WORLD])])
    assert set(others["dataset"]) == set(files["dataset"]) - {told[0]}


def test_where_no_record_is_good_it_is_the_drop(tmp_path: Path) -> None:
    drop(tmp_path, files_frame(WORLD).with_columns(size_bytes=pl.col("size_bytes") + 0.5))
    with pytest.raises(SourceDataError, match=r"size_bytes is 1000000000\.5, expected a whole number"):
        faults(source_at(tmp_path))


def test_large_files_come_in_batches(tmp_path: Path) -> None:
    many = pl.concat([files_frame([MUONS])] * 30_000)
    drop(tmp_path, many)
    parts = list(source_at(tmp_path).details([MUONS.dataset]))
    assert sum(part.files.height for part in parts) == 240_000
    assert max(part.files.height for part in parts) <= 120_000


def test_a_pull_of_a_drop_has_large_pages() -> None:
    assert source_at("/x").datasets_per_page == 20_000
    assert source_at("/x", datasets_per_page=7).datasets_per_page == 7


def test_a_storage_that_is_away_is_retryable() -> None:
    options = {"key": "k", "secret": "s", "endpoint_url": NOBODY, "config_kwargs": {"retries": {"max_attempts": 0}}}
    with pytest.raises(RetryableRemoteError, match="drop: "):
        source_at("s3://bucket/drop", storage_options=options).count_datasets()


def test_a_storage_that_nobody_knows_is_a_setting_to_mend() -> None:
    with pytest.raises(SettingsError, match="source 'drop': gopher://x/datasets"):
        source_at("gopher://x").count_datasets()
