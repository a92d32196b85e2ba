"""From an approved Dealer plan to replicas-to-be and subscriptions, on a real database: once, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import InventoryError, PlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import commit as module
from dynamo_ops.dealer.commit import FOLLOWS, CommitSummary, commit
from dynamo_ops.dealer.engine.plan import COPIES
from dynamo_ops.dealer.history import dataset_history, prune_history
from dynamo_ops.dealer.tasks import commit_plan
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import GATE, approve, refuse
from dynamo_ops.request.cancel import cancel
from dynamo_ops.request.copy_request import request_copy
from tests.detox.small import NOW
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA, TESTER
from tests.plan.made_of import made_of
from tests.request.stock import list_requests

Copy = tuple[str, str]
"""Block and site of a copy."""


class Stock(Inventory):
    """Blocks b1, b2 of three files each, complete at T2_A for ``ops``; T2_B and T2_C have nothing yet."""

    def __init__(self, db: Database, folder: Path) -> None:
        super().__init__(db)
        self.folder = folder
        for site in ("T2_A", "T2_B", "T2_C"):
            self.site(site)
        for block in ("b1", "b2"):
            self.block(block, 3)
            self.replica(block, "T2_A")
        self.users = self.scalar("INSERT INTO groups (name, ownership_level) VALUES ('users', 'block') RETURNING id")

    def empty_block(self, name: str) -> None:
        self.block_ids[name] = self.scalar(
            """INSERT INTO blocks (dataset_id, name, is_open, last_update_at)
            VALUES (:d, :n, true, now()) RETURNING id""",
            d=self.dataset_id,
            n=name,
        )

    def plan(
        self,
        *copies: Copy,
        growing: bool = False,
        group: int | None = None,
        approved: bool = True,
        requests: tuple[int, ...] = (),
        run_key: str = "run",
        follows: Any = ...,
    ) -> int:
        """A stored plan that makes these block copies for ``group`` (ops). ``requests``: whose subscription they are;
        ``follows``: the plan that had been committed when the inventory was read."""
        owner = self.group_id if group is None else group
        sites = sorted({site for _, site in copies})
        blocks = pl.DataFrame(
            [(self.block_ids[block], self.dataset_id, self.site_ids[site], owner) for block, site in copies],
            orient="row",
            schema=dict.fromkeys(["block_id", "dataset_id", "site_id", "group_id"], pl.Int64),
        )
        datasets = pl.DataFrame(
            [(self.dataset_id, self.site_ids[site], owner, growing) for site in sites],
            orient="row",
            schema={"dataset_id": pl.Int64, "site_id": pl.Int64, "group_id": pl.Int64, "is_growing": pl.Boolean},
        )
        copied = pl.DataFrame(
            [
                {
                    "copy": 1 + sites.index(site) + len(sites) * turn,
                    "plugin": "requests",
                    "request_id": request,
                    "dataset_id": self.dataset_id,
                    "block_id": None if growing else self.block_ids[block],
                    "site_id": self.site_ids[site],
                    "site": site,
                    "group_id": owner,
                    "size_bytes": 3 * SIZE,
                    "reason": f"request {request}",
                    "weight": None,
                }
                for block, site in copies
                for turn, request in enumerate(requests or (None,))
            ],
            schema=dict(COPIES),
        )
        refused = pl.DataFrame(schema={"request_id": pl.Int64, "reason": pl.String})
        stored = plan_store.save(
            self.db,
            made_of("dealer", now=NOW),
            run_key=run_key,
            frames={"block_copies": blocks, "dataset_copies": datasets, "copies": copied, "refused": refused},
            summary={} if follows is ... else {FOLLOWS: follows},
            location=str(self.folder),
        )
        if approved:
            approve(self.db, stored.id, GATE)
        return stored.id

    def owner(self, block: str, site: str) -> str | None:
        found = self.rows(
            """SELECT g.name FROM block_replicas r LEFT JOIN groups g ON g.id = r.group_id
            WHERE r.block_id = :b AND r.site_id = :s""",
            b=self.block_ids[block],
            s=self.site_ids[site],
        )
        return found[0][0] if found else "no replica"

    def dataset_replica(self, site: str) -> tuple[bool, str | None] | None:
        """(is growing, for whom) of the dataset at a site; None when it is not there."""
        found = self.rows(
            """SELECT d.is_growing, g.name FROM dataset_replicas d LEFT JOIN groups g ON g.id = d.group_id
            WHERE d.site_id = :s""",
            s=self.site_ids[site],
        )
        return found[0] if found else None

    def everything(self) -> dict[str, list[Any]]:
        """All rows of the tables that a commit could touch."""
        tables = ("block_replicas", "block_replica_files", "dataset_replicas", "subscriptions", "plans")
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


@pytest.fixture
def stock(database: Database, tmp_path: Path) -> Stock:
    return Stock(database, tmp_path)


def done(stock: Stock, plan_id: int) -> CommitSummary:
    summary = commit(stock.db, plan_id)
    assert summary is not None
    return summary


def test_copies_begin_empty_and_incomplete_with_a_subscription_for_each_file(stock: Stock) -> None:
    summary = done(stock, stock.plan(("b1", "T2_B")))
    assert summary == CommitSummary(1, 0, 1, 3, 3 * SIZE, {})
    assert stock.replica_state("b1", "T2_B") == (False, 0, 0)
    assert stock.owner("b1", "T2_B") == "ops"
    assert stock.subscriptions() == {("copy", lfn, "T2_B"): "new" for lfn in stock.files_of["b1"]}
    assert stock.dataset_replica("T2_B") == (False, None)
    assert stock.replica_state("b1", "T2_A") == (True, 3 * SIZE, 0)


def test_a_second_commit_does_nothing(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_B"))
    done(stock, plan)
    before = stock.everything()
    assert commit(stock.db, plan) is None
    assert stock.everything() == before


@pytest.mark.parametrize("approved", [False, True], ids=["planned", "refused"])
def test_what_was_not_approved_is_not_committed(stock: Stock, approved: bool) -> None:
    plan = stock.plan(("b1", "T2_B"), approved=approved)
    if approved:
        refuse(stock.db, plan, "too full")
    with pytest.raises(PlanError, match="refused: too full" if approved else "is planned"):
        commit(stock.db, plan)
    assert stock.subscriptions() == {}


def test_only_what_is_missing_is_subscribed_for(stock: Stock) -> None:
    here = stock.files_of["b1"]
    stock.replica("b1", "T2_B", present=here[:2])
    summary = done(stock, stock.plan(("b1", "T2_B")))
    assert (summary.num_block_replicas, summary.num_files, summary.size_bytes) == (0, 1, SIZE)
    assert set(stock.subscriptions()) == {("copy", here[2], "T2_B")}
    assert stock.replica_state("b1", "T2_B") == (False, 2 * SIZE, 2)


def test_what_is_there_already_only_changes_its_owner(stock: Stock) -> None:
    summary = done(stock, stock.plan(("b1", "T2_A"), group=stock.users))
    assert summary == CommitSummary(0, 1, 0, 0, 0, {})
    assert (stock.owner("b1", "T2_A"), stock.owner("b2", "T2_A")) == ("users", "ops")
    assert stock.subscriptions() == {}


def test_what_is_about_to_be_deleted_there_is_kept_after_all(stock: Stock) -> None:
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    stock.rows("UPDATE block_replicas SET group_id = NULL WHERE block_id = :b", b=stock.block_ids["b1"])
    done(stock, stock.plan(("b1", "T2_A")))
    assert stock.owner("b1", "T2_A") == "ops"
    states = stock.subscriptions()
    assert {states["delete", lfn, "T2_A"] for lfn in stock.files_of["b1"]} == {"cancelled"}


def test_a_subscription_that_stands_already_is_not_made_twice(stock: Stock) -> None:
    stock.subscription("copy", stock.files_of["b1"][:1], "T2_B")
    assert done(stock, stock.plan(("b1", "T2_B"))).num_files == 2
    assert stock.scalar("SELECT count(*) FROM subscriptions") == 3


def test_a_block_without_files_is_complete_at_once(stock: Stock) -> None:
    stock.empty_block("empty")
    done(stock, stock.plan(("empty", "T2_B")))
    assert stock.replica_state("empty", "T2_B") == (True, 0, 0)


def test_a_whole_dataset_goes_on_growing_for_its_owner(stock: Stock) -> None:
    done(stock, stock.plan(("b1", "T2_B"), ("b2", "T2_B"), growing=True))
    assert stock.dataset_replica("T2_B") == (True, "ops")


def test_a_replica_that_did_not_grow_begins_to(stock: Stock) -> None:
    done(stock, stock.plan(("b1", "T2_A"), growing=True))
    assert stock.dataset_replica("T2_A") == (True, "ops")


def test_copies_of_some_blocks_do_not_stop_what_grows(stock: Stock) -> None:
    stock.rows("UPDATE dataset_replicas SET is_growing = true, group_id = :g", g=stock.users)
    done(stock, stock.plan(("b1", "T2_A")))
    assert stock.dataset_replica("T2_A") == (True, "users")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        pytest.param(
            "UPDATE sites SET status = 'waitroom' WHERE name = 'T2_B'", "the site is not ready any more", id="waitroom"
        ),
        pytest.param(
            "UPDATE sites SET status = 'unknown' WHERE name = 'T2_B'", "the site is not ready any more", id="unknown"
        ),
    ],
)
def test_a_site_that_is_not_ready_any_more_gets_nothing(stock: Stock, event: str, reason: str) -> None:
    plan = stock.plan(("b1", "T2_B"), ("b1", "T2_C"))
    stock.rows(event)
    summary = done(stock, plan)
    assert summary.left_out == {reason: 1}
    assert (stock.owner("b1", "T2_B"), stock.owner("b1", "T2_C")) == ("no replica", "ops")
    assert stock.dataset_replica("T2_B") is None
    assert {site for _, _, site in stock.subscriptions()} == {"T2_C"}


@pytest.mark.parametrize("status", ["invalid", "deprecated", "deleted", "unknown", "ignored"])
def test_a_dataset_that_is_not_valid_any_more_is_not_copied(stock: Stock, status: str) -> None:
    plan = stock.plan(("b1", "T2_B"))
    stock.rows("UPDATE datasets SET status = :s", s=status)
    assert done(stock, plan).left_out == {"the dataset is not valid any more": 1}
    assert stock.subscriptions() == {}


def test_a_block_that_is_gone_is_not_copied(stock: Stock) -> None:
    stock.empty_block("b3")
    plan = stock.plan(("b3", "T2_B"), ("b1", "T2_B"))
    stock.rows("DELETE FROM blocks WHERE name = 'b3'")
    summary = done(stock, plan)
    assert summary.left_out == {"the block or the site is gone": 1}
    assert summary.num_block_replicas == 1


def test_the_request_that_is_served_becomes_activated(stock: Stock) -> None:
    served = request_copy(stock.db, "/A/B-v1/AOD", ["T2_B"], num_copies=1, group="ops", by=TESTER)
    other = request_copy(stock.db, "/A/B-v1/AOD", ["T2_C"], num_copies=1, group="ops", by=TESTER)
    plan = stock.plan(("b1", "T2_B"), requests=(served, served))
    first = commit_plan(stock.db, plan, by=GATE)
    assert dict(list_requests(stock.db).select("id", "state").iter_rows()) == {served: "activated", other: "new"}
    assert commit_plan(stock.db, plan, by=GATE) == first


@pytest.mark.parametrize("growing", [True, False], ids=["the dataset was asked for", "the block was"])
def test_what_users_asked_for_is_more_urgent_than_the_rest(stock: Stock, growing: bool) -> None:
    request = request_copy(stock.db, "/A/B-v1/AOD", ["T2_B"], num_copies=1, group="ops", by=TESTER)
    commit_plan(stock.db, stock.plan(("b1", "T2_B"), requests=(request,), growing=growing), by=GATE)
    commit_plan(stock.db, stock.plan(("b1", "T2_C"), run_key="another", follows=...), by=GATE)
    activities = stock.rows("""
        SELECT DISTINCT x.name, s.activity FROM subscriptions s JOIN sites x ON x.id = s.site_id ORDER BY 1""")
    assert activities == [("T2_B", "request"), ("T2_C", "rebalancing")]


@pytest.mark.parametrize("step", ["_load", "subscribe_blocks", "mark_committed"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_is_killed_leaves_everything_as_it_was_and_can_be_done_again(
    stock: Stock, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    plan = stock.plan(("b1", "T2_B"), ("b2", "T2_A"), group=stock.users, growing=True)
    before = stock.everything()
    real: Callable[..., Any] = getattr(module, step)

    def killed(*args: Any, **kwargs: Any) -> None:
        if when == "after":
            real(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            commit(stock.db, plan)
    assert stock.everything() == before
    assert done(stock, plan).num_block_replicas == 1


def test_copies_whose_sources_are_being_deleted_are_left_out(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_B"), ("b2", "T2_B"))
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    stock.rows("UPDATE block_replicas SET group_id = NULL WHERE block_id = :b", b=stock.block_ids["b1"])
    summary = done(stock, plan)
    assert summary.left_out == {"its sources are gone or being deleted": 1}
    assert {lfn for _, lfn, site in stock.subscriptions() if site == "T2_B"} == set(stock.files_of["b2"])


def test_a_plan_that_was_overtaken_by_another_is_not_committed(stock: Stock) -> None:
    first = stock.plan(("b1", "T2_B"), follows=None)
    second = stock.plan(("b2", "T2_B"), run_key="run 2", follows=None)
    third = stock.plan(("b2", "T2_C"), run_key="run 3", follows=first)
    done(stock, first)
    before = stock.everything()
    with pytest.raises(PlanError, match=f"plan {first} of the partition was committed after the inventory was read"):
        commit(stock.db, second)
    assert stock.everything() == before
    assert done(stock, third).num_files == 3


def test_what_was_copied_stays_in_the_history(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_B"), ("b2", "T2_C"))
    stock.rows("UPDATE sites SET status = 'morgue' WHERE name = 'T2_C'")
    done(stock, plan)
    found = dataset_history(stock.db, "/A/B-v1/*", since=datetime(2020, 1, 1, tzinfo=UTC))
    columns = ("plan_id", "site", "plugin", "group", "num_blocks", "num_left_out", "left_out", "size_bytes")
    assert found.select(columns).rows() == [
        (plan, "T2_B", "requests", "ops", 1, 0, None, 3 * SIZE),
        (plan, "T2_C", "requests", "ops", 1, 1, "the site is not ready any more", 3 * SIZE),
    ]
    assert dataset_history(stock.db, "/A/B-v1/*", since=datetime(2020, 1, 1, tzinfo=UTC), site="T2_C").height == 1
    with pytest.raises(InventoryError, match="no dataset is called '/no'"):
        dataset_history(stock.db, "/no", since=datetime(2020, 1, 1, tzinfo=UTC))


def test_what_was_taken_back_in_between_is_not_copied(stock: Stock) -> None:
    asked = request_copy(stock.db, "/A/B-v1/AOD", ["T2_B"], num_copies=1, group="ops", by=ADA)
    plan = stock.plan(("b1", "T2_B"), ("b2", "T2_B"), requests=(asked,), growing=True)
    cancel(stock.db, asked, by=ADA, reason="by mistake")
    assert done(stock, plan).left_out == {"the requests that asked for it were closed": 2}
    assert (stock.subscriptions(), stock.dataset_replica("T2_B")) == ({}, None)


def test_what_another_request_still_asks_for_is_copied(stock: Stock) -> None:
    ids = [request_copy(stock.db, "/A/B-v1/AOD", ["T2_B"], num_copies=copies, group="ops", by=ADA) for copies in (0, 1)]
    plan = stock.plan(("b1", "T2_B"), requests=tuple(ids), growing=True)
    cancel(stock.db, ids[0], by=ADA, reason="by mistake")
    assert done(stock, plan).num_files == 3
    assert stock.dataset_replica("T2_B") == (True, "ops")


def test_history_goes_when_it_is_old(stock: Stock) -> None:
    done(stock, stock.plan(("b1", "T2_B")))
    assert prune_history(stock.db, before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert prune_history(stock.db, before=datetime.now(UTC) + timedelta(days=1)) == 1
    assert stock.scalar("SELECT count(*) FROM dealer_history") == 0
