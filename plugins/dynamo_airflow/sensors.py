"""The waits of a transfer cycle, visible as such in the grid: for tapes, for the copies, and for tapes again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseSensorOperator, Context

from dynamo_airflow.links import FtsJobsLink, jobs_of
from dynamo_airflow.triggers import FtsJobsTrigger
from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.settings import settings


class FtsJobsSensor(BaseSensorOperator):
    """Waits, deferred, for FTS jobs. ``job_ids``: their ids, or what the submitting tasks returned (templated), of
    which only those ``of_kind`` (``disk``, ``tape`` or ``archive``). Returns them, for the task that applies the
    results.

    After ``fts.timeout_h`` it waits no longer: the jobs go on, and later runs take their results in.
    PermanentRemoteError when FTS (where there are several: each of them) refuses to be asked.
    """

    wait_for = "finished"
    template_fields: Sequence[str] = ("job_ids",)
    operator_extra_links = (FtsJobsLink(),)
    ui_color = "#d6eaf8"

    def __init__(self, *, job_ids: Any, of_kind: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.of_kind = of_kind

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002 (Airflow's signature)
        """Defer to the trigger, unless there is nothing to wait for."""
        job_ids = jobs_of(self.job_ids, self.of_kind)
        fts, tls = settings().fts, settings().tls
        if not job_ids:
            return []
        self.log.info("waiting until %d FTS jobs are %s", len(job_ids), self.wait_for)
        self.defer(
            trigger=FtsJobsTrigger(
                jobs=_by_address(job_ids),
                ca=tls.authorities,
                cert=_text(tls.cert),
                key=_text(tls.key),
                token_file=_text(fts.token_file),
                wait_for=self.wait_for,
                poll_interval_s=fts.poll_interval_s,
                deadline=time.time() + fts.timeout_h * 3600,
            ),
            method_name="resume",
        )
        return job_ids

    def resume(self, context: Context, event: dict[str, Any]) -> list[str]:  # noqa: ARG002
        """The trigger's event: done, out of time, or an error with its message."""
        if event["status"] == "error":
            raise PermanentRemoteError(event["message"], service="fts")
        if event["status"] == "timeout":
            self.log.warning("%s: left to the next runs", event["message"])
        else:
            self.log.info("%s", event["message"])
        return jobs_of(self.job_ids, self.of_kind)


class FtsStagingSensor(FtsJobsSensor):
    """Waits until no file of the jobs is on its way from tape any more. FTS looks at tapes every 5 to 10 minutes."""

    wait_for = "staged"
    ui_color = "#fdebd0"


class FtsTransferSensor(FtsJobsSensor):
    """Waits until all jobs are over, well or badly."""


class FtsArrivalSensor(FtsJobsSensor):
    """Waits until no file of the jobs is to come over any more: what is left is that files get onto tape."""

    wait_for = "copied"


class FtsArchivingSensor(FtsJobsSensor):
    """Waits until all files of the jobs are on tape, or have failed: hours, or ``fts.archive_timeout_s``."""

    ui_color = "#fdebd0"


def _by_address(job_ids: list[str]) -> dict[str, list[str]]:
    """The jobs by the address of the server that has them."""
    from dynamo_airflow.defaults import database
    from dynamo_ops.fts.servers import address_of
    from dynamo_ops.transfer.server.holding import jobs_by_server

    addresses: dict[str, list[str]] = {}
    for server, share in jobs_by_server(database(), job_ids).items():
        addresses.setdefault(address_of(settings().fts, server), []).extend(share)
    return addresses


def _text(path: Any) -> str | None:
    return None if path is None else str(path)
