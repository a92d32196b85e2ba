"""Workers killed with -9 at named points, the task run again: nothing is lost, made twice, orphaned or stuck.

A stage prepares a scene up to one task. The worker runs that task and kills itself at the point; then the same task is
run again, and both cycles to their end. The points of a task are found by letting it run once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dynamo_ops.deletion import directories, queue
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.transfer import hold
from tests.chaos.conftest import TABLES, Worker
from tests.chaos.limits import DELETIONS
from tests.chaos.scene import Scene
from tests.inventory.factory import withdraw
from tests.patience import wait_until
from tests.people import ADA

pytestmark = pytest.mark.chaos
POSTED = "after POST /jobs, answer not used"


def subscription(scene: Scene) -> None:
    """Copies from disk and from tape, one without any source, one that is there already, and a deletion."""
    scene.copy(scene.block("disk", "T2_A"), "T2_B")
    scene.copy(scene.block("tape", "T1_TAPE", num_files=2), "T2_B")
    lost = scene.block("lost", num_files=1)
    scene.copy(lost, "T2_B")
    scene.never(lost, "T2_B", "held/no_source")
    scene.copy(scene.block("there", "T2_A", "T2_B", num_files=1), "T2_B")
    scene.delete(scene.block("gone", "T2_A", "T2_C"), "T2_C")
    scene.block("kept", "T2_C", num_files=1)


def subscription_directly(scene: Scene) -> None:
    """Copies between sites where there is no FTS."""
    scene.copy(scene.block("direct", "T2_A", num_files=3), "T2_D")


def batches(scene: Scene, condition: str = "true") -> list[int]:
    return [row[0] for row in scene.inventory.rows(f"SELECT id FROM transfer_batches WHERE {condition} ORDER BY id")]


def queued(scene: Scene, worker: Worker) -> list[int]:
    subscription(scene)
    return []


def judged(scene: Scene, worker: Worker) -> list[int]:
    subscription(scene)
    hold.hold_and_release(scene.db)
    return []


def planned(scene: Scene, worker: Worker) -> list[int]:
    subscription(scene)
    scene.plan()
    return batches(scene, "NOT is_staging")


def planned_from_tape(scene: Scene, worker: Worker) -> list[int]:
    planned(scene, worker)
    return batches(scene, "is_staging")


def planned_to_tape(scene: Scene, worker: Worker) -> list[int]:
    scene.copy(scene.block("archive", "T2_A", num_files=2), "T1_TAPE")
    return scene.plan()


def not_on_tape_yet(scene: Scene, worker: Worker) -> list[int]:
    """The files lie in the buffer of the tape."""
    scene.grid.fault(sites={"T1_TAPE": {"archive_stuck": True}})
    scene.submit(planned_to_tape(scene, worker))
    wait_until(lambda: [job.job_state for job in scene.own_jobs()] == ["ARCHIVING"], scene.own_jobs)
    return []


def planned_but_credential_expired(scene: Scene, worker: Worker) -> list[int]:
    scene.grid.fault(fts={"credential_expired": True})
    return planned(scene, worker)


def planned_direct(scene: Scene, worker: Worker) -> list[int]:
    subscription_directly(scene)
    hold.hold_and_release(scene.db)
    return scene.hands.plan_batches().direct


def left_behind(scene: Scene, worker: Worker) -> list[int]:
    """A submit killed before it was recorded, a batch never submitted, and a job that nobody subscribes any more."""
    subscription(scene)
    unwanted = scene.block("unwanted", "T2_A")
    scene.copy(unwanted, "T2_C")
    scene.plan()
    scene.grid.fault(fts={"paused": True})
    where = f"NOT is_staging AND site_id = {scene.inventory.site_ids['T2_B']}"
    assert worker.run(scene, "submit_batch", batches(scene, where), POSTED).signal == signal.SIGKILL
    scene.submit(batches(scene, f"site_id = {scene.inventory.site_ids['T2_C']}"))
    scene.delete(unwanted, "T2_C")
    scene.never(unwanted, "T2_C", "cancelled")
    return []


def planned_with_one_that_is_refused(scene: Scene, worker: Worker) -> list[int]:
    """FTS answers 500 to the job of one file, for the third time."""
    ids = planned(scene, worker)
    scene.inventory.rows("UPDATE transfer_batches SET num_refusals = 2, refused_since = now()")
    lfn = scene.inventory.scalar(
        """SELECT f.lfn FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
           JOIN files f ON f.id = s.file_id WHERE t.batch_id = :b ORDER BY t.file_index LIMIT 1""",
        b=ids[0],
    )
    scene.grid.fault(fts={"poisoned": [lfn]})
    return ids


def ended_in_fts(scene: Scene, worker: Worker) -> list[int]:
    planned(scene, worker)
    scene.submit(batches(scene))
    scene.await_fts()
    return []


def hanging(scene: Scene, worker: Worker) -> list[int]:
    """Two copies hang; the third of their job is done."""
    scene.grid.fault(fts={"hang_active": 2})
    scene.submit(planned(scene, worker))

    def two_hang() -> bool:
        states = [file.file_state for job in scene.own_jobs() for file in job.files]
        return states.count("ACTIVE") == 2 and not scene.grid.faults.fts.hang_active

    wait_until(two_hang, scene.own_jobs)
    return []


def waiting_where_nothing_moves(scene: Scene, worker: Worker) -> list[int]:
    """FTS answers, and has started none of its jobs for an hour; the batch from tape was never sent."""
    scene.grid.fault(fts={"paused": True})
    scene.submit(planned(scene, worker))
    scene.inventory.rows(
        "UPDATE transfer_batches SET server = :url, submitted_at = submitted_at - interval '1 hour'",
        url=scene.client.url,
    )
    return []


def deletions_planned(scene: Scene, worker: Worker) -> list[int]:
    subscription(scene)
    return queue.plan_deletions(scene.db, DELETIONS)


def deletions_stuck(scene: Scene, worker: Worker) -> list[int]:
    deletions_planned(scene, worker)
    return []


def deletions_done(scene: Scene, worker: Worker) -> list[int]:
    ids = deletions_planned(scene, worker)
    scene.hands.execute(ids)
    return ids


@dataclass(frozen=True)
class Stage:
    """``prepare`` returns the ids that the task is given. FTS's faults of the stage are healed after the second run."""

    task: str
    prepare: Callable[[Scene, Worker], list[int]]


