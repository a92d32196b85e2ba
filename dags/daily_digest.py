"""What happened in a day and what needs a look, by mail and chat, every morning."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from dynamo_airflow.channels import is_anybody_named
from dynamo_airflow.defaults import dag_defaults, interval
from dynamo_airflow.digest import send_digest

PARAMS = {
    "again": Param(
        False,
        type="boolean",
        title="Send again",
        description="Send the day's digest also if it went out already.",
    ),
}


@dag(
    **dag_defaults("daily_digest", late=timedelta(hours=2)),
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC"),
    max_active_runs=1,
    params=PARAMS,
    doc_md="""
### Daily digest
What happened in the 24 hours before, and what needs a look: failures and late runs with their counts, gates that
refused or warned, how fresh metadata and popularity are, sites that are not ready, consistency, what vanished at its
source, held subscriptions, plans, copies and deletions with sizes. Sent by mail and to the webhooks of the settings,
once a day; a failure that nobody could be told of at its time is told here. The same in a shell: `dynamo digest`.
""",
)
def daily_digest() -> None:
    @task
    def send() -> str:
        if not is_anybody_named():
            raise AirflowSkipException("the settings name nobody to send it to (mail.recipients, alerts.webhooks)")
        context = get_current_context()
        return send_digest(interval(context)[1], again=context["params"]["again"])

    send()


daily_digest()
