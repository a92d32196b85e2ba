"""The pages about judgements: what they say, that they stand alone, how many are kept, and that none is needed."""

from __future__ import annotations

import os
import re
import shutil
from datetime import date
from pathlib import Path
from unittest.mock import patch

import fsspec
import polars as pl
import pytest

from dynamo_ops.base.errors import GateError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.staging.pull import stage_demand
from dynamo_ops.quality import data_docs
from dynamo_ops.quality.suites.accesses import check_demand_day
from dynamo_ops.quality.thresholds import DataDocs, DemandThresholds
from dynamo_ops.sources.usage.source import DEMAND

DAY = date(2026, 1, 10)
EVIL = "/<script>alert(1)</script>/B/C"


def judge(db: Database, docs: DataDocs, run_key: str, num_jobs: int = 5, name: str = "/A/B-v1/C") -> str | None:
    row = {"day": DAY, "dataset": name, "num_jobs": num_jobs}
    stage_demand(db, run_key, "pool", pl.DataFrame([row], schema=dict(DEMAND)))
    return check_demand_day(db, run_key, DAY, "pool", DemandThresholds(), docs).page


def pages(folder: Path) -> list[Path]:
    return sorted((folder / "pages").iterdir())


def test_a_page_and_the_index_say_what_was_found(database: Database, tmp_path: Path) -> None:
    docs = DataDocs(location=str(tmp_path / "docs"))
    assert judge(database, docs, "run 1") is not None
    with pytest.raises(GateError, match=re.escape(f"\nPage: {tmp_path}/docs/pages/demand-source-pool-on-")) as caught:
        judge(database, docs, "run <2>", -4, EVIL)
    page = Path(str(caught.value).rsplit("Page: ", 1)[1]).read_text()
    assert "demand gate: source &#39;pool&#39; on 2026-01-10" in page
    assert "<b>Refused</b>: nothing was changed" in page
    assert "num_jobs is not above zero in 1 record: /&lt;script&gt;alert(1)&lt;/script&gt;/B/C" in page
    assert "not compared: 0 of the 7 days before were accepted" not in page.split("What is wrong")[0]
    assert "All expectations" in page
    index = (tmp_path / "docs" / "index.html").read_text()
    assert index.index("run &lt;2&gt;") < index.index("run 1")
    assert [
        link for link in re.findall(r'href="(pages/[^"]+)"', index) if not (tmp_path / "docs" / link).exists()
    ] == []
    for text in (page, index):
        assert "<script" not in text
        assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", text)


def test_only_the_newest_pages_are_kept_and_a_repeat_replaces_its_own(database: Database, tmp_path: Path) -> None:
    docs = DataDocs(location=str(tmp_path / "docs"), keep=2)
    (tmp_path / "docs" / "pages").mkdir(parents=True)
    (tmp_path / "docs" / "pages" / "of-an-older-version.html").write_text("old")
    found = [judge(database, docs, f"run {number}") for number in (1, 2, 3, 3)]
    assert [str(page) for page in pages(tmp_path / "docs")] == sorted({str(page) for page in found[1:]})
    index = (tmp_path / "docs" / "index.html").read_text()
    assert re.findall(r"<code>(run \d)</code>", index) == ["run 3", "run 2"]


def test_pages_can_be_put_where_fsspec_knows_the_way(database: Database) -> None:
    assert judge(database, DataDocs(location="memory://docs"), "run 1") is not None
    assert "passed" in fsspec.filesystem("memory").cat_file("/docs/index.html").decode()


def test_a_page_that_cannot_be_written_stops_nothing(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "docs").write_text("a file where a folder should be")
    assert judge(database, DataDocs(location=str(tmp_path / "docs")), "run 1") is None
    assert f"no page of the demand gate, source 'pool' on {DAY}, was written to {tmp_path}/docs" in caplog.text
    with pytest.raises(GateError) as caught:
        judge(database, DataDocs(location=str(tmp_path / "docs")), "run 2", -4)
    assert "Page:" not in str(caught.value)


def test_no_pages_are_written_when_none_are_wanted(database: Database, tmp_path: Path) -> None:
    assert judge(database, DataDocs(location=str(tmp_path / "docs"), keep=0), "run 1") is None
    assert not (tmp_path / "docs").exists()


def test_two_gates_that_write_at_once_are_not_in_each_others_way(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Both(type(fsspec.filesystem("file"))):  # type: ignore[misc]
        """Whatever is written, another gate writes just then."""

        def mv(self, path1: str, path2: str, **_: object) -> None:
            if not under_way:
                under_way.append(path2)
                assert judge(database, docs, f"during {path2}") is not None
                under_way.clear()
            shutil.move(path1, path2)

    under_way: list[str] = []
    docs = DataDocs(location=str(tmp_path / "docs"))
    with patch("fsspec.core.url_to_fs", lambda url: (Both(), url)):
        page = judge(database, docs, "run 1")
    assert page is not None
    assert Path(page).exists()
    assert len(pages(tmp_path / "docs")) == 3
    assert [record for record in caplog.records if record.name == data_docs.__name__] == []


def test_a_page_is_named_although_the_index_could_not_be_written(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with patch.object(data_docs, "_write_index", side_effect=PermissionError("not yours")):
        page = judge(database, DataDocs(location=str(tmp_path / "docs")), "run 1")
    assert page is not None
    assert Path(page).exists()
    assert f"the index of pages in {tmp_path}/docs was not brought up to date: not yours" in caplog.text


def test_what_a_killed_task_left_half_written_goes(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "pages"
    folder.mkdir(parents=True)
    for name in ("old.new", "young.new"):
        (folder / name).write_text("half")
    os.utime(folder / "old.new", (0, 0))
    judge(database, DataDocs(location=str(tmp_path / "docs")), "run 1")
    assert [path.name for path in pages(tmp_path / "docs") if path.suffix == ".new"] == ["young.new"]
