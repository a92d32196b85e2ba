"""Deletions in the database, with a storage that answers as told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dynamo_ops.base.settings import DeletionSettings, SiteDeletions
from dynamo_ops.deletion.directories import clean_directories, directories_due
from dynamo_ops.deletion.execute import DeletionSummary, execute_batch, total
from dynamo_ops.deletion.queue import by_site, plan_deletions, recover_deletions
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.storage.posix import PosixStorage
from dynamo_ops.storage.protocol import DeletionOutcome, StorageOptions, StoredFile
from dynamo_ops.transfer.hold import hold_and_release
from tests.inventory.factory import SIZE, Inventory
from tests.inventory.subscription.test_hours import assert_hours_as_counted


class Answers:
    """A storage that says ``observation`` of every file, and keeps what it was asked. ``gone``: files it has not."""

    def __init__(
        self, observation: Seen = Seen.DELETED, before: Callable[[], object] | None = None, gone: Collection[str] = ()
    ) -> None:
        self.observation, self.before, self.gone = observation, before, gone
        self.asked: list[list[str]] = []
        self.directories: list[str] = []

    def __call__(self, site_id: int) -> Answers:
        return self

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        self.asked.append(list(lfns))
        if self.before:
            self.before()
        return [
            DeletionOutcome(lfn, self.observation, "" if self.observation in (Seen.DELETED, Seen.NOT_FOUND) else "why")
            for lfn in lfns
        ]

    def stat(self, lfn: str) -> StoredFile | None:
        return None if lfn in self.gone else StoredFile(lfn, SIZE, None)

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        self.directories = sorted(directories)
        return len(self.directories)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 (three files) complete at T2_A and T2_B, both to be deleted at T2_B."""
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.block("b1", 3)
    for site in ("T2_A", "T2_B"):
        inventory.replica("b1", site)
    inventory.subscription("delete", inventory.files_of["b1"], "T2_B")
    return inventory


@pytest.mark.parametrize(
    ("observation", "subscription", "replica"),
    [
        (Seen.DELETED, "done", None),
        (Seen.NOT_FOUND, "done", None),
        (Seen.UNAVAILABLE, "retry", (True, 3 * SIZE, 0)),
        (Seen.REFUSED, "retry", (True, 3 * SIZE, 0)),
    ],
    ids=lambda value: value.value if isinstance(value, Seen) else "",
)
def test_outcome(stock: Inventory, observation: Seen, subscription: str, replica: object) -> None:
    (batch,) = plan_deletions(stock.db)
    execute_batch(stock.db, batch, Answers(observation))  # type: ignore[arg-type]
    assert set(stock.subscriptions().values()) == {subscription}
    assert stock.replica_state("b1", "T2_B") == replica
    assert stock.scalar("SELECT state FROM deletion_batches") == "finished"
    assert sum(row[5] for row in assert_hours_as_counted(stock)) == 3


@pytest.mark.parametrize(
    ("observation", "attempts", "subscription"),
    [
        (Seen.REFUSED, 2, "retry"),
        (Seen.REFUSED, 3, "held/refused"),
        (Seen.UNAVAILABLE, 9, "retry"),
        (Seen.UNAVAILABLE, 10, "held/all_failed"),
        (Seen.DELETED, 10, "done"),
    ],
)
def test_who_fails_too_often_is_left_to_a_person(
    stock: Inventory, observation: Seen, attempts: int, subscription: str
) -> None:
    stock.rows("UPDATE subscriptions SET num_attempts = :n", n=attempts - 1)
    (batch,) = plan_deletions(stock.db, DeletionSettings(backoff_s=0))
    execute_batch(stock.db, batch, Answers(observation))  # type: ignore[arg-type]
    hold_and_release(stock.db)  # does not release it
    assert set(stock.subscriptions().values()) == {subscription}


def test_chunks_and_batches(stock: Inventory) -> None:
    limits = DeletionSettings(files_per_batch=2, files_per_chunk=1)
    batches = plan_deletions(stock.db, limits)
    assert len(batches) == 2
    storage = Answers()
    summary = execute_batch(stock.db, batches[0], storage, limits)  # type: ignore[arg-type]
    assert [len(chunk) for chunk in storage.asked] == [1, 1]
    assert (summary.num_deleted, summary.bytes_deleted) == (2, 2 * SIZE)
    assert stock.replica_state("b1", "T2_B") == (False, SIZE, 1)
    execute_batch(stock.db, batches[1], storage, limits)  # type: ignore[arg-type]
    assert stock.replica_state("b1", "T2_B") is None


def test_limits_per_cycle_and_site(stock: Inventory) -> None:
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    plan_deletions(stock.db, DeletionSettings(files_per_cycle=5, files_per_site=2))
    assert stock.scalar("SELECT count(*) FROM deletions") == 4


