"""The grid's clock: DBS and the access feed tell what they knew then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from simgrid.grid import Grid
from tests import ROOT

MONTH = ROOT / "include/scenarios/month.yaml"
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
GROWING = "/Electrons/Run2026A-v1/AOD"
STOPPED = "/Stopped/Run2026A-v1/AOD"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(MONTH, tmp_path_factory.mktemp("month")) as running:
        yield running


@pytest.fixture
def grid(shared: Grid) -> Iterator[Grid]:
    yield shared
    shared.clock.moment = None


def ask(grid: Grid, service: str, path: str = "", **params: Any) -> list[dict[str, Any]]:
    url = grid.endpoints[service] + path
    answer = requests.get(url, params=params, verify=grid.endpoints["ca"], timeout=30)
    answer.raise_for_status()
    return list(answer.json())


def at(grid: Grid, days: float) -> None:
    grid.clock.moment = JANUARY + timedelta(days=days)


def test_without_a_clock_the_story_is_at_its_end(grid: Grid) -> None:
    rows = ask(grid, "dbs", "/datasets", dataset_access_type="*", detail=1)
    assert len(rows) == 24
    assert {row["dataset_access_type"] for row in rows} == {"VALID", "INVALID"}


def test_datasets_come_and_leave_production(grid: Grid) -> None:
    seen = []
    for day in (0, 10, 20, 30):
        at(grid, day)
        rows = {row["dataset"]: row for row in ask(grid, "dbs", "/datasets", dataset_access_type="*", detail=1)}
        seen.append((len(rows), rows[STOPPED]["dataset_access_type"]))
        assert max(row["last_modification_date"] for row in rows.values()) <= grid.clock.moment.timestamp()
    assert seen == [(6, "PRODUCTION"), (13, "PRODUCTION"), (20, "INVALID"), (24, "INVALID")]


def test_blocks_grow_and_close_and_never_shrink(grid: Grid) -> None:
    before: dict[str, dict[str, Any]] = {}
    sizes = []
    for day in range(0, 31, 3):
        at(grid, day)
        blocks = {row["block_name"]: row for row in ask(grid, "dbs", "/blocks", dataset=GROWING, detail=1)}
        files = ask(grid, "dbs", "/files", dataset=GROWING, detail=1)
        for name, row in before.items():
            assert blocks[name]["block_size"] >= row["block_size"]
            assert blocks[name]["open_for_writing"] <= row["open_for_writing"]
        assert sum(row["file_count"] for row in blocks.values()) == len(files)
        sizes.append((len(blocks), len(files), sum(row["open_for_writing"] for row in blocks.values())))
        before = blocks
    assert sizes[0] < sizes[2] < sizes[-1] == (6, 30, 0)
    assert {is_open for _, _, is_open in sizes} == {0, 1}


def test_accesses_are_known_after_their_day_and_some_late(grid: Grid) -> None:
    def told() -> int:
        return len(ask(grid, "accesses", **{"from": "2026-01-10T00:00:00+00:00", "to": "2026-01-11T00:00:00+00:00"}))

    numbers = []
    for day in (9.5, 10, 11, 30):
        at(grid, day)
        numbers.append(told())
    nothing, most, everything, later = numbers
    assert nothing == 0 < most < everything == later


def test_the_clock_is_set_from_outside(grid: Grid) -> None:
    url = f"{grid.endpoints['control']}/clock"
    assert requests.post(url, json={"at": "2026-01-05T00:00:00+00:00"}, timeout=30).ok
    assert grid.clock.moment == JANUARY + timedelta(days=4)
    for wrong in ("yesterday", "2026-01-05T00:00:00"):
        answer = requests.post(url, json={"at": wrong}, timeout=30)
        assert answer.status_code == 400
        assert wrong in answer.json()["error"]
    assert requests.post(url, json={"at": None}, timeout=30).ok
    assert grid.clock.moment is None
