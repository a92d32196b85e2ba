"""What a killed run left behind, found again and put right before new work is planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.glob import is_named
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.fts.client import FtsClient, JobStatus
from dynamo_ops.fts.servers import FtsServers, servers_of
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.states import (
    LIVE_TRANSFERS,
    OPEN_BATCHES,
    Backend,
    BatchState,
    SubscriptionAction,
    SubscriptionState,
)
from dynamo_ops.inventory.subscription.under_way import is_archiving
from dynamo_ops.transfer.server.closing import close_batch
from dynamo_ops.transfer.server.holding import by_server
from dynamo_ops.transfer.submission.submit import mark_submitted


@dataclass(frozen=True)
class RecoverSummary:
    """``unsubmitted``: batch ids recorded but unknown to FTS, to be submitted now; not those of a server that is ill.
    ``num_found``: had been submitted.

    ``num_freed``: subscriptions in no live batch. ``num_cancelled_jobs``: jobs of which nothing is subscribed any more.
    """

    unsubmitted: list[int] = field(default_factory=list)
    num_found: int = 0
    num_freed: int = 0
    num_cancelled_jobs: int = 0


@span("transfer.recover")
def recover(db: Database, client: FtsClient | FtsServers | None) -> RecoverSummary:
    """Find the fate of every batch recorded but not known to be submitted; free subscriptions stuck in no batch.

    First task of a transfer cycle. Another run may be submitting some of these batches at this moment: ``submit_batch``
    sees to it that one task at a time does, and FTS takes an id once. ``client``: of the only server, or the servers,
    of which each is asked for its own; None where there is no FTS.
    """
    with db.begin() as connection:
        planned = by_server(
            (server, (batch_id, str(job_id)))
            for server, batch_id, job_id in connection.execute(
                text(
                    f"""SELECT server, id, job_id FROM transfer_batches
                        WHERE state = '{BatchState.PLANNED}' AND backend = '{Backend.FTS}' ORDER BY id"""
                )
            )
        )
    servers = servers_of(client) if client else None
    found: dict[int, str] = {}
    unsubmitted = [] if servers else [batch_id for share in planned.values() for batch_id, _ in share]

    def look_up(server: FtsClient, batches: Sequence[tuple[int, str]]) -> None:
        statuses = server.job_statuses([job_id for _, job_id in batches], fields=())
        found.update((batch_id, job_id) for batch_id, job_id in batches if statuses[job_id].is_known)
        unsubmitted.extend(batch_id for batch_id, job_id in batches if not statuses[job_id].is_known)

    if servers:
        servers.each(planned, look_up)
    with db.begin() as connection:
        if found:
            mark_submitted(connection, found)
        freed = connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.RETRY}', updated_at = now()
            WHERE s.action = '{SubscriptionAction.COPY}' AND s.state = '{SubscriptionState.INBATCH}' AND NOT EXISTS (
              SELECT FROM transfers t WHERE t.subscription_id = s.id AND t.state IN {LIVE_TRANSFERS})""")
        ).rowcount
    return RecoverSummary(sorted(unsubmitted), len(found), freed, cancel_unwanted(db, servers) if servers else 0)


def unfinished_direct(db: Database) -> list[int]:
    """Batches of direct copies that were planned and not finished; another run may be at them, which does no harm."""
    with db.begin() as connection:
        rows = connection.execute(
            text(
                f"""SELECT id FROM transfer_batches
                    WHERE state = '{BatchState.PLANNED}' AND backend = '{Backend.DIRECT}' ORDER BY id"""
            )
        )
        return list(rows.scalars())


def abandon_direct(db: Database) -> int:
    """Close planned batches of direct copies where there are no direct copies any more; their subscriptions are queued
    again. Returns how many batches; one that a task is still at is left to it."""
    closed = 0
    for batch_id in unfinished_direct(db):
        with alone(db, f"direct batch {batch_id}") as lock:
            if lock is not None:
                close_batch(db, batch_id, "Dynamo does not copy between these sites itself any more")
                closed += 1
    return closed


def abandon_fts(db: Database) -> int:
    """Where there is no FTS any more: close the batches it never got; their subscriptions are queued again. How many.

    SettingsError while jobs are open there: nobody could say what became of their files.
    """
    with db.begin() as connection:
        rows = connection.execute(
            text(f"""
            SELECT id, state = '{BatchState.SUBMITTED}' FROM transfer_batches
            WHERE state IN {OPEN_BATCHES} AND backend = '{Backend.FTS}' ORDER BY id""")
        ).all()
    num_open = sum(is_submitted for _, is_submitted in rows)
    if num_open:
        raise SettingsError(
            f"fts.url is null, but {num_open} jobs are open at FTS: name it until they have ended "
            "(`dynamo transfers status`)",
            key="fts.url",
            reason="jobs are open",
        )
    return _close(db, [batch_id for batch_id, _ in rows], "there is no FTS any more")