@pytest.mark.parametrize(("own", "expected"), [(1, 3), (3, 5)])
def test_a_site_has_a_limit_of_its_own(stock: Inventory, own: int, expected: int) -> None:
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    plan_deletions(stock.db, DeletionSettings(files_per_site=2, sites={"*_A": SiteDeletions(files_per_site=own)}))
    assert stock.scalar("SELECT count(*) FROM deletions") == expected


def test_subscription_withdrawn_before_the_batch_runs(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)
    stock.subscription("copy", stock.files_of["b1"], "T2_B")
    storage = Answers()
    execute_batch(stock.db, batch, storage)  # type: ignore[arg-type]
    assert storage.asked == []
    assert stock.replica_state("b1", "T2_B") == (True, 3 * SIZE, 0)


def test_subscription_withdrawn_while_the_storage_deletes(stock: Inventory) -> None:
    """The files are gone, so the replica says so, and the copy subscriptions stand to bring them back."""
    (batch,) = plan_deletions(stock.db)
    storage = Answers(before=lambda: stock.subscription("copy", stock.files_of["b1"], "T2_B"))
    execute_batch(stock.db, batch, storage)  # type: ignore[arg-type]
    assert stock.replica_state("b1", "T2_B") == (False, 0, 0)
    assert {state for (action, *_), state in stock.subscriptions().items() if action == "copy"} == {"new"}


def test_killed_between_storage_and_record(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)

    def kill() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute_batch(stock.db, batch, Answers(before=kill))  # type: ignore[arg-type]
    assert recover_deletions(stock.db).unfinished == [batch]
    assert execute_batch(stock.db, batch, Answers(Seen.NOT_FOUND)).num_gone == 3  # type: ignore[arg-type]


def test_killed_between_storage_and_record_and_subscribed_for_again(stock: Inventory) -> None:
    """What the killed run had deleted is found gone, though it must not be deleted any more; the rest stays."""
    (batch,) = plan_deletions(stock.db)
    lfns = stock.files_of["b1"]

    def kill() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute_batch(stock.db, batch, Answers(before=kill))  # type: ignore[arg-type]
    stock.subscription("copy", lfns, "T2_B")
    storage = Answers(gone=lfns[:2])
    assert execute_batch(stock.db, batch, storage).num_gone == 2  # type: ignore[arg-type]
    assert storage.asked == []
    assert stock.replica_state("b1", "T2_B") == (False, SIZE, 1)
    assert {state for (action, *_), state in stock.subscriptions().items() if action == "copy"} == {"new"}


def test_one_task_at_a_batch(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)
    second: list[DeletionSummary] = []
    storage = Answers(before=lambda: second.append(execute_batch(stock.db, batch, Answers())))  # type: ignore[arg-type]
    assert execute_batch(stock.db, batch, storage).num_deleted == 3  # type: ignore[arg-type]
    assert [summary.num_deleted for summary in second] == [0]


def test_stuck_subscriptions_are_freed(stock: Inventory) -> None:
    stock.rows("UPDATE subscriptions SET state = 'inbatch'")
    assert recover_deletions(stock.db).num_freed == 3


@pytest.mark.parametrize(
    ("other", "doomed", "held", "goes"),
    [
        (False, False, None, False),
        (True, False, None, True),
        (True, True, None, False),
        (False, False, "all_failed", False),
        (False, False, "refused", False),
        (False, False, "site_unavailable", False),
        (False, False, "operator", False),
    ],
    ids=[
        "last source",
        "another one stays",
        "the other goes too",
        "the copy may be made when a person releases it",
        "that one too",
        "the destination comes back",
        "the copy goes on when a person says so",
    ],
)
def test_last_source_of_a_subscribed_copy_waits(
    inventory: Inventory, other: bool, doomed: bool, held: str | None, goes: bool
) -> None:
    for site in ("T2_A", "T2_B", "T2_C"):
        inventory.site(site)
    lfns = inventory.block("b1", 1)
    inventory.replica("b1", "T2_A")
    if other:
        inventory.replica("b1", "T2_C")
    inventory.subscription("copy", lfns, "T2_B")
    if held:
        inventory.rows("UPDATE subscriptions SET state = 'held', hold_reason = :reason", reason=held)
    inventory.subscription("delete", lfns, "T2_A")
    if doomed:
        inventory.subscription("delete", lfns, "T2_C")
    plan_deletions(inventory.db)
    assert (inventory.subscriptions()["delete", lfns[0], "T2_A"] == "inbatch") is goes


def test_source_of_a_running_copy_is_not_deleted(inventory: Inventory, identity: FtsIdentity) -> None:
    from dynamo_ops.transfer.batches import plan_batches

    inventory.site("T2_A")
    inventory.site("T2_B")
    lfns = inventory.block("b1", 2)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", lfns[:1], "T2_B")
    plan_batches(inventory.db, identity)
    inventory.subscription("delete", lfns, "T2_A")
    plan_deletions(inventory.db)
    assert inventory.subscriptions()["delete", lfns[0], "T2_A"] == "new"
    assert inventory.subscriptions()["delete", lfns[1], "T2_A"] == "inbatch"


