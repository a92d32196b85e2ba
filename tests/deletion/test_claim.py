"""Each chunk of deletions is judged again before the storage is asked (SEMANTICS §10)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.base.settings import DeletionSettings
from dynamo_ops.deletion.execute import LOOKS_IN_VAIN, execute_batch
from dynamo_ops.deletion.queue import plan_deletions, recover_deletions
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.query.explanation import why
from dynamo_ops.storage.protocol import StoredFile
from tests.deletion.test_deletions import Answers
from tests.inventory.factory import SIZE, Inventory

BLOCK = "/A/B-v1/AOD#b1"
ONE_BY_ONE = DeletionSettings(files_per_chunk=1)


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 (two files) complete at T2_A and T2_B; deleted at T2_A, in a batch that is planned. Not as last copies."""
    for site in ("T2_A", "T2_B", "T2_C"):
        inventory.site(site)
    inventory.block("b1", 2)
    for site in ("T2_A", "T2_B"):
        inventory.replica("b1", site)
    inventory.subscription("delete", inventory.files_of["b1"], "T2_A", is_last_allowed=False)
    return inventory


def executed(stock: Inventory, meanwhile: Callable[[Inventory], object], **options: Any) -> tuple[list[str], set[str]]:
    """The LFNs that the storage was asked to delete, when ``meanwhile`` came after the batch was planned; and the
    reasons of what was left."""
    (batch,) = plan_deletions(stock.db)
    meanwhile(stock)
    storage = Answers(**options)
    summary = execute_batch(stock.db, batch, storage)  # type: ignore[arg-type]
    reasons = stock.rows("SELECT last_error FROM subscriptions WHERE action = 'delete' AND state = 'retry'")
    asked = [lfn for chunk in storage.asked for lfn in chunk]
    assert summary.num_left_out == len(reasons)
    return asked, {row[0] for row in reasons}


def check(stock: Inventory, site: str, state: str, lfns: list[str], kind: str = "missing") -> None:
    """A check of the site that ended in ``state`` with these findings."""
    number = stock.scalar(
        """INSERT INTO consistency_checks (run_key, site_id, state, started_at)
           VALUES (gen_random_uuid()::text, :site, :state, clock_timestamp()) RETURNING id""",
        site=stock.site_ids[site],
        state=state,
    )
    for lfn in lfns:
        stock.rows(
            """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, file_id)
               VALUES (:check, :kind, 'seen', :lfn, 0, :file)""",
            check=number,
            kind=kind,
            lfn=lfn,
            file=stock.file_ids[lfn],
        )


def status(site: str, status: str) -> Callable[[Inventory], object]:
    return lambda stock: stock.rows("UPDATE sites SET status = :status WHERE name = :name", name=site, status=status)


LAST = "not deleted: it is the last copy"
MEANWHILE: dict[str, tuple[Callable[[Inventory], object], str | None]] = {
    "nothing": (lambda _: None, None),
    "the other site lost it": (
        lambda stock: stock.rows("DELETE FROM block_replicas WHERE site_id = :b", b=stock.site_ids["T2_B"]),
        LAST,
    ),
    "the other copy is to be deleted": (
        lambda stock: stock.subscription("delete", stock.files_of["b1"], "T2_B"),
        LAST,
    ),
    "a check misses it there": (lambda stock: check(stock, "T2_B", "compared", stock.files_of["b1"]), LAST),
    "a check finds it broken there": (
        lambda stock: check(stock, "T2_B", "compared", stock.files_of["b1"], "wrong_size"),
        LAST,
    ),
    "the check there is refused": (lambda stock: check(stock, "T2_B", "refused", []), LAST),
    "the next check found it again": (
        lambda stock: [check(stock, "T2_B", "compared", lfns) for lfns in (stock.files_of["b1"], [])],
        None,
    ),
    "the next check is refused": (
        lambda stock: [check(stock, "T2_B", state, []) for state in ("compared", "refused")],
        LAST,
    ),
    "the next check passes": (
        lambda stock: [check(stock, "T2_B", state, []) for state in ("refused", "repaired")],
        None,
    ),
    "the other site is in the waitroom": (status("T2_B", "waitroom"), LAST),
    "the other site is in the morgue": (status("T2_B", "morgue"), LAST),
    "the other site is unknown": (status("T2_B", "unknown"), LAST),
    "it is locked": (
        lambda stock: stock.rows(
            "INSERT INTO locks (item, sites, groups, reason, created_by) VALUES (:b, 'T2_A', '', 'mine', 'ada')",
            b=BLOCK,
        ),
        "not deleted: it is locked",
    ),
}


