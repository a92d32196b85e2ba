"""A copy that fails for too long is suspended: nobody tries it any more until a person says so, and everybody hears."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.patience import Suspension
from dynamo_ops.inventory.replica.copies import is_last_source
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.inventory.subscription.operate import hold, release
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.inventory.subscription.subscribe import resubscribe_incomplete, subscribe
from dynamo_ops.query.explanation import why
from dynamo_ops.query.status import held
from dynamo_ops.transfer.hold import hold_and_release
from tests.inventory.factory import Inventory
from tests.people import TESTER

PATIENCE = Suspension(suspend_after_attempts=30, suspend_after_days=14, suspended_protects_days=90)


@pytest.fixture
def copying(inventory: Inventory) -> Inventory:
    """A file at T2_A, subscribed at T2_B; T2_C may have it."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    inventory.subscription("copy", inventory.block("b1", 1), "T2_B")
    inventory.replica("b1", "T2_A")
    return inventory


def failed(stock: Inventory, *days_ago: float, num_attempts: int | None = None, recoverable: bool = True) -> None:
    """Attempts at all subscriptions that failed so long ago; ``num_attempts``: how many are counted, else these."""
    for days in days_ago:
        stock.rows(
            """WITH batch AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                   VALUES (gen_random_uuid()::text, gen_random_uuid(), :to, false, 'finished') RETURNING id)
               INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable,
                   size_bytes, reason, finished_at)
               SELECT batch.id, copy.id, 0, :source, 'failed', :recoverable, 1, 'no space left',
                   now() - :days * interval '1 day'
               FROM batch, subscriptions copy WHERE copy.state <> 'cancelled'""",
            to=stock.site_ids["T2_B"],
            source=stock.site_ids["T2_A"],
            recoverable=recoverable,
            days=days,
        )
    stock.rows(
        """UPDATE subscriptions SET state = 'retry', hold_reason = NULL, num_attempts = num_attempts + :more,
               last_error = 'no space left' WHERE state <> 'cancelled'""",
        more=len(days_ago) if num_attempts is None else num_attempts,
    )


def created(stock: Inventory, days_ago: float) -> None:
    stock.rows("UPDATE subscriptions SET created_at = now() - :days * interval '1 day'", days=days_ago)


def standing(stock: Inventory) -> str:
    """What the next run makes of it."""
    hold_and_release(stock.db, PATIENCE)
    return stock.subscriptions()["copy", "/store/b1/f0", "T2_B"]


@pytest.mark.parametrize(
    ("age_days", "failed_days_ago", "num_attempts", "state"),
    [
        pytest.param(1, [0.1], 29, "retry", id="some attempts"),
        pytest.param(1, [0.1], 30, "held/suspended", id="many attempts"),
        pytest.param(13, [12.9, 0.1], 2, "retry", id="for some days"),
        pytest.param(45, [14.1, 0.1], 2, "held/suspended", id="for many days"),
        pytest.param(45, [13.9, 0.1], 2, "retry", id="waited for long, and failed since yesterday but one week"),
        pytest.param(45, [], 0, "retry", id="never tried"),
    ],
)
def test_it_is_suspended_after_many_attempts_or_many_days_of_failing(
    copying: Inventory, age_days: float, failed_days_ago: list[float], num_attempts: int, state: str
) -> None:
    created(copying, age_days)
    failed(copying, *failed_days_ago, num_attempts=num_attempts)
    assert standing(copying) == state


def test_what_waits_for_a_site_or_a_source_waits_for_that(copying: Inventory) -> None:
    failed(copying, 0.1, num_attempts=95)
    copying.rows("UPDATE sites SET status = 'waitroom' WHERE name = 'T2_B'")
    assert standing(copying) == "held/site_unavailable"
    copying.rows("UPDATE sites SET status = 'ready'")
    failed(copying, 0.1, recoverable=False)
    assert standing(copying) == "held/all_failed"


