"""A person's yes or no, with who and when, for the tasks behind it: Airflow's own operator tells of a yes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from dynamo_airflow.links import PlanLink

if TYPE_CHECKING:
    from airflow.sdk import Context

ANSWER = "answer"
"""XCom key of the answer: is_yes, by (their name; null: nobody answered in time, or it was decided over REST), at."""
OVER_REST = "dynamo:rest"
"""Id of who answers the form because they have decided over REST: the plan says who that was. No auth manager has such
an id: SimpleAuth's have no colon, FAB's are numbers, Keycloak's are UUIDs."""


class RecordedApproval(ApprovalOperator):
    """An ``ApprovalOperator`` whose answer can be read by others under the XCom key ``ANSWER``, also when it is a no.

    A no skips the tasks directly behind it, by an exception: what the operator would return is lost then.

    ``asks_after``: the task that returns which way the run goes. Nobody is asked unless that is this task's id; then it
    is green at once, and what is behind it goes on.
    """

    operator_extra_links = (PlanLink("plan"),)

    def __init__(self, *, asks_after: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asks_after = asks_after

    def execute(self, context: Context) -> Any:
        """Ask, or not."""
        way = context["ti"].xcom_pull(task_ids=self.asks_after)
        if way != self.task_id:
            self.log.info("nobody is asked: %s says %s", self.asks_after, way)
            return None
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Called when the question was answered, or its time is over and the default counts."""
        if "error" not in event:
            answer = {
                "is_yes": event["chosen_options"] == [self.APPROVE],
                "by": _name(event),
                "at": event["responded_at"],
            }
            context["ti"].xcom_push(key=ANSWER, value=answer)
        return super().execute_complete(context, event)


def _name(event: dict[str, Any]) -> str | None:
    user = event.get("responded_by_user")
    if event.get("timedout") or not user or user.get("id") == OVER_REST:
        return None
    return str(user.get("name") or user.get("id"))