@pytest.mark.parametrize(("meanwhile", "reason"), MEANWHILE.values(), ids=MEANWHILE)
def test_what_became_known_since_the_batch_was_planned(
    stock: Inventory, meanwhile: Callable[[Inventory], object], reason: str | None
) -> None:
    asked, reasons = executed(stock, meanwhile)
    assert (asked, reasons) == (([], {reason}) if reason else (stock.files_of["b1"], set()))


def test_what_must_stay_is_not_even_planned_and_is_explained(stock: Inventory) -> None:
    status("T2_B", "morgue")(stock)
    assert plan_deletions(stock.db) == []
    number = stock.scalar("SELECT min(id) FROM subscriptions")
    assert why(stock.db, number).because == (
        "queued: it waits, since it is the last good copy of the file, and nobody allowed that to go"
    )


def test_only_the_files_that_are_the_last_stay(stock: Inventory) -> None:
    first, second = stock.files_of["b1"]
    asked, reasons = executed(stock, lambda _: check(stock, "T2_B", "compared", [first]))
    assert (asked, reasons) == ([second], {LAST})


def test_the_last_copy_goes_where_that_was_allowed(stock: Inventory) -> None:
    def allowed(stock: Inventory) -> None:
        stock.subscription("delete", stock.files_of["b1"], "T2_A")
        status("T2_B", "morgue")(stock)

    assert executed(stock, allowed) == (stock.files_of["b1"], set())


@pytest.mark.parametrize(
    "held", [None, "all_failed", "refused", "no_source", "site_unavailable", "operator", "suspended"]
)
def test_the_last_source_stays_whatever_was_allowed(stock: Inventory, held: str | None) -> None:
    def waited_for(stock: Inventory) -> None:
        stock.rows("UPDATE subscriptions SET is_last_allowed = true")
        stock.rows("DELETE FROM block_replicas WHERE site_id = :b", b=stock.site_ids["T2_B"])
        stock.subscription("copy", stock.files_of["b1"], "T2_C")
        if held:
            stock.rows(
                "UPDATE subscriptions SET state = 'held', hold_reason = :reason WHERE action = 'copy'", reason=held
            )

    asked, reasons = executed(stock, waited_for)
    assert (asked, reasons) == ([], {"not deleted: it is the only source of a copy that is still pending"})


@pytest.mark.parametrize("days_left", [1, -1])
def test_the_source_of_a_suspended_copy_stays_until_it_is_said(stock: Inventory, days_left: int) -> None:
    def suspended(stock: Inventory) -> None:
        stock.rows("UPDATE subscriptions SET is_last_allowed = true")
        stock.rows("DELETE FROM block_replicas WHERE site_id = :b", b=stock.site_ids["T2_B"])
        stock.subscription("copy", stock.files_of["b1"], "T2_C")
        stock.rows(
            """UPDATE subscriptions SET state = 'held', hold_reason = 'suspended',
                   protects_until = now() + :days * interval '1 day' WHERE action = 'copy'""",
            days=days_left,
        )

    assert executed(stock, suspended)[0] == ([] if days_left > 0 else stock.files_of["b1"])


def test_a_file_that_fts_reads_stays(stock: Inventory) -> None:
    def read(stock: Inventory) -> None:
        stock.subscription("copy", stock.files_of["b1"][:1], "T2_C")
        stock.rows(
            """WITH batch AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, backend, activity, state)
                   VALUES (repeat('a', 32), gen_random_uuid(), :c, false, 'fts', 'default', 'submitted') RETURNING id)
               INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes, state)
               SELECT batch.id, s.id, 0, :a, 1, 'active' FROM batch, subscriptions s WHERE s.action = 'copy'""",
            a=stock.site_ids["T2_A"],
            c=stock.site_ids["T2_C"],
        )

    asked, reasons = executed(stock, read)
    assert (asked, reasons) == (stock.files_of["b1"][1:], {"not deleted: it is being copied there, or from there"})


