"""Submits of recorded batches, with an FTS that answers as told: what is sent, and what becomes of what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from dynamo_ops.base.errors import CredentialError, RemoteError, RetryableRemoteError, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.locks import alone
from dynamo_ops.fts import servers
from dynamo_ops.fts.client import JobStatus, Submitted
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.inventory.subscription.operate import hold
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.transfer import tasks as steps
from dynamo_ops.transfer.batches import PlanRules, plan_batches
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.recovery import abandon_fts, recover
from dynamo_ops.transfer.submission.limits import TransferLimits
from dynamo_ops.transfer.submission.submit import submit_batch
from tests.inventory.factory import Inventory
from tests.people import ADA

DOWNTIME = "INSERT INTO site_downtimes (site_id, begins_at, reason, created_by) VALUES (:s, now(), 'power cut', 'ada')"


class Fts:
    """Keeps what it was sent. ``known``: jobs it has already; ``answer``: an error for a job document, or None."""

    def __init__(self, *known: str, answer: Callable[[Mapping[str, Any]], RemoteError | None] = lambda _: None) -> None:
        self.known = set(known)
        self.jobs: list[Mapping[str, Any]] = []
        self.answer = answer

    def close(self) -> None:
        """Nothing is open."""

    def submit(self, job: Mapping[str, Any], job_id: str) -> Submitted:
        error = self.answer(job)
        if error is not None:
            raise error
        self.jobs.append(job)
        return Submitted(job_id, was_found=job_id in self.known)

    def find_job(self, job_id: str) -> JobStatus | None:
        return JobStatus(job_id, 200, "SUBMITTED") if job_id in self.known else None

    def sent(self) -> list[str]:
        """The destinations of all files in all jobs, without their prefix."""
        return [file["destinations"][0].partition("/dav")[2] for job in self.jobs for file in job["files"]]


@pytest.fixture
def three(inventory: Inventory) -> Inventory:
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    return inventory


def planned(three: Inventory, identity: FtsIdentity, num_files: int = 3, **limits: Any) -> tuple[list[str], list[int]]:
    """LFNs subscribed from T2_A to T2_B, and the batches recorded for them."""
    lfns = three.block("b1", num_files)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    return lfns, plan_batches(three.db, identity, TransferLimits(**limits)).all


def send(three: Inventory, fts: Fts, batch: int) -> str:
    return submit_batch(three.db, fts, batch).outcome  # type: ignore[arg-type]


def tried(three: Inventory, minutes: int | None) -> None:
    """A submit began so long ago, and nobody knows what came of it; None: there was none."""
    three.rows("UPDATE transfer_batches SET submitted_at = now() - :m * interval '1 minute'", m=minutes)


def test_what_is_not_subscribed_for_any_more_is_not_sent(three: Inventory, identity: FtsIdentity) -> None:
    (gone, on_hold, wanted), (batch,) = planned(three, identity)
    three.subscription("delete", [gone], "T2_B")
    hold(three.db, Selection(files=(on_hold,)), by=ADA, reason="later")
    fts = Fts()
    assert send(three, fts, batch) == "submitted"
    assert fts.sent() == [wanted]
    states = three.rows("SELECT state FROM transfers ORDER BY file_index")
    assert states == [("cancelled",), ("cancelled",), ("submitted",)]
    assert three.subscriptions()["copy", on_hold, "T2_B"] == "held/operator"


def test_what_is_there_by_now_is_not_copied_over(three: Inventory, identity: FtsIdentity) -> None:
    (there, *wanted), (batch,) = planned(three, identity)
    three.replica("b1", "T2_B", present=[there])
    fts = Fts()
    assert send(three, fts, batch) == "submitted"
    assert fts.sent() == wanted
    hold_and_release(three.db)
    assert recover(three.db, None).num_freed == 1
    hold_and_release(three.db)
    assert three.subscriptions()["copy", there, "T2_B"] == "done"


def test_what_fts_has_already_is_not_taken_back_here(three: Inventory, identity: FtsIdentity) -> None:
    (gone, *_), (batch,) = planned(three, identity)
    three.subscription("delete", [gone], "T2_B")
    fts = Fts(str(three.scalar("SELECT job_id FROM transfer_batches")))
    assert send(three, fts, batch) == "found"
    assert len(fts.sent()) == 3
    assert three.rows("SELECT DISTINCT state FROM transfers") == [("submitted",)]


@pytest.mark.parametrize(
    ("minutes", "outcome", "state"),
    [(None, "unwanted", "cancelled"), (1, "waiting", "planned"), (11, "unwanted", "cancelled")],
    ids=["never submitted", "a submit may be on its way", "no more"],
)
def test_a_batch_that_nobody_wants_is_closed_once_no_submit_can_be_on_its_way(
    three: Inventory, identity: FtsIdentity, minutes: int | None, outcome: str, state: str
) -> None:
    lfns, (batch,) = planned(three, identity)
    three.rows("UPDATE transfer_batches SET created_at = now() - interval '1 day'")
    three.subscription("delete", lfns, "T2_B")
    tried(three, minutes)
    fts = Fts()
    assert send(three, fts, batch) == outcome
    assert fts.jobs == []
    assert three.rows("SELECT state FROM transfer_batches") == [(state,)]


def test_what_may_be_on_its_way_is_sent_as_it_was(three: Inventory, identity: FtsIdentity) -> None:
    """The killed task's job has the id of ours: the files of both are what is seen afterwards."""
    (gone, *_), (batch,) = planned(three, identity)
    three.subscription("delete", [gone], "T2_B")
    tried(three, 1)
    fts = Fts()
    assert send(three, fts, batch) == "submitted"
    assert len(fts.sent()) == 3
    assert three.rows("SELECT DISTINCT state FROM transfers") == [("submitted",)]


