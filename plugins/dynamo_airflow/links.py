"""Buttons on a task that lead out of Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperatorLink


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
        from dynamo_ops.transfer.servers import jobs_by_server

        del ti_key
        given = operator.job_ids  # what mapped tasks returned comes as a sequence of its own kind
        is_rendered = isinstance(given, Sequence) and not isinstance(given, str)
        jobs = jobs_of(given, operator.of_kind) if is_rendered else []
        if not jobs:
            return ""
        ((server, (job_id,)),) = jobs_by_server(database(), jobs[:1]).items()
        return job_page(settings().fts, server, job_id) or ""
