"""Copies and deletions that ended, in sums by hour: kept, so that a plot of a year reads no attempt.

Triggers add rows to ``transfer_hours`` and ``deletion_hours`` in the transaction that ends attempts, whoever does: of
one key there can be many, to be summed up, so that nobody waits for anybody. What leaves the inventory with its data
stays in the sums, and is noted by rows that are ``is_removed``: sums less these are a recount of what is there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.inventory.states import (
    DONE_DELETIONS,
    ENDED_TRANSFERS,
    DeletionObservation,
    DeletionState,
    TransferState,
)

log = logging.getLogger(__name__)

FOLDING = "hours"
LOOKED_BACK = timedelta(days=4)
"""So far back hours are folded and compared: what ends now may have ended for FTS some days ago."""
OTHER = "other"
"""The class of an error that does not begin as FTS's do, ``SOURCE [2] …``."""

_FIGURES = ("num_files", "size_bytes", "num_seconds")
_SECONDS = "coalesce(greatest(round(extract(epoch FROM attempt.finished_at - attempt.{began})), 0)::bigint, 0)"
_TRANSFERS = f"""
    SELECT date_trunc('hour', attempt.finished_at, 'UTC') AS hour, attempt.source_site_id, batch.site_id,
           attempt.state AS outcome,
           CASE WHEN attempt.state = '{TransferState.FAILED}'
                THEN coalesce(substring(attempt.reason FROM '^[A-Z_]{{1,30}} \\[[0-9]{{1,5}}\\]'), '{OTHER}')
                ELSE '' END AS error_class,
           1 AS num_files, attempt.size_bytes, {_SECONDS.format(began="started_at")} AS num_seconds
    FROM transfers AS attempt JOIN transfer_batches AS batch ON batch.id = attempt.batch_id
    WHERE attempt.state IN {ENDED_TRANSFERS} AND attempt.finished_at >= :since"""
_DELETIONS = f"""
    SELECT date_trunc('hour', attempt.finished_at, 'UTC') AS hour, batch.site_id, attempt.state AS outcome,
           CASE WHEN attempt.state <> '{DeletionState.FAILED}' THEN ''
                WHEN attempt.is_recoverable IS FALSE THEN '{DeletionObservation.REFUSED}'
                ELSE '{DeletionObservation.UNAVAILABLE}' END AS error_class,
           1 AS num_files, attempt.size_bytes, {_SECONDS.format(began="claimed_at")} AS num_seconds
    FROM deletions AS attempt JOIN deletion_batches AS batch ON batch.id = attempt.batch_id
    WHERE (attempt.state IN {DONE_DELETIONS} OR attempt.state = '{DeletionState.FAILED}')
      AND attempt.finished_at >= :since"""


@dataclass(frozen=True)
class _Hours:
    """One kind: the table of its sums, their key, and what they are sums of."""

    table: str
    key: str
    attempts: str


KINDS = (
    _Hours("transfer_hours", "hour, source_site_id, site_id, outcome, error_class", _TRANSFERS),
    _Hours("deletion_hours", "hour, site_id, outcome, error_class", _DELETIONS),
)
_SUMS = ", ".join(f"sum({name})::bigint AS {name}" for name in _FIGURES)
_IS_DIFFERENT = " OR ".join(f"sum({name}) <> 0" for name in _FIGURES)
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_KEPT = ", ".join(f"CASE WHEN is_removed THEN {name} ELSE -{name} END" for name in _FIGURES)
_NAMES = ", ".join(_FIGURES)


def _one_row_a_key(kind: _Hours) -> str:
    return f"""
        WITH taken AS (
            DELETE FROM {kind.table} WHERE hour IN (
                SELECT hour FROM (SELECT {kind.key}, is_removed FROM {kind.table} WHERE hour >= :since
                                  GROUP BY {kind.key}, is_removed HAVING count(*) > 1) AS repeated)
            RETURNING {kind.key}, is_removed, {_NAMES})
        INSERT INTO {kind.table} ({kind.key}, is_removed, {_NAMES})
        SELECT {kind.key}, is_removed, {_SUMS} FROM taken GROUP BY {kind.key}, is_removed HAVING {_IS_DIFFERENT}
        ORDER BY hour"""


def _what_is_lacking(kind: _Hours) -> str:
    return f"""
        INSERT INTO {kind.table} ({kind.key}, is_removed, {_NAMES})
        SELECT {kind.key}, false, {_SUMS}
        FROM (SELECT {kind.key}, {_NAMES} FROM ({kind.attempts}) AS counted
              UNION ALL
              SELECT {kind.key}, {_KEPT} FROM {kind.table} WHERE hour >= :since) AS compared
        GROUP BY {kind.key} HAVING {_IS_DIFFERENT}"""


def fold(database: Database, now: datetime) -> None:
    """One row a key, where there were many. Nothing depends on it but how long a read takes."""
    since = {"since": _since(now)}
    with alone(database, FOLDING) as mine:
        if mine is None:
            return
        with database.begin() as connection:
            for kind in KINDS:
                connection.execute(text(_one_row_a_key(kind)), since)


def check(database: Database, now: datetime) -> int | None:
    """Compare the sums of the last days with a recount, as of one moment, and add what is lacking. Returns how many
    sums were wrong; None: another one folds or checks just now."""
    with alone(database, FOLDING) as mine:
        if mine is None:
            return None
        with database.begin() as connection:
            connection.execute(text(_SNAPSHOT))
            return sum(_mend(connection, kind, _since(now)) for kind in KINDS)


def keep(database: Database, now: datetime) -> dict[str, int]:
    """The nightly chore: check, mend, fold. Returns how many sums were wrong: none ought to be, and those that are, are
    logged."""
    num_wrong = check(database, now)
    if num_wrong:
        log.warning("%d sums of copies and deletions by hour were wrong and are mended", num_wrong)
    fold(database, now)
    return {} if num_wrong is None else {"num_wrong_hours": num_wrong}


def prune(database: Database, *, before: datetime) -> int:
    """Remove the hours before then. Returns the number of rows."""
    with database.begin() as connection:
        return sum(
            connection.execute(text(f"DELETE FROM {kind.table} WHERE hour < :before"), {"before": before}).rowcount
            for kind in KINDS
        )


def _mend(connection: Connection, kind: _Hours, since: datetime) -> int:
    return connection.execute(text(_what_is_lacking(kind)), {"since": since}).rowcount


def _since(now: datetime) -> datetime:
    return (now - LOOKED_BACK).replace(minute=0, second=0, microsecond=0)