def readdress(db: Database, former: str, address: str) -> int:
    """Ask ``address`` from now on for the jobs open at ``former``, a server that the settings name no longer: it has
    moved, or is gone for good, and then its jobs are lost. What it was not sent yet is queued again. Returns how many
    jobs.
    """
    with db.begin() as connection:
        num_jobs = connection.execute(
            text(f"""
            UPDATE transfer_batches SET server = :address
            WHERE server = :former AND state = '{BatchState.SUBMITTED}'"""),
            {"former": former, "address": address},
        ).rowcount
        unsubmitted = connection.execute(
            text(
                f"SELECT id FROM transfer_batches WHERE server = :former AND state = '{BatchState.PLANNED}' ORDER BY id"
            ),
            {"former": former},
        ).scalars()
        batch_ids = list(unsubmitted)
    _close(db, batch_ids, "its FTS server is gone")
    return num_jobs


def _close(db: Database, batch_ids: Sequence[int], reason: str) -> int:
    """Close batches that no server gets; how many. One that a task is still at is left to it."""
    closed = 0
    for batch_id in batch_ids:
        with alone(db, f"transfer batch {batch_id}") as lock:
            if lock is not None:
                close_batch(db, batch_id, reason)
                closed += 1
    return closed


def staging_batches(db: Database, batch_ids: Sequence[int]) -> list[int]:
    """Those of these batches that read from tape."""
    with db.begin() as connection:
        rows = connection.execute(
            text("SELECT id FROM transfer_batches WHERE id = ANY(:ids) AND is_staging ORDER BY id"),
            {"ids": list(batch_ids)},
        )
        return list(rows.scalars())


def archiving_batches(db: Database, batch_ids: Sequence[int], on_arrival: Sequence[str]) -> list[int]:
    """Those of these batches whose files must get onto tape to be copies. ``on_arrival``: tape sites where they need
    not (``glob.is_named``)."""
    with db.begin() as connection:
        rows = connection.execute(
            text(f"""
            SELECT batch.id, site.name FROM transfer_batches AS batch JOIN sites AS site ON site.id = batch.site_id
            WHERE batch.id = ANY(:ids) AND site.storage_type = '{StorageType.MSS}' ORDER BY batch.id"""),
            {"ids": list(batch_ids)},
        )
        return [int(batch_id) for batch_id, site in rows if not is_named(site, on_arrival)]


def cancel_unwanted(db: Database, client: FtsClient | FtsServers) -> int:
    """Cancel the FTS jobs of which no file is subscribed any more. What they copied until then is observed as ever.

    Where a file lies in the buffer of a tape already, the job goes on: cancelled, nobody would know that it is there.
    """
    with db.begin() as connection:
        jobs = by_server(
            connection.execute(
                text(f"""
            SELECT b.server, b.job_id FROM transfer_batches b WHERE b.state = '{BatchState.SUBMITTED}' AND NOT EXISTS (
              SELECT FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
              WHERE t.batch_id = b.id AND (s.state = '{SubscriptionState.INBATCH}' AND t.state IN {LIVE_TRANSFERS}
                                           OR {is_archiving("t")}))
            ORDER BY b.id""")
            )
        )
    return _cancel(client, jobs)


def cancel_stuck(
    db: Database,
    client: FtsClient | FtsServers,
    submitted_longer_than: timedelta,
    staging_longer_than: timedelta,
    archive_timeout: timedelta = timedelta(0),
) -> int:
    """Cancel the FTS jobs that were submitted so long ago and still have not ended; returns how many were running.

    FTS gives up on what it could not start (``max_time_in_queue``), on what no tape brings (``bring_online``) and on
    what does not get onto tape, but not on a copy that hangs. ``staging_longer_than``: for jobs that read from tape.
    ``archive_timeout``: what jobs to tape get besides. What such a job copied is kept, what it did not is tried again,
    in another job: both follow from the next look at it.
    """
    with db.begin() as connection:
        jobs = by_server(
            connection.execute(
                text(f"""
            SELECT batch.server, batch.job_id
            FROM transfer_batches AS batch JOIN sites AS site ON site.id = batch.site_id
            WHERE batch.state = '{BatchState.SUBMITTED}' AND batch.backend = '{Backend.FTS}'
              AND batch.submitted_at < now()
                - CASE WHEN batch.is_staging THEN CAST(:staging AS interval) ELSE CAST(:copying AS interval) END
                - CASE WHEN site.storage_type = '{StorageType.MSS}' THEN CAST(:archiving AS interval)
                       ELSE interval '0' END
            ORDER BY batch.id"""),
                {"copying": submitted_longer_than, "staging": staging_longer_than, "archiving": archive_timeout},
            )
        )
    return _cancel(client, jobs)


def _cancel(client: FtsClient | FtsServers, jobs: Mapping[str | None, Sequence[Any]]) -> int:
    """Cancel these jobs, each at its server. Returns how many had not ended; FTS says 304 of the others, 404 of those
    it does not know."""
    answers: dict[str, JobStatus] = {}
    servers_of(client).each(jobs, lambda server, job_ids: answers.update(server.cancel(map(str, job_ids))))
    return sum(answer.http_status == 200 for answer in answers.values())