def test_that_a_submit_began_is_known_before_it_is_answered(three: Inventory, identity: FtsIdentity) -> None:
    _, (batch,) = planned(three, identity)
    seen: list[Any] = []

    def killed(job: Mapping[str, Any]) -> RemoteError:
        seen.extend(three.rows("SELECT state, submitted_at IS NOT NULL FROM transfer_batches"))
        return RetryableRemoteError("no answer", service="fts")

    with pytest.raises(RetryableRemoteError):
        send(three, Fts(answer=killed), batch)
    assert seen == [("planned", True)]


@pytest.mark.parametrize("site", ["T2_A", "T2_B"], ids=["source", "destination"])
def test_nothing_is_sent_for_a_site_in_a_downtime(three: Inventory, identity: FtsIdentity, site: str) -> None:
    lfns, (batch,) = planned(three, identity)
    three.rows(DOWNTIME, s=three.site_ids[site])
    fts = Fts()
    assert send(three, fts, batch) == "unwanted"
    assert fts.jobs == []
    assert {three.subscriptions()["copy", lfn, "T2_B"] for lfn in lfns} == {"retry"}
    hold_and_release(three.db)
    assert {three.subscriptions()["copy", lfn, "T2_B"] for lfn in lfns} == {"held/site_unavailable"}


def test_one_task_at_a_batch(three: Inventory, identity: FtsIdentity) -> None:
    _, (batch,) = planned(three, identity)
    fts = Fts()
    with alone(three.db, f"transfer batch {batch}"):
        assert send(three, fts, batch) == "busy"
    assert send(three, fts, batch) == "submitted"
    assert len(fts.jobs) == 1


