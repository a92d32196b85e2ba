"""Deletion subscriptions, at the storages themselves (FTS takes no deletions)."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from dynamo_airflow.assets import REPLICAS, SUBSCRIPTIONS
from dynamo_airflow.defaults import dag_defaults, database
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings


@dag(
    **dag_defaults("deletions", late=timedelta(hours=12)),
    max_active_runs=1,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("5-59/10 * * * *", timezone="UTC"), assets=SUBSCRIPTIONS
    ),
    doc_md="""
### Deletions
`recover` takes up what a killed run left → `take_back` gives up deletions of files that have had to stay for longer
than `deletion.max_wait_days` (last copies, last sources, locked): their owners have them again → `plan_batches` groups
the subscriptions by site → `delete` (one task a site, bounded in rate) asks the storage, file by file; a file that is
gone already counts as deleted; outcomes are recorded in chunks, and with them the replicas shrink and vanish →
`clean_directories` removes directories that became empty, and `advance_requests` closes deletion requests of which
nothing is left to do.
""",
)
def deletions() -> None:
    @task
    def recover() -> list[int]:
        from dynamo_ops.deletion.tasks import recover_deletions

        return recover_deletions(database())

    @task
    def take_back() -> dict[str, int]:
        from dynamo_ops.deletion.tasks import take_back_what_must_stay

        return take_back_what_must_stay(database(), settings())

    @task
    @skipped_when_stopped
    def plan_batches(unfinished: list[int]) -> list[list[int]]:
        from dynamo_ops.deletion.tasks import plan_deletion_batches

        return plan_deletion_batches(database(), settings(), unfinished)

    @task(pool="storage")
    @skipped_when_stopped
    def delete(batch_ids: list[int]) -> dict[str, object]:
        from dynamo_ops.deletion.tasks import delete

        return delete(database(), settings(), batch_ids)

    @task(pool="storage", outlets=[REPLICAS], trigger_rule="none_failed")
    @skipped_when_stopped
    def clean_directories(lots: list[list[int]]) -> int:
        from dynamo_ops.deletion.tasks import clean_directories

        return clean_directories(database(), settings(), lots)

    @task(trigger_rule="none_failed")
    def advance_requests() -> dict[str, int]:
        from dataclasses import asdict

        from dynamo_ops.request.advance import advance

        return asdict(advance(database()))

    unfinished = recover()
    lots = plan_batches(unfinished)
    unfinished >> take_back() >> lots
    delete.expand(batch_ids=lots) >> [clean_directories(lots), advance_requests()]


deletions()