@pytest.mark.parametrize("cause", ["its site was away", "another site has the file"])
def test_what_is_released_by_itself_gets_another_attempt_before_it_is_suspended(copying: Inventory, cause: str) -> None:
    created(copying, 60)
    failed(copying, 50, 20, num_attempts=95, recoverable=cause == "its site was away")
    if cause == "its site was away":
        copying.rows("UPDATE sites SET status = 'waitroom' WHERE name = 'T2_B'")
    assert standing(copying).startswith("held/")
    copying.rows("UPDATE sites SET status = 'ready'")
    if cause == "another site has the file":
        copying.replica("b1", "T2_C")
    assert [standing(copying) for _ in range(3)] == ["retry"] * 3
    failed(copying, -0.001)
    assert standing(copying) == "held/suspended"


def test_only_a_person_resumes_it_and_it_begins_anew(copying: Inventory) -> None:
    failed(copying, 0.1, num_attempts=30)
    assert standing(copying) == "held/suspended"
    copying.replica("b1", "T2_C")
    assert [standing(copying) for _ in range(3)] == ["held/suspended"] * 3
    assert resubscribe_incomplete(copying.db).num_created == 0
    assert held(copying.db, hold_reason="suspended")["site"].to_list() == ["T2_B"]
    assert release(copying.db, Selection(hold_reasons=["suspended"]), by=TESTER, reason="new disks").num_files == 1
    copying.rows(
        "DELETE FROM subscriptions WHERE state = 'cancelled' AND id NOT IN (SELECT subscription_id FROM transfers)"
    )
    assert copying.rows("SELECT state, num_attempts FROM subscriptions ORDER BY id DESC LIMIT 1") == [("new", 0)]
    assert standing(copying) == "new"


def test_it_is_over_when_the_file_is_there_or_the_opposite_is_asked_for(copying: Inventory) -> None:
    failed(copying, 0.1, num_attempts=30)
    assert standing(copying) == "held/suspended"
    copying.replica("b1", "T2_B")
    assert standing(copying) == "done"


def test_a_deletion_of_the_same_file_withdraws_it(copying: Inventory) -> None:
    failed(copying, 0.1, num_attempts=30)
    assert standing(copying) == "held/suspended"
    with copying.db.begin() as connection:
        wanted = "SELECT file_id, site_id FROM subscriptions"
        assert subscribe(connection, SubscriptionAction.DELETE, wanted, origin="detox").num_withdrawn == 1


def test_deletions_have_a_limit_of_their_own(copying: Inventory) -> None:
    copying.rows("UPDATE subscriptions SET action = 'delete', site_id = :site", site=copying.site_ids["T2_A"])
    created(copying, 60)
    copying.rows("UPDATE subscriptions SET state = 'retry', num_attempts = 95")
    hold_and_release(copying.db, PATIENCE)
    assert set(copying.subscriptions().values()) == {"retry"}


def because(stock: Inventory) -> str:
    return why(stock.db, stock.scalar("SELECT id FROM subscriptions")).because


def test_why_says_what_failed_how_often_and_until_when_the_source_stays(copying: Inventory) -> None:
    failed(copying, 0.1, num_attempts=31)
    assert standing(copying) == "held/suspended"
    until = copying.scalar("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '90 days', 'YYYY-MM-DD')")
    assert because(copying) == (
        "suspended: 31 attempts failed, the last with no space left; nothing is tried until a person releases it, once "
        f"that is mended; its last source is kept until {until}"
    )
    copying.rows("UPDATE subscriptions SET protects_until = now() - interval '1 day'")
    assert because(copying).endswith("its last source is not kept any more")


def test_what_a_person_holds_protects_without_an_end(copying: Inventory) -> None:
    failed(copying, 0.1, num_attempts=30)
    assert standing(copying) == "held/suspended"
    copying.rows("UPDATE subscriptions SET protects_until = now() - interval '1 day'")
    hold(copying.db, Selection(states=["held"]), by=TESTER, reason="disks are ordered")
    assert copying.subscriptions()["copy", "/store/b1/f0", "T2_B"] == "held/operator"
    assert keeps(copying) is True


def keeps(stock: Inventory) -> Any:
    return stock.scalar(f"SELECT {is_last_source('f.id', str(stock.site_ids['T2_A']))} FROM files f LIMIT 1")
