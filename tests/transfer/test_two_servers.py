"""Whole cycles of the tasks with two FTS servers over the same storages: each has its links, one fails, one goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dynamo_ops.alerts.illness import ill_now
from dynamo_ops.base.settings import Settings
from dynamo_ops.transfer import tasks
from simgrid.fts.store import JobStore
from tests.patience import PATIENCE_S
from tests.world import SecondFts, World, second_fts


@dataclass
class TwoServers:
    """The grid's own FTS, and a second one."""

    world: World
    other: SecondFts

    @property
    def first(self) -> str:
        return str(self.world.pocket.grid.endpoints["fts"])

    @property
    def second(self) -> str:
        return self.other.url

    def settings(self, **fts: Any) -> Settings:
        """What goes to T2_C is the second one's."""
        ends = self.world.pocket.grid.endpoints
        servers = [{"url": self.second, "destinations": ["T2_C"]}, {"url": self.first}]
        return Settings.model_validate(
            {
                "fts": fts or {"servers": servers},
                "tls": {"ca": ends["ca"], "cert": ends["user_cert"], "key": ends["user_key"]},
                "transfers": {"backoff_s": 0},
            }
        )

    def cycle(self, settings: Settings) -> dict[str, Any]:
        """As the DAG goes, up to the submits; what recover saw."""
        db = self.world.inventory.db
        found = tasks.recover(db, settings)
        for lot in tasks.plan_transfer_batches(db, settings, found["recovered"]["unsubmitted"]):
            tasks.submit(db, settings, lot)
        return found

    def follow(self, settings: Settings, num_done: int) -> dict[str, Any]:
        """Take results in until so many files more are there; the last summary."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = tasks.apply_transfers(self.world.inventory.db, settings)
            num_done -= seen["num_done"]
            if num_done <= 0:
                break
            assert time.monotonic() < deadline, "jobs did not end"
            time.sleep(0.05)
        assert num_done == 0
        return seen

    def jobs(self) -> dict[str, int]:
        """How many jobs each server was sent."""
        fts = self.world.pocket.grid._fts
        assert fts is not None
        stores: dict[str, JobStore] = {self.first: fts.store, self.second: self.other.store}
        return {address: len(store.jobs) for address, store in stores.items()}

    def states(self) -> dict[tuple[str, str], str]:
        """(block, destination) → state of its subscriptions."""
        return {
            (lfn.split("/")[2], site): state for (_, lfn, site), state in self.world.inventory.subscriptions().items()
        }


@pytest.fixture
def two(world: World) -> Iterator[TwoServers]:
    with second_fts(world.pocket.grid) as other:
        yield TwoServers(world, other)


def test_each_server_copies_what_its_links_need(two: TwoServers) -> None:
    inventory = two.world.inventory
    contents = two.world.block("b1", "T2_A") | two.world.block("b2", "T1_TAPE")
    for site in ("T2_B", "T2_C"):
        inventory.subscription("copy", list(contents), site)
    two.cycle(two.settings())
    assert two.jobs() == {two.first: 2, two.second: 2}, "of disk and of tape"
    two.follow(two.settings(), 12)
    for site in ("T2_B", "T2_C"):
        assert {lfn: two.world.pocket.path(site, lfn).read_bytes() for lfn in contents} == contents
    assert set(inventory.subscriptions().values()) == {"done"}
    assert inventory.rows("SELECT count(*), count(DISTINCT server) FROM transfer_batches") == [(4, 2)]


@pytest.mark.chaos
def test_one_server_fails_and_comes_back(two: TwoServers) -> None:
    """What it had goes on when it is back; what is new goes to the other meanwhile; nothing is copied twice."""
    first_block, second_block = two.world.block("b1", "T2_A"), two.world.block("b2", "T2_A")
    two.other.faults.set({"fts": {"paused": True}})
    for site in ("T2_B", "T2_C"):
        two.world.inventory.subscription("copy", list(first_block), site)
    two.cycle(two.settings())
    two.other.faults.set({"fts": {"down": True}})
    for site in ("T2_B", "T2_C"):
        two.world.inventory.subscription("copy", list(second_block), site)
    found = two.cycle(two.settings())
    assert list(found["observed"]["ill"]) == [two.second]
    assert list(two.follow(two.settings(), 9 - found["observed"]["num_done"])["ill"]) == [two.second]
    assert two.states() == {
        ("b1", "T2_B"): "done",
        ("b1", "T2_C"): "inbatch",
        ("b2", "T2_B"): "done",
        ("b2", "T2_C"): "done",
    }
    assert ill_now(two.world.inventory.db, two.settings()) == [], "it may have been a moment"
    two.world.inventory.rows("UPDATE fts_servers SET ill_since = ill_since - interval '16 minutes'")
    (alert,) = ill_now(two.world.inventory.db, two.settings())
    assert alert.sentence.startswith(f"FTS {two.second} does not answer: 3 files wait, since ")
    two.other.faults.clear()
    found = two.cycle(two.settings())
    assert two.follow(two.settings(), 3 - found["observed"]["num_done"])["ill"] == {}
    assert set(two.states().values()) == {"done"}
    assert two.jobs() == {two.first: 3, two.second: 1}
    assert two.world.inventory.scalar("SELECT count(*) FROM transfers") == 12
    assert ill_now(two.world.inventory.db, two.settings()) == []


@pytest.mark.chaos
def test_one_server_answers_and_starts_nothing(two: TwoServers) -> None:
    """Its daemon is dead. What waits there is cancelled, which it says itself, and goes to the other; some files try
    it, and arrive when it is well again."""
    contents = two.world.block("b1", "T2_A", num_files=4)
    two.other.faults.set({"fts": {"paused": True}})
    two.world.inventory.subscription("copy", list(contents), "T2_C")
    two.cycle(two.settings())
    two.world.inventory.rows("UPDATE transfer_batches SET submitted_at = submitted_at - interval '7 hours'")
    assert two.cycle(two.settings())["moved"] == {"num_unsent": 0, "num_cancelled": 1}
    fresh = two.world.block("b2", "T2_A", num_files=7)
    two.world.inventory.subscription("copy", list(fresh), "T2_C")
    assert two.cycle(two.settings())["observed"]["num_cancelled"] == 4
    assert two.follow(two.settings(), 6)["ill"] == {}
    assert sorted(two.world.inventory.subscriptions().values()) == ["done"] * 6 + ["inbatch"] * 5
    assert {state for (block, _), state in two.states().items() if block == "b1"} == {"done"}
    (alert,) = ill_now(two.world.inventory.db, two.settings())
    assert alert.sentence.startswith(f"FTS {two.second} starts nothing: 5 files wait, since ")
    two.other.faults.clear()
    two.follow(two.settings(), 5)
    assert set(two.world.inventory.subscriptions().values()) == {"done"}
    for lfn, content in (contents | fresh).items():
        assert two.world.pocket.path("T2_C", lfn).read_bytes() == content
    two.cycle(two.settings())
    assert ill_now(two.world.inventory.db, two.settings()) == []
    assert two.world.inventory.scalar("SELECT count(*) FROM transfers") == 4 + 11


@pytest.mark.chaos
def test_the_address_is_changed_while_jobs_are_open(two: TwoServers) -> None:
    """They are asked for where they are: none counts as lost, and the new server gets what is planned from then on."""
    before, after = two.world.block("b1", "T2_A"), two.world.block("b2", "T2_A")
    two.other.faults.set({"fts": {"paused": True}})
    two.world.inventory.subscription("copy", list(before), "T2_B")
    two.cycle(two.settings(url=two.second))
    two.world.inventory.subscription("copy", list(after), "T2_B")
    changed = two.settings(url=two.first)
    observed = two.cycle(changed)["observed"]
    assert (observed["num_lost_jobs"], observed["num_open_jobs"]) == (0, 1)
    two.other.faults.clear()
    two.follow(changed, 6)
    assert two.jobs() == {two.first: 1, two.second: 1}
    assert two.world.inventory.scalar("SELECT count(*) FROM transfers") == 6
