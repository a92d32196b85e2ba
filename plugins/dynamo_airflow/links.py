"""Buttons on a task that lead out of Airflow."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink


class FtsJobsLink(BaseOperatorLink):
    """To the first FTS job that the task waited for, in FTS's own monitor where the settings name one."""

    name = "FTS job"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, worked out at the end of the task; empty if it waited for no job."""
        from dynamo_ops.settings import settings

        del ti_key
        jobs = [job for job in operator.job_ids if job] if isinstance(operator.job_ids, list) else []
        fts = settings().fts
        return f"{fts.monitor_url or f'{fts.url}/jobs/'}{jobs[0]}" if jobs else ""
