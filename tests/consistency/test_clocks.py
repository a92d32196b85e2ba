"""Ages of files are told by clocks that agree, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.consistency import storage_list
from dynamo_ops.consistency.clocks import clock_fault
from dynamo_ops.consistency.repair import repair
from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.consistency.storage_list import read_clocks
from dynamo_ops.storage.protocol import TellsTime
from dynamo_ops.storage.webdav import WebDavStorage
from tests.consistency.checking import RULES, check, plant
from tests.world import World

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("clock", "is_off"),
    [(NOW + 6 * MINUTE, True), (NOW - 6 * MINUTE, True), (NOW + 4 * MINUTE, False), (None, False)],
    ids=["ahead", "slow", "within the tolerance", "untold"],
)
def test_a_clock_that_is_off(clock: datetime | None, is_off: bool) -> None:
    fault = clock_fault(NOW, {"this machine": NOW, "the storage of T2_A": clock}, 5 * MINUTE)
    assert (fault or "").startswith("the clock of the storage of T2_A shows 2026-11-2") == is_off
    assert (fault is None) != is_off


def test_a_webdav_server_tells_the_time(world: World) -> None:
    storage = world.pocket.storage("T2_A")
    assert isinstance(storage, TellsTime)
    told = storage.clock()
    assert told is not None
    assert abs(told - datetime.now(UTC)) < MINUTE


def ahead(by: timedelta) -> type[datetime]:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + by

    return Ahead


def slow(by: timedelta) -> Callable[[Any], datetime]:
    return lambda _: datetime.now(UTC) - by


@pytest.mark.parametrize("whose", ["this machine", "the storage of T2_A"])
def test_nothing_goes_by_age_where_a_clock_is_off(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """Files written a minute ago look a month old to a machine that is a month ahead."""
    world.block("b1", "T2_A")
    orphan, live = plant(world, "/store/x"), plant(world, "/store/unmerged/f")
    check(world, "r1", tmp_path)
    if whose == "this machine":
        monkeypatch.setattr(storage_list, "datetime", ahead(timedelta(days=30)))
    else:
        monkeypatch.setattr(WebDavStorage, "clock", slow(timedelta(days=30)))
    summary = check(world, "r2", tmp_path)
    assert (summary.num_orphan, summary.num_unmanaged) == (1, 1)
    assert (summary.num_orphan_found, summary.num_unmanaged_found) == (0, 0)
    (reason,) = summary.kept_because
    assert reason.startswith(f"the clock of {whose} shows ")
    repair(world.inventory.db, summary.check_id, world.open_storage, SiteRules(delete_unmanaged=True))
    assert (orphan.exists(), live.exists()) == (True, True)
    assert world.inventory.rows("SELECT DISTINCT reason FROM consistency_findings WHERE check_id = :c",
                                c=summary.check_id) == [(reason,)]  # fmt: skip


def test_a_listing_says_when_it_ended(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    summary = check(world, "r1", tmp_path, RULES)
    clocks = read_clocks(tmp_path / "r1" / "storage.parquet")
    listed_at = world.inventory.scalar(
        "SELECT storage_listed_at FROM consistency_checks WHERE id = :c", c=summary.check_id
    )
    assert clocks.ended_at is not None
    assert clocks.fault is None
    assert timedelta(0) < clocks.ended_at - listed_at < MINUTE
