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


@pytest.fixture
def wished(inventory: Inventory) -> Inventory:
    """One file, wished for at T2_B; T2_A and T2_C may have it."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    inventory.wish("copy", inventory.block("b1", 1), "T2_B")
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
    return inventory.wishes()["copy", "/store/b1/f0", "T2_B"]


def test_no_source(wished: Inventory) -> None:
    assert hold_and_release(wished.db) == HoldSummary(0, {"no_source": 1}, 0)
    wished.replica("b1", "T2_A")
    assert hold_and_release(wished.db) == HoldSummary(0, {}, 1)
    assert state(wished) == "retry"


def test_incomplete_replica_without_the_file_is_no_source(wished: Inventory) -> None:
    wished.replica("b1", "T2_A", present=[])
    assert state(wished) == "held/no_source"


@pytest.mark.parametrize(
    ("site", "status"),
    [("T2_A", "waitroom"), ("T2_A", "unknown"), ("T2_B", "waitroom"), ("T2_B", "morgue"), ("T2_B", "unknown")],
)
def test_site_not_ready(wished: Inventory, site: str, status: str) -> None:
    """The only source, which comes back or of which nothing is known; the destination, whatever is wrong with it."""
    wished.replica("b1", "T2_A")
    set_status(wished, site, status)
    assert state(wished) == "held/site_unavailable"
    set_status(wished, site, "ready")
    assert state(wished) == "retry"


def test_a_source_in_the_morgue_is_read(wished: Inventory) -> None:
    wished.replica("b1", "T2_A")
    set_status(wished, "T2_A", "waitroom")
    assert state(wished) == "held/site_unavailable"
    set_status(wished, "T2_A", "morgue")
    assert state(wished) == "retry"


@pytest.mark.parametrize(
    ("status", "expected"), [("morgue", "retry"), ("waitroom", "held/all_failed"), ("unknown", "held/all_failed")]
)
def test_what_ready_sites_cannot_give_is_asked_of_the_morgue(wished: Inventory, status: str, expected: str) -> None:
    wished.replica("b1", "T2_A")
    wished.replica("b1", "T2_C")
    set_status(wished, "T2_C", status)
    failed(wished, "T2_A", recoverable=False)
    assert state(wished) == expected


def test_the_morgue_can_fail_for_good_too(wished: Inventory) -> None:
    wished.replica("b1", "T2_A")
    set_status(wished, "T2_A", "morgue")
    failed(wished, "T2_A", recoverable=False)
    assert state(wished) == "held/all_failed"


def test_all_failed_for_good(wished: Inventory) -> None:
    wished.replica("b1", "T2_A")
    wished.replica("b1", "T2_C")
    failed(wished, "T2_A", recoverable=False)
    assert state(wished) == "retry"
    failed(wished, "T2_C", recoverable=False)
    assert state(wished) == "held/all_failed"


def test_the_last_error_of_a_source_counts(wished: Inventory) -> None:
    wished.replica("b1", "T2_A")
    failed(wished, "T2_A", recoverable=False)
    failed(wished, "T2_A", recoverable=True)
    assert state(wished) == "retry"


def test_a_new_source_releases(wished: Inventory) -> None:
    wished.replica("b1", "T2_A")
    failed(wished, "T2_A", recoverable=False)
    assert state(wished) == "held/all_failed"
    wished.replica("b1", "T2_C")
    assert state(wished) == "retry"


def test_reason_follows_the_facts(wished: Inventory) -> None:
    assert state(wished) == "held/no_source"
    wished.replica("b1", "T2_A")
    set_status(wished, "T2_A", "waitroom")
    assert state(wished) == "held/site_unavailable"


def test_file_already_there_fulfils(wished: Inventory) -> None:
    wished.replica("b1", "T2_B")
    assert hold_and_release(wished.db).num_fulfilled == 1
    assert state(wished) == "done"


def test_operator_releases_with_a_clean_slate(wished: Inventory) -> None:
    wished.replica("b1", "T2_A")
    failed(wished, "T2_A", recoverable=False)
    assert state(wished) == "held/all_failed"
    ids = [wished.scalar("SELECT id FROM subscriptions")]
    assert release(wished.db, Selection(ids=ids), by="test").num_files == 1
    assert state(wished) == "new"
    assert release(wished.db, Selection(ids=[1]), by="test").num_files == 0


def test_refused_waits_for_an_operator(wished: Inventory) -> None:
    wished.replica("b1", "T2_A")
    wished.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'refused'")
    assert state(wished) == "held/refused"
    for filters, number in (({}, 1), ({"hold_reason": "refused", "site": "T2_B"}, 1), ({"site": "T2_A"}, 0)):
        assert held(wished.db, **filters).height == number


def test_cancelled(wished: Inventory) -> None:
    ids = [wished.scalar("SELECT id FROM subscriptions")]
    assert cancel(wished.db, Selection(ids=ids), by="test", reason="not wanted").num_files == 1
    assert cancel(wished.db, Selection(ids=ids), by="test", reason="not wanted").num_files == 0
    assert state(wished) == "cancelled"


def test_deletion_waits_for_its_site(inventory: Inventory) -> None:
    inventory.site("T2_A", status="morgue")
    lfns = inventory.block("b1", 1)
    inventory.replica("b1", "T2_A")
    inventory.wish("delete", lfns, "T2_A")
    hold_and_release(inventory.db)
    assert set(inventory.wishes().values()) == {"held/site_unavailable"}
    set_status(inventory, "T2_A", "ready")
    hold_and_release(inventory.db)
    assert set(inventory.wishes().values()) == {"retry"}


@pytest.mark.parametrize("step", ["_hold", "_release"], ids=["before some are held", "before some are released"])
def test_who_is_held_by_a_person_meanwhile_stays_so(
    wished: Inventory, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The judgement takes its time with a million wishes; what a person does meanwhile goes before it."""
    proceed = getattr(hold, step)

    def interrupted(connection: Connection) -> Any:  # within the transaction: what another one would have committed
        connection.execute(text("UPDATE subscriptions SET state = 'held', hold_reason = 'operator'"))
        return proceed(connection)

    monkeypatch.setattr(hold, step, interrupted)
    if step == "_hold":
        wished.rows("UPDATE sites SET status = 'waitroom'")
    hold.hold_and_release(wished.db)
    assert set(wished.wishes().values()) == {"held/operator"}
