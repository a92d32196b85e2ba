"""Where subscriptions stand in figures, and why, in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.site.downtime import drain
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.query import status
from dynamo_ops.query.explanation import Explanation, FileExplanation, QueueRules, why, why_file
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA

LFN = "/store/b1/f0"
JOB = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 of three files is complete at T2_A and subscribed at T2_B."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    inventory.site("T1_Tape", storage_type="mss")
    inventory.block("b1", 3)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", inventory.files_of["b1"], "T2_B")
    return inventory


def attempt(stock: Inventory, state: str = "failed", subscription: int = 1, **given: Any) -> None:
    """An attempt at a subscription to T2_B; it ended unless ``state`` is a live one: then it is in the batch."""
    values = {"source": "T2_A", "backend": "fts", "staging": False, "recoverable": None, "reason": None, **given}
    live = state in ("planned", "submitted", "staging", "active")
    number = stock.scalar("SELECT count(*) + 1 FROM transfer_batches")
    stock.rows(
        """WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, backend)
        VALUES (:sid, CAST(:job AS uuid), :d, :staging, :batch_state, :backend) RETURNING id)
        INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable, reason,
                               size_bytes, finished_at)
        SELECT b.id, :subscription, 0, :s, :state, :recoverable, :reason, 1000, CASE WHEN NOT :live THEN now() END
        FROM b""",
        sid=str(number),
        job=f"{JOB[:-1]}{number}",
        d=stock.site_ids["T2_B"],
        s=stock.site_ids[values.pop("source")],
        batch_state="submitted" if live else "finished",
        subscription=subscription,
        state=state,
        live=live,
        **values,
    )
    stock.rows(
        """UPDATE subscriptions SET state = :s, num_attempts = num_attempts + 1, updated_at = now(), last_error = :e
        WHERE id = :w""",
        s="inbatch" if live else "retry",
        e=values["reason"],
        w=subscription,
    )


def told(stock: Inventory, subscription: int = 1, **rules: Any) -> str:
    return why(stock.db, subscription, QueueRules(**rules)).because


# -- figures -----------------------------------------------------------------------------------------------------------


def test_counts_of_a_site(stock: Inventory) -> None:
    stock.subscription("delete", [LFN], "T2_A")
    assert status.counts(stock.db).select("action", "state", "site", "num_files", "size_bytes").rows() == [
        ("copy", "new", "T2_B", 3, 3 * SIZE),
        ("delete", "new", "T2_A", 1, SIZE),
    ]
    assert status.counts(stock.db, ["T2_A"]).height == 1
    assert status.counts(stock.db, ["T2_C"]).is_empty()


def test_what_is_under_way(stock: Inventory) -> None:
    attempt(stock, "staging", 1, staging=True)
    attempt(stock, "active", 2)
    attempt(stock, "failed", 3)
    stock.subscription("delete", [LFN], "T2_A")
    stock.rows("""WITH b AS (INSERT INTO deletion_batches (site_id) VALUES (1) RETURNING id)
                  INSERT INTO deletions (batch_id, subscription_id, size_bytes) SELECT id, 4, 7 FROM b""")
    found = status.under_way(stock.db)
    columns = ["backend", "is_staging", "state", "site", "num_batches", "num_files", "size_bytes"]
    assert found.select(columns).rows() == [
        ("deletion", False, "planned", "T2_A", 1, 1, 7),
        ("fts", False, "active", "T2_B", 1, 1, SIZE),
        ("fts", True, "staging", "T2_B", 1, 1, SIZE),
    ]
    assert found["oldest_at"].null_count() == 0
    assert status.under_way(stock.db, ["T2_A"])["backend"].to_list() == ["deletion"]


def test_how_the_servers_are(stock: Inventory) -> None:
    assert status.servers(stock.db).is_empty()
    attempt(stock, "active", 1)
    attempt(stock, "done", 2)
    stock.rows("UPDATE transfer_batches SET server = 'https://one', submitted_at = now() WHERE state = 'submitted'")
    stock.rows("INSERT INTO fts_servers (address, answered_at) VALUES ('https://two', now())")
    stock.rows("""INSERT INTO fts_servers (address, illness, ill_since, reason)
                  VALUES ('https://three', 'away', now(), 'no answer')""")
    columns = ["server", "illness", "reason", "num_jobs", "num_files"]
    assert status.servers(stock.db).select(columns).rows() == [
        ("https://one", None, None, 1, 1),
        ("https://three", "away", "no answer", 0, 0),
        ("https://two", None, None, 0, 0),
    ]


def test_what_ended_lately(stock: Inventory) -> None:
    attempt(stock, "failed", 1, reason="SOURCE [2] gone")
    attempt(stock, "done", 2)
    since = datetime.now(UTC) - timedelta(hours=1)
    found = status.ended(stock.db, since)
    assert found.select("state", "source", "site", "num_files", "example").rows() == [
        ("done", "T2_A", "T2_B", 1, None),
        ("failed", "T2_A", "T2_B", 1, "SOURCE [2] gone"),
    ]
    assert status.ended(stock.db, since, ["T2_A"]).height == status.ended(stock.db, since, ["T2_B"]).height == 2
    assert status.ended(stock.db, since, ["T2_C"]).is_empty()
    assert status.ended(stock.db, datetime.now(UTC) + timedelta(hours=1)).is_empty()


# -- why ---------------------------------------------------------------------------------------------------------------


def test_queued_with_its_place(stock: Inventory) -> None:
    assert told(stock, 2) == "queued: number 2 of 3 copies to T2_B that wait"
    stock.rows("UPDATE subscriptions SET activity = 'recovery' WHERE id = 3")
    assert "number 1 of 3" in told(stock, 3, head_starts={"recovery": timedelta(hours=1)})
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    stock.rows("UPDATE subscriptions SET state = 'done' WHERE id < 4")
    assert told(stock, 4) == "queued: number 1 of 3 deletions at T2_A that wait"


def test_failed_and_waiting_for_its_turn(stock: Inventory) -> None:
    attempt(stock, reason="DESTINATION [28] full")
    found = told(stock, transfers=TransferLimits(backoff_s=3600))
    assert found.startswith("failed (DESTINATION [28] full); to be tried again from ")
    assert told(stock, transfers=TransferLimits(backoff_s=0)) == "queued: number 1 of 3 copies to T2_B that wait"


def test_what_queued_subscriptions_wait_for(stock: Inventory) -> None:
    attempt(stock, "active")
    operate.hold(stock.db, Selection(ids=[1]), by=ADA, reason="x")
    operate.release(stock.db, Selection(ids=[1]), by=ADA)
    assert told(stock, 4) == "queued: it waits for what an earlier subscription began with the same file there"
    stock.subscription("delete", [LFN], "T2_A")
    assert told(stock, 5) == "queued: it waits for what an earlier subscription began with the same file there"
    stock.rows("UPDATE transfers SET state = 'failed'")
    assert told(stock, 5) == (
        "queued: it waits, since the file is the last source of a copy that another site is subscribed to"
    )
    drain(stock.db, "T2_B", by=ADA, reason="x")
    assert told(stock, 2) == "queued; the next run holds it: T2_B is not available (in a downtime)"


def test_held_by_a_site(stock: Inventory) -> None:
    drain(stock.db, "T2_A", by=ADA, reason="new switch")
    hold_and_release(stock.db)
    assert told(stock) == "held: no site that has the file can be read now; released by itself when one is back"
    (source,) = why(stock.db, 1).sources
    assert (source["is_usable"], source["because"]) == (False, "in a downtime: new switch, until resumed")
    stock.rows("DELETE FROM site_downtimes")
    assert told(stock) == "held: a site was not available; it is again: the next run releases it"
    stock.rows("UPDATE sites SET status = 'waitroom' WHERE name = 'T2_B'")
    assert told(stock) == (
        "held: nothing can be written or deleted at T2_B (its status is waitroom); released by itself when it is back"
    )


def test_held_for_want_of_a_source(stock: Inventory) -> None:
    stock.rows("DELETE FROM block_replicas")
    hold_and_release(stock.db)
    assert told(stock) == "held: no site has the file; released by itself as soon as one has it"
    stock.replica("b1", "T2_C")
    assert told(stock) == "held: no site had the file; now T2_C has: the next run releases it"


def test_held_since_all_failed(stock: Inventory) -> None:
    attempt(stock, recoverable=False, reason="SOURCE [2] gone")
    hold_and_release(stock.db)
    found = why(stock.db, 1)
    assert "from each site that has the file failed for good" in found.because
    assert [(s["site"], s["is_usable"], s["num_failed"], s["because"]) for s in found.sources] == [
        ("T2_A", False, 1, "the last attempt from there failed for good: SOURCE [2] gone")
    ]


def test_a_deletion_given_up(stock: Inventory) -> None:
    stock.subscription("delete", [LFN], "T2_A")
    stock.rows(
        "UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed', num_attempts = 10, last_error = '503'"
    )
    assert told(stock, 4) == "held: given up after 10 attempts (503); released by hand only"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("refused", "held: refused (FTS said no); released by hand only, once that is mended"),
        ("operator", "held by hand (ada: x); released by hand only"),
    ],
)
def test_held_until_a_person_comes(stock: Inventory, reason: str, expected: str) -> None:
    stock.rows(
        "UPDATE subscriptions SET state = 'held', hold_reason = :r, last_error = 'FTS said no', note = 'ada: x'",
        r=reason,
    )
    assert told(stock) == expected


@pytest.mark.parametrize(
    ("state", "backend", "expected"),
    [
        ("planned", "fts", f"chosen to be copied from T2_A; to be submitted to FTS as job {JOB}"),
        ("submitted", "fts", f"waiting in FTS to be copied from T2_A, job {JOB}"),
        ("staging", "fts", f"being brought online from tape at T2_A, FTS job {JOB}"),
        ("active", "fts", f"being copied from T2_A, FTS job {JOB}"),
        ("planned", "direct", "being copied from T2_A by Dynamo itself, in batch 1"),
    ],
)
def test_in_a_batch(stock: Inventory, state: str, backend: str, expected: str) -> None:
    attempt(stock, state, backend=backend)
    assert told(stock) == expected
    assert why(stock.db, 1).attempts[0]["job_id"] == (JOB if backend == "fts" else None)


def test_other_ends(stock: Inventory) -> None:
    stock.rows("UPDATE subscriptions SET state = 'inbatch' WHERE id = 1")
    assert told(stock) == "in no batch any more: the next run queues it again"
    stock.rows("UPDATE subscriptions SET state = 'done' WHERE id = 1")
    assert told(stock) == "done: the file is there"
    operate.cancel(stock.db, Selection(ids=[2]), by=ADA, reason="wrong site")
    assert told(stock, 2) == "withdrawn by ada: wrong site"
    stock.subscription("delete", stock.files_of["b1"], "T2_B")
    assert told(stock, 3) == "withdrawn: the opposite was subscribed, or it was made anew"
    stock.rows("""WITH b AS (INSERT INTO deletion_batches (site_id) VALUES (2) RETURNING id)
                  INSERT INTO deletions (batch_id, subscription_id, size_bytes) SELECT id, 4, 7 FROM b""")
    stock.rows("UPDATE subscriptions SET state = 'inbatch' WHERE id = 4")
    assert told(stock, 4) == "being deleted, in deletion batch 1"


def test_attempts_of_earlier_subscriptions_are_told(stock: Inventory) -> None:
    attempt(stock, reason="first")
    attempt(stock, reason="second")
    operate.retry(stock.db, Selection(ids=[1]), by=ADA)
    found = why(stock.db, 4)
    assert [(a["subscription_id"], a["reason"]) for a in found.attempts] == [(1, "second"), (1, "first")]
    assert (found.sources[0]["num_failed"], found.num_attempts) == (0, 0)


def test_a_file_at_all_sites(stock: Inventory) -> None:
    stock.replica("b1", "T1_Tape")
    stock.replica("b1", "T2_C", present=[LFN])
    stock.subscription("delete", [LFN], "T2_C")
    stock.rows("UPDATE sites SET status = 'morgue' WHERE name = 'T2_A'")
    found = why_file(stock.db, LFN)
    assert isinstance(found, FileExplanation)
    assert (found.dataset, found.block, found.size_bytes) == ("/A/B-v1/AOD", "b1", SIZE)
    assert [(source["site"], source["is_usable"], source["because"]) for source in found.sources] == [
        ("T2_C", True, "can be read, but is to be deleted there"),
        ("T1_Tape", True, "can be read, from tape"),
        ("T2_A", True, "can be read as a last resort: the site is in the morgue"),
    ]
    assert [(subscription.site, subscription.action) for subscription in found.subscriptions] == [
        ("T2_B", "copy"),
        ("T2_C", "delete"),
    ]
    (only,) = why_file(stock.db, LFN, "T2_B").subscriptions
    assert isinstance(only, Explanation)
    assert only.subscription_id == 1
    assert why_file(stock.db, LFN, "T2_A").subscriptions == []


def test_the_active_subscription_speaks_for_a_site(stock: Inventory) -> None:
    stock.rows("UPDATE subscriptions SET state = 'done'")
    stock.subscription("copy", [LFN], "T2_B")
    assert [subscription.subscription_id for subscription in why_file(stock.db, LFN).subscriptions] == [4]
    stock.rows("UPDATE subscriptions SET state = 'cancelled' WHERE id = 4")
    assert [subscription.state for subscription in why_file(stock.db, LFN).subscriptions] == ["cancelled"]


def test_what_is_not_known(stock: Inventory) -> None:
    with pytest.raises(InventoryError, match="there is no subscription 99"):
        why(stock.db, 99)
    with pytest.raises(InventoryError, match="there is no file /store/x"):
        why_file(stock.db, "/store/x")
    with pytest.raises(InventoryError, match=r"there is no site 'T2_b'\. Did you mean"):
        why_file(stock.db, LFN, "T2_b")