STAGES = {
    "recover": Stage("recover", left_behind),
    "hold_and_release": Stage("hold_and_release", queued),
    "plan_batches": Stage("plan_batches", judged),
    "submit_batch": Stage("submit_batch", planned),
    "submit_batch from tape": Stage("submit_batch", planned_from_tape),
    "submit_batch to tape": Stage("submit_batch", planned_to_tape),
    "submit_batch, credential expired": Stage("submit_batch", planned_but_credential_expired),
    "submit_batch, one file refused": Stage("submit_batch", planned_with_one_that_is_refused),
    "observe_and_apply": Stage("observe_and_apply", ended_in_fts),
    "observe_and_apply, not on tape yet": Stage("observe_and_apply", not_on_tape_yet),
    "execute_direct": Stage("execute_direct", planned_direct),
    "cancel_stuck": Stage("cancel_stuck", hanging),
    "move_away": Stage("move_away", waiting_where_nothing_moves),
    "recover_deletions": Stage("recover_deletions", deletions_stuck),
    "plan_deletions": Stage("plan_deletions", queued),
    "execute_batch": Stage("execute_batch", deletions_planned),
    "clean_directories": Stage("clean_directories", deletions_done),
}


def record(scene: Scene, worker: Worker, stage: Stage) -> list[str]:
    """The points of the stage's task, in order, from a run to its end. That run must leave all well, too."""
    ids = stage.prepare(scene, worker)
    points = worker.run(scene, stage.task, ids).points
    go_on(scene, stage, ids)
    assert scene.problems() == []
    return points


