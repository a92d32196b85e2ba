"""A month in which some days were lost and backfilled comes to the same tables as one in which nothing happened."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.dump import TABLES, differences, dump
from demo.month import known_replicas
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from tests import ROOT
from tests.dags.house import House, fresh_database, open_house
from tests.people import inject

MONTH = ROOT / "include/scenarios/month.yaml"
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
_counter = itertools.count()


def midnight_after(day: int) -> datetime:
    """The end of that day of January."""
    return JANUARY + timedelta(days=day)


def jobs_of(day: int) -> list[dict[str, Any]]:
    """Jobs of a day as a drop of JSON lines; also of datasets that come into being later."""
    names = ["/Muons/Run2026A-v1/AOD", f"/Sim{1 + day % 18:02d}/Run2026A-v1/MINI"]
    date = (JANUARY + timedelta(days=day - 1)).date().isoformat()
    return [{"day": date, "dataset": name, "num_jobs": day + place} for place, name in enumerate(names)]


class World:
    """A house that lives through January."""

    def __init__(self, house: House, drops: Path) -> None:
        self.house = house
        self._drops = drops

    def live(self, day: int, *, now: int | None = None) -> None:
        """The runs of a day, at its end or at the end of day ``now``."""
        self.house.grid.clock.moment = midnight_after(now or day)
        for each in range(1, (now or day) + 1):
            lines = "".join(json.dumps(row) + "\n" for row in jobs_of(each))
            (self._drops / f"jobs-{jobs_of(each)[0]['day']}.jsonl").write_text(lines)
        self.house.runs("metadata_sync", logical_date=midnight_after(day))
        self.house.runs("popularity_aggregation", logical_date=midnight_after(day))


@pytest.fixture(scope="module")
def month(airflow: None, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The first of January: what is older is in, with its replicas. Only to be copied."""
    folder = tmp_path_factory.mktemp("month")
    with fresh_database(postgres, "month") as database, open_house(folder, database, MONTH) as house:
        values = yaml.safe_load((house.config / "dynamo.yaml").read_text())
        drops = {"path": f"{folder}/drops/jobs-{{day:%Y-%m-%d}}.jsonl"}
        (folder / "drops").mkdir()
        values["demand_sources"] = [{"name": "queue", "type": "files", "options": drops}]
        values["metadata_schedule"] = "@daily"
        (house.config / "dynamo.yaml").write_text(yaml.safe_dump(values))
        house.read_settings_again()
        house.grid.clock.moment = JANUARY
        house.runs("metadata_sync", logical_date=JANUARY)
        inject(database, known_replicas(house.grid.catalogue, house.grid.scenario, JANUARY))
        yield house


@pytest.fixture
def worlds(month: House, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes worlds that begin alike."""
    made: list[Database] = []

    def make() -> World:
        month.close_connections()
        name = f"world_{next(_counter)}"
        postgres.create_database(name, template="month")
        database = Database(postgres.url(name))
        made.append(database)
        monkeypatch.setenv("DYNAMO_DB_URL", database.url)
        month.read_settings_again()
        return World(replace(month, database=database), month.config.parent / "drops")

    yield make
    monkeypatch.undo()
    month.read_settings_again()
    for database in made:
        database.dispose()


def undisturbed(world: World, num_days: int) -> dict[str, str]:
    for day in range(1, num_days + 1):
        world.live(day)
    return dump(world.house.database)


def backfilled(world: World, num_days: int, lost: list[int], order: list[int]) -> tuple[dict[str, str], dict[str, str]]:
    """The tables before the backfill, and after it."""
    for day in range(1, num_days + 1):
        if day not in lost:
            world.live(day)
    before = dump(world.house.database)
    for day in order:
        world.live(day, now=num_days)
    return before, dump(world.house.database)


def compare(worlds: Any, num_days: int, lost: list[int], order: list[int]) -> None:
    expected = undisturbed(worlds(), num_days)
    before, after = backfilled(worlds(), num_days, lost, order)
    assert before["accesses_daily"] != expected["accesses_daily"]
    assert differences(expected, after) == []
    assert after == expected
    empty = {name for name in TABLES if len(expected[name].splitlines()) < 2}
    assert empty <= {"vanished", "unknown_use"}


@pytest.mark.slow
def test_a_day_that_was_lost_and_backfilled_makes_no_difference(worlds: Any) -> None:
    compare(worlds, 3, [2], [2])


@pytest.mark.slow
def test_days_that_were_lost_and_backfilled_backwards_make_no_difference(worlds: Any) -> None:
    compare(worlds, 5, [2, 3], [3, 2])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_month_with_a_lost_week_makes_no_difference(worlds: Any) -> None:
    lost = list(range(11, 18))
    compare(worlds, 30, lost, lost)
