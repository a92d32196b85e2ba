"""Copy subscriptions through FTS or by ourselves: choose sources, submit, wait, take the results in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task
from dynamo_airflow.assets import COPIES_WAIT, REPLICAS, SUBSCRIPTIONS
from dynamo_airflow.defaults import ACTS, dag_defaults, database, nothing_to_do, or_nothing
from dynamo_airflow.links import TransfersLink, task_with
from dynamo_airflow.pages import explained
from dynamo_airflow.pauses import skipped_when_stopped
from dynamo_airflow.sensors import FtsArchivingSensor, FtsArrivalSensor, FtsStagingSensor, FtsTransferSensor
from dynamo_airflow.work import take_in

from dynamo_ops.base.settings import settings

RUNS_AT_ONCE = 100 + int(2 * 6 * settings().fts.timeout_h)
"""More than can begin while one waits for tape and for the copies after it (or before it), six an hour: a run that
waits sleeps in the triggerer, and must not keep others back. The hundred are for those that new plans start."""

DOC = """
### Transfers
Copies files between storages, by FTS or by Dynamo itself. A run starts when there are new plans of the Dealer or
repairs, and when the look (`look_for_work`, every ten minutes) sees a copy that can be made. It ends when its copies
have arrived: hours where tapes are asked.

**Reads** copy subscriptions, where copies are, the states of sites, FTS. **Changes** files at storages, replicas,
requests. Every task is green in a run that goes well, also the waits for tape where nothing was on tape. **Skipped
(pink)** means that a person has stopped copies (`dynamo pauses`).

#### Step by step
`recover` finishes what a killed run left (jobs are looked up in FTS by the id chosen before their submit), takes in
whatever other runs' jobs have ended, gives up jobs that hang, and takes from FTS servers that are ill what others can
do → `hold_and_release` parks subscriptions that cannot be served now, with the reason → `plan_batches` chooses sources
(disk before tape, never-failed before failed, spread by load, within the limits of sites and links) and records the
jobs. Then, side by side:

* `submit` (a task for 25 jobs), and of its jobs those from disk: `wait_for_copies` → `apply`,
* those from tape: `wait_for_tape` (FTS brings the files online) → `wait_for_staged_copies` → `apply_staged`;
* those to tape: `wait_for_arrival` → `wait_for_archiving` (the files lie in the disk buffer of the tape site; what is
  not on tape is no copy) → `apply_archived`;
* `copy_directly` (some tasks, batch by batch): between sites where Dynamo copies itself (settings, `transfers.direct`);
* `read_back`: a sample of what came to storages that tell no checksums is read, and compared with the catalogue.

The waits sleep in the triggerer, one trigger for all jobs of the run. `apply` compares sizes, lets the replicas grow
and closes requests whose copies are there.

Runs overlap: each takes what is queued (one plans at a time), and none waits for another. A run that has waited for
`fts.timeout_h` ends and leaves its jobs to the next ones, which take in whatever has ended.