def go_on(scene: Scene, stage: Stage, ids: list[int]) -> None:
    """What Airflow runs after this task, and then whole cycles to the end. A person releases what FTS has refused."""
    scene.grid.heal()
    operate.release(scene.db, Selection(hold_reasons=("refused",)), by=ADA)
    if stage.task == "execute_batch":
        directories.clean_directories(scene.db, ids, scene.hands.storage)
    scene.run_to_the_end()


def kill(scene: Scene, worker: Worker, name: str, point: str) -> list[str]:
    """Run the stage's task until killed at ``point``, once more, and all to the end. Returns what is wrong then."""
    stage = STAGES[name]
    ids = stage.prepare(scene, worker)
    killed = worker.run(scene, stage.task, ids, kill_at=point)
    assert killed.signal == signal.SIGKILL, f"{name}: {point!r} was not reached: {killed.text[-2000:]}"
    again = worker.run(scene, stage.task, ids)
    assert again.points is not None
    go_on(scene, stage, ids)
    problems = scene.problems()
    title = "killed with -9, and run again"
    TABLES.setdefault(title, [("task", "point", "died of", "after the second run")]).append(
        (name, point, signal.Signals(killed.signal).name, "; ".join(problems) or "all well")
    )
    return problems


# Between plan and record, around every call to the outside, between call and record, inside apply, around commits.
CHOSEN = {
    "recover": (
        "before GET /jobs/…",
        "after GET /jobs/…, answer not used",
        "before UPDATE transfers",
        "before DELETE /jobs/…",
        "DELETE /jobs/… sent, no answer yet",
    ),
    "hold_and_release": ("before COMMIT of UPDATE subscriptions",),
    "plan_batches": (
        "before COPY transfers",
        "before COMMIT of COPY transfers",
        "after COMMIT of COPY transfers",
    ),
    "submit_batch": (
        "before POST /jobs",
        "POST /jobs sent, no answer yet",
        POSTED,
        "before COMMIT of UPDATE transfers",
        "after COMMIT of UPDATE transfers",
    ),
    "submit_batch from tape": ("POST /jobs sent, no answer yet", POSTED),
    "submit_batch to tape": ("POST /jobs sent, no answer yet", POSTED),
    "submit_batch, credential expired": (
        "after PUT /delegation/…/credential, answer not used",
        "POST /jobs sent, no answer yet (2)",
    ),
    "submit_batch, one file refused": (
        "before COMMIT of UPDATE transfer_batches (3)",
        "after COMMIT of UPDATE transfer_batches (3)",
        "after COMMIT of UPDATE subscriptions",
    ),
    "observe_and_apply": (
        "after GET /jobs/…, answer not used",
        "before UPDATE subscriptions",
        "before UPDATE block_replicas",
        "before COMMIT of UPDATE transfer_batches",
        "after COMMIT of UPDATE transfer_batches",
    ),
    "observe_and_apply, not on tape yet": ("before COMMIT of UPDATE transfer_batches",),
    "execute_direct": (
        "PUT at the storage half sent",
        "after PUT at the storage, answer not used",
        "after MOVE at the storage, answer not used",
        "before COMMIT of UPDATE block_replicas",
        "before COMMIT of UPDATE transfer_batches",
    ),
    "cancel_stuck": ("DELETE /jobs/… sent, no answer yet",),
    "move_away": ("DELETE /jobs/… sent, no answer yet", "before COMMIT of UPDATE transfers"),
    "plan_deletions": ("before COMMIT of UPDATE subscriptions", "after COMMIT of UPDATE subscriptions"),
    "execute_batch": (
        "before COMMIT of DELETE FROM deletions",
        "after COMMIT of DELETE FROM deletions",
        "before DELETE at the storage",
        "DELETE at the storage sent, no answer yet",
        "after DELETE at the storage, answer not used (2)",
        "before UPDATE block_replicas",
    ),
    "clean_directories": ("after DELETE at the storage, answer not used",),
}


