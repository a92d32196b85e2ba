"""Copy subscriptions through FTS: choose sources, submit, wait for tape and for the copies, take the results in."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from dynamo_airflow.assets import REPLICAS, SUBSCRIPTIONS
from dynamo_airflow.defaults import dag_defaults, database
from dynamo_airflow.sensors import FtsStagingSensor, FtsTransferSensor

from dynamo_ops.settings import settings

RUNS_AT_ONCE = 4


@dag(
    **dag_defaults("transfers", late=timedelta(hours=80)),
    max_active_runs=RUNS_AT_ONCE,
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("*/10 * * * *", timezone="UTC"), assets=SUBSCRIPTIONS),
    doc_md="""
### Transfers
`recover` finishes what a killed run left (jobs are looked up in FTS by the id chosen before their submit) and takes in
whatever other runs' jobs have ended → `hold_and_release` parks wishes that cannot be served now, with the reason →
`plan_batches` chooses sources (disk before tape, never-failed before failed, spread by load) and records the jobs →
`submit` (one task a job) → `wait_for_tape` and `wait_for_copies` sleep in the triggerer → `apply` compares sizes, lets
the replicas grow and closes requests whose copies are there.

Runs may overlap: one that waits for tape does not block the next.
""",
)
def transfers() -> None:
    @task(pool="fts")
    def recover() -> dict[str, object]:
        from dynamo_ops.fileops.steps import recover

        return recover(database(), settings())

    @task
    def hold_and_release() -> dict[str, object]:
        from dynamo_ops.fileops.steps import hold_and_release

        return hold_and_release(database())

    @task(pool="fts")
    def plan_batches(recovered: dict[str, dict[str, list[int]]]) -> list[int]:
        from dynamo_ops.fileops.steps import plan_transfer_batches

        return plan_transfer_batches(database(), settings(), recovered["recovered"]["unsubmitted"])

    @task(pool="fts")
    def submit(batch_id: int) -> str:
        from dynamo_ops.fileops.steps import submit

        return submit(database(), settings(), batch_id)

    @task(outlets=[REPLICAS], trigger_rule="none_failed", pool="fts")
    def apply(job_ids: list[str]) -> dict[str, object]:
        from dataclasses import asdict

        from dynamo_ops.fileops.steps import apply_transfers
        from dynamo_ops.requests.advance import advance

        del job_ids  # whatever has ended is taken in, of this run and of others
        applied = apply_transfers(database(), settings())
        return {**applied, "requests": asdict(advance(database()))}

    recovered = recover()
    batches = plan_batches(recovered)
    recovered >> hold_and_release() >> batches
    jobs = submit.expand(batch_id=batches)
    staged = FtsStagingSensor(task_id="wait_for_tape", job_ids=jobs)
    copied = FtsTransferSensor(task_id="wait_for_copies", job_ids=staged.output)
    apply(copied.output)


transfers()
