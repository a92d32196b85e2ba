"""Buttons on a task: to Dynamo's pages, and to the monitor of FTS. Airflow works out where they lead at the task's end,
however it ends, and keeps that as an XCom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.decorator import task_decorator_factory

from dynamo_airflow.pages import path_of


def task_with(*links: BaseOperatorLink, **given: Any) -> Callable[[Callable[..., Any]], Any]:
    """``@task`` with buttons: Airflow reads them from the operator's class, and from nowhere else for mapped tasks.
    ``given``: as for ``@task``."""
    operator = type("TaskWithLinks", (_PythonDecoratedOperator,), {"operator_extra_links": links})
    return task_decorator_factory(decorated_operator_class=operator, **given)


class PlanLink(BaseOperatorLink):
    """To the page of the plan that the run is about. ``made_by``: the task that returns its id."""

    name = "Dynamo: the plan"

    def __init__(self, made_by: str) -> None:
        self.made_by = made_by

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Empty where the run has made no plan. ``ti_key``: Airflow gives the running task here, not only its key."""
        del operator
        plan_id = ti_key.xcom_pull(task_ids=self.made_by)
        return path_of(f"plans/{plan_id}") if isinstance(plan_id, int) else ""


class GateLink(BaseOperatorLink):
    """To what gates have said since the task began."""

    name = "Gate results"

    def __init__(self, *gates: str, subject: str = "") -> None:
        self.gates, self.subject = gates, subject

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """``subject``: a glob of what was judged. To the day: the page takes days, and a run is judged again."""
        del operator
        since = f"{ti_key.start_date.astimezone(UTC):%Y-%m-%d}" if ti_key.start_date else ""
        return path_of("gates", gate=" ".join(self.gates), subject=self.subject, since=since)


class TransfersLink(BaseOperatorLink):
    """To the copies: what waits and why, what is under way, what failed."""

    name = "Transfers"
    page = "transfers"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The same for all."""
        del operator, ti_key
        return path_of(self.page)


class DeletionsLink(TransfersLink):
    """To the deletions."""

    name = "Deletions"
    page = "deletions"


def jobs_of(given: Any, kind: str | None = None) -> list[str]:
    """Job ids: as they are, or those of ``kind`` (None: all) that the submitting tasks returned (kind → ids)."""
    jobs: list[str] = []
    for one in given or ():
        if isinstance(one, str):
            jobs.append(one)
        elif one:
            jobs.extend(job for name, ids in one.items() if kind in (None, name) for job in ids)
    return [job for job in jobs if job]


class FtsJobsLink(BaseOperatorLink):
    """To the first FTS job that the task waited for, in the monitor of its server where the settings name one."""

    name = "FTS job"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, worked out at the end of the task; empty if it waited for no job."""
        from dynamo_airflow.defaults import database
        from dynamo_ops.base.settings import settings
        from dynamo_ops.fts.servers import job_page
        from dynamo_ops.transfer.server.holding import jobs_by_server

        del ti_key
        given = operator.job_ids  # what mapped tasks returned comes as a sequence of its own kind
        is_rendered = isinstance(given, Sequence) and not isinstance(given, str)
        jobs = jobs_of(given, operator.of_kind) if is_rendered else []
        if not jobs:
            return ""
        ((server, (job_id,)),) = jobs_by_server(database(), jobs[:1]).items()
        return job_page(settings().fts, server, job_id) or ""
