"""Copy subscriptions through FTS or by ourselves: choose sources, submit, wait, take the results in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from dynamo_airflow.assets import REPLICAS, SUBSCRIPTIONS
from dynamo_airflow.defaults import dag_defaults, database
from dynamo_airflow.pauses import skipped_when_stopped
from dynamo_airflow.sensors import FtsArchivingSensor, FtsArrivalSensor, FtsStagingSensor, FtsTransferSensor

from dynamo_ops.base.settings import settings

RUNS_AT_ONCE = 100 + int(2 * 6 * settings().fts.timeout_h)
"""More than can begin while one waits for tape and for the copies after it (or before it), six an hour: a run that
waits sleeps in the triggerer, and must not keep others back. The hundred are for those that assets start."""


@dag(
    **dag_defaults("transfers", late=timedelta(hours=20)),
    max_active_runs=RUNS_AT_ONCE,
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("*/10 * * * *", timezone="UTC"), assets=SUBSCRIPTIONS),
    doc_md="""
### Transfers
`recover` finishes what a killed run left (jobs are looked up in FTS by the id chosen before their submit), takes in
whatever other runs' jobs have ended and gives up jobs that hang → `hold_and_release` parks subscriptions that cannot
be served now, with the reason → `plan_batches` chooses sources (disk before tape, never-failed before failed, spread by
load, within the limits of sites and links) and records the jobs. Then, side by side:

* `submit` (a task for 25 jobs), and of its jobs those from disk: `wait_for_copies` → `apply`,
* those from tape: `wait_for_tape` (FTS brings the files online) → `wait_for_staged_copies` → `apply_staged`;
* those to tape: `wait_for_arrival` → `wait_for_archiving` (the files lie in the disk buffer of the tape site; what is
  not on tape is no copy) → `apply_archived`;
* `copy_directly` (some tasks, batch by batch): between sites where Dynamo copies itself (settings, `transfers.direct`).

The waits sleep in the triggerer, one trigger for all jobs of the run. `apply` compares sizes, lets the replicas grow
and closes requests whose copies are there.

Runs overlap: each takes what is queued (one plans at a time), and none waits for another. A run that has waited for
`fts.timeout_h` ends and leaves its jobs to the next ones, which take in whatever has ended.
""",
)
def transfers() -> None:
    @task(pool="fts")
    def recover() -> dict[str, object]:
        from dynamo_ops.transfer.tasks import recover

        return recover(database(), settings())

    @task
    def hold_and_release() -> dict[str, object]:
        from dynamo_ops.transfer.tasks import hold_and_release

        return hold_and_release(database())

    @task(pool="fts")
    @skipped_when_stopped
    def plan_batches(recovered: dict[str, list[int]]) -> list[list[int]]:
        from dynamo_ops.transfer.tasks import plan_transfer_batches

        return plan_transfer_batches(database(), settings(), recovered["unsubmitted"])

    @task(pool="fts", multiple_outputs=False)
    @skipped_when_stopped
    def submit(batch_ids: list[int]) -> dict[str, list[str]]:
        from dynamo_ops.transfer.tasks import submit

        return submit(database(), settings(), batch_ids)

    @task(outlets=[REPLICAS], trigger_rule="none_failed", pool="fts")
    def apply(job_ids: list[str]) -> dict[str, object]:
        del job_ids  # whatever has ended is taken in, of this run and of others
        return take_in()

    @task(outlets=[REPLICAS], pool="fts")
    def apply_staged(job_ids: list[str]) -> dict[str, object]:
        if not job_ids:
            raise AirflowSkipException("no file of this run came from tape")
        return take_in()

    recovered = recover()
    lots = plan_batches(recovered["recovered"])
    recovered >> hold_and_release() >> lots
    jobs = submit.expand(batch_ids=lots)
    apply(FtsTransferSensor(task_id="wait_for_copies", job_ids=jobs, of_kind="disk").output)
    online = FtsStagingSensor(task_id="wait_for_tape", job_ids=jobs, of_kind="tape")
    apply_staged(FtsTransferSensor(task_id="wait_for_staged_copies", job_ids=online.output).output)
    copies_to_tape(jobs)
    if not settings().fts.named_servers:
        lots >> direct_copies()
    elif settings().transfers.direct:
        direct_copies()  # of what earlier runs planned: they do not wait for FTS


def copies_to_tape(jobs: Any) -> None:
    """The waits for what goes to tape, and what comes after them."""

    @task(outlets=[REPLICAS], pool="fts")
    def apply_archived(job_ids: list[str]) -> dict[str, object]:
        if not job_ids:
            raise AirflowSkipException("no file of this run went to tape")
        return take_in()

    arrived = FtsArrivalSensor(task_id="wait_for_arrival", job_ids=jobs, of_kind="archive")
    apply_archived(FtsArchivingSensor(task_id="wait_for_archiving", job_ids=arrived.output).output)


def direct_copies() -> Any:
    """The task that says how many are needed, and the tasks that make direct copies; the first of them."""

    @task
    def direct_workers() -> list[int]:
        from dynamo_ops.transfer.tasks import direct_workers

        return direct_workers(database(), settings())

    @task(pool="direct", outlets=[REPLICAS])
    @skipped_when_stopped
    def copy_directly(worker: int) -> dict[str, int]:
        from dynamo_ops.transfer.tasks import copy_directly

        del worker  # they are all alike
        return copy_directly(database(), settings())

    workers = direct_workers()
    copy_directly.expand(worker=workers)
    return workers


def take_in() -> dict[str, object]:
    """What has ended, into the inventory and into the requests."""
    from dataclasses import asdict

    from dynamo_ops.request.advance import advance
    from dynamo_ops.transfer.tasks import apply_transfers

    applied = apply_transfers(database(), settings())
    return {**applied, "requests": asdict(advance(database()))}


transfers()
