"""What happened goes to who has asked to be told, by mail and webhook."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task
from dynamo_airflow.defaults import TELLS, dag_defaults, database
from dynamo_airflow.pages import explained

from dynamo_ops.base.settings import settings


@task(task_display_name="Send what waits")
def deliver() -> dict[str, int]:
    """All that waits and is due, as far as the time of a run goes."""
    from dynamo_airflow.channels import send_to_subscriber

    from dynamo_ops.event.deliver import deliver

    return deliver(database(), settings(), send_to_subscriber)


DOC = """
### Events
**Reads** what happened. **Changes** nothing but that it was told.

What happened to requests, plans, sites, locks, files (docs/events.md) is sent to the people and programs that have
subscribed to it, every five minutes: mails by Airflow's connection `smtp_default`, webhooks by signed calls. A run
takes `events.run_s` at most, and the next goes on.

At least once, and the events of one request, plan or site in their order. Who does not take what is sent is tried again
later, for `events.give_up_after_days`; that is no failure of this task: `dynamo event subscriptions` and the digest
tell of it.

#### What may be red
`deliver`: the database or the settings are at fault.
"""


@dag(
    **dag_defaults("events", "Events: told to who subscribed", TELLS, late=timedelta(hours=1)),
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC"),
    max_active_runs=1,
    doc_md=explained(DOC, {"Requests": "requests", "What happened in a day": "today"}),
)
def events() -> None:
    deliver()


events()
