"""Deletion subscriptions, at the storages themselves (FTS takes no deletions)."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task
from dynamo_airflow.assets import DELETIONS_WAIT, REPLICAS, SUBSCRIPTIONS
from dynamo_airflow.defaults import ACTS, dag_defaults, database, nothing_to_do, or_nothing
from dynamo_airflow.links import DeletionsLink, task_with
from dynamo_airflow.pages import explained
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings

DOC = """
### Deletions
Deletes at the storages what Detox plans and requests for deletion have subscribed. A run starts when there are new
plans, and when the look (`look_for_work`, every ten minutes) sees a deletion that can be made.

**Reads** deletion subscriptions, locks, where copies are. **Changes** files at storages, replicas, requests. **Skipped
(pink)** means that a person has stopped deletions (`dynamo pauses`).

#### Step by step
`recover` takes up what a killed run left → `take_back` gives up deletions of files that have had to stay for longer
than `deletion.max_wait_days` (last copies, last sources, locked): their owners have them again → `plan_batches` groups
the subscriptions by site → `delete` (one task a site, bounded in rate) asks the storage, file by file; a file that is
gone already counts as deleted; outcomes are recorded in chunks, and with them the replicas shrink and vanish →
`clean_directories` removes directories that became empty, and `advance_requests` closes deletion requests of which
nothing is left to do.

#### What may be red
`delete`: a storage could not be reached, or refuses Dynamo. Files that failed are tried again by later runs.
"""


@dag(
    **dag_defaults("deletions", "Deletions: files leave the storages", ACTS, late=timedelta(hours=12)),
    max_active_runs=1,
    schedule=SUBSCRIPTIONS | DELETIONS_WAIT,
    doc_md=explained(DOC, {"Deletions: what waits, what failed": "deletions", "Sites": "sites"}),
)
def deletions() -> None:
    @task(task_display_name="Take up what earlier runs left")
    def recover() -> list[int]:
        from dynamo_ops.deletion.tasks import recover_deletions

        return recover_deletions(database())

    @task(task_display_name="Give back what must stay")
    def take_back() -> dict[str, int]:
        from dynamo_ops.deletion.tasks import take_back_what_must_stay

        return take_back_what_must_stay(database(), settings())

    @task_with(DeletionsLink(), task_display_name="Group by site")
    @skipped_when_stopped
    def plan_batches(unfinished: list[int]) -> list[list[int]]:
        from dynamo_ops.deletion.tasks import plan_deletion_batches

        return or_nothing(plan_deletion_batches(database(), settings(), unfinished), [])

    @task_with(DeletionsLink(), pool="storage", task_display_name="Delete at the storages")
    @skipped_when_stopped
    def delete(batch_ids: list[int]) -> dict[str, object]:
        from dynamo_ops.deletion.tasks import delete

        if not batch_ids:
            return nothing_to_do("no deletion waits that can be made now")
        return delete(database(), settings(), batch_ids)

    @task_with(
        DeletionsLink(),
        pool="storage",
        outlets=[REPLICAS],
        trigger_rule="none_failed",
        task_display_name="Remove empty directories",
    )
    @skipped_when_stopped
    def clean_directories(lots: list[list[int]]) -> int:
        from dynamo_ops.deletion.tasks import clean_directories

        return clean_directories(database(), settings(), lots)

    @task(trigger_rule="none_failed", task_display_name="Close requests that are done")
    def advance_requests() -> dict[str, int]:
        from dataclasses import asdict

        from dynamo_ops.request.advance import advance

        return asdict(advance(database()))

    unfinished = recover()
    lots = plan_batches(unfinished)
    unfinished >> take_back() >> lots
    delete.expand(batch_ids=lots) >> [clean_directories(lots), advance_requests()]


deletions()
