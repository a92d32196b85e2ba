"""What somebody asked for over REST that is too heavy for a request."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, get_current_context, task
from dynamo_airflow.defaults import ACTS, dag_defaults, database, run_key
from dynamo_airflow.pages import explained

from dynamo_ops.base.settings import settings


@task(task_display_name="Do all that wait")
def carry_out() -> dict[str, int]:
    """All that wait, each once."""
    from dynamo_ops.errand.carry import carry_out

    return carry_out(database(), settings(), run_key(get_current_context()))


DOC = """
### Errands
Does what somebody has asked for over REST or on a page, and what takes longer than a page may: when they ask.

**Reads and changes** what was asked for, with the rights of who asked.

#### What it does
Commits of plans, trials of policies, and injections and invalidations of more than 5 MB, that were asked for over REST
(docs/rest.md): the API server starts a run for each. A run does *all* that wait: what a run that was killed, or never
started, has left is done by the next; start one by hand if need be.

Whether its asker may is asked again when it is done. What is refused (rights, a gate, a pause, a wrong document) is an
answer to who asked, and no failure; `GET /dynamo/v1/errands/1` has it, and the log says it in a line. The task is red
where something of ours fails: what another try may mend waits for it; else the errand has failed, and is not tried
again.
"""


@dag(
    **dag_defaults("errands", "Errands: heavy work that people asked for", ACTS, late=timedelta(hours=6)),
    schedule=None,
    max_active_runs=2,
    is_paused_upon_creation=False,
    doc_md=explained(DOC, {"Plans that were committed": "plans", "Who asked for what": "audit"}),
)
def errands() -> None:
    carry_out()


errands()
