"""The batches of a task are submitted, and whose fault a refusal is shows by what else the server takes.

What it refuses is taken apart, half by half, until the files that are to blame are alone. Such a file is held, with the
server's words, once the server has taken something after it had refused the file. A server that takes nothing is ill:
one batch is taken apart, to see that, and nothing is held.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from dynamo_ops.base.errors import RemoteError, RetryableRemoteError
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.fts.job import JobSettings
from dynamo_ops.fts.servers import FtsServers
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.transfer.server.closing import close_batch, hold_batch
from dynamo_ops.transfer.server.health import note_refusal, note_taking
from dynamo_ops.transfer.server.holding import batches_by_server
from dynamo_ops.transfer.submission import refusal
from dynamo_ops.transfer.submission.limits import TransferLimits
from dynamo_ops.transfer.submission.naming import SiteEndpoints
from dynamo_ops.transfer.submission.submit import all_endpoints, submit_batch

log = logging.getLogger(__name__)

MOST_MORE = 400
"""So many further documents a task sends at most, of what it has taken apart: enough for 200 files of which all are to
blame. What is left is for the next run."""


@dataclass
class Submission:
    """``jobs``: ids by batch, of what a server has. ``failed``: by batch, where and why; it is tried again."""

    jobs: dict[int, str] = field(default_factory=dict)
    failed: dict[int, tuple[str | None, RemoteError]] = field(default_factory=dict)


def submit_lot(
    db: Database, servers: FtsServers, batch_ids: Sequence[int], job: JobSettings, limits: TransferLimits
) -> Submission:
    """Submit these batches, each at its server. One that is not taken keeps none of the others back."""
    done = Submission()
    endpoints = all_endpoints(db, limits)
    for server, share in batches_by_server(db, batch_ids).items():
        _Server(db, servers, server, job, limits, endpoints, done).submit(share)
    return done


@dataclass
class _Server:
    """One server, and what it is to be given. ``refused``: by batch, what it says of it."""

    db: Database
    servers: FtsServers
    address: str | None
    job: JobSettings
    limits: TransferLimits
    endpoints: SiteEndpoints
    done: Submission
    refused: dict[int, str] = field(default_factory=dict)
    num_sent: int = 0
    num_taken: int = 0

    def submit(self, batch_ids: Sequence[int]) -> None:
        waiting, most = deque(batch_ids), len(batch_ids) + MOST_MORE
        while waiting and self.num_sent < most:
            self._send(waiting.popleft())
            if not waiting and self.refused:
                try:
                    waiting.extend(self._judge())
                except RemoteError as error:  # who we are to it cannot be asked now: a later run goes on
                    self.done.failed |= dict.fromkeys(self.refused, (self.address, error))
                    return
        if self.num_taken:
            note_taking(self.db, self.servers.address(self.address))
        elif self.refused:
            illness = self._illness()
            note_refusal(self.db, self.servers.address(self.address), next(iter(self.refused.values())))
            self.done.failed |= dict.fromkeys(self.refused, (self.address, illness))

    def _send(self, batch_id: int) -> None:
        look(self.db, PauseKind.TRANSFERS)
        self.num_sent += 1
        may_send = self.address in {None, *self.servers.addresses}
        try:
            client = self.servers.client(self.address)
            with span("transfer.submit", batch=batch_id):
                summary = submit_batch(
                    self.db, client, batch_id, self.job, self.limits, self.endpoints, may_send=may_send
                )
        except RemoteError as error:
            log.warning("batch %d: %s", batch_id, error.message)
            self.done.failed[batch_id] = self.address, error
            return
        if summary.outcome == "refused":
            self.refused[batch_id] = summary.text
        elif summary.outcome in {"submitted", "found"}:
            self.done.jobs[batch_id] = summary.job_id
            self.num_taken += 1

    def _judge(self) -> list[int]:
        """What becomes of the batches that were refused: the new ones to be sent now; none, when there is nothing more
        to find out in this run."""
        batches = refusal.read_refused(self.db, list(self.refused))
        words, self.refused = self.refused, {batch.batch_id: self.refused[batch.batch_id] for batch in batches}
        has_probed = any(batch.num_files <= 1 for batch in batches)
        new: list[int] = []
        for batch in batches:
            reason = words[batch.batch_id]
            is_alone = batch.num_files <= 1
            if is_alone and refusal.has_taken_since(self.db, self.address, batch.since):
                hold_batch(self.db, batch.batch_id, f"refused by FTS, which takes others: {reason}")
            elif not is_alone and (self.num_taken or not (has_probed or new)):
                new += refusal.take_apart(self.db, self.servers.client(self.address), batch.batch_id)
            elif batch.num_refusals >= refusal.MOST_REFUSALS:
                close_batch(self.db, batch.batch_id, f"refused by FTS {batch.num_refusals} times: {reason}")
            else:
                continue
            del self.refused[batch.batch_id]
        return new

    def _illness(self) -> RemoteError:
        """Nothing shows that it is a file: the server takes nothing."""
        address = self.servers.address(self.address)
        return RetryableRemoteError(
            f"FTS {address} seems to be ill: it refuses {len(self.refused)} jobs, and takes none. Nothing is"
            f" held, all are sent again later. Its words: {next(iter(self.refused.values()))}",
            service="fts",
            url=address,
            status=None,
        )
