"""Waiting for FTS without a worker: one trigger polls many jobs, at one server or several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from dynamo_ops.base.errors import RemoteError

SLOWEST_POLL_S = 60.0
PATIENCE = 10


class FtsJobsTrigger(BaseTrigger):
    """Fires once: when no file of the jobs is on its way from tape any more (``staged``), when all that is left is that
    files that have arrived get onto tape (``copied``), or when all jobs are over (``finished``).

    Arguments are plain values, as triggers move between hosts. ``jobs``: job ids by the address of their server.
    ``deadline``: unix seconds at which waiting ends. The poll interval grows while nothing changes, up to a minute. The
    event: ``{"status": "done" | "timeout" | "error", "message": text, "open_jobs": number}``. A server that is away is
    not an error until the deadline, only more waiting; so is one that refuses, unless all do.

    The first look is after one interval: a trigger that fires at once can overtake the scheduler, which has not yet
    noted that the task sleeps, and takes its resumption for a failure.
    """

    def __init__(
        self,
        *,
        jobs: dict[str, list[str]],
        ca: str,
        cert: str | None,
        key: str | None,
        wait_for: str,
        poll_interval_s: float,
        deadline: float,
        token_file: str | None = None,
    ) -> None:
        super().__init__()
        if wait_for not in {"staged", "copied", "finished"}:
            raise ValueError(f"wait_for={wait_for!r}: expected 'staged', 'copied' or 'finished'")
        self.jobs = {url: list(job_ids) for url, job_ids in jobs.items()}
        self.ca, self.cert, self.key = ca, cert, key
        self.token_file = token_file
        self._waiting = {url: len(job_ids) for url, job_ids in self.jobs.items()}
        self.wait_for = wait_for
        self.poll_interval_s = poll_interval_s
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments: the trigger made of them waits for the same."""
        names = ("jobs", "ca", "cert", "key", "token_file", "wait_for", "poll_interval_s", "deadline")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until it is over; yields exactly one event."""
        from dynamo_ops.base.errors import PermanentRemoteError

        num_jobs = sum(map(len, self.jobs.values()))
        delay, before = self.poll_interval_s, None
        await asyncio.sleep(min(delay, max(0.1, self.deadline - time.time())))
        while True:
            try:
                waiting = await self._waiting_for()
            except PermanentRemoteError as error:
                yield TriggerEvent({"status": "error", "message": str(error), "open_jobs": before})
                return
            if not waiting:
                yield TriggerEvent({"status": "done", "message": f"{num_jobs} jobs {self.wait_for}", "open_jobs": 0})
                return
            if time.time() >= self.deadline:
                text = f"{waiting} of {num_jobs} FTS jobs are not {self.wait_for} in time"
                yield TriggerEvent({"status": "timeout", "message": text, "open_jobs": waiting})
                return
            delay = (
                self.poll_interval_s
                if waiting != before
                else min(delay * 1.5, max(SLOWEST_POLL_S, self.poll_interval_s))
            )
            before = waiting
            await asyncio.sleep(min(delay, max(0.1, self.deadline - time.time())))

    async def _waiting_for(self) -> int:
        """How many of the jobs are still waited for. PermanentRemoteError when every server refuses to be asked."""
        from dynamo_ops.base.errors import PermanentRemoteError

        answers = await asyncio.gather(*map(self._waiting_at, self.jobs))
        refusals = [answer for answer in answers if isinstance(answer, PermanentRemoteError)]
        if len(refusals) == len(answers):
            raise refusals[0]
        for url, answer in zip(self.jobs, answers, strict=True):
            if isinstance(answer, int):
                self._waiting[url] = answer
            else:
                self.log.warning("FTS %s cannot be asked now: %s", url, answer)
        return sum(self._waiting.values())

    async def _waiting_at(self, url: str) -> int | RemoteError:
        """How many of the jobs of one server are still waited for, or why it cannot be asked."""
        from dynamo_ops.base.errors import RemoteError
        from dynamo_ops.fts.watch import poll

        token = Path(self.token_file).read_text().strip() if self.token_file else None
        cert, key = (None, None) if token else (self.cert, self.key)
        try:
            states = await poll(url, ca=self.ca, cert=cert, key=key, token=token, job_ids=self.jobs[url])
        except RemoteError as error:
            return error
        if self.wait_for == "staged":
            return sum(1 for state in states.values() if state["is_staging"])
        open_jobs = [state for state in states.values() if not state["is_ended"]]
        return sum(1 for state in open_jobs if self.wait_for == "finished" or not state["is_archiving"])
