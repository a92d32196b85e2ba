"""The reader of golden folders."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.folder import read_folder

CASES = Path(__file__).parent / "cases"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CASES / "d01_first_match", tmp_path / "case"))


def test_frames_have_the_declared_columns() -> None:
    found = read_folder(CASES / "k01_dealer").frames
    for name in vars(found):
        assert dict(getattr(found, name).schema) == dict(getattr(f, name.upper())), name


def test_zipped_files_read_the_same(folder: Path) -> None:
    before = read_folder(folder).frames.block_replicas
    plain = folder / "block_replicas.csv"
    (folder / "block_replicas.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read_folder(folder).frames.block_replicas.equals(before)


def test_a_lacking_quota_is_an_explicit_zero(folder: Path) -> None:
    found = read_folder(folder).frames
    assert found.quotas["quota_bytes"].null_count() == 0
    assert found.quotas.select("site_id", "partition").is_unique().all()
    assert (found.quotas["quota_bytes"] == 0).any()


def test_files_of_incomplete_block_replicas() -> None:
    found = read_folder(CASES / "k01_dealer").frames
    incomplete = found.block_replicas.filter(~found.block_replicas["is_complete"])
    joined = found.partial_files.join(incomplete, on=["block_id", "site_id"], how="anti")
    assert found.partial_files.height
    assert joined.is_empty()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        pytest.param("sites.csv", "ready", "asleep", "asleep", id="status"),
        pytest.param("sites.csv", "storage_type", "kind", "lacks the columns storage_type", id="column"),
        pytest.param("block_replicas.csv", "T2_AA", "T2_ZZ", "unknown site 'T2_ZZ'", id="site"),
        pytest.param("block_replicas.csv", "AnalysisOps", "Nobody", "unknown group 'Nobody'", id="group"),
        pytest.param("dataset_attrs.csv", "usage_rank", "beauty", "unknown attributes beauty", id="attribute"),
    ],
)
def test_wrong_records_are_named(folder: Path, file: str, old: str, new: str, message: str) -> None:
    path = folder / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InventoryError, match=message):
        read_folder(folder)


@pytest.mark.parametrize("head", ["item,sites,groups", "item,site_pattern,group_pattern"])
def test_locks_are_known_by_how_their_columns_begin(folder: Path, head: str) -> None:
    (folder / "locks.csv").write_text(f"{head}\n/Del/*,T2_AA,\n/Prot/Both-v1/AOD#b,,AnalysisOps\n")
    found = read_folder(folder).frames.locks
    assert found.rows() == [("/Del/*", "T2_AA", ""), ("/Prot/Both-v1/AOD#b", "", "AnalysisOps")]


def test_further_attributes_count_as_produced_where_there_is_a_column(folder: Path) -> None:
    assert "demand_rank" not in read_folder(folder).frames.attributes["name"]
    file = folder / "dataset_attrs.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{lines[0]},demand_rank", *(f"{line},3" for line in lines[1:])]))
    assert "demand_rank" in read_folder(folder).frames.attributes["name"]
    file.write_text(file.read_text().replace(",3\n", ",many\n"))
    with pytest.raises(InventoryError, match="demand_rank 'many' is not a number"):
        read_folder(folder)


def test_a_folder_without_locks_has_none(folder: Path) -> None:
    assert read_folder(folder).frames.locks.is_empty()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("sites.csv", b"site,storage_type,status\nT2_\xff,disk,ready\n", "sites.csv cannot be read as CSV: .*utf-?8"),
        ("partitions.txt", b"Physics: dataset.name == /\xff\n", "partitions.txt is not UTF-8"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, name: str, content: bytes, error: str) -> None:
    (tmp_path / "case.json").write_text('{"now": 1516017600}')
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InventoryError, match=error):
        read_folder(tmp_path)