#### What may be red
`submit`: FTS or the credential. A wait: FTS refuses to be asked. What was submitted goes on meanwhile, and the next run
takes it in. A file that could not be copied makes nothing red: it is tried again later, or held, with the reason.
"""


@dag(
    **dag_defaults("transfers", "Transfers: files are copied", ACTS, late=timedelta(hours=20)),
    max_active_runs=RUNS_AT_ONCE,
    schedule=SUBSCRIPTIONS | COPIES_WAIT,
    doc_md=explained(
        DOC,
        {
            "Copies: what waits and why, what is under way": "transfers",
            "Sites: who gives and takes": "sites",
        },
    ),
)
def transfers() -> None:
    @task(pool="fts", task_display_name="Finish what earlier runs left")
    def recover() -> dict[str, object]:
        from dynamo_ops.transfer.tasks import recover

        return recover(database(), settings())

    @task(task_display_name="Park what cannot be served, free what can")
    def hold_and_release() -> dict[str, object]:
        from dynamo_ops.transfer.tasks import hold_and_release

        return hold_and_release(database(), settings())

    @task_with(TransfersLink(), pool="fts", task_display_name="Choose sources")
    @skipped_when_stopped
    def plan_batches(recovered: dict[str, list[int]]) -> list[list[int]]:
        from dynamo_ops.transfer.tasks import plan_transfer_batches

        return or_nothing(plan_transfer_batches(database(), settings(), recovered["unsubmitted"]), [])

    @task_with(TransfersLink(), pool="fts", multiple_outputs=False, task_display_name="Submit to FTS")
    @skipped_when_stopped
    def submit(batch_ids: list[int]) -> dict[str, Any]:
        from dynamo_ops.transfer.tasks import submit

        if not batch_ids:
            return nothing_to_do("no job is to be sent to FTS")
        return submit(database(), settings(), batch_ids)

    @task_with(
        TransfersLink(), outlets=[REPLICAS], trigger_rule="none_failed", pool="fts", task_display_name="Take in copies"
    )
    def apply(job_ids: list[str]) -> dict[str, object]:
        del job_ids  # whatever has ended is taken in, of this run and of others
        return take_in()

    @task_with(TransfersLink(), outlets=[REPLICAS], pool="fts", task_display_name="Take in copies from tape")
    def apply_staged(job_ids: list[str]) -> dict[str, object]:
        return take_in() if job_ids else nothing_to_do("no file of this run came from tape")

    recovered = recover()
    lots = plan_batches(recovered["recovered"])
    recovered >> hold_and_release() >> lots
    jobs = submit.expand(batch_ids=lots)
    apply(
        FtsTransferSensor(
            task_id="wait_for_copies", task_display_name="Wait for copies", job_ids=jobs, of_kind="disk"
        ).output
    )
    online = FtsStagingSensor(task_id="wait_for_tape", task_display_name="Wait for tapes", job_ids=jobs, of_kind="tape")
    apply_staged(
        FtsTransferSensor(
            task_id="wait_for_staged_copies", task_display_name="Wait for copies from tape", job_ids=online.output
        ).output
    )
    copies_to_tape(jobs)
    if not settings().fts.named_servers:
        lots >> direct_copies()
        return
    recovered >> copies_read_back()
    if settings().transfers.direct:
        direct_copies()  # of what earlier runs planned: they do not wait for FTS


def copies_to_tape(jobs: Any) -> None:
    """The waits for what goes to tape, and what comes after them."""

    @task_with(TransfersLink(), outlets=[REPLICAS], pool="fts", task_display_name="Take in copies on tape")
    def apply_archived(job_ids: list[str]) -> dict[str, object]:
        return take_in() if job_ids else nothing_to_do("no file of this run went to tape")

    arrived = FtsArrivalSensor(
        task_id="wait_for_arrival", task_display_name="Wait for arrival at tape sites", job_ids=jobs, of_kind="archive"
    )
    apply_archived(
        FtsArchivingSensor(
            task_id="wait_for_archiving", task_display_name="Wait until they are on tape", job_ids=arrived.output
        ).output
    )


def copies_read_back() -> Any:
    """The task that reads a sample of what FTS could not compare."""

    @task(pool="direct", task_display_name="Read back where no checksum is told")
    def read_back() -> dict[str, object]:
        from dynamo_ops.transfer.tasks import read_copies_back

        read = read_copies_back(database(), settings())
        return read if read["num_read"] or read["num_unread"] else nothing_to_do("no copy is to be read back")

    return read_back()


def direct_copies() -> Any:
    """The task that says how many are needed, and the tasks that make direct copies; the first of them."""

    @task(task_display_name="How many direct copies?")
    def direct_workers() -> list[int]:
        from dynamo_ops.transfer.tasks import direct_workers

        return or_nothing(direct_workers(database(), settings()), 0)

    @task_with(TransfersLink(), pool="direct", outlets=[REPLICAS], task_display_name="Copy without FTS")
    @skipped_when_stopped
    def copy_directly(worker: int) -> dict[str, int]:
        from dynamo_ops.transfer.tasks import copy_directly

        del worker  # they are all alike
        return copy_directly(database(), settings())

    workers = direct_workers()
    copy_directly.expand(worker=workers)
    return workers


transfers()
