"""What happened in a day and what needs a look, by mail and chat, every morning."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task
from dynamo_airflow.channels import is_anybody_named
from dynamo_airflow.defaults import TELLS, dag_defaults, interval
from dynamo_airflow.digest import send_digest
from dynamo_airflow.pages import explained

PARAMS = {
    "again": Param(
        False,
        type="boolean",
        title="Send again",
        description="Send the day's digest also if it went out already.",
    ),
}


DOC = """
### Daily digest
Every morning at 06:00 UTC, by mail and to the webhooks of the settings: what happened in the 24 hours before, and what
needs a look. Failures and late runs with their counts, gates that refused or warned, how fresh metadata and popularity
are, sites that are not ready, consistency, what vanished at its source, held subscriptions, plans, copies and deletions
with sizes. A failure that nobody could be told of at its time is told here. The same in a shell: `dynamo digest`.

**Reads** Dynamo's own tables. **Changes** nothing but that it was sent. Green and silent where the settings name
nobody.

#### What may be red
`send`: no mail server and no webhook took it (docs/alerts.md).
"""


@dag(
    **dag_defaults("daily_digest", "Daily digest: what happened, by mail", TELLS, late=timedelta(hours=2)),
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC"),
    max_active_runs=1,
    params=PARAMS,
    doc_md=explained(DOC, {"The same as a page, as of now": "today"}),
)
def daily_digest() -> None:
    @task(task_display_name="Send it")
    def send() -> str:
        if not is_anybody_named():
            return "nothing to do: the settings name nobody to send it to (mail.recipients, alerts.webhooks)"
        context = get_current_context()
        return send_digest(interval(context)[1], again=context["params"]["again"])

    send()


daily_digest()