def test_two_sites_do_not_delete_each_other_s_last_copy(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)
    stock.subscription("delete", stock.files_of["b1"], "T2_B", is_last_allowed=False)
    assert plan_deletions(stock.db) == []
    storage = Answers()
    assert execute_batch(stock.db, batch, storage).num_left_out == 2  # type: ignore[arg-type]
    assert storage.asked == []


def test_what_is_claimed_is_no_copy_though_it_was_withdrawn(stock: Inventory) -> None:
    """T2_A's files are being deleted while that is cancelled: until the storage's answer is recorded, T2_B's stay."""
    planned: list[list[int]] = []

    def meanwhile() -> None:
        stock.rows("UPDATE subscriptions SET state = 'cancelled' WHERE site_id = :a", a=stock.site_ids["T2_A"])
        stock.subscription("delete", stock.files_of["b1"], "T2_B", is_last_allowed=False)
        planned.append(plan_deletions(stock.db))

    (batch,) = plan_deletions(stock.db)
    execute_batch(stock.db, batch, Answers(before=meanwhile))  # type: ignore[arg-type]
    assert planned == [[]]


def withdraw(stock: Inventory) -> None:
    stock.rows("UPDATE subscriptions SET state = 'cancelled' WHERE site_id = :a", a=stock.site_ids["T2_A"])


def test_an_answer_that_was_lost_is_asked_for_when_the_deletion_is_withdrawn(stock: Inventory) -> None:
    """The storage deleted one of two, and answered to neither: T2_B's stay until T2_A has been looked at."""
    first, second = stock.files_of["b1"]
    (batch,) = plan_deletions(stock.db)
    execute_batch(stock.db, batch, Answers(Seen.UNAVAILABLE))  # type: ignore[arg-type]
    assert recover_deletions(stock.db).unfinished == []  # they are tried again
    withdraw(stock)
    stock.subscription("delete", stock.files_of["b1"], "T2_B", is_last_allowed=False)
    assert plan_deletions(stock.db) == []
    assert recover_deletions(stock.db).unfinished == [batch]
    summary = execute_batch(stock.db, batch, Answers(gone=[first]))  # type: ignore[arg-type]
    assert (summary.num_gone, summary.num_left_out, summary.num_unsettled) == (1, 1, 0)
    assert stock.replica_state("b1", "T2_A") == (False, SIZE, 1)
    assert stock.rows("SELECT reason FROM deletions ORDER BY id") == [
        ("why; the file is gone all the same",),
        ("why; the file is there still",),
    ]
    assert recover_deletions(stock.db).unfinished == []
    (other,) = plan_deletions(stock.db)
    storage = Answers()
    execute_batch(stock.db, other, storage)  # type: ignore[arg-type]
    assert storage.asked == [[second]]


def test_a_manager_that_finds_nothing_settles_nothing(stock: Inventory) -> None:
    """It has no such file, and says that this does not mean that it is gone (``KnowsGone``)."""

    class Manager(Answers):
        def is_gone(self, lfn: str) -> bool:
            raise RetryableRemoteError(f"none of its servers that is up has {lfn}", service="storage", status=None)

    (batch,) = plan_deletions(stock.db)
    everything = stock.files_of["b1"]
    execute_batch(stock.db, batch, Answers(Seen.UNAVAILABLE))  # type: ignore[arg-type]
    withdraw(stock)
    summary = execute_batch(stock.db, batch, Manager(gone=everything))  # type: ignore[arg-type]
    assert (summary.num_gone, summary.num_unsettled) == (0, len(everything))
    assert stock.scalar("SELECT count(*) FROM deletions WHERE is_unsettled") == len(everything)


