"""What waits at a server that is ill goes to another, once it is certain that the first one will not copy it.

What was never sent is not there: it is queued again. What was sent is cancelled first, and queued again only when the
server itself says that it is cancelled (``transfer.observe``). A server that does not answer keeps what it has:
it may be copying, and a second copy would be written over the first.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.fts.servers import FtsServer, FtsServers
from dynamo_ops.inventory.states import LIVE_TRANSFERS, BatchState, ServerIllness, TransferState
from dynamo_ops.transfer.server.closing import close_batch
from dynamo_ops.transfer.server.health import UNSTARTED, ill_servers, judge_stillness, note_answers

log = logging.getLogger(__name__)

UNSENT_AFTER = timedelta(minutes=30)
"""A server that is ill for less gets what was recorded for it, when it is well."""
JOBS_PER_CANCEL = 200


@dataclass(frozen=True)
class MoveSummary:
    """``num_unsent``: batches that were never sent, and are queued again. ``num_cancelled``: jobs that were cancelled;
    their files are queued again when the server says so."""

    num_unsent: int = 0
    num_cancelled: int = 0


@dataclass(frozen=True)
class _Waiting:
    batch_id: int
    job_id: str
    server: str
    site: str
    sources: Sequence[str]


@span("transfer.move")
def move_away(db: Database, servers: FtsServers, after: timedelta) -> MoveSummary:
    """Note which of ``servers`` are ill, and take from these what waits there and another one takes.

    After the answers for open jobs were taken in: by them it is seen whether a server stands still. ``after``: so long
    jobs may wait at a server at which nothing moves.
    """
    note_answers(db, servers)
    judge_stillness(db, sorted(servers.answered - servers.ill.keys()), after)
    with db.begin() as connection:
        ill = ill_servers(connection)
    well = [server for server in servers.servers if server.address not in ill and server.address not in servers.ill]
    if not ill or not well:
        return MoveSummary()
    still = [address for address, state in ill.items() if state.illness == ServerIllness.STILL]
    unsent = _taken_by(well, _read(db, _UNSENT, ill, UNSENT_AFTER))
    moved = MoveSummary(
        sum(_close_unsent(db, batch) for batch in unsent),
        _cancel(db, servers, _taken_by(well, _read(db, _QUEUED, still, after))),
    )
    if moved != MoveSummary():
        log.warning(
            "taken from FTS servers that are ill (%s): %d batches that were never sent, %d jobs that waited",
            ", ".join(ill),
            moved.num_unsent,
            moved.num_cancelled,
        )
    return moved


def _read(db: Database, sql: str, addresses: Collection[str], after: timedelta) -> list[_Waiting]:
    with db.begin() as connection:
        waiting = connection.execute(text(sql), {"addresses": list(addresses), "after": after})
        return [_Waiting(*batch) for batch in waiting]


def _taken_by(servers: Sequence[FtsServer], batches: Iterable[_Waiting]) -> list[_Waiting]:
    """The batches of which one of ``servers`` takes every link."""
    return [
        batch
        for batch in batches
        if any(all(server.takes(source, batch.site) for source in batch.sources) for server in servers)
    ]


def _close_unsent(db: Database, batch: _Waiting) -> bool:
    """Whether it was closed: not where a task is sending it, or has tried to meanwhile."""
    with alone(db, f"transfer batch {batch.batch_id}") as lock:
        if lock is None:
            return False
        with db.begin() as connection:
            still_unsent = text(f"""
                SELECT EXISTS (SELECT FROM transfer_batches WHERE id = :id AND state = '{BatchState.PLANNED}'
                               AND submitted_at IS NULL)""")
            if not connection.execute(still_unsent, {"id": batch.batch_id}).scalar_one():
                return False
        close_batch(db, batch.batch_id, f"FTS {batch.server} is ill, and never got it: it goes to another server")
        return True


def _cancel(db: Database, servers: FtsServers, batches: Sequence[_Waiting]) -> int:
    """Cancel these jobs at their servers; how many had not ended. The attempts are not counted against the copies."""
    num_cancelled = 0
    for address in sorted({batch.server for batch in batches}):
        jobs = {batch.job_id: batch.batch_id for batch in batches if batch.server == address}
        job_ids = list(jobs)
        for first in range(0, len(job_ids), JOBS_PER_CANCEL):
            answers = servers.client(address).cancel(job_ids[first : first + JOBS_PER_CANCEL])
            cancelled = [jobs[job_id] for job_id, answer in answers.items() if answer.http_status == 200]
            with db.begin() as connection:
                connection.execute(text(_EXCUSE), {"batches": cancelled})
            num_cancelled += len(cancelled)
    return num_cancelled


_LINKS = f"""
    SELECT batch.id, batch.job_id::text, batch.server, site.name,
           ARRAY(SELECT source.name FROM sites AS source WHERE source.id IN (
               SELECT unnest(array_prepend(copy.source_site_id, copy.other_source_site_ids)) FROM transfers AS copy
               WHERE copy.batch_id = batch.id AND copy.state IN {LIVE_TRANSFERS}))
    FROM transfer_batches AS batch JOIN sites AS site ON site.id = batch.site_id"""

_UNSENT = f"""{_LINKS} JOIN fts_servers AS ill ON ill.address = batch.server
    WHERE batch.server = ANY(CAST(:addresses AS text[])) AND batch.state = '{BatchState.PLANNED}'
      AND batch.submitted_at IS NULL AND ill.ill_since <= now() - CAST(:after AS interval)
    ORDER BY batch.id"""

_QUEUED = f"""{_LINKS}
    WHERE batch.server = ANY(CAST(:addresses AS text[])) AND {UNSTARTED}
    ORDER BY batch.id"""

_EXCUSE = f"""
    WITH excused AS (
        UPDATE transfers SET is_excused = true
        WHERE batch_id = ANY(CAST(:batches AS bigint[])) AND state = '{TransferState.SUBMITTED}' AND NOT is_excused
        RETURNING subscription_id)
    UPDATE subscriptions AS copy SET num_excused = copy.num_excused + 1
    FROM excused WHERE copy.id = excused.subscription_id"""
