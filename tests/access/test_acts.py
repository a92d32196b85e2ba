"""What people do is taken down with its effect, whatever it is; who may not is refused, and that is taken down too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dynamo_ops.access import audit
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.injection.inject import inject
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.catalogue.undo import undo_invalidation
from dynamo_ops.inventory.doubt.declare import call_good, declare_bad, report_suspicious
from dynamo_ops.inventory.site.downtime import drain, resume
from dynamo_ops.inventory.site.override import set_status, unset_status
from dynamo_ops.inventory.site.quota import set_quotas
from dynamo_ops.inventory.site.shared import declare, withdraw
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.lock.store import add_lock, remove_lock
from dynamo_ops.request.cancel import cancel
from dynamo_ops.request.copy_request import request_copy
from dynamo_ops.request.deletion_request import request_deletion
from dynamo_ops.request.unique_quota import set_group_quota, set_user_quota
from tests.inventory.factory import Inventory
from tests.people import ADA

NOW = datetime.now(UTC)
DATASET = "/A/B-v1/AOD"
EVE = Person("eve", KnownBy.TOKEN, address="10.0.0.1")
Act = Callable[[Database, Person], object]
ACTS: dict[str, tuple[str, Act]] = {
    "lock": (
        "lock /A/B-v1/AOD at T2_A",
        lambda db, by: add_lock(db, DATASET, sites="T2_A", reason="why", by=by, now=NOW),
    ),
    "unlock": ("remove a lock lock 1: /A/B-v1/AOD at T2_A", lambda db, by: remove_lock(db, 1, reason="why", by=by)),
    "copy": (
        "ask for copies /A/B-v1/AOD to T2_B for ops",
        lambda db, by: request_copy(db, DATASET, ["T2_B"], num_copies=1, group="ops", by=by),
    ),
    "delete": (
        "ask for deletions /A/B-v1/AOD at T2_C",
        lambda db, by: request_deletion(db, DATASET, ["T2_C"], reason="why", by=by, now=NOW),
    ),
    "cancel": ("cancel or extend a request request 1", lambda db, by: cancel(db, 1, by=by, reason="why")),
    "group quota": ("set a group's quota ops: 1.00 kB", lambda db, by: set_group_quota(db, "ops", 1000, by=by)),
    "user quota": ("set a person's quota bob: unlimited", lambda db, by: set_user_quota(db, "bob", -1, by=by)),
    "partition quota": (
        "set a partition's quota P at T2_A, T2_B: unknown",
        lambda db, by: set_quotas(db, ["T2_B", "T2_A"], "P", None, by=by, reason="why"),
    ),
    "status": (
        "set a site's status, downtime or consistency mode T2_A is morgue",
        lambda db, by: set_status(db, "T2_A", "morgue", by=by, reason="why"),
    ),
    "status of its own": (
        "set a site's status, downtime or consistency mode T2_A is what its source says",
        lambda db, by: unset_status(db, "T2_A", by=by, stable_h=0),
    ),
    "drain": (
        "set a site's status, downtime or consistency mode downtime of T2_B",
        lambda db, by: drain(db, "T2_B", by=by, reason="why"),
    ),
    "resume": (
        "set a site's status, downtime or consistency mode downtimes of T2_B end",
        lambda db, by: resume(db, "T2_B", by=by),
    ),
    "share": (
        "set a site's status, downtime or consistency mode T2_A and T2_C share a storage",
        lambda db, by: declare(db, "T2_A", "T2_C", by=by, reason="why"),
    ),
    "share no more": (
        "set a site's status, downtime or consistency mode T2_A and T2_C share no storage",
        lambda db, by: withdraw(db, "T2_A", "T2_C", by=by),
    ),
    "hold": (
        "hold, release, retry or cancel subscriptions hold 1 subscriptions at T2_B",
        lambda db, by: operate.hold(db, Selection(ids=[1]), by=by, reason="why"),
    ),
    "release": (
        "hold, release, retry or cancel subscriptions release 1 subscriptions at T2_B",
        lambda db, by: operate.release(db, Selection(ids=[1]), by=by),
    ),
    "cancel subscriptions": (
        "hold, release, retry or cancel subscriptions cancel 1 subscriptions at T2_B",
        lambda db, by: operate.cancel(db, Selection(sites=["T2_B"]), by=by, reason="why"),
    ),
    "inject": (
        "inject 1 datasets, 0 blocks, 0 files",
        lambda db, by: inject(db, {"datasets": [{"name": "/New/B-v1/C"}]}, by=by),
    ),
    "invalidate": (
        "invalidate 1 datasets, 0 blocks, 0 files",
        lambda db, by: invalidate(db, {"datasets": ["/New/B-v1/C"]}, reason="why", by=by),
    ),
    "undo": (
        "invalidate undo: 1 names",
        lambda db, by: undo_invalidation(db, ["/New/*"], reason="why", by=by, keep=timedelta(days=1)),
    ),
    "suspicious": (
        "report bad replicas 1 files at T2_A",
        lambda db, by: report_suspicious(db, "T2_A", ["/store/b1/f1"], reason="why", by=by),
    ),
    "bad": (
        "declare bad replicas 2 files at T2_A",
        lambda db, by: declare_bad(db, "T2_A", ["/store/b1/f0", "/store/b1/f1"], reason="why", by=by),
    ),
    "good": (
        "declare bad replicas 1 files at T2_A",
        lambda db, by: call_good(db, "T2_A", ["/store/b1/f1"], reason="why", by=by),
    ),
}
"""In the order in which they can be done one after another: what the audit has of it, and the act."""


@pytest.fixture
def stock(database: Database) -> Inventory:
    """A dataset at three sites, of which one file is to come to a fourth."""
    inventory = Inventory(database)
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    files = inventory.block("b1", 2)
    for name in ("T2_A", "T2_C"):
        inventory.replica("b1", name)
    inventory.subscription("copy", inventory.files_of["b1"][:1], "T2_B", origin="dealer")
    assert files is not None
    return inventory


def noted(db: Database) -> list[tuple[str, str, str]]:
    records = audit.records(db, limit=1000).reverse()
    return [
        (f"{act} {what}", who, outcome)
        for act, what, who, outcome in records.select("action", "object", "person", "outcome").iter_rows()
    ]


def test_every_act_is_taken_down(stock: Inventory) -> None:
    for _, act in ACTS.values():
        act(stock.db, ADA)
    assert noted(stock.db) == [(what, "ada", "done") for what, _ in ACTS.values()]
    reasons = audit.records(stock.db)["reason"].unique().to_list()
    assert set(reasons) == {"why", None}


@pytest.mark.parametrize("name", ACTS)
def test_who_holds_nothing_does_nothing(stock: Inventory, name: str) -> None:
    acts = iter(ACTS.items())
    for before, (_, act) in acts:
        if before == name:
            break
        act(stock.db, ADA)
    tables = {table: rows(stock.db, table) for table in TABLES}
    with pytest.raises(AccessError, match=r"^eve may not "):
        act(stock.db, EVE)
    assert {table: rows(stock.db, table) for table in TABLES} == tables
    what, who, outcome = noted(stock.db)[-1]
    assert (what.split()[0], who, outcome) == (ACTS[name][0].split()[0], "eve", "refused")
    assert audit.records(stock.db, limit=1)["address"].to_list() == ["10.0.0.1"]


TABLES = (
    "locks",
    "requests",
    "request_actions",
    "group_quotas",
    "user_quotas",
    "quotas",
    "site_overrides",
    "sites",
    "site_downtimes",
    "shared_storages",
    "subscriptions",
    "datasets",
    "block_replicas",
    "invalidations",
    "bad_replicas",
)


def rows(db: Database, table: str) -> str:
    return str(db.frame(f"SELECT coalesce(json_agg(t ORDER BY t::text), '[]')::text AS r FROM {table} t")["r"][0])


def test_whose_copies_they_are_cannot_be_told_so_a_user_deletes_none(stock: Inventory) -> None:
    """One that they asked for may have been there before them."""
    user = Person("ada", KnownBy.TOKEN, (Grant(Role.USER),), frozenset({"ops"}))
    request_copy(stock.db, DATASET, ["T2_A"], num_copies=1, group="ops", by=user)
    with pytest.raises(AccessError, match=r"user \(only copies that they asked for, not on tape\)"):
        request_deletion(stock.db, DATASET, ["T2_A"], reason="why", by=user, now=NOW)
    assert stock.db.frame("SELECT kind FROM requests")["kind"].to_list() == ["copy"]