def test_a_storage_that_is_silent_settles_nothing(stock: Inventory) -> None:
    """Later it answers."""

    class Silent(Answers):
        def stat(self, lfn: str) -> StoredFile | None:
            raise RetryableRemoteError(f"no answer about {lfn}", service="storage")

    (batch,) = plan_deletions(stock.db)
    execute_batch(stock.db, batch, Answers(Seen.UNAVAILABLE))  # type: ignore[arg-type]
    withdraw(stock)
    assert execute_batch(stock.db, batch, Silent()).num_unsettled == 2  # type: ignore[arg-type]
    assert recover_deletions(stock.db).unfinished == [batch]
    assert execute_batch(stock.db, batch, Answers()).num_left_out == 2  # type: ignore[arg-type]
    assert recover_deletions(stock.db).unfinished == []


def test_a_storage_that_says_nothing_at_all_is_not_asked_for_the_other_batches(stock: Inventory) -> None:
    class Silent(Answers):
        num_asked = 0

        def stat(self, lfn: str) -> StoredFile | None:
            self.num_asked += 1
            raise RetryableRemoteError("no answer", service="storage")

    stock.block("b2", 30)
    for site in ("T2_A", "T2_B"):
        stock.replica("b2", site)
    stock.subscription("delete", stock.files_of["b2"], "T2_A")
    (batch,) = plan_deletions(stock.db)
    execute_batch(stock.db, batch, Answers(Seen.UNAVAILABLE))  # type: ignore[arg-type]
    withdraw(stock)
    storage = Silent()
    with pytest.raises(RetryableRemoteError, match="no answer"):
        execute_batch(stock.db, batch, storage)  # type: ignore[arg-type]
    assert storage.num_asked == LOOKS_IN_VAIN
    assert recover_deletions(stock.db).unfinished == [batch]


@pytest.mark.parametrize(
    ("answers", "num_unsettled"),
    [
        ([Seen.UNAVAILABLE, Seen.UNAVAILABLE], 2),
        ([Seen.UNAVAILABLE, Seen.REFUSED], 2),
        ([Seen.REFUSED], 0),
        ([Seen.UNAVAILABLE, Seen.DELETED], 0),
    ],
)
def test_the_newest_attempt_speaks_for_those_before(stock: Inventory, answers: list[Seen], num_unsettled: int) -> None:
    """A refusal after no answer says nothing of what was done before it."""
    for answer in answers:
        (batch,) = plan_deletions(stock.db, DeletionSettings(backoff_s=0))
        execute_batch(stock.db, batch, Answers(answer))  # type: ignore[arg-type]
    assert stock.scalar("SELECT count(*) FROM deletions WHERE is_unsettled") == num_unsettled


def test_a_killed_claim_is_judged_again(stock: Inventory) -> None:
    """The storage had deleted one of two when the task was killed; then the other copy was lost."""
    (batch,) = plan_deletions(stock.db)

    def kill() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute_batch(stock.db, batch, Answers(before=kill))  # type: ignore[arg-type]
    status("T2_B", "waitroom")(stock)
    first, second = stock.files_of["b1"]
    storage = Answers(gone=[first])
    summary = execute_batch(stock.db, batch, storage)  # type: ignore[arg-type]
    assert (storage.asked, summary.num_gone, summary.num_left_out) == ([], 1, 1)
    assert stock.subscriptions()["delete", first, "T2_A"] == "done"
    assert stock.subscriptions()["delete", second, "T2_A"] == "retry"
    assert stock.scalar("SELECT count(*) FROM deletions WHERE state = 'planned'") == 0


def test_a_downtime_ends_a_batch_between_its_chunks(stock: Inventory) -> None:
    (batch,) = plan_deletions(stock.db)

    def downtime() -> None:
        stock.rows(
            """INSERT INTO site_downtimes (site_id, begins_at, reason, created_by)
               VALUES (:a, now() - interval '1 second', 'power', 'ada')""",
            a=stock.site_ids["T2_A"],
        )

    storage = Answers(before=downtime)
    assert execute_batch(stock.db, batch, storage, ONE_BY_ONE).num_deleted == 1  # type: ignore[arg-type]
    assert recover_deletions(stock.db).unfinished == []
    stock.rows("UPDATE site_downtimes SET ends_at = :end", end=datetime.now(UTC) - timedelta(milliseconds=1))
    assert recover_deletions(stock.db).unfinished == [batch]
    assert execute_batch(stock.db, batch, Answers(Seen.DELETED)).num_deleted == 1  # type: ignore[arg-type]
