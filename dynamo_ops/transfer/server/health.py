"""Which FTS servers are ill, since when and how: kept, since only who asks a server knows (table ``fts_servers``).

One that is away is well when it answers, one that refuses when it takes a job, one that stands still when a file of its
starts or ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.fts.servers import FtsServers
from dynamo_ops.inventory.states import OPEN_BATCHES, Backend, BatchState, ServerIllness, TransferState


@dataclass(frozen=True)
class IllServer:
    """``reason``: its own words, or ours. ``is_tried``: it has a job of ours that was planned since it is ill."""

    address: str
    illness: ServerIllness
    since: datetime
    reason: str
    is_tried: bool


def ill_servers(connection: Connection) -> dict[str, IllServer]:
    """Those that are ill now, by address."""
    ill = connection.execute(text(_ILL)).mappings()
    return {row["address"]: IllServer(**{**row, "illness": ServerIllness(row["illness"])}) for row in ill}


def note_answers(db: Database, servers: FtsServers) -> None:
    """What ``servers`` has learnt by asking: who answers, and who is away."""
    key = {
        "answered": sorted(servers.answered),
        "away": sorted(servers.ill),
        "reasons": [servers.ill[address].message for address in sorted(servers.ill)],
    }
    with db.begin() as connection:
        connection.execute(text(_NOTE_ANSWERS), key)
        connection.execute(text(_NOTE_AWAY), key)


def forget(db: Database, named: Sequence[str]) -> None:
    """Servers that are not ``named`` in the settings and have nothing of ours: nobody asks them any more."""
    with db.begin() as connection:
        connection.execute(
            text(f"""
            DELETE FROM fts_servers AS server WHERE NOT server.address = ANY(CAST(:named AS text[])) AND NOT EXISTS (
              SELECT FROM transfer_batches AS batch
              WHERE batch.server = server.address AND batch.state IN {OPEN_BATCHES})"""),
            {"named": list(named)},
        )


def note_refusal(db: Database, address: str, reason: str) -> None:
    """That it takes nothing."""
    with db.begin() as connection:
        connection.execute(text(_NOTE_REFUSAL), {"address": address, "reason": reason})


def note_taking(db: Database, address: str) -> None:
    """That it has taken a job."""
    with db.begin() as connection:
        connection.execute(
            text(f"""
            UPDATE fts_servers SET illness = NULL, ill_since = NULL, reason = NULL
            WHERE address = :address AND illness = '{ServerIllness.REFUSES}'"""),
            {"address": address},
        )


def judge_stillness(db: Database, addresses: Sequence[str], after: timedelta) -> None:
    """Find those of these servers that have had jobs for longer than ``after`` of which no file has started, and at
    which none has started or ended meanwhile; and of all that stood still those at which one has. Jobs that read from
    tape may wait for long: they make no server ill."""
    with db.begin() as connection:
        connection.execute(text(_NOTE_STILL), {"addresses": list(addresses), "after": after})
        connection.execute(text(_NOTE_MOVED), {"after": after})


_ILL = f"""
    SELECT ill.address, ill.illness, ill.ill_since AS since, ill.reason, EXISTS (
        SELECT FROM transfer_batches AS batch
        WHERE batch.server = ill.address AND batch.state IN {OPEN_BATCHES}
          AND batch.created_at >= ill.ill_since) AS is_tried
    FROM fts_servers AS ill WHERE ill.illness IS NOT NULL ORDER BY ill.address"""

_NOTE_ANSWERS = f"""
    INSERT INTO fts_servers AS server (address, answered_at)
    SELECT address, now() FROM unnest(CAST(:answered AS text[])) AS asked (address)
    ON CONFLICT (address) DO UPDATE SET answered_at = now(),
        illness = CASE WHEN server.illness <> '{ServerIllness.AWAY}' THEN server.illness END,
        ill_since = CASE WHEN server.illness <> '{ServerIllness.AWAY}' THEN server.ill_since END,
        reason = CASE WHEN server.illness <> '{ServerIllness.AWAY}' THEN server.reason END"""

_NOTE_AWAY = f"""
    INSERT INTO fts_servers AS server (address, illness, ill_since, reason)
    SELECT address, '{ServerIllness.AWAY}', now(), reason
    FROM unnest(CAST(:away AS text[]), CAST(:reasons AS text[])) AS asked (address, reason)
    ON CONFLICT (address) DO UPDATE
    SET illness = '{ServerIllness.AWAY}', ill_since = coalesce(server.ill_since, now()), reason = excluded.reason"""

_NOTE_REFUSAL = f"""
    INSERT INTO fts_servers AS server (address, illness, ill_since, reason)
    VALUES (:address, '{ServerIllness.REFUSES}', now(), :reason)
    ON CONFLICT (address) DO UPDATE
    SET illness = '{ServerIllness.REFUSES}', ill_since = coalesce(server.ill_since, now()), reason = excluded.reason"""

# A file that was cancelled has not moved: somebody else ended it.
_MOVED = f"""EXISTS (
        SELECT FROM transfer_batches AS batch JOIN transfers AS copy ON copy.batch_id = batch.id
        WHERE batch.server = {{server}} AND batch.backend = '{Backend.FTS}'
          AND (batch.state = '{BatchState.SUBMITTED}' OR batch.finished_at > {{since}})
          AND (copy.started_at > {{since}}
               OR copy.finished_at > {{since}} AND copy.state IN ('{TransferState.DONE}', '{TransferState.FAILED}')))"""

UNSTARTED = f"""batch.state = '{BatchState.SUBMITTED}' AND NOT batch.is_staging
          AND batch.submitted_at <= now() - CAST(:after AS interval)
          AND NOT EXISTS (
            SELECT FROM transfers AS copy WHERE copy.batch_id = batch.id
              AND (copy.started_at IS NOT NULL
                   OR copy.state NOT IN ('{TransferState.SUBMITTED}', '{TransferState.CANCELLED}')))"""
"""SQL: of a batch that its server has had for longer than ``:after`` no file has started."""

_NOTE_STILL = f"""
    INSERT INTO fts_servers AS server (address, illness, ill_since, reason)
    SELECT waiting.server, '{ServerIllness.STILL}', waiting.since,
           format('it has %s jobs of which no file has started since %s UTC, and none has started or ended there',
                  waiting.num_jobs, to_char(waiting.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'))
    FROM (
        SELECT batch.server, min(batch.submitted_at) AS since, count(*) AS num_jobs FROM transfer_batches AS batch
        WHERE batch.server = ANY(CAST(:addresses AS text[])) AND {UNSTARTED}
        GROUP BY batch.server) AS waiting
    WHERE NOT {_MOVED.format(server="waiting.server", since="now() - CAST(:after AS interval)")}
    ON CONFLICT (address) DO UPDATE
    SET illness = excluded.illness, ill_since = excluded.ill_since, reason = excluded.reason
    WHERE server.illness IS NULL"""

_NOTE_MOVED = f"""
    UPDATE fts_servers AS server SET illness = NULL, ill_since = NULL, reason = NULL
    WHERE server.illness = '{ServerIllness.STILL}'
      AND {_MOVED.format(server="server.address", since="now() - CAST(:after AS interval)")}"""
