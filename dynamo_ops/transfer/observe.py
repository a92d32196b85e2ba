"""Poll FTS and make its answers true in the inventory: transfer → subscription → block replica, job by job."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.patience import Illness
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.fts.client import FtsClient, JobStatus
from dynamo_ops.fts.servers import FtsServers, servers_of
from dynamo_ops.inventory import states
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.replica import files as replicas
from dynamo_ops.inventory.states import (
    SUBSCRIPTION_MOVES,
    TRANSFER_MOVES,
    TRANSFER_OUTCOMES,
    Backend,
    BatchState,
    SubscriptionAction,
    SubscriptionState,
    TransferObservation,
    TransferState,
)
from dynamo_ops.inventory.subscription.blame import Blame
from dynamo_ops.inventory.subscription.illness import ILLNESS, excuse
from dynamo_ops.transfer.observations import OBSERVATIONS, read_observations
from dynamo_ops.transfer.server.holding import by_server
from dynamo_ops.transfer.verification.ability import verified_by

log = logging.getLogger(__name__)

JOBS_PER_POLL = 25  # jobs of 200 files: 5000 rows an answer and a transaction
# After so many bad arrivals of one file from one source the source is taken for bad: not every storage has checksums.
MAX_BAD_ARRIVALS = 3


@dataclass(frozen=True)
class ObserveSummary:
    """What changed since the last look. ``unreadable``: FTS's words for jobs it would not show us, by job id.

    ``num_open_jobs``: of the jobs asked for, those not finished yet. ``num_completed``: block replicas completed.
    """

    num_done: int = 0
    bytes_done: int = 0
    num_failed: int = 0
    num_cancelled: int = 0
    num_lost_jobs: int = 0
    num_open_jobs: int = 0
    num_completed: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: ObserveSummary) -> ObserveSummary:
        return ObserveSummary(
            self.num_done + other.num_done,
            self.bytes_done + other.bytes_done,
            self.num_failed + other.num_failed,
            self.num_cancelled + other.num_cancelled,
            self.num_lost_jobs + other.num_lost_jobs,
            self.num_open_jobs + other.num_open_jobs,
            self.num_completed + other.num_completed,
            self.unreadable | other.unreadable,
        )


def open_batch_job_ids(
    db: Database, batch_ids: Sequence[int] | None = None, *, staging: bool | None = None
) -> list[str]:
    """Job ids of submitted, unfinished batches: all, or those of ``batch_ids``. ``staging``: only (or no) tape jobs."""
    with db.begin() as connection:
        return [
            str(job_id)
            for job_id in connection.execute(
                text(f"""
            SELECT job_id FROM transfer_batches
            WHERE state = '{BatchState.SUBMITTED}' AND (CAST(:ids AS bigint[]) IS NULL OR id = ANY(:ids))
              AND (CAST(:staging AS boolean) IS NULL OR is_staging = :staging) ORDER BY id"""),
                {"ids": None if batch_ids is None else list(batch_ids), "staging": staging},
            ).scalars()
        ]


@span("transfer.observe")
def observe_and_apply(
    db: Database,
    client: FtsClient | FtsServers,
    batch_ids: Sequence[int] | None = None,
    now: datetime | None = None,
    *,
    patience: timedelta = timedelta(0),
    illness: Illness = ILLNESS,
) -> ObserveSummary:
    """Ask FTS for all submitted batches (or those given) and apply what it says. Safe to repeat at any time.

    ``client``: of the only server, or the servers, of which each is asked for its own. Each answer of FTS is applied in
    one transaction; killed between two, the next run applies the rest. ``patience``: jobs submitted less long ago are
    only looked into once they have ended, since telling all their files costs FTS. ``illness``: when a whole site, a
    link or our credential is to blame, and no single copy.
    """
    moment = now or datetime.now(UTC)
    summaries = [ObserveSummary()]

    def look(server: FtsClient, jobs: Sequence[tuple[str, bool]]) -> None:
        for job_ids in _chunks(_worth_a_look(server, jobs), JOBS_PER_POLL):
            statuses = server.job_statuses(job_ids)
            with db.begin() as connection:
                summaries.append(apply(connection, list(statuses.values()), moment, illness))

    servers_of(client).each(_open_jobs(db, batch_ids, moment - patience), look)
    summary = reduce(add, summaries)
    return replace(summary, num_open_jobs=len(open_batch_job_ids(db, batch_ids)))


def _open_jobs(
    db: Database, batch_ids: Sequence[int] | None, young_since: datetime
) -> dict[str | None, list[tuple[str, bool]]]:
    """The open jobs by server, each with whether it was submitted since."""
    with db.begin() as connection:
        return by_server(
            (server, (str(job_id), is_young))
            for server, job_id, is_young in connection.execute(
                text(f"""
                SELECT server, job_id, coalesce(submitted_at > :since, false) FROM transfer_batches
                WHERE state = '{BatchState.SUBMITTED}' AND (CAST(:ids AS bigint[]) IS NULL OR id = ANY(:ids))
                ORDER BY id"""),
                {"ids": None if batch_ids is None else list(batch_ids), "since": young_since},
            )
        )


def _worth_a_look(server: FtsClient, jobs: Sequence[tuple[str, bool]]) -> list[str]:
    """The jobs without the young ones that still run."""
    asked = server.job_statuses([job_id for job_id, is_young in jobs if is_young], fields=())
    running = {job_id for job_id, status in asked.items() if status.is_known and not status.is_ended}
    return [job_id for job_id, _ in jobs if job_id not in running]


def apply(
    connection: Connection, statuses: Sequence[JobStatus], now: datetime, illness: Illness = ILLNESS
) -> ObserveSummary:
    """Apply the answers for some jobs in the running transaction."""
    lost = [status.job_id for status in statuses if status.http_status == 404]
    ended = [status.job_id for status in statuses if status.is_ended]
    summary = apply_observations(connection, read_observations(statuses, now), lost, ended, illness)
    still_open = _finish_batches(connection, [status.job_id for status in statuses])
    unreadable = {s.job_id: f"{s.http_status} {s.text}" for s in statuses if not s.is_known and s.http_status != 404}
    for job_id, text_of_fts in unreadable.items():
        log.warning("FTS does not show us job %s: %s", job_id, text_of_fts)
    return replace(summary, num_lost_jobs=len(lost), num_open_jobs=still_open, unreadable=unreadable)


@span("transfer.apply")
def apply_observations(
    connection: Connection,
    observations: pl.DataFrame,
    lost_jobs: Sequence[str] = (),
    ended_jobs: Sequence[str] = (),
    illness: Illness = ILLNESS,
) -> ObserveSummary:
    """Move transfers, subscriptions, replicas by what was seen of single files (``OBSERVATIONS``), however seen.

    ``lost_jobs``: ids of jobs of which nothing is known any more; their live transfers have failed. So have those of
    ``ended_jobs`` of which nothing was seen.
    """
    _observed_table(connection, observations)
    _add_lost(connection, list(lost_jobs), "FTS does not know the job")
    _add_lost(connection, list(ended_jobs), "FTS's job has ended, and does not list the file")
    _move_transfers(connection)
    _mark_leftovers(connection)
    excuse(connection, illness)
    _move_subscriptions(connection)
    change = _add_to_replicas(connection)
    counts = {
        state: (count, size)
        for state, count, size in connection.execute(
            text("SELECT state, count(*), sum(size_bytes)::bigint FROM moved GROUP BY state")
        )
    }
    connection.execute(text("DROP TABLE observed, moved"))
    return ObserveSummary(
        num_done=counts.get("done", (0, 0))[0],
        bytes_done=counts.get("done", (0, 0))[1],
        num_failed=counts.get("failed", (0, 0))[0],
        num_cancelled=counts.get("cancelled", (0, 0))[0],
        num_completed=change.num_completed,
    )


def moves_frame() -> pl.DataFrame:
    """The table of transfer moves that change something, as rows for a join. A file that has arrived at a tape is
    marked, though it stays active."""
    rows = [
        (state.value, seen.value, after.value)
        for (state, seen), after in TRANSFER_MOVES.items()
        if state != after or (state, seen) == (TransferState.ACTIVE, TransferObservation.ARCHIVING)
    ]
    return pl.DataFrame(rows, schema=["state", "observation", "next_state"], orient="row")


def subscription_moves_frame() -> pl.DataFrame:
    """What the end of a transfer does to a subscription: rows (transfer state, its state, its next state)."""
    rows = [
        (ended.value, state.value, after.value)
        for ended, event in TRANSFER_OUTCOMES.items()
        for (state, seen), after in SUBSCRIPTION_MOVES.items()
        if seen == event and state != after
    ]
    return pl.DataFrame(rows, schema=["transfer_state", "state", "next_state"], orient="row")


def holds_frame() -> pl.DataFrame:
    """The observations that hold a subscription at once, with the reason: rows (observation, hold reason)."""
    rows = [(seen.value, reason.value) for seen, reason in states.HOLDING_OBSERVATIONS.items()]
    return pl.DataFrame(rows, schema=["observation", "hold_reason"], orient="row")


def _observed_table(connection: Connection, observations: pl.DataFrame) -> None:
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE observed (transfer_id bigint, observation text, size_bytes bigint, reason text,
          is_recoverable boolean, blame text, verified_by text, started_at timestamptz, finished_at timestamptz)
          ON COMMIT DROP""")
    )
    insert_frame(connection, "observed", observations.select(list(OBSERVATIONS)))
    connection.execute(text("ANALYZE observed"))
    # FTS compares nothing with the size it was told: we do. Bytes it does not report are not taken as right.
    connection.execute(
        text(f"""
        UPDATE observed o SET observation = :wrong, is_recoverable = false, blame = '{Blame.FILE}',
          reason = format('FTS copied %s bytes, the inventory knows %s',
                          coalesce(o.size_bytes::text, 'unknown'), t.size_bytes)
        FROM transfers t WHERE t.id = o.transfer_id AND o.observation = :finished
          AND o.size_bytes IS DISTINCT FROM t.size_bytes"""),
        {"wrong": TransferObservation.WRONG_SIZE.value, "finished": TransferObservation.FINISHED.value},
    )
    connection.execute(
        text(f"""
        UPDATE observed o SET is_recoverable = false FROM transfers t
        WHERE t.id = o.transfer_id AND o.observation = :failed AND o.is_recoverable AND o.blame = '{Blame.ARRIVAL}'
          AND (SELECT count(*) FROM transfers p WHERE p.subscription_id = t.subscription_id
               AND p.source_site_id = t.source_site_id AND p.state = '{TransferState.FAILED}'
                 AND p.blame = '{Blame.ARRIVAL}') >= :most - 1"""),
        {"failed": TransferObservation.FAILED.value, "most": MAX_BAD_ARRIVALS},
    )