def test_only_sources_that_are_sent_are_recorded(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 1)
    three.site("T2_D")
    for site in ("T2_A", "T2_C", "T2_D"):
        three.replica("b1", site)
    three.subscription("copy", lfns, "T2_B")
    three.rows("UPDATE subscriptions SET state = 'retry', num_attempts = 2, updated_at = now() - interval '1 day'")
    plan_batches(three.db, identity)
    ((batch, first, others),) = three.rows("SELECT batch_id, source_site_id, other_source_site_ids FROM transfers")
    assert len(others) == 2
    # One of them has no name for the file, another speaks another protocol by now.
    three.rows("""UPDATE site_endpoints SET mapping = '[[["/nowhere", ""]]]' WHERE site_id = :s""", s=others[0])
    fts = Fts()
    assert send(three, fts, batch) == "submitted"
    assert len(fts.jobs[0]["files"][0]["sources"]) == 2
    assert three.rows("SELECT source_site_id, other_source_site_ids FROM transfers") == [(first, [others[1]])]


@pytest.fixture
def lot(three: Inventory, identity: FtsIdentity, monkeypatch: pytest.MonkeyPatch) -> Callable[[Fts], Any]:
    """Three batches of a file each, to be submitted as one lot."""
    _, batches = planned(three, identity, files_per_job=1)

    def submit(fts: Fts) -> Any:
        monkeypatch.setattr(servers, "_open", lambda _, __: fts)
        return steps.submit(three.db, Settings(), batches)

    return submit


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (CredentialError("FTS answered 403: the storage is banned", service="fts", status=403), CredentialError),
        (RetryableRemoteError("FTS answered 503", service="fts", status=503), RetryableRemoteError),
    ],
    ids=["refused", "away for a moment"],
)
def test_a_batch_that_fails_keeps_none_of_its_lot_back(
    three: Inventory, lot: Callable[[Fts], Any], error: RemoteError, raised: type[RemoteError]
) -> None:
    fts = Fts(answer=lambda job: error if job["files"][0]["destinations"][0].endswith("f0") else None)
    with pytest.raises(raised, match=r"1 of 3 batches are not submitted, \[1\]: FTS answered"):
        lot(fts)
    assert three.rows("SELECT state FROM transfer_batches ORDER BY id") == [
        ("planned",),
        ("submitted",),
        ("submitted",),
    ]


def test_jobs_are_told_by_kind(lot: Callable[[Fts], Any], three: Inventory) -> None:
    three.rows("UPDATE transfer_batches SET is_staging = true WHERE id = 2")
    jobs = lot(Fts())
    assert (len(jobs["disk"]), len(jobs["tape"])) == (2, 1)


def test_without_fts_nothing_is_left_with_it(three: Inventory, identity: FtsIdentity) -> None:
    _, batches = planned(three, identity, files_per_job=2)
    three.rows("UPDATE transfer_batches SET state = 'submitted' WHERE id = :b", b=batches[0])
    with pytest.raises(SettingsError, match=r"fts\.url is null, but 1 jobs are open at FTS"):
        abandon_fts(three.db)
    three.rows("UPDATE transfer_batches SET state = 'finished' WHERE id = :b", b=batches[0])
    assert abandon_fts(three.db) == 1
    assert three.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1 ORDER BY 1") == [
        ("inbatch", 2),
        ("retry", 1),
    ]


def test_no_protocol_in_common_is_no_verdict_while_a_site_is_out(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 1)
    for site in ("T2_A", "T2_C"):
        three.replica("b1", site)
    three.rows("UPDATE site_endpoints SET protocol = 'root' WHERE site_id = :s", s=three.site_ids["T2_C"])
    three.subscription("copy", lfns, "T2_B")
    three.rows(DOWNTIME, s=three.site_ids["T2_A"])
    rules = PlanRules(head_starts={"default": timedelta(hours=1)})
    assert plan_batches(three.db, identity, rules=rules).num_files == 0
    assert three.subscriptions() == {("copy", lfns[0], "T2_B"): "new"}
    three.rows("UPDATE site_downtimes SET ends_at = now()")
    assert plan_batches(three.db, identity, rules=rules).num_files == 1