def test_directories_into_which_a_copy_is_due_are_left(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)
    storage = Answers()
    execute_batch(stock.db, batch, storage)  # type: ignore[arg-type]
    assert clean_directories(stock.db, [batch], storage) == 1  # type: ignore[arg-type]
    assert storage.directories == ["/store/b1"]
    stock.subscription("copy", stock.files_of["b1"][:1], "T2_B")
    with stock.db.begin() as connection:
        assert directories_due(connection, stock.site_ids["T2_B"]) == {"/store/b1"}
    assert clean_directories(stock.db, [batch], storage) == 0  # type: ignore[arg-type]


def test_the_batches_of_a_site_go_together(inventory: Inventory) -> None:
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    inventory.block("b1", 3)
    for site in ("T2_A", "T2_B"):
        inventory.replica("b1", site)
        inventory.subscription("delete", inventory.files_of["b1"], site)
    batches = plan_deletions(inventory.db, DeletionSettings(files_per_batch=2))
    lots = by_site(inventory.db, batches)
    assert sorted(map(len, lots)) == [2, 2]
    summaries = [execute_batch(inventory.db, batch, Answers()) for batch in lots[0]]  # type: ignore[arg-type]
    assert (total(summaries).num_deleted, total(summaries).bytes_deleted) == (3, 3 * SIZE)
    ended = {site for (_, _, site), state in inventory.subscriptions().items() if state == "done"}
    assert len(ended) == 1


def test_a_deletion_that_is_held_while_it_is_made_is_done(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)
    held = "UPDATE subscriptions SET state = 'held', hold_reason = 'operator'"
    execute_batch(stock.db, batch, Answers(before=lambda: stock.rows(held)))  # type: ignore[arg-type]
    assert set(stock.subscriptions().values()) == {"done"}
    assert stock.replica_state("b1", "T2_B") is None


def test_a_site_in_a_downtime_is_not_asked_to_delete(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)
    stock.rows(
        "INSERT INTO site_downtimes (site_id, begins_at, reason, created_by) VALUES (:s, now(), 'power cut', 'ada')",
        s=stock.site_ids["T2_B"],
    )
    assert recover_deletions(stock.db).unfinished == []
    stock.rows("UPDATE site_downtimes SET ends_at = now()")
    assert recover_deletions(stock.db).unfinished == [batch]


def test_a_chunk_reads_its_own_files_though_statistics_know_of_no_batches(inventory: Inventory) -> None:
    """They are of the time when all was queued. By the indexes of what is in batches each chunk would read all of it:
    17 s a chunk with 20,000 files in batches."""
    inventory.site("T2_A")
    inventory.site("T2_B")
    num_files, chunks = 2_000, 20
    inventory.block("b1", num_files)
    for site in ("T2_A", "T2_B"):
        inventory.replica("b1", site)
    inventory.subscription("delete", inventory.files_of["b1"], "T2_B")
    inventory.rows("ANALYZE")
    (batch,) = plan_deletions(inventory.db)
    before = _entries_read(inventory)
    limits = DeletionSettings(files_per_chunk=num_files // chunks)
    assert execute_batch(inventory.db, batch, Answers(), limits).num_deleted == num_files  # type: ignore[arg-type]
    assert _entries_read(inventory) - before < 3 * num_files < chunks * num_files // 4


def _entries_read(inventory: Inventory) -> int:
    """How many entries of the indexes of what is in batches were read until now."""
    inventory.rows("SELECT pg_stat_force_next_flush()")
    return int(
        inventory.scalar(
            """SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
               WHERE indexrelname IN ('ix_subscriptions_inbatch', 'uq_deletions_live')"""
        )
    )


class Slow(PosixStorage):
    """A storage whose clock is an hour behind, and so the times of its files."""

    def clock(self) -> datetime:
        return datetime.now(UTC) - timedelta(hours=1)


def test_what_was_written_anew_stays_where_the_clock_is_slow(inventory: Inventory, tmp_path: Path) -> None:
    """By its time it is from before its deletion was asked for; by when it was written it is not."""
    site = inventory.site("T2_A", prefix=f"file://{tmp_path}")
    lfns = inventory.block("b1", 2)
    inventory.replica("b1", "T2_A")
    inventory.subscription("delete", lfns, "T2_A")
    for lfn, hours in zip(lfns, (0.5, 2), strict=True):
        path = tmp_path / lfn.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(SIZE))
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    (batch,) = plan_deletions(inventory.db)
    storage = Slow(Endpoint("T2_A", "file", f"file://{tmp_path}", site_id=site), StorageOptions(threads=1))
    summary = execute_batch(inventory.db, batch, lambda _: storage)
    assert (summary.num_deleted, summary.num_refused) == (1, 1)
    assert [(tmp_path / lfn.lstrip("/")).exists() for lfn in lfns] == [True, False]