def _add_lost(connection: Connection, job_ids: list[str], reason: str) -> None:
    if job_ids:
        connection.execute(
            text(f"""
            INSERT INTO observed (transfer_id, observation, reason, is_recoverable, blame)
            SELECT t.id, :lost, :reason, true, '{Blame.SERVICE}'
            FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
            WHERE b.job_id = ANY(CAST(:jobs AS uuid[]))
              AND NOT EXISTS (SELECT FROM observed o WHERE o.transfer_id = t.id)"""),
            {"lost": TransferObservation.LOST.value, "reason": reason, "jobs": job_ids},
        )


def _move_transfers(connection: Connection) -> None:
    """``moved``: the transfers whose state changed, with their new state."""
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE moved (transfer_id bigint, subscription_id bigint, state text, size_bytes bigint,
          reason text, observation text, blame text, source_site_id smallint) ON COMMIT DROP""")
    )
    moves = _values(moves_frame())
    connection.execute(
        text(f"""
        WITH updated AS (
          UPDATE transfers t SET state = m.next_state, reason = o.reason, is_recoverable = o.is_recoverable,
            blame = o.blame,
            verified_by = CASE WHEN m.next_state = '{TransferState.DONE}'
                               THEN coalesce(o.verified_by, {verified_by("t")}) END,
            started_at = coalesce(o.started_at, t.started_at),
            finished_at = CASE WHEN m.next_state IN {states.ENDED_TRANSFERS}
                                 OR o.observation = '{TransferObservation.ARCHIVING}'
                               THEN coalesce(o.finished_at, now()) END
          FROM observed o, ({moves}) AS m (state, observation, next_state)
          WHERE t.id = o.transfer_id AND m.state = t.state AND m.observation = o.observation
            AND (m.next_state <> t.state OR t.finished_at IS NULL)
          RETURNING t.id, t.subscription_id, t.state, t.size_bytes, t.reason, o.observation, t.blame, t.source_site_id)
        INSERT INTO moved SELECT * FROM updated""")
    )
    connection.execute(text("ANALYZE moved"))


def _mark_leftovers(connection: Connection) -> None:
    """FTS may have begun to write what ended otherwise than well: ``leftover`` looks at it, but for what is on tape.
    What failed at its source was not written."""
    connection.execute(
        text(f"""
        UPDATE transfers t SET is_leftover = true
        FROM moved v, transfer_batches b, sites d
        WHERE t.id = v.transfer_id AND v.state IN ('{TransferState.FAILED}', '{TransferState.CANCELLED}')
          AND t.started_at IS NOT NULL AND coalesce(v.reason, '') NOT LIKE 'SOURCE %'
          AND b.id = t.batch_id AND b.backend = '{Backend.FTS}' AND d.id = b.site_id
          AND d.storage_type <> '{StorageType.MSS}'""")
    )


def _move_subscriptions(connection: Connection) -> None:
    connection.execute(
        text(f"""
        UPDATE subscriptions s SET state = m.next_state, updated_at = now(),
          hold_reason = CASE WHEN m.next_state = '{SubscriptionState.HELD}' THEN s.hold_reason END,
          last_error = CASE WHEN m.next_state = '{SubscriptionState.DONE}' THEN NULL
            ELSE coalesce(v.reason, v.state) END
        FROM moved v, ({_values(subscription_moves_frame())}) AS m (transfer_state, state, next_state)
        WHERE s.id = v.subscription_id AND m.transfer_state = v.state AND m.state = s.state
          AND s.action = '{SubscriptionAction.COPY}'""")
    )
    # Queued again by the above, like all that failed.
    connection.execute(
        text(f"""
        UPDATE subscriptions s SET state = '{SubscriptionState.HELD}', hold_reason = h.hold_reason
        FROM moved v, ({_values(holds_frame())}) AS h (observation, hold_reason)
        WHERE s.id = v.subscription_id AND v.observation = h.observation AND s.state = '{SubscriptionState.RETRY}'
          AND s.action = '{SubscriptionAction.COPY}'""")
    )


def _add_to_replicas(connection: Connection) -> replicas.ReplicaChange:
    """Files that arrived, also those no longer subscribed: they are on disk, and a deletion will look for them."""
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE changed ON COMMIT DROP AS
        SELECT DISTINCT s.file_id, s.site_id FROM moved v JOIN subscriptions s ON s.id = v.subscription_id
        WHERE v.state = '{TransferState.DONE}'""")
    )
    change = replicas.arrive(connection)
    connection.execute(text("DROP TABLE changed"))
    return change


def _finish_batches(connection: Connection, job_ids: list[str]) -> int:
    """Finish the batches with no live transfer; returns how many of these jobs remain open."""
    connection.execute(
        text(f"""
        UPDATE transfer_batches b SET state = '{BatchState.FINISHED}', finished_at = now()
        WHERE b.job_id = ANY(CAST(:jobs AS uuid[])) AND b.state = '{BatchState.SUBMITTED}' AND NOT EXISTS (
          SELECT FROM transfers t
          WHERE t.batch_id = b.id AND t.state IN {states.LIVE_TRANSFERS})"""),
        {"jobs": job_ids},
    )
    return int(
        connection.execute(
            text(f"""
        SELECT count(*) FROM transfer_batches WHERE job_id = ANY(CAST(:jobs AS uuid[]))
          AND state = '{BatchState.SUBMITTED}'"""),
            {"jobs": job_ids},
        ).scalar_one()
    )


def _values(frame: pl.DataFrame) -> str:
    """``VALUES (…), …`` of a frame of enum values (nothing in them needs escaping)."""
    return "VALUES " + ", ".join("(" + ", ".join(f"'{value}'" for value in row) + ")" for row in frame.iter_rows())


def _chunks(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
