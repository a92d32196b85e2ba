"""Documents that FTS never takes: the file that is to blame is found and held, the others go; an ill server is ill."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any

import pytest

from dynamo_ops.base.errors import PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.settings import Settings
from dynamo_ops.fts import servers
from dynamo_ops.fts.client import JobStatus, Submitted
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.transfer import tasks
from dynamo_ops.transfer.batches import plan_batches
from dynamo_ops.transfer.recovery import recover
from dynamo_ops.transfer.submission import refusal
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.inventory.factory import Inventory

WORDS = "Data too long for column 'dest_surl'"


class Choosy:
    """An FTS that does not take a document with a file of ``poison``; ``is_ill``: none at all."""

    url = "https://fts.example:8446"

    def __init__(self, identity: FtsIdentity, poison: Collection[str] = (), status: int = 400) -> None:
        self.identity, self.poison, self.status = identity, poison, status
        self.is_ill = False
        self.jobs: dict[str, list[str]] = {}
        self.num_documents = 0

    def close(self) -> None:
        """Nothing is open."""

    def whoami(self) -> FtsIdentity:
        return self.identity

    def ensure_delegation(self) -> bool:
        return False

    def submit(self, job: Mapping[str, Any], job_id: str) -> Submitted:
        self.num_documents += 1
        lfns = [file["destinations"][0].partition("/dav")[2] for file in job["files"]]
        if self.is_ill or any(lfn in self.poison for lfn in lfns):
            kind: type[RemoteError] = RetryableRemoteError if self.status == 500 else PermanentRemoteError
            facts = {"service": "fts", "status": self.status, "url": f"{self.url}/jobs"}
            raise kind(f"FTS answered {self.status}: {WORDS}", **facts)
        self.jobs[job_id] = lfns
        return Submitted(job_id, was_found=False)

    def find_job(self, job_id: str) -> JobStatus | None:
        return JobStatus(job_id, 200, "SUBMITTED") if job_id in self.jobs else None

    def job_statuses(self, job_ids: Collection[str], fields: object = ()) -> dict[str, JobStatus]:
        return {job_id: JobStatus(job_id, 200 if job_id in self.jobs else 404) for job_id in job_ids}

    def cancel(self, job_ids: Collection[str]) -> dict[str, JobStatus]:
        return {job_id: JobStatus(job_id, 200) for job_id in job_ids}

    def taken(self) -> list[str]:
        return sorted(lfn for lfns in self.jobs.values() for lfn in lfns)


class Run:
    """Runs of transfers against one server, files from T2_A to T2_B."""

    def __init__(self, stock: Inventory, fts: Choosy) -> None:
        self.stock, self.fts = stock, fts

    def plan(self, block: str, num_files: int, files_per_job: int = 200) -> list[str]:
        lfns = self.stock.block(block, num_files)
        self.stock.replica(block, "T2_A")
        self.stock.subscription("copy", lfns, "T2_B")
        plan_batches(self.stock.db, self.fts.identity, TransferLimits(files_per_job=files_per_job))
        return lfns

    def submit(self) -> dict[str, list[str]]:
        unsubmitted = recover(self.stock.db, self.fts).unsubmitted  # type: ignore[arg-type]
        return tasks.submit(self.stock.db, Settings(), unsubmitted)

    def held(self) -> list[str]:
        states = self.stock.subscriptions().items()
        return sorted(lfn for (_, lfn, _), state in states if state == "held/refused")


@pytest.fixture
def runs(inventory: Inventory, identity: FtsIdentity, monkeypatch: pytest.MonkeyPatch) -> Callable[[Choosy], Run]:
    for name in ("T2_A", "T2_B"):
        inventory.site(name)

    def begin(fts: Choosy) -> Run:
        monkeypatch.setattr(servers, "_open", lambda _, __: fts)
        return Run(inventory, fts)

    return begin


def test_one_file_of_200_is_held_and_the_others_go(runs: Callable[[Choosy], Run], identity: FtsIdentity) -> None:
    run = runs(Choosy(identity))
    lfns = run.plan("b1", 200)
    run.fts.poison = {lfns[77]}
    run.submit()
    assert run.fts.taken() == sorted(set(lfns) - {lfns[77]})
    assert run.held() == [lfns[77]]
    assert run.fts.num_documents <= 17  # the whole, then two a level
    error = run.stock.scalar("SELECT last_error FROM subscriptions WHERE state = 'held'")
    assert error == f"refused by FTS, which takes others: FTS answered 400: {WORDS}"
    assert run.stock.rows("SELECT count(*) FROM transfer_batches WHERE state = 'planned'") == [(0,)]


def test_a_500_is_believed_when_it_comes_again(runs: Callable[[Choosy], Run], identity: FtsIdentity) -> None:
    run = runs(Choosy(identity, status=500))
    lfns = run.plan("b1", 8)
    run.fts.poison = {lfns[2]}
    for _ in range(refusal.TIMES_BEFORE_BELIEVED - 1):
        with pytest.raises(RetryableRemoteError, match=WORDS):
            run.submit()
        assert run.fts.taken() == []
    run.submit()
    assert run.fts.taken() == sorted(set(lfns) - {lfns[2]})
    assert run.held() == [lfns[2]]


@pytest.mark.parametrize("status", [400, 500])
def test_a_server_that_refuses_everything_is_ill(
    runs: Callable[[Choosy], Run], identity: FtsIdentity, status: int
) -> None:
    """``CheckDuplicates = *`` answers 400 to every submit (FTS_CONTRACT §12.9): one job is taken apart to see that."""
    run = runs(Choosy(identity, status=status))
    lfns = run.plan("b1", 64, files_per_job=16)
    run.fts.is_ill = True
    for _ in range(4):
        with pytest.raises(RetryableRemoteError, match=r"seems to be ill|answered 500"):
            run.submit()
    assert run.held() == []
    sizes = run.stock.rows(
        """SELECT count(*) FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id WHERE b.state = 'planned'
           GROUP BY b.id"""
    )
    assert sorted(sizes)[-3:] == [(16,)] * 3
    run.fts.is_ill = False
    run.submit()
    assert (run.fts.taken(), run.held()) == (sorted(lfns), [])


def test_what_an_ill_server_was_sent_often_enough_is_queued_again(
    runs: Callable[[Choosy], Run], identity: FtsIdentity
) -> None:
    """The same document is sent no more than ``MOST_REFUSALS`` times."""
    run = runs(Choosy(identity))
    run.plan("b1", 1)
    run.fts.is_ill = True
    for _ in range(refusal.MOST_REFUSALS - 1):
        with pytest.raises(RetryableRemoteError, match="seems to be ill: it refuses 1 jobs"):
            run.submit()
    run.submit()
    assert run.fts.num_documents == refusal.MOST_REFUSALS
    assert set(run.stock.subscriptions().values()) == {"retry"}


def test_a_file_that_is_not_wanted_any_more_leaves_a_refused_batch_at_once(
    runs: Callable[[Choosy], Run], identity: FtsIdentity
) -> None:
    run = runs(Choosy(identity, status=500))
    lfns = run.plan("b1", 3)
    run.fts.poison = {lfns[0]}
    with pytest.raises(RetryableRemoteError):
        run.submit()
    run.stock.subscription("delete", [lfns[0]], "T2_B")
    run.submit()
    assert run.fts.taken() == lfns[1:]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_to_blame_is_held_and_nothing_else(
    runs: Callable[[Choosy], Run], identity: FtsIdentity, seed: int
) -> None:
    draw = Random(seed)
    run = runs(Choosy(identity, status=draw.choice((400, 413))))
    lfns = [lfn for block in ("b1", "b2") for lfn in run.plan(block, 20, files_per_job=draw.choice((3, 20)))]
    poison = set(lfns[:20]) if seed == 0 else set(draw.sample(lfns, draw.randrange(1, 12)))
    run.fts.poison = poison
    for number in range(4):
        run.plan(f"later{number}", 1)  # other work goes on
        run.submit()
    assert run.held() == sorted(poison)
    assert set(run.fts.taken()) & set(lfns) == set(lfns) - poison
