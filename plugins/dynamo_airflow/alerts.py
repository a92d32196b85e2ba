"""Telling people of failed tasks and of runs that are late, by mail and chat, the same failure once
(``dynamo_ops.alerts``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference

from dynamo_airflow.channels import Delivery, alert_database, is_anybody_named, send, send_from_triggerer
from dynamo_airflow.pages import address_of
from dynamo_ops.base.errors import DynamoError, GateError
from dynamo_ops.base.settings import settings

if TYPE_CHECKING:
    from dynamo_ops.alerts.alert import Alert, Claim
    from dynamo_ops.alerts.message import FailedTask, Grouping, LateRun, Link
    from dynamo_ops.database.connection import Database

log = logging.getLogger(__name__)
LOST = (
    "The task's process was lost, or Airflow ended it: the log's end says more. It may have been killed for want of "
    "memory, by a restart of its machine, or by a time-out."
)


def failure_callbacks() -> list[Any]:
    """What is called when a task has failed for good; empty when the settings name nobody."""
    return [tell_failure] if is_anybody_named() else []


def late_after(dag_id: str, limit: timedelta) -> DeadlineAlert | None:
    """People are told when a run of ``dag_id`` has not ended ``limit`` after it was queued; None if there is nobody."""
    if not is_anybody_named():
        return None
    callback = AsyncCallback(tell_late, kwargs={"dag_id": dag_id, "limit_s": limit.total_seconds()})
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=limit, callback=callback)


def tell_failure(context: Any) -> None:
    """Airflow calls it in the process of the task that failed, or where that process was lost in the DAG processor.

    Never raises: whether people could be told changes nothing about the task.
    """
    try:
        from dynamo_ops.alerts.message import failure_message

        task, alert = _failed_task(context), _failure(context)
        claim = _Claiming(alert)
        if claim.grouping is not None:
            delivery = send(failure_message(task, claim.grouping))
            claim.close(delivery)
            log.info("alert %r: %s", alert.key, delivery)
    except Exception:
        log.exception("nobody could be told of this failure")


async def tell_late(dag_id: str, limit_s: float, context: dict[str, Any] | None = None) -> str:
    """Airflow's triggerer calls it when a deadline has passed. Returns what came of it (kept with the callback).

    ``context``: ``dag_run`` as the REST API gives it, and ``deadline``. RuntimeError when nobody could be told.
    """
    from dynamo_ops.alerts.message import late_message

    run = _late_run(dag_id, timedelta(seconds=limit_s), (context or {}).get("dag_run") or {})
    alert = _late(run)
    claim = await asyncio.to_thread(_Claiming, alert)
    if claim.grouping is None:
        return f"counted only: {alert.key}"
    delivery = await send_from_triggerer(late_message(run, claim.grouping))
    await asyncio.to_thread(claim.close, delivery)
    if not delivery.delivered:
        raise RuntimeError(f"{alert.key}: {delivery}")
    return f"{alert.key}: {delivery}"


def tell_illness() -> None:
    """Tell people of sites, links and the credential by which copies fail as a whole: once, not once a file.

    Never raises: whether people could be told changes nothing about what was taken in.
    """
    if not is_anybody_named():
        return
    try:
        from dynamo_ops.alerts.illness import ill_now
        from dynamo_ops.alerts.message import illness_message

        database = alert_database()
        try:
            found = ill_now(database, settings())
        finally:
            database.dispose()
        address = address_of("transfers")
        for illness in found:
            claim = _Claiming(illness.alert)
            if claim.grouping is not None:
                page = ("Copies", address) if address else None
                delivery = send(illness_message(illness.sentence, claim.grouping, page))
                claim.close(delivery)
                log.info("alert %r: %s", illness.alert.key, delivery)
    except Exception:
        log.exception("nobody could be told of what is ill")


class _Claiming:
    """One alert on its way: claimed, then told or released. ``grouping`` None: not ours to tell."""

    def __init__(self, alert: Alert) -> None:
        from dynamo_ops.alerts.alert import claim
        from dynamo_ops.alerts.message import Grouping

        hours = settings().alerts.repeat_after_h
        self._claim: Claim | None = None
        self.grouping: Grouping | None
        try:
            self._claim = self._with_database(lambda db: claim(db, alert, repeat_after_h=hours))
            self.grouping = Grouping(self._claim, hours) if self._claim.is_mine else None
        except Exception as error:  # rather twice than not at all
            log.warning("alert %r could not be grouped: %s", alert.key, error)
            self.grouping = Grouping(None, hours, str(error).strip())
        else:
            if not self._claim.is_mine:
                log.info("alert %r is told already: counted, %d times by now", alert.key, self._claim.num_times)

    def close(self, delivery: Delivery) -> None:
        """Note what came of it. What cannot be noted is told again, after CLAIM_MINUTES."""
        from dynamo_ops.alerts.alert import release, told

        claim = self._claim
        if claim is None:
            return
        try:
            self._with_database(lambda db: told(db, claim) if delivery.delivered else release(db, claim))
        except Exception as error:
            log.warning("alert %r: that it was told could not be noted: %s", claim.key, error)

    @staticmethod
    def _with_database(call: Callable[[Database], Any]) -> Any:
        database = alert_database()
        try:
            return call(database)
        finally:
            database.dispose()


def _failure(context: Any) -> Alert:
    from dynamo_ops.alerts.alert import Alert, identity

    error, ti = context.get("exception"), context["ti"]
    return Alert("failure", context["dag"].dag_id, ti.task_id, _kind(error), _said(error), identity(_raised(error)))


def _failed_task(context: Any) -> FailedTask:
    from dynamo_ops.alerts.message import FailedTask

    error, ti = context.get("exception"), context["ti"]
    index = getattr(ti, "map_index", None)
    label = getattr(ti, "rendered_map_index", None) or (str(index) if index is not None and index >= 0 else None)
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    return FailedTask(
        context["dag"].dag_id,
        ti.task_id,
        label,
        ti.run_id,
        (start, end) if start and end else None,
        getattr(ti, "try_number", None),
        _kind(error),
        _said(error),
        getattr(error, "next_step", DynamoError.next_step) if error else DynamoError.next_step,
        ti.log_url,
        _page(error, context["dag"].dag_id, ti.run_id),
    )


def _kind(error: object) -> str:
    return type(error).__name__ if _raised(error) else "lost process"


def _said(error: object) -> str:
    """What the error says. Where Data Docs lie in a folder, which a reader of mails may not have, and the page of the
    gate can be linked to instead, that is left out."""
    if isinstance(error, GateError) and error.page and "://" not in error.page and address_of("gates"):
        from dynamo_ops.quality.gate import page_line

        return str(error).replace(f"\n{page_line(error.page)}", "")
    return str(error) if error else LOST


def _page(error: object, dag_id: str, run_id: str) -> Link | None:
    """The page of Dynamo that shows most of what the error is about; what the run has done, where it names nothing."""
    facts = error.facts if isinstance(error, DynamoError) else {}
    if isinstance(error, GateError):
        about = {name: str(facts.get(name) or "") for name in ("gate", "subject")}
        shown, address = "Gate results", address_of("gates", **about)
    elif isinstance(plan_id := facts.get("plan_id"), int):
        shown, address = "The plan", address_of(f"plans/{plan_id}")
    else:
        shown, address = "In Dynamo", address_of("runs", dag=dag_id, run=run_id)
    return (shown, address) if address else None


def _raised(error: object) -> BaseException | None:
    """Airflow gives a text where no exception was seen (a task that was killed, or set to failed by hand)."""
    return error if isinstance(error, BaseException) else None


def _late(run: LateRun) -> Alert:
    from dynamo_ops.alerts.alert import Alert

    return Alert("late", run.dag_id, None, "DeadlineMissed", f"{run.run_id} has not ended in time")


def _late_run(dag_id: str, limit: timedelta, told: dict[str, Any]) -> LateRun:
    from airflow.configuration import conf

    from dynamo_ops.alerts.message import LateRun

    run_id = str(told.get("dag_run_id") or "not known")
    start, end = _time(told.get("data_interval_start")), _time(told.get("data_interval_end"))
    base = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    return LateRun(
        dag_id,
        run_id,
        str(told.get("state") or "in a state that is not known"),
        (start, end) if start and end else None,
        _time(told.get("queued_at")),
        _time(told.get("start_date")),
        limit,
        f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id)}",
        _page(None, dag_id, run_id),
    )


def _time(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value if isinstance(value, datetime) else None
