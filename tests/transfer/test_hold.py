"""Held with a reason, released when the reason is gone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, text

from dynamo_ops.inventory.subscription.operate import cancel, release
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.query.status import held
from dynamo_ops.transfer import hold
from dynamo_ops.transfer.hold import HoldSummary, hold_and_release
from tests.inventory.factory import Inventory
from tests.people import TESTER


@pytest.fixture
def subscribed(inventory: Inventory) -> Inventory:
    """One file, subscribed at T2_B; T2_A and T2_C may have it."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    inventory.subscription("copy", inventory.block("b1", 1), "T2_B")
    return inventory


def failed(inventory: Inventory, site: str, recoverable: bool) -> None:
    """An attempt from ``site`` that failed."""
    inventory.rows(
        """WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
        VALUES (gen_random_uuid()::text, gen_random_uuid(), :d, false, 'finished') RETURNING id)
        INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable, size_bytes)
        SELECT b.id, s.id, 0, :s, 'failed', :r, 1 FROM b, subscriptions s""",
        d=inventory.site_ids["T2_B"],
        s=inventory.site_ids[site],
        r=recoverable,
    )
    inventory.rows("UPDATE subscriptions SET state = 'retry', num_attempts = num_attempts + 1")


def set_status(inventory: Inventory, site: str, status: str) -> None:
    inventory.rows("UPDATE sites SET status = :st WHERE name = :s", st=status, s=site)


def state(inventory: Inventory) -> str:
    hold_and_release(inventory.db)
    return inventory.subscriptions()["copy", "/store/b1/f0", "T2_B"]


def test_no_source(subscribed: Inventory) -> None:
    assert hold_and_release(subscribed.db) == HoldSummary(0, {"no_source": 1}, 0)
    subscribed.replica("b1", "T2_A")
    assert hold_and_release(subscribed.db) == HoldSummary(0, {}, 1)
    assert state(subscribed) == "retry"


def test_incomplete_replica_without_the_file_is_no_source(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A", present=[])
    assert state(subscribed) == "held/no_source"


@pytest.mark.parametrize(
    ("site", "status"),
    [("T2_A", "waitroom"), ("T2_A", "unknown"), ("T2_B", "waitroom"), ("T2_B", "morgue"), ("T2_B", "unknown")],
)
def test_site_not_ready(subscribed: Inventory, site: str, status: str) -> None:
    """The only source, which comes back or of which nothing is known; the destination, whatever is wrong with it."""
    subscribed.replica("b1", "T2_A")
    set_status(subscribed, site, status)
    assert state(subscribed) == "held/site_unavailable"
    set_status(subscribed, site, "ready")
    assert state(subscribed) == "retry"


def test_a_source_in_the_morgue_is_read(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A")
    set_status(subscribed, "T2_A", "waitroom")
    assert state(subscribed) == "held/site_unavailable"
    set_status(subscribed, "T2_A", "morgue")
    assert state(subscribed) == "retry"


@pytest.mark.parametrize(
    ("status", "expected"), [("morgue", "retry"), ("waitroom", "held/all_failed"), ("unknown", "held/all_failed")]
)
def test_what_ready_sites_cannot_give_is_asked_of_the_morgue(subscribed: Inventory, status: str, expected: str) -> None:
    subscribed.replica("b1", "T2_A")
    subscribed.replica("b1", "T2_C")
    set_status(subscribed, "T2_C", status)
    failed(subscribed, "T2_A", recoverable=False)
    assert state(subscribed) == expected


def test_the_morgue_can_fail_for_good_too(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A")
    set_status(subscribed, "T2_A", "morgue")
    failed(subscribed, "T2_A", recoverable=False)
    assert state(subscribed) == "held/all_failed"


def test_all_failed_for_good(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A")
    subscribed.replica("b1", "T2_C")
    failed(subscribed, "T2_A", recoverable=False)
    assert state(subscribed) == "retry"
    failed(subscribed, "T2_C", recoverable=False)
    assert state(subscribed) == "held/all_failed"


def test_the_last_error_of_a_source_counts(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A")
    failed(subscribed, "T2_A", recoverable=False)
    failed(subscribed, "T2_A", recoverable=True)
    assert state(subscribed) == "retry"


def test_a_new_source_releases(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A")
    failed(subscribed, "T2_A", recoverable=False)
    assert state(subscribed) == "held/all_failed"
    subscribed.replica("b1", "T2_C")
    assert state(subscribed) == "retry"


def test_reason_follows_the_facts(subscribed: Inventory) -> None:
    assert state(subscribed) == "held/no_source"
    subscribed.replica("b1", "T2_A")
    set_status(subscribed, "T2_A", "waitroom")
    assert state(subscribed) == "held/site_unavailable"


def test_file_already_there_fulfils(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_B")
    assert hold_and_release(subscribed.db).num_fulfilled == 1
    assert state(subscribed) == "done"


def test_operator_releases_with_a_clean_slate(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A")
    failed(subscribed, "T2_A", recoverable=False)
    assert state(subscribed) == "held/all_failed"
    ids = [subscribed.scalar("SELECT id FROM subscriptions")]
    assert release(subscribed.db, Selection(ids=ids), by=TESTER).num_files == 1
    assert state(subscribed) == "new"
    assert release(subscribed.db, Selection(ids=[1]), by=TESTER).num_files == 0


def test_refused_waits_for_an_operator(subscribed: Inventory) -> None:
    subscribed.replica("b1", "T2_A")
    subscribed.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'refused'")
    assert state(subscribed) == "held/refused"
    for filters, number in (({}, 1), ({"hold_reason": "refused", "site": "T2_B"}, 1), ({"site": "T2_A"}, 0)):
        assert held(subscribed.db, **filters).height == number


def test_cancelled(subscribed: Inventory) -> None:
    ids = [subscribed.scalar("SELECT id FROM subscriptions")]
    assert cancel(subscribed.db, Selection(ids=ids), by=TESTER, reason="not wanted").num_files == 1
    assert cancel(subscribed.db, Selection(ids=ids), by=TESTER, reason="not wanted").num_files == 0
    assert state(subscribed) == "cancelled"


def test_deletion_waits_for_its_site(inventory: Inventory) -> None:
    inventory.site("T2_A", status="morgue")
    lfns = inventory.block("b1", 1)
    inventory.replica("b1", "T2_A")
    inventory.subscription("delete", lfns, "T2_A")
    hold_and_release(inventory.db)
    assert set(inventory.subscriptions().values()) == {"held/site_unavailable"}
    set_status(inventory, "T2_A", "ready")
    hold_and_release(inventory.db)
    assert set(inventory.subscriptions().values()) == {"retry"}


@pytest.mark.parametrize("step", ["_hold", "_release"], ids=["before some are held", "before some are released"])
def test_who_is_held_by_a_person_meanwhile_stays_so(
    subscribed: Inventory, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The judgement takes its time with a million subscriptions; what a person does meanwhile goes before it."""
    proceed = getattr(hold, step)

    def interrupted(connection: Connection) -> Any:  # within the transaction: what another one would have committed
        connection.execute(text("UPDATE subscriptions SET state = 'held', hold_reason = 'operator'"))
        return proceed(connection)

    monkeypatch.setattr(hold, step, interrupted)
    if step == "_hold":
        subscribed.rows("UPDATE sites SET status = 'waitroom'")
    hold.hold_and_release(subscribed.db)
    assert set(subscribed.subscriptions().values()) == {"held/operator"}
