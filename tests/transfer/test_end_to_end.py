"""Whole cycles on the pocket grid: subscriptions in, bytes where they should be, the inventory true."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from dynamo_ops.base.errors import CredentialError, RetryableRemoteError
from dynamo_ops.base.settings import DeletionSettings
from dynamo_ops.deletion import directories, execute, queue
from dynamo_ops.fts import watch
from dynamo_ops.fts.job import DEFAULT_JOB_SETTINGS
from dynamo_ops.fts.servers import servers_of
from dynamo_ops.query.status import why
from dynamo_ops.transfer import batches, hold, observe, recovery
from dynamo_ops.transfer.submission import lot, submit
from dynamo_ops.transfer.submission.limits import DEFAULT_TRANSFER_LIMITS, TransferLimits
from tests.inventory.subscription.test_hours import assert_hours_as_counted
from tests.patience import PATIENCE_S, wait_until
from tests.world import World

LIMITS = TransferLimits(files_per_job=10)


def plan(world: World) -> list[int]:
    hold.hold_and_release(world.inventory.db)
    return batches.plan_batches(world.inventory.db, world.client.whoami(), LIMITS).all


def follow(world: World) -> observe.ObserveSummary:
    """Observe until no job is open."""
    total = observe.ObserveSummary()
    deadline = time.monotonic() + PATIENCE_S
    while observe.open_batch_job_ids(world.inventory.db):
        assert time.monotonic() < deadline, "jobs did not end"
        total += observe.observe_and_apply(world.inventory.db, world.client)
        time.sleep(0.05)
    return total


def test_copy(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    batches = plan(world)
    submitted = [submit.submit_batch(world.inventory.db, world.client, batch) for batch in batches]
    summary = follow(world)
    assert [s.outcome for s in submitted] == ["submitted"]
    assert (summary.num_done, summary.num_failed, summary.num_completed) == (3, 0, 1)
    assert summary.bytes_done == sum(map(len, contents.values()))
    assert {lfn: world.pocket.path("T2_B", lfn).read_bytes() for lfn in contents} == contents
    assert world.inventory.replica_state("b1", "T2_B") == (True, summary.bytes_done, 0)
    assert set(world.inventory.subscriptions().values()) == {"done"}
    assert sum(row[5] for row in assert_hours_as_counted(world.inventory)) == 3


def test_copy_from_tape_is_staged_first(world: World) -> None:
    contents = world.block("b1", "T1_TAPE")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    submit.submit_batch(world.inventory.db, world.client, batch)
    assert observe.open_batch_job_ids(world.inventory.db, staging=True)
    assert not observe.open_batch_job_ids(world.inventory.db, staging=False)
    assert follow(world).num_done == 3
    assert {lfn: world.pocket.path("T2_B", lfn).read_bytes() for lfn in contents} == contents


def test_bad_source_then_good_source(world: World) -> None:
    contents = world.block("b1", "T2_A")
    lfn = "/store/b1/f0"
    world.pocket.path("T2_A", lfn).unlink()
    world.inventory.subscription("copy", [lfn], "T2_B")
    submit.submit_batch(world.inventory.db, world.client, plan(world)[0])
    assert follow(world).num_failed == 1
    assert world.inventory.subscriptions() == {("copy", lfn, "T2_B"): "retry"}
    assert plan(world) == []
    assert world.inventory.subscriptions() == {("copy", lfn, "T2_B"): "held/all_failed"}
    explanation = why(world.inventory.db, world.inventory.scalar("SELECT id FROM subscriptions"))
    assert (explanation.attempts[0]["source"], explanation.attempts[0]["is_recoverable"]) == ("T2_A", False)
    assert "SOURCE [2]" in explanation.attempts[0]["reason"]
    world.inventory.replica("b1", "T2_C")
    world.pocket.put("T2_C", lfn, contents[lfn])
    hold.hold_and_release(world.inventory.db)
    world.inventory.rows("UPDATE subscriptions SET updated_at = now() - interval '1 day'")
    submit.submit_batch(world.inventory.db, world.client, plan(world)[0])
    assert follow(world).num_done == 1
    assert world.pocket.path("T2_B", lfn).read_bytes() == contents[lfn]


def test_wrong_size_is_not_done(world: World) -> None:
    contents = world.block("b1", "T2_A", num_files=1)
    (lfn,) = contents
    world.inventory.rows("UPDATE files SET size_bytes = size_bytes + 1, adler32 = NULL")
    world.inventory.subscription("copy", [lfn], "T2_B")
    submit.submit_batch(world.inventory.db, world.client, plan(world)[0])
    summary = follow(world)
    assert (summary.num_done, summary.num_failed) == (0, 1)
    assert "the inventory knows" in world.inventory.scalar("SELECT last_error FROM subscriptions")
    assert world.inventory.replica_state("b1", "T2_B") is None


@pytest.mark.chaos
def test_lost_submit_reply_makes_one_job(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    world.client.ensure_delegation()
    world.pocket.grid.fault(fts={"lost_reply": 1})
    submitted = submit.submit_batch(world.inventory.db, world.client, batch)
    assert submitted.outcome == "found"
    assert follow(world).num_done == 3
    assert world.inventory.scalar("SELECT count(*) FROM transfers") == 3


@pytest.mark.chaos
def test_lost_submit_leaves_the_batch_planned(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    world.client.ensure_delegation()
    world.pocket.grid.fault(fts={"lost_submit": 1})
    with pytest.raises(RetryableRemoteError):
        submit.submit_batch(world.inventory.db, world.client, batch)
    assert recovery.recover(world.inventory.db, world.client).unsubmitted == [batch]
    assert submit.submit_batch(world.inventory.db, world.client, batch).outcome == "submitted"
    assert follow(world).num_done == 3


@pytest.mark.chaos
def test_killed_between_submit_and_record(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    submit.submit_batch(world.inventory.db, world.client, batch)
    world.inventory.rows("UPDATE transfer_batches SET state = 'planned', submitted_at = NULL")
    world.inventory.rows("UPDATE transfers SET state = 'planned'")
    recovered = recovery.recover(world.inventory.db, world.client)
    assert (recovered.num_found, recovered.unsubmitted, recovered.num_freed) == (1, [], 0)
    assert follow(world).num_done == 3


@pytest.mark.chaos
def test_killed_between_record_and_submit(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    assert recovery.recover(world.inventory.db, world.client).unsubmitted == [batch]
    assert plan(world) == []
    submit.submit_batch(world.inventory.db, world.client, batch)
    assert follow(world).num_done == 3


@pytest.mark.chaos
def test_job_in_the_archive_is_read_there(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    submit.submit_batch(world.inventory.db, world.client, plan(world)[0])
    (job_id,) = observe.open_batch_job_ids(world.inventory.db)
    wait_until(lambda: world.client.job_statuses([job_id])[job_id].is_ended)
    world.pocket.grid.fault(fts={"archived": True})
    assert observe.observe_and_apply(world.inventory.db, world.client).num_done == 3


@pytest.mark.chaos
def test_job_that_fts_forgot_goes_back_to_the_queue(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    world.inventory.rows("UPDATE transfer_batches SET state = 'submitted'")
    world.inventory.rows("UPDATE transfers SET state = 'submitted'")
    summary = observe.observe_and_apply(world.inventory.db, world.client, [batch])
    assert (summary.num_lost_jobs, summary.num_failed, summary.num_open_jobs) == (1, 3, 0)
    assert set(world.inventory.subscriptions().values()) == {"retry"}


def test_expired_delegation_is_renewed(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    world.pocket.grid.fault(fts={"no_delegation": True})
    with pytest.raises(CredentialError, match="419"):
        submit.submit_batch(world.inventory.db, world.client, batch)
    world.pocket.grid.heal()
    assert submit.submit_batch(world.inventory.db, world.client, batch).outcome == "submitted"


def test_a_file_that_fts_refuses_is_held_once_it_has_taken_another(world: World) -> None:
    contents = world.block("b1", "T2_A", num_files=1)
    world.inventory.rows(
        "UPDATE site_endpoints SET prefix = 'davs://' WHERE site_id = :s", s=world.inventory.site_ids["T2_B"]
    )
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    servers = servers_of(world.client)
    refused = lot.submit_lot(world.inventory.db, servers, [batch], DEFAULT_JOB_SETTINGS, DEFAULT_TRANSFER_LIMITS)
    assert "seems to be ill: it refuses 1 jobs" in refused.failed[batch][1].message
    other = world.block("b2", "T2_A", num_files=1)
    world.inventory.subscription("copy", list(other), "T2_C")
    again = [batch, *plan(world)]
    taken = lot.submit_lot(world.inventory.db, servers, again, DEFAULT_JOB_SETTINGS, DEFAULT_TRANSFER_LIMITS)
    assert (len(taken.jobs), taken.failed) == (1, {})
    states = {lfn: state for (_, lfn, _), state in world.inventory.subscriptions().items()}
    assert {states[lfn] for lfn in contents} == {"held/refused"}


def test_withdrawn_subscriptions_cancel_their_job(world: World) -> None:
    contents = world.block("b1", "T2_A")
    world.pocket.grid.fault(fts={"paused": True})
    world.inventory.subscription("copy", list(contents), "T2_B")
    submit.submit_batch(world.inventory.db, world.client, plan(world)[0])
    world.inventory.subscription("delete", list(contents), "T2_B")
    assert queue.plan_deletions(world.inventory.db) == []  # not while FTS may write
    assert recovery.recover(world.inventory.db, world.client).num_cancelled_jobs == 1
    assert follow(world).num_cancelled == 3
    assert len(queue.plan_deletions(world.inventory.db)) == 1


def test_poll_from_the_triggerer(world: World) -> None:
    contents = world.block("b1", "T1_TAPE")
    world.inventory.subscription("copy", list(contents), "T2_B")
    submit.submit_batch(world.inventory.db, world.client, plan(world)[0])
    (job_id,) = observe.open_batch_job_ids(world.inventory.db)
    e = world.pocket.grid.endpoints
    unknown = "00000000-0000-0000-0000-000000000001"

    def poll(*job_ids: str) -> dict[str, watch.JobSummary]:
        return asyncio.run(watch.poll(e["fts"], ca=e["ca"], cert=e["user_cert"], key=e["user_key"], job_ids=job_ids))

    assert poll(unknown)[unknown]["is_ended"]
    deadline = time.monotonic() + PATIENCE_S
    while not watch.all_ended(summaries := poll(job_id, unknown)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not any(summary["is_staging"] for summary in summaries.values())
    assert (summaries[job_id]["job_state"], summaries[job_id]["num_done"]) == ("FINISHED", 3)
    assert summaries[unknown]["http_status"] == 404


@pytest.mark.parametrize("by_us", [False, True], ids=["by somebody else", "by a copy of ours that came late"])
def test_what_was_written_after_its_deletion_was_asked_for_stays_unless_we_wrote_it(world: World, by_us: bool) -> None:
    first, second = world.block("b1", "T2_A", "T2_B", num_files=2)
    world.inventory.subscription("delete", [first, second], "T2_B")
    world.inventory.rows("UPDATE subscriptions SET created_at = now() - interval '1 hour'")
    for lfn, age in ((first, 1800), (second, 7200)):
        path = world.pocket.path("T2_B", lfn)
        os.utime(path, (time.time() - age,) * 2)
    if by_us:
        world.inventory.subscription("copy", [first], "T2_B")
        world.inventory.rows(
            """WITH batch AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                 VALUES ('s', gen_random_uuid(), :site, false, 'finished') RETURNING id)
               INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, size_bytes,
                                      finished_at)
               SELECT batch.id, s.id, 0, s.site_id, 'done', 1, now() - interval '20 minutes'
               FROM batch, subscriptions s WHERE s.action = 'copy'""",
            site=world.inventory.site_ids["T2_B"],
        )
        world.inventory.rows("UPDATE subscriptions SET state = 'cancelled' WHERE action = 'copy'")
        world.inventory.rows("UPDATE subscriptions SET state = 'new' WHERE action = 'delete'")
    (batch,) = queue.plan_deletions(world.inventory.db)
    summary = execute.execute_batch(world.inventory.db, batch, world.open_storage)
    assert (summary.num_deleted, summary.num_refused) == ((2, 0) if by_us else (1, 1))
    assert world.pocket.path("T2_B", first).exists() is not by_us
    if not by_us:
        error = world.inventory.scalar("SELECT last_error FROM subscriptions WHERE state = 'retry'")
        assert "later than its deletion was asked for" in error


def test_delete(world: World) -> None:
    contents = world.block("b1", "T2_A", "T2_B")
    kept = world.block("b2", "T2_B")
    world.pocket.path("T2_B", "/store/b1/f0").unlink()
    world.inventory.subscription("delete", list(contents), "T2_B")
    (batch,) = queue.plan_deletions(world.inventory.db)
    summary = execute.execute_batch(world.inventory.db, batch, world.open_storage)
    assert (summary.num_deleted, summary.num_gone, summary.num_failed) == (2, 1, 0)
    assert summary.num_replicas_removed == 1
    assert directories.clean_directories(world.inventory.db, [batch], world.open_storage) == 1
    assert not world.pocket.path("T2_B", "/store/b1").exists()
    assert all(world.pocket.path("T2_B", lfn).exists() for lfn in kept)
    assert all(world.pocket.path("T2_A", lfn).exists() for lfn in contents)
    assert world.inventory.replica_state("b1", "T2_B") is None
    assert world.inventory.replica_state("b1", "T2_A") is not None
    assert set(world.inventory.subscriptions().values()) == {"done"}


@pytest.mark.chaos
def test_killed_deletion_goes_on_where_it_was(world: World) -> None:
    contents = world.block("b1", "T2_A", "T2_B")
    world.inventory.subscription("delete", list(contents), "T2_B")
    (batch,) = queue.plan_deletions(world.inventory.db)
    world.pocket.path("T2_B", "/store/b1/f0").unlink()  # deleted, but the task was killed before it recorded that
    assert queue.recover_deletions(world.inventory.db).unfinished == [batch]
    summary = execute.execute_batch(world.inventory.db, batch, world.open_storage)
    assert (summary.num_deleted, summary.num_gone) == (2, 1)
    assert queue.recover_deletions(world.inventory.db).unfinished == []


def test_read_only_storage_holds_deletions(world: World) -> None:
    contents = world.block("b1", "T2_B")
    world.pocket.grid.fault(sites={"T2_B": {"read_only": True}})
    world.inventory.subscription("delete", list(contents), "T2_B")
    for attempt in range(1, 4):
        (batch,) = queue.plan_deletions(world.inventory.db, DeletionSettings(backoff_s=0))
        assert execute.execute_batch(world.inventory.db, batch, world.open_storage).num_refused == 3
        assert set(world.inventory.subscriptions().values()) == {"retry" if attempt < 3 else "held/refused"}
    assert world.inventory.replica_state("b1", "T2_B") is not None


@pytest.mark.chaos
def test_job_is_sent_once_though_the_connection_breaks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = world.block("b1", "T2_A")
    world.inventory.subscription("copy", list(contents), "T2_B")
    (batch,) = plan(world)
    world.client.ensure_delegation()
    sent: list[str] = []
    send = HTTPConnectionPool._make_request

    def count(self: HTTPConnectionPool, connection: object, method: str, url: str, **arguments: object) -> object:
        sent.append(method)
        return send(self, connection, method, url, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(HTTPConnectionPool, "_make_request", count)
    world.pocket.grid.fault(fts={"lost_reply": 1})
    assert submit.submit_batch(world.inventory.db, world.client, batch).outcome == "found"
    assert sent.count("POST") == 1
