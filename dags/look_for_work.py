"""Every ten minutes: what came of copies is taken in, and where anything waits its DAG is started."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task
from dynamo_airflow.assets import COPIES_WAIT, DELETIONS_WAIT, SEEN_COPIES, SEEN_DELETIONS
from dynamo_airflow.defaults import ACTS, dag_defaults, database, nothing_to_do
from dynamo_airflow.pages import explained
from dynamo_airflow.pauses import skipped_when_stopped
from dynamo_airflow.work import take_in

from dynamo_ops.base.settings import settings

DOC = """
### Look for work
Every ten minutes: is there anything to copy or to delete? Where there is, `transfers` or `deletions` is started; where
there is nothing, this short run is all that happens. (New plans start the two at once, without waiting for the look.)

`copies` also finishes what a killed run left, takes in whatever has ended at FTS, parks what cannot be served now, with
the reason, frees what can be again, and closes requests whose copies are there. `deletions` gives back to their owners
what has had to stay for longer than `deletion.max_wait_days`.

**Reads** subscriptions, and FTS. **Changes** subscriptions, replicas that have arrived, requests; it sends nothing and
deletes nothing.

**Skipped (pink)** means that a person has stopped copies or deletions (`dynamo pauses`). If this DAG is paused in
Airflow, what failed is not tried again until there are new plans.
"""


@task(pool="fts", outlets=[SEEN_COPIES], task_display_name="Anything to copy?")
@skipped_when_stopped
def copies() -> dict[str, object]:
    """Put right what earlier runs left, and tell `transfers` where copies wait."""
    from dynamo_ops.transfer.tasks import hold_and_release, is_anything_to_copy, recover

    recovered = recover(database(), settings())
    hold_and_release(database(), settings())
    taken_in = take_in()
    if not is_anything_to_copy(database(), settings(), recovered["recovered"]["unsubmitted"]):
        return {**taken_in, **nothing_to_do("no copy waits that can be made now")}
    get_current_context()["outlet_events"][SEEN_COPIES].add(COPIES_WAIT)
    return taken_in


@task(outlets=[SEEN_DELETIONS], task_display_name="Anything to delete?")
@skipped_when_stopped
def deletions() -> dict[str, object]:
    """Give back what has had to stay for too long, and tell `deletions` where any wait."""
    from dynamo_ops.deletion.tasks import is_anything_to_delete, recover_deletions, take_back_what_must_stay

    unfinished = recover_deletions(database())
    taken_back = take_back_what_must_stay(database(), settings())
    if not is_anything_to_delete(database(), settings(), unfinished):
        return {**taken_back, **nothing_to_do("no deletion waits that can be made now")}
    get_current_context()["outlet_events"][SEEN_DELETIONS].add(DELETIONS_WAIT)
    return dict(taken_back)


@dag(
    **dag_defaults(
        "look_for_work", "Look for work: does anything wait to be copied or deleted?", ACTS, late=timedelta(hours=1)
    ),
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
    max_active_runs=1,
    is_paused_upon_creation=False,  # it is the clock of two DAGs that had their own: none may lose it by an upgrade
    doc_md=explained(DOC, {"What waits, and why": "transfers", "What is to be deleted": "deletions"}),
)
def look_for_work() -> None:
    copies()
    deletions()


look_for_work()
