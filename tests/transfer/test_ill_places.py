"""What is ill gets a few files at a time, the rest waits, and nothing of it is held against a copy or its sources."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.base.patience import Suspension
from dynamo_ops.fts.client import JobStatus
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.query.explanation import QueueRules, why
from dynamo_ops.transfer.batches import is_any_queued, plan_batches
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.observe import apply, open_batch_job_ids
from dynamo_ops.transfer.source_choice import PAST_SQL
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.inventory.factory import SIZE, Inventory

LIMITS = TransferLimits(backoff_s=0, ill_after_copies=10, probe_files=3, probe_every_min=0)
QUIET = LIMITS.model_copy(update={"probe_every_min": 30.0})
REFUSED = "DESTINATION [13] Failed to create directory"


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """Thirty files at T2_A and T2_C, to come to T2_B; ten of them to T2_D, too."""
    for name in ("T2_A", "T2_B", "T2_C", "T2_D"):
        inventory.site(name)
    lfns = inventory.block("b1", 30)
    inventory.replica("b1", "T2_A")
    inventory.replica("b1", "T2_C")
    inventory.subscription("copy", lfns, "T2_B")
    inventory.subscription("copy", lfns[:10], "T2_D")
    return inventory


def planned(stock: Inventory, identity: FtsIdentity, limits: TransferLimits = LIMITS) -> dict[str, int]:
    """Plans; files under way by destination."""
    plan_batches(stock.db, identity, limits)
    return dict(
        stock.rows("""SELECT site.name, count(*) FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id
                      JOIN sites site ON site.id = b.site_id WHERE t.state = 'planned' GROUP BY 1""")
    )


def end(stock: Inventory, site: str, reason: str | None, source: str = "%") -> None:
    """FTS has tried all that is planned: to ``site`` from ``source`` it failed so, all else arrived."""
    stock.rows("UPDATE transfer_batches SET state = 'submitted' WHERE state = 'planned'")
    for job_id in open_batch_job_ids(stock.db):
        files: list[dict[str, Any]] = []
        for transfer, is_failed in stock.rows(
            """SELECT t.id, :failing AND site.name = :site AND source.name LIKE :source
               FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id
               JOIN sites site ON site.id = b.site_id JOIN sites source ON source.id = t.source_site_id
               WHERE b.job_id::text = :job AND t.state = 'planned'""",
            job=job_id,
            site=site,
            source=source,
            failing=reason is not None,
        ):
            seen = {"file_state": "FAILED", "reason": reason, "recoverable": False} if is_failed else {}
            files.append(
                {"file_state": "FINISHED", "filesize": SIZE, "file_metadata": {"transfer_id": transfer}} | seen
            )
        with stock.db.begin() as connection:
            apply(connection, [JobStatus(job_id, 200, "FINISHEDDIRTY", files=files)], datetime.now(UTC), LIMITS)
    hold_and_release(stock.db, Suspension(suspend_after_attempts=3))


def states(stock: Inventory, site: str) -> dict[str, int]:
    return dict(
        stock.rows(
            """SELECT coalesce(hold_reason, s.state), count(*) FROM subscriptions s JOIN sites d ON d.id = s.site_id
               WHERE d.name = :site GROUP BY 1""",
            site=site,
        )
    )


def only_from_a(stock: Inventory) -> None:
    stock.rows("DELETE FROM block_replicas WHERE site_id = :c", c=stock.site_ids["T2_C"])
    stock.rows("DELETE FROM subscriptions WHERE site_id = :d", d=stock.site_ids["T2_D"])


def test_an_ill_destination_is_tried_by_few_until_it_takes_them(stock: Inventory, identity: FtsIdentity) -> None:
    assert planned(stock, identity) == {"T2_B": 30, "T2_D": 10}
    end(stock, "T2_B", REFUSED)
    assert (states(stock, "T2_B"), states(stock, "T2_D")) == ({"retry": 30}, {"done": 10})
    assert not is_any_queued(stock.db, QUIET)
    assert planned(stock, identity, QUIET) == {}
    for _ in range(12):  # more often than copies may fail: it is not counted, and the files take turns
        assert is_any_queued(stock.db, LIMITS)
        assert planned(stock, identity) == {"T2_B": 3}
        end(stock, "T2_B", REFUSED)
        assert states(stock, "T2_B") == {"retry": 30}
    assert stock.scalar("SELECT max(num_attempts) FROM subscriptions") == 3
    assert stock.scalar("SELECT count(*) FROM transfers WHERE NOT is_recoverable") == 0
    assert stock.rows("SELECT blame, is_excused, count(*) FROM transfers WHERE state = 'failed' GROUP BY 1, 2") == [
        ("destination", True, 66)
    ]
    planned(stock, identity)
    end(stock, "T2_B", None)
    assert planned(stock, identity) == {"T2_B": 27}
    end(stock, "T2_B", None)
    assert states(stock, "T2_B") == {"done": 30}


def test_an_ill_link_leaves_files_to_other_sources(stock: Inventory, identity: FtsIdentity) -> None:
    only_from_a(stock)
    planned(stock, identity)
    end(stock, "T2_B", "SOURCE [112] Result Could not connect to server after 1 attempts")
    assert planned(stock, identity, QUIET) == {}
    stock.replica("b1", "T2_C")
    assert planned(stock, identity, QUIET) == {"T2_B": 30}
    assert stock.rows("""SELECT DISTINCT site.name FROM transfers t JOIN sites site ON site.id = t.source_site_id
                         WHERE t.state = 'planned'""") == [("T2_C",)]


def test_an_ill_link_without_another_source_gets_few(stock: Inventory, identity: FtsIdentity) -> None:
    only_from_a(stock)
    planned(stock, identity)
    end(stock, "T2_B", "TRANSFER [104] Connection reset by peer")
    assert planned(stock, identity) == {"T2_B": 3}
    end(stock, "T2_B", None)
    assert planned(stock, identity) == {"T2_B": 27}


def test_a_single_file_that_a_well_site_refuses_is_suspended_in_the_end(
    stock: Inventory, identity: FtsIdentity
) -> None:
    stock.rows("DELETE FROM subscriptions WHERE file_id > (SELECT min(file_id) FROM subscriptions)")
    for _ in range(3):
        assert states(stock, "T2_B").keys() <= {"new", "retry"}
        planned(stock, identity)
        end(stock, "T2_B", "DESTINATION [21] Is a directory")
    assert states(stock, "T2_B") == {"suspended": 1}
    assert stock.scalar("SELECT num_excused FROM subscriptions WHERE state = 'held'") == 0


def test_why_says_whose_fault_it_is_and_what_is_waited_for(stock: Inventory, identity: FtsIdentity) -> None:
    planned(stock, identity)
    end(stock, "T2_B", REFUSED)
    waiting = stock.scalar("SELECT min(id) FROM subscriptions WHERE state = 'retry'")
    explained = why(stock.db, waiting, QueueRules(LIMITS))
    assert explained.because == (
        f"queued: it waits, since nearly all copies to T2_B fail (fault of the destination, last: {REFUSED}); 3 files "
        "are tried every 0 minutes, and when they arrive it goes on by itself"
    )
    (attempt,) = explained.attempts
    assert (attempt["blame"], attempt["is_excused"], attempt["is_recoverable"]) == ("destination", True, True)


@pytest.mark.parametrize(("reason", "num_failed"), [(REFUSED, 0), ("TRANSFER [110] slow", 1), ("SOURCE [112] x", 1)])
def test_what_another_is_to_blame_for_makes_no_source_the_worse(
    stock: Inventory, identity: FtsIdentity, reason: str, num_failed: int
) -> None:
    stock.rows("DELETE FROM subscriptions WHERE file_id > (SELECT min(file_id) FROM subscriptions)")
    planned(stock, identity)
    end(stock, "T2_B", reason)
    with stock.db.begin() as connection:
        connection.execute(
            text("""
            CREATE TEMPORARY TABLE queue ON COMMIT DROP AS
            SELECT id AS subscription_id, num_attempts FROM subscriptions WHERE state = 'retry'""")
        )
        assert connection.execute(text(PAST_SQL)).one()[2] == num_failed
