"""The two waits of a transfer cycle, visible as such in the grid: for tapes, and for the copies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseSensorOperator, Context

from dynamo_airflow.links import FtsJobsLink
from dynamo_airflow.triggers import FtsJobsTrigger
from dynamo_ops.errors import PermanentRemoteError, RetryableRemoteError
from dynamo_ops.settings import settings


class FtsJobsSensor(BaseSensorOperator):
    """Waits, deferred, for FTS jobs. ``job_ids``: their ids (templated). Returns them, for the task that applies the
    results.

    Raises RetryableRemoteError when time runs out (the jobs go on; a further try waits again), PermanentRemoteError
    when FTS refuses to be asked.
    """

    wait_for = "finished"
    template_fields: Sequence[str] = ("job_ids",)
    operator_extra_links = (FtsJobsLink(),)
    ui_color = "#d6eaf8"

    def __init__(self, *, job_ids: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002 (Airflow's signature)
        """Defer to the trigger, unless there is nothing to wait for."""
        job_ids = [job for job in self.job_ids if job]
        fts, tls = settings().fts, settings().tls
        if not job_ids:
            return []
        self.log.info("waiting until %d FTS jobs are %s", len(job_ids), self.wait_for)
        self.defer(
            trigger=FtsJobsTrigger(
                url=fts.url,
                ca=tls.authorities,
                cert=_text(tls.cert),
                key=_text(tls.key),
                job_ids=job_ids,
                wait_for=self.wait_for,
                poll_interval_s=fts.poll_interval_s,
                deadline=time.time() + fts.timeout_h * 3600,
            ),
            method_name="resume",
        )
        return job_ids

    def resume(self, context: Context, event: dict[str, Any]) -> list[str]:  # noqa: ARG002
        """The trigger's event: done, or an error with its message."""
        self.log.info("%s", event["message"])
        if event["status"] == "done":
            return [job for job in self.job_ids if job]
        kind = RetryableRemoteError if event["status"] == "timeout" else PermanentRemoteError
        raise kind(event["message"], service="fts", url=settings().fts.url)


class FtsStagingSensor(FtsJobsSensor):
    """Waits until no file of the jobs is on its way from tape any more. FTS looks at tapes every 5 to 10 minutes."""

    wait_for = "staged"
    ui_color = "#fdebd0"


class FtsTransferSensor(FtsJobsSensor):
    """Waits until all jobs are over, well or badly."""


def _text(path: Any) -> str | None:
    return None if path is None else str(path)
