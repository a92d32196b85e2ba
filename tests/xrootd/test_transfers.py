"""Whole cycles between real XRootD servers, through the pocket grid's FTS: in the end inventory = storage."""

from __future__ import annotations

import time

import pytest

from dynamo_ops.deletion import directories, execute, queue
from dynamo_ops.transfer import batches, hold, observe
from dynamo_ops.transfer.submission import submit
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.patience import PATIENCE_S
from tests.xrootd.conftest import XrootdWorld

LIMITS = TransferLimits(files_per_job=20, backoff_s=0)
MOST_CYCLES = 4


def cycle(world: XrootdWorld) -> observe.ObserveSummary:
    """Plan, submit, and observe until no job is open."""
    hold.hold_and_release(world.inventory.db)
    for batch in batches.plan_batches(world.inventory.db, world.client.whoami(), LIMITS).all:
        submit.submit_batch(world.inventory.db, world.client, batch)
    total = observe.ObserveSummary()
    deadline = time.monotonic() + PATIENCE_S
    while observe.open_batch_job_ids(world.inventory.db):
        assert time.monotonic() < deadline, "jobs did not end"
        total += observe.observe_and_apply(world.inventory.db, world.client)
        time.sleep(0.05)
    for reason in world.inventory.rows("SELECT DISTINCT last_error FROM subscriptions WHERE last_error IS NOT NULL"):
        print(reason[0])  # shown where a test fails
    return total


def run(world: XrootdWorld) -> int:
    """Cycles until nothing is queued, and how many copies were done: a server may crash under one, and be back."""
    num_done = 0
    for _ in range(MOST_CYCLES):
        num_done += cycle(world).num_done
        if not world.inventory.scalar("SELECT count(*) FROM subscriptions WHERE state IN ('new', 'inbatch', 'retry')"):
            break
    return num_done


def test_copy(xworld: XrootdWorld) -> None:
    contents = xworld.block("b1", "T2_A", num_files=60)
    xworld.inventory.subscription("copy", list(contents), "T2_B")
    assert run(xworld) == 60
    assert {lfn: xworld.servers["T2_B"].path(lfn).read_bytes() for lfn in contents} == contents
    assert set(xworld.inventory.subscriptions().values()) == {"done"}
    xworld.assert_inventory_is_storage()


@pytest.mark.parametrize("xworld", ["root"], indirect=True)
def test_a_copy_by_fts_is_of_the_file_that_it_is_called_for(xworld: XrootdWorld) -> None:
    """FTS's copier cuts a name at a blank and decodes it, XRootD's cuts it at an ampersand: where files lie."""
    odd = {f"/store/b1/{name}": f"of {name}".encode() * 9 for name in ("with space", "a%41", "b+c;d#e", " ", "a&b")}
    others = {f"/store/b1/{name}": b"precious" for name in ("with", "aA", "b c", "b", "a")}
    xworld.files("b1", "T2_A", odd)
    xworld.files("b2", "T2_B", others)
    xworld.inventory.subscription("copy", list(odd), "T2_B")
    assert run(xworld) == 4
    refused = odd.pop("/store/b1/a&b")
    assert {lfn: xworld.servers["T2_B"].path(lfn).read_bytes() for lfn in (odd | others)} == odd | others
    assert refused not in [path.read_bytes() for path in xworld.servers["T2_B"].root.rglob("*") if path.is_file()]
    (held,) = xworld.inventory.rows("SELECT hold_reason, last_error FROM subscriptions WHERE state = 'held'")
    assert held[0] == "refused"
    assert "cannot be given to FTS: it has an ampersand" in held[1]
    xworld.assert_inventory_is_storage()


