"""FTS's answers applied to the inventory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dynamo_ops.fts.client import JobStatus
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.query.status import counts, ended
from dynamo_ops.transfer.batches import plan_batches
from dynamo_ops.transfer.observations import FILE_STATES, observe_file, read_observations
from dynamo_ops.transfer.observe import ObserveSummary, apply, open_batch_job_ids
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.inventory.factory import SIZE, Inventory

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def batch(inventory: Inventory, identity: FtsIdentity) -> Inventory:
    """Three files under way from T2_A to T2_B in one submitted job."""
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.block("b1", 3)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", inventory.files_of["b1"], "T2_B")
    plan_batches(inventory.db, identity, TransferLimits())
    inventory.rows("UPDATE transfer_batches SET state = 'submitted'")
    inventory.rows("UPDATE transfers SET state = 'submitted'")
    return inventory


def tell(inventory: Inventory, *files: Any, job_state: str = "ACTIVE", http_status: int = 200) -> ObserveSummary:
    """FTS says this of the transfers, in their order: a state, or (state, values)."""
    (job_id,) = open_batch_job_ids(inventory.db)
    ids = [row[0] for row in inventory.rows("SELECT id FROM transfers ORDER BY file_index")]
    entries = []
    for transfer_id, file in zip(ids, files, strict=False):
        state, values = file if isinstance(file, tuple) else (file, {})
        entries.append(
            {
                "file_state": state,
                "file_metadata": {"transfer_id": transfer_id},
                "reason": "",
                "recoverable": None,
                "filesize": SIZE if state == "FINISHED" else None,
            }
            | values
        )
    with inventory.db.begin() as connection:
        return apply(connection, [JobStatus(job_id, http_status, job_state, files=entries)], NOW)


def transfer_states(inventory: Inventory) -> list[str]:
    return [row[0] for row in inventory.rows("SELECT state FROM transfers ORDER BY file_index")]


def test_under_way(batch: Inventory) -> None:
    assert tell(batch, "STARTED", "SUBMITTED", "ACTIVE").num_open_jobs == 1
    assert transfer_states(batch) == ["staging", "submitted", "active"]
    assert set(batch.subscriptions().values()) == {"inbatch"}


def test_done_and_failed(batch: Inventory) -> None:
    failure = (
        "FAILED",
        {"reason": "SOURCE [2] No such file", "recoverable": False, "finish_time": "2026-11-22T01:02:03"},
    )
    summary = tell(batch, "FINISHED", failure, "FINISHED", job_state="FINISHEDDIRTY")
    assert (summary.num_done, summary.bytes_done, summary.num_failed, summary.num_open_jobs) == (2, 2 * SIZE, 1, 0)
    assert batch.replica_state("b1", "T2_B") == (False, 2 * SIZE, 2)
    assert sorted(batch.subscriptions().values()) == ["done", "done", "retry"]
    assert batch.rows("SELECT reason, is_recoverable, blame, finished_at FROM transfers WHERE state = 'failed'") == [
        ("SOURCE [2] No such file", False, "file", datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC))
    ]
    assert batch.scalar("SELECT state FROM transfer_batches") == "finished"


def test_failed_files_show_while_the_job_goes_on(batch: Inventory) -> None:
    assert tell(batch, ("FAILED", {"reason": "x", "recoverable": True}), "ACTIVE", "FINISHED").num_open_jobs == 1
    assert tell(
        batch, ("FAILED", {"reason": "x", "recoverable": True}), "FINISHED", "FINISHED", job_state="FINISHEDDIRTY"
    ) == ObserveSummary(num_done=1, bytes_done=SIZE)


def test_complete(batch: Inventory) -> None:
    assert tell(batch, *["FINISHED"] * 3, job_state="FINISHED").num_completed == 1
    assert batch.rows("SELECT DISTINCT verified_by FROM transfers") == [("both_ends",)]
    assert batch.replica_state("b1", "T2_B") == (True, 3 * SIZE, 0)
    assert ended(batch.db, datetime(2020, 1, 1, tzinfo=UTC)).select("state", "num_files", "source", "site").rows() == [
        ("done", 3, "T2_A", "T2_B")
    ]


@pytest.mark.parametrize("size", [SIZE - 1, None], ids=["other bytes", "no bytes told"])
def test_size_is_compared_by_us(batch: Inventory, size: int | None) -> None:
    summary = tell(batch, ("FINISHED", {"filesize": size}), "FINISHED", "FINISHED", job_state="FINISHED")
    assert (summary.num_done, summary.num_failed) == (2, 1)
    assert batch.rows("SELECT is_recoverable, blame FROM transfers WHERE state = 'failed'") == [(False, "file")]


def test_unknown_job_frees_its_subscriptions(batch: Inventory) -> None:
    assert tell(batch, http_status=404) == ObserveSummary(num_failed=3, num_lost_jobs=1)
    assert set(batch.subscriptions().values()) == {"retry"}


def test_job_that_is_not_shown_changes_nothing(batch: Inventory) -> None:
    summary = tell(batch, http_status=403)
    assert list(summary.unreadable.values()) == ["403 "]
    assert transfer_states(batch) == ["submitted"] * 3


def test_cancelled_at_fts_is_tried_again(batch: Inventory) -> None:
    assert tell(batch, *["CANCELED"] * 3, job_state="CANCELED").num_cancelled == 3
    assert batch.scalar("SELECT count(blame) FROM transfers") == 0
    assert set(batch.subscriptions().values()) == {"retry"}


def test_arrived_though_no_longer_subscribed_for(batch: Inventory) -> None:
    batch.subscription("delete", batch.files_of["b1"], "T2_B")
    tell(batch, *["FINISHED"] * 3, job_state="FINISHED")
    assert batch.replica_state("b1", "T2_B") == (True, 3 * SIZE, 0)
    assert set(batch.subscriptions().values()) == {"cancelled", "new"}
    assert counts(batch.db).select("action", "state", "site", "num_files", "size_bytes").rows() == [
        ("delete", "new", "T2_B", 3, 3 * SIZE)
    ]


@pytest.mark.parametrize("state", ["NO_SUCH_STATE", "NOT_USED"])
def test_states_that_say_nothing(batch: Inventory, state: str) -> None:
    tell(batch, state, "FINISHED", "FINISHED")
    assert transfer_states(batch)[0] == "submitted"


def test_unused_source_of_an_ended_job_counts_as_cancelled() -> None:
    assert observe_file({"file_state": "NOT_USED"}, JobStatus("x", 200, "FAILED"), NOW) == "cancelled"
    assert observe_file({"file_state": "NOT_USED"}, JobStatus("x", 200, "ACTIVE"), NOW) is None


def test_every_file_state_of_the_contract_is_known() -> None:
    contract = (
        "STAGING STARTED SUBMITTED READY ACTIVE ARCHIVING QOS_TRANSITION QOS_REQUEST_SUBMITTED FORCE_START "
        "TOKEN_PREP "
        "NOT_USED ON_HOLD ON_HOLD_STAGING FINISHED FAILED CANCELED"
    )
    assert set(contract.split()) == set(FILE_STATES)


def test_files_without_our_metadata_are_left_alone() -> None:
    status = JobStatus("x", 200, "FINISHED", files=[{"file_state": "FINISHED", "file_metadata": None}])
    assert read_observations([status], NOW).is_empty()


def test_an_ended_job_leaves_no_file_under_way(batch: Inventory) -> None:
    """One of a state that we do not know, one that is not listed: both are tried again."""
    tell(batch, "FINISHED", "SHELVED", job_state="FINISHEDDIRTY")
    assert transfer_states(batch) == ["done", "cancelled", "failed"]
    assert batch.rows("SELECT state FROM transfer_batches") == [("finished",)]
    assert sorted(batch.subscriptions().values()) == ["done", "retry", "retry"]
