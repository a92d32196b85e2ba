"""Runs of Airflow that do what a request does not: started here, in the API server, and nowhere else."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.configuration import conf

DAG_ID = "errands"

log = logging.getLogger(__name__)


def started(errand_id: int, by: str) -> dict[str, Any]:
    """``run``: the address of the run that was started for it, or was before; null where there is none, and ``note``
    says so. It waits all the same: each run does all that wait."""
    run_id = f"errand__{errand_id}"
    try:
        is_paused = _start(run_id, by)
    except Exception:
        log.exception("no run could be started for errand %d: it waits for the next", errand_id)
        note = f"no run could be started; the next of the DAG {DAG_ID} does it. The log of the API server says why."
        return {"run": None, "note": note}
    link = {"run": page_of(f"{DAG_ID}/{run_id}")}
    return {**link, "note": f"the DAG {DAG_ID} is paused in Airflow: it waits until that ends"} if is_paused else link


def page_of(run_key: str | None) -> str | None:
    """The address of a run in Airflow, by its name in our tables."""
    if run_key is None:
        return None
    dag_id, _, run_id = run_key.partition("/")
    base = urlsplit(conf.get("api", "base_url", fallback=None) or "").path.rstrip("/")
    return f"{base}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def _start(run_id: str, by: str) -> bool:
    """Whether the DAG is paused. Raises what Airflow raises."""
    from airflow.api.common.trigger_dag import trigger_dag  # slow to import
    from airflow.exceptions import DagRunAlreadyExists
    from airflow.models import DagModel
    from airflow.utils.types import DagRunTriggeredByType

    try:
        trigger_dag(DAG_ID, run_id=run_id, triggered_by=DagRunTriggeredByType.REST_API, triggering_user_name=by)
    except DagRunAlreadyExists:
        log.info("run %s is there already", run_id)
    model = DagModel.get_current(DAG_ID)
    return bool(model and model.is_paused)
