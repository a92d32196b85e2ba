"""The form in which Airflow asks about a plan: answered when somebody decides here, so that its run goes on."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dynamo_ops.plan.states import PlanState
from dynamo_ops.plan.store import StoredPlan

ASKING_TASK = "approval"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answerer:
    """Who answers, as Airflow wants it. The id is nobody's there: rights were asked here, and the plan says who it
    was."""

    name: str

    def get_id(self) -> str:
        from dynamo_airflow.approval import OVER_REST

        return OVER_REST

    def get_name(self) -> str:
        return self.name


def answer_form(plan: StoredPlan, name: str) -> None:
    """``name`` has decided about the plan: the run that waits for an answer gets it. Where none waits, nothing happens;
    where it fails, the log says so, and the form can be answered in Airflow."""
    dag_id, _, run_id = plan.run_key.partition("/")
    if not run_id or plan.state not in (PlanState.APPROVED, PlanState.REFUSED):
        return
    try:
        _answer(dag_id, run_id, is_yes=plan.state == PlanState.APPROVED, name=name)
    except Exception:
        log.exception("plan %d is %s, but its run was not told: answer its form in Airflow", plan.id, plan.state)


def _answer(dag_id: str, run_id: str, *, is_yes: bool, name: str) -> None:
    """As the form's own address does it."""
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload  # slow to import
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.utils.session import create_session
    from dynamo_airflow.approval import RecordedApproval
    from fastapi import HTTPException

    chosen = RecordedApproval.APPROVE if is_yes else RecordedApproval.REJECT
    try:
        with create_session(scoped=False) as session:
            update_hitl_detail(
                dag_id,
                run_id,
                ASKING_TASK,
                UpdateHITLDetailPayload(chosen_options=[chosen]),
                user=_Answerer(name),  # type: ignore[arg-type]
                session=session,
            )
    except HTTPException as error:
        if error.status_code not in (404, 409):
            raise
        log.info("no form of run %s of %s waits for an answer: %s", run_id, dag_id, error.detail)