def test_copy_both_ways_and_delete_at_the_source(xworld: XrootdWorld) -> None:
    there, back = xworld.block("b1", "T2_A", num_files=20), xworld.block("b2", "T2_B", num_files=20)
    xworld.inventory.subscription("copy", list(there), "T2_B")
    xworld.inventory.subscription("copy", list(back), "T2_A")
    assert run(xworld) == 40
    xworld.inventory.subscription("delete", list(there), "T2_A")
    batches = queue.plan_deletions(xworld.inventory.db)
    for batch in batches:
        execute.execute_batch(xworld.inventory.db, batch, xworld.open_storage)
    assert directories.clean_directories(xworld.inventory.db, batches, xworld.open_storage) == 4
    assert xworld.expected("T2_A").keys() == back.keys()
    xworld.assert_inventory_is_storage()


def test_failures_leave_the_inventory_true(xworld: XrootdWorld) -> None:
    contents = xworld.block("b1", "T2_A", num_files=6)
    source = xworld.servers["T2_A"]
    lost, changed, cut, *_ = contents
    source.path(lost).unlink()
    source.path(changed).write_bytes(bytes(len(contents[changed])))
    source.path(cut).write_bytes(contents[cut][:-1])
    xworld.inventory.subscription("copy", list(contents), "T2_B")
    assert run(xworld) == 3
    reasons = dict(
        xworld.inventory.rows(
            "SELECT f.lfn, s.last_error FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE s.state <> 'done'"
        )
    )
    assert "SOURCE [2]" in reasons[lost]
    assert "checksum" in reasons[changed]
    assert reasons.keys() == {lost, changed, cut}
    assert xworld.expected("T2_B") == xworld.servers["T2_B"].files()


@pytest.mark.parametrize("xworld", ["root"], indirect=True)
def test_staging_from_tape(xworld: XrootdWorld) -> None:
    contents = xworld.block("b1", "T1_TAPE", num_files=33)
    tape = xworld.servers["T1_TAPE"]
    log_before = len(tape.tape_log())
    assert all(tape.is_nearline(lfn) for lfn in contents)
    xworld.inventory.subscription("copy", list(contents), "T2_B")
    assert run(xworld) == 33
    assert {lfn: xworld.servers["T2_B"].path(lfn).read_bytes() for lfn in contents} == contents
    asked = [line.split(" ", 1) for line in tape.tape_log()[log_before:]]
    assert [verb for verb, _ in asked].count("stage") == 1  # many files, one request
    assert [verb for verb, _ in asked].count("query") > 1
    assert "cancel" not in [verb for verb, _ in asked]
    evicted = {files for verb, files in asked if verb == "evict"}  # by FTS, one by one, as soon as each is copied
    assert evicted  # not "all": XRootD 5.5's plugin forgets one now and then
    assert evicted <= contents.keys()
    assert all(tape.is_nearline(lfn) for lfn in evicted)
    xworld.assert_inventory_is_storage()


@pytest.mark.parametrize("xworld", ["root"], indirect=True)
def test_file_that_is_not_on_tape(xworld: XrootdWorld) -> None:
    """It fails as gfal2 says it, and FTS cancels the request for it alone: the others come."""
    contents = xworld.block("b1", "T1_TAPE", num_files=12)
    lost, *others = contents
    tape = xworld.servers["T1_TAPE"]
    log_before = len(tape.tape_log())
    tape.path(lost).unlink()
    xworld.inventory.subscription("copy", list(contents), "T2_B")
    assert run(xworld) == 11
    reason = xworld.inventory.scalar("SELECT last_error FROM subscriptions WHERE state <> 'done'")
    assert reason == (
        f"STAGING [2] [gfal_xrootd_bring_online_poll_list] File does not exist: {lost} (reason: no such file)"
    )
    assert {lfn: xworld.servers["T2_B"].path(lfn).read_bytes() for lfn in others} == {
        lfn: contents[lfn] for lfn in others
    }
    asked = [line.split(" ") for line in tape.tape_log()[log_before:]]
    assert [names for verb, *names in asked if verb == "cancel"] == [[lost]]
    assert [sorted(names) for verb, *names in asked if verb == "stage"] == [sorted(contents)]
