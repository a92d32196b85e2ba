from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from simgrid.grid import Grid
from tests.simgrid.client import session
from tests.simgrid.conftest import TINY


class Dbs:
    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.http = session(grid.endpoints)

    def reply(self, api: str, **parameters: Any) -> requests.Response:
        return self.http.get(f"{self.grid.endpoints['dbs']}/{api}", params=parameters)

    def rows(self, api: str, **parameters: Any) -> list[dict[str, Any]]:
        reply = self.reply(api, **parameters)
        assert reply.status_code == 200, reply.text
        rows: list[dict[str, Any]] = reply.json()
        return rows


@pytest.fixture(scope="module")
def grid_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(TINY, tmp_path_factory.mktemp("dbs")) as running:
        yield running


@pytest.fixture
def dbs(grid_of_module: Grid) -> Iterator[Dbs]:
    yield Dbs(grid_of_module)
    grid_of_module.heal()


def test_datasets(dbs: Dbs) -> None:
    assert dbs.rows("datasets", dataset="/Muons/*/AOD") == [
        {"dataset": "/Muons/Run2026A-v1/AOD"},
        {"dataset": "/Muons/Run2025B-v1/AOD"},
    ]
    assert len(dbs.rows("datasets")) == 5  # VALID only, as DBS does
    assert len(dbs.rows("datasets", dataset_access_type="*")) == 6
    (row,) = dbs.rows("datasets", dataset_access_type="PRODUCTION", detail=1)
    assert row["dataset_access_type"] == "PRODUCTION"
    names = [row[f"{part}_name"] for part in ("primary_ds", "processed_ds", "data_tier")]
    assert names == ["SimTop", "Run2026A-v1", "MINI"]
    assert row["physics_group_name"] == "physics"


def test_datasets_by_time_and_release(dbs: Dbs) -> None:
    since = int(time.time()) - 30 * 86400
    assert {r["dataset"] for r in dbs.rows("datasets", min_ldate=since)} == {
        "/Muons/Run2026A-v1/AOD",
        "/Stream/Express2026A-v1/FEVT",
    }
    assert len(dbs.rows("datasets", max_ldate=since)) == 3
    (row,) = dbs.rows("datasets", release_version="SW_1_0_0", dataset="/Jets/*/*", detail=1)
    assert row["release_version"] == "SW_1_0_0"


def test_blocks_and_files_add_up(dbs: Dbs) -> None:
    blocks = dbs.rows("blocks", dataset="/Muons/Run2026A-v1/AOD", detail=1)
    files = dbs.rows("files", dataset="/Muons/Run2026A-v1/AOD", detail=1)
    assert [block["open_for_writing"] for block in blocks] == [0, 0, 1]
    for block in blocks:
        mine = [file for file in files if file["block_name"] == block["block_name"]]
        assert len(mine) == block["file_count"]
        assert sum(file["file_size"] for file in mine) == block["block_size"]
    one = files[0]
    assert dbs.rows("files", logical_file_name=one["logical_file_name"], detail=1) == [one]
    assert len(dbs.rows("files", block_name=blocks[0]["block_name"])) == blocks[0]["file_count"]
    assert dbs.rows("blocks", block_name=blocks[0]["block_name"], detail="true") == [blocks[0]]


def test_ndjson_when_asked(dbs: Dbs) -> None:
    reply = dbs.http.get(f"{dbs.grid.endpoints['dbs']}/datasets", headers={"Accept": "application/x-ndjson"})
    assert [json.loads(line) for line in reply.text.splitlines()] == dbs.rows("datasets")


@pytest.mark.parametrize(
    ("api", "parameters", "code"),
    [
        ("blocks", {}, 118),
        ("files", {}, 118),
        ("datasets", {"colour": "red"}, 118),
        ("datasets", {"min_ldate": "yesterday"}, 113),
        ("datasets", {"dataset_access_type": "FINE"}, 113),
    ],
)
def test_errors_have_the_shape_of_dbs(dbs: Dbs, api: str, parameters: dict[str, str], code: int) -> None:
    reply = dbs.reply(api, **parameters)
    assert reply.status_code == 400
    (error,) = reply.json()
    assert error.keys() == {"error", "http", "exception", "type", "message"}
    assert error["error"]["code"] == code
    assert error["http"]["code"] == error["exception"] == 400


def test_unknown_pages_and_serverinfo(dbs: Dbs) -> None:
    assert dbs.reply("nonsense").status_code == 404
    assert dbs.rows("serverinfo")[0]["dbs_instance"] == "prod/global"


def test_bad_input_on_demand(dbs: Dbs) -> None:
    dataset = "/Jets/Run2025B-v2/RAW"
    dbs.grid.fault(dbs={"negative_size": True})
    assert min(row["file_size"] for row in dbs.rows("files", dataset=dataset, detail=1)) < 0
    assert min(row["block_size"] for row in dbs.rows("blocks", dataset=dataset, detail=1)) < 0
    dbs.grid.fault(dbs={"negative_size": False, "duplicate_lfn": True})
    lfns = [row["logical_file_name"] for row in dbs.rows("files", dataset=dataset)]
    assert len(lfns) == len(set(lfns)) + 1
    dbs.grid.fault(dbs={"duplicate_lfn": False, "vanished_half": True})
    assert len(dbs.rows("datasets", dataset_access_type="*")) == 3
    dbs.grid.fault(dbs={"unknown_status": True})
    assert {row["dataset_access_type"] for row in dbs.rows("datasets", detail=1)} == {"SHINY"}
    dbs.grid.fault(dbs={"unknown_status": False, "broken_json": True})
    with pytest.raises(requests.exceptions.JSONDecodeError):
        dbs.reply("datasets").json()
    dbs.grid.fault(dbs={"broken_json": False, "http_500": 1})
    assert dbs.reply("datasets").status_code == 500
    assert dbs.reply("datasets").status_code == 200
    dbs.grid.fault(dbs={"down": True})
    with pytest.raises(requests.ConnectionError):
        dbs.reply("datasets")
