"""Telling people: a mail for each failed task, and for each run that is late."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import AsyncCallback, Context, DeadlineAlert, DeadlineReference

from dynamo_ops.errors import DynamoError
from dynamo_ops.settings import settings

FAILURE_SUBJECT = "Dynamo: {{ dag.dag_id }}.{{ ti.task_id }} failed"
FAILURE_BODY = """\
<p><b>{{ dag.dag_id }}.{{ ti.task_id }}</b> failed on try {{ ti.try_number }}.</p>
<table>
<tr><td>What happened</td><td><pre style="white-space: pre-wrap">{{ failure.text | e }}</pre></td></tr>
<tr><td>Kind of error</td><td>{{ failure.kind | e }}</td></tr>
<tr><td>What to do next</td><td>{{ failure.next_step | e }}</td></tr>
<tr><td>Run</td><td>{{ ti.run_id | e }}</td></tr>
<tr><td>Data interval (UTC)</td><td>{{ failure.interval | e }}</td></tr>
<tr><td>Log</td><td><a href="{{ ti.log_url | e }}">{{ ti.log_url | e }}</a></td></tr>
</table>
"""
LATE_SUBJECT = "Dynamo: {dag} is late"
LATE_BODY = (
    "<p>A run of <b>{dag}</b> has not ended {limit} after it was queued. Look at its grid for the task that hangs.</p>"
)


class FailureMail(SmtpNotifier):
    """A mail that says what happened, what kind of error it is and what the operator does next."""

    def __call__(self, *args: Any) -> None:
        """Send it. A copy does: templates are rendered in place, and one notifier serves all failures of a process."""
        SmtpNotifier.__call__(copy(self), *args)

    def _update_context(self, context: Context) -> Context:
        """Adds ``failure`` for the templates, which may not look into an exception by themselves."""
        error = context.get("exception")
        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        added = {
            "text": str(error) if error else "not known",
            "kind": type(error).__name__ if error else "not known",
            "next_step": getattr(error, "next_step", DynamoError.next_step),
            "interval": f"{start} to {end}" if start else "none",
        }
        context["failure"] = added  # type: ignore[typeddict-unknown-key]
        return super()._update_context(context)


def failure_callbacks() -> list[Any]:
    """What is called when a task has failed for good; empty when the settings name no recipients."""
    mail = settings().mail
    if not mail.recipients:
        return []
    return [FailureMail(to=mail.recipients, from_email=mail.sender, subject=FAILURE_SUBJECT, html_content=FAILURE_BODY)]


def late_after(dag_id: str, limit: timedelta) -> DeadlineAlert | None:
    """A mail when a run of ``dag_id`` has not ended ``limit`` after it was queued; None without recipients."""
    mail = settings().mail
    if not mail.recipients:
        return None
    values = {
        "to": mail.recipients,
        "from_email": mail.sender,
        "subject": LATE_SUBJECT.format(dag=dag_id),
        "html_content": LATE_BODY.format(dag=dag_id, limit=limit),
    }
    callback = AsyncCallback("airflow.providers.smtp.notifications.smtp.SmtpNotifier", kwargs=values)
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=limit, callback=callback)