@pytest.mark.parametrize(
    ("name", "point"), [pytest.param(n, p, id=f"{n}: {p}") for n, points in CHOSEN.items() for p in points]
)
def test_chosen_point(scene: Scene, worker: Worker, name: str, point: str) -> None:
    assert kill(scene, worker, name, point) == []


def test_deleted_but_not_recorded_and_subscribed_for_again(scene: Scene, worker: Worker) -> None:
    """The inventory still has the files when the new subscription is looked at: it is not fulfilled."""
    stage = STAGES["execute_batch"]
    ids = stage.prepare(scene, worker)
    point = "after DELETE at the storage, answer not used (2)"
    assert worker.run(scene, stage.task, ids, kill_at=point).signal == signal.SIGKILL
    gone = scene.files_of("gone")
    scene.copy(gone, "T2_C")
    scene.gone.clear()
    scene.expected_subscriptions |= {("delete", lfn, "T2_C"): "cancelled" for lfn in gone}
    scene.run_to_the_end()
    assert scene.problems() == []


def test_copied_but_not_recorded_and_withdrawn(scene: Scene, worker: Worker) -> None:
    """What the killed task had copied is on disk: it is in the inventory, too, whatever is subscribed now."""
    stage = STAGES["execute_direct"]
    ids = stage.prepare(scene, worker)
    point = "after MOVE at the storage, answer not used"
    with scene.all_requests_end():
        assert worker.run(scene, stage.task, ids, kill_at=point).signal == signal.SIGKILL
    withdraw(scene.db, [row[0] for row in scene.inventory.rows("SELECT id FROM subscriptions")])
    lfns = scene.files_of("direct")
    scene.never(lfns, "T2_D", "cancelled")
    scene.run_to_the_end()
    assert scene.problems() == []
    assert [scene.path("T2_D", lfn).exists() for lfn in lfns].count(True) in (1, 2)


def test_what_is_wrong_is_seen(scene: Scene, worker: Worker) -> None:
    """The checks of all tests here, turned on themselves: each kind of damage is told."""
    subscription(scene)
    scene.run_to_the_end()
    assert scene.problems() == []
    rows = scene.inventory.rows
    lost, doubled = (lfn for lfn in scene.files_of("disk")[:2])
    scene.path("T2_B", lost).unlink()
    assert {problem.split(":")[-1] for problem in scene.problems()} == {" not there", " in the inventory, not on disk"}
    scene.path("T2_C", scene.files_of("gone")[0]).parent.mkdir()
    assert any("empty directory" in problem for problem in scene.problems())
    scene.path("T2_C", doubled).parent.mkdir()
    scene.path("T2_C", doubled).write_bytes(b"")
    assert any("on disk, not in the inventory" in problem for problem in scene.problems())
    rows("UPDATE subscriptions SET state = 'inbatch' WHERE state = 'done'")
    assert any(problem.endswith(": inbatch") for problem in scene.problems())
    rows("DELETE FROM transfers")
    rows("DELETE FROM transfer_batches")
    assert any(problem.endswith(": orphan") for problem in scene.problems())
    rows(
        "UPDATE block_replicas SET is_complete = false, size_bytes = 0 WHERE site_id = :b",
        b=scene.inventory.site_ids["T2_B"],
    )
    scene.run_to_the_end()
    assert any("copied 2 times" in problem for problem in scene.problems())


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", STAGES)
def test_every_point(new_scene: Callable[[], Any], worker: Worker, name: str) -> None:
    with new_scene() as scene:
        points = record(scene, worker, STAGES[name])
    found = {}
    for point in points:
        with new_scene() as scene:
            found[point] = kill(scene, worker, name, point)
    assert found
    assert {point: problems for point, problems in found.items() if problems} == {}
