"""Failures grouped: the same failure is one alert, told at once and then not again for some hours, however often it
happens meanwhile.

Who wants to tell claims the alert first, in one statement, so that of a hundred tasks that fail in the same second one
sends a message. After it was sent the alert is ``told``; a claim whose process died before that is taken over.
"""

from __future__ import annotations

import hashlib
import re
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import text

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.database.connection import Database

IDENTIFYING = ("service", "source", "gate", "subject", "failures", "file", "key")
"""Facts of an error that make it the same as another. Sites, datasets, days, numbers and ids are what differs: an
outage of a month, or its backfill, is one alert."""

_DAY = re.compile(r"(?<!\d)(?:19|20)\d\d([-/_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)")
"""A day as texts (2026-03-01) and paths (2026/03/01, 20260301) write it."""

CLAIM_MINUTES = 5
"""A claim that is older, and was not followed by a message, is of a process that died."""

KEEP_DAYS = 90
PATIENCE_MS = 20_000
"""A busy database must not keep a message back for longer."""

_LONGEST_KEY = 400
_OURS = ("dynamo_ops", "dynamo_airflow", "dags")


class AlertKind(StrEnum):
    """What is told of: a task that failed, a run that is late, the digest of a day, a site, link or credential that is
    ill."""

    FAILURE = "failure"
    LATE = "late"
    DIGEST = "digest"
    ILL = "ill"


@dataclass(frozen=True)
class Alert:
    """Something to tell of. ``error``: the class of the error, ``marks``: what else makes it the same as another
    (``identity``); ``message``: its text."""

    kind: str
    dag_id: str
    task_id: str | None
    error: str
    message: str
    marks: str = ""

    @property
    def key(self) -> str:
        """What it is grouped by; readable, and never longer than an index takes."""
        where = f"{self.dag_id}.{self.task_id}" if self.task_id else self.dag_id
        key = " ".join(part for part in (self.kind, where, self.error, self.marks) if part)
        if len(key) <= _LONGEST_KEY:
            return key
        return f"{key[:_LONGEST_KEY]} {hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True)
class Claim:
    """What a process got that wants to tell. ``is_mine``: it does; else another does, or it was told lately.

    ``num_times``: how often it has happened since ``first_at``, ``num_untold``: since ``told_at`` (None: never told).
    """

    key: str
    token: str
    is_mine: bool
    num_times: int
    num_untold: int
    first_at: datetime
    told_at: datetime | None


def identity(error: BaseException | None) -> str:
    """What makes an error the same as another of its class: some facts of ours; without any, and for errors of others,
    the place where it was raised.

    The text does not: it names numbers, sites, days and ids.
    """
    if error is None:
        return ""
    if isinstance(error, DynamoError) and (known := _marks(error.facts)):
        return known
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(f"/{name}/" in frame.filename for name in _OURS)]
    return "at " + _place((ours or frames)[-1]) if frames else ""


def claim(db: Database, alert: Alert, *, repeat_after_h: float, claim_minutes: float = CLAIM_MINUTES) -> Claim:
    """Count the alert, and claim it if it is to be told now: never told, or ``repeat_after_h`` ago, and nobody is at it
    since ``claim_minutes``.

    Raises RetryableRemoteError when the database is away.
    """
    token = uuid.uuid4().hex
    values = {
        "key": alert.key,
        "kind": alert.kind,
        "dag": alert.dag_id,
        "task": alert.task_id,
        "error": alert.error,
        "message": alert.message,
        "token": token,
        "hours": repeat_after_h,
        "minutes": claim_minutes,
    }
    with db.begin() as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = {PATIENCE_MS}"))
        row = connection.execute(text(_CLAIM), values).one()
    return Claim(alert.key, token, row.is_mine, row.num_times, row.num_untold, row.first_at, row.told_at)


def told_at(db: Database, alert: Alert) -> datetime | None:
    """When a message about this went out last; None: never."""
    with db.begin() as connection:
        found: datetime | None = connection.execute(
            text("SELECT told_at FROM alerts WHERE key = :key"), {"key": alert.key}
        ).scalar()
    return found


def told(db: Database, claimed: Claim) -> None:
    """A message went out: what was counted by the time of the claim is told, what came since is not."""
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE alerts SET told_at = now(), num_untold = greatest(num_untold - :told, 0), claimed_at = NULL,
                              claimed_by = NULL
            WHERE key = :key AND claimed_by = :token"""),
            {"key": claimed.key, "token": claimed.token, "told": claimed.num_untold},
        )


def release(db: Database, claimed: Claim) -> None:
    """No message got through: the next failure of the kind tries again."""
    with db.begin() as connection:
        connection.execute(
            text("UPDATE alerts SET claimed_at = NULL, claimed_by = NULL WHERE key = :key AND claimed_by = :token"),
            {"key": claimed.key, "token": claimed.token},
        )


def take_over(db: Database, keys: list[str]) -> int:
    """These alerts are told by somebody else (the digest): those that nobody has told yet, and that no living process
    is about to. Returns how many."""
    with db.begin() as connection:
        return connection.execute(
            text(f"""
            UPDATE alerts SET told_at = now(), num_untold = 0, claimed_at = NULL, claimed_by = NULL
            WHERE key = ANY(:keys) AND kind <> '{AlertKind.DIGEST}' AND {UNTOLD}"""),
            {"keys": keys},
        ).rowcount


def forget(db: Database, before: datetime) -> int:
    """Remove alerts that did not happen again since then. Returns how many."""
    with db.begin() as connection:
        return connection.execute(text("DELETE FROM alerts WHERE last_at < :before"), {"before": before}).rowcount


UNTOLD = f"told_at IS NULL AND coalesce(claimed_at < now() - interval '{CLAIM_MINUTES} minutes', true)"
"""Nobody was told, and nobody is about to be: no channel worked, or the process died on its way."""

_DUE = """coalesce(a.claimed_at < now() - :minutes * interval '1 minute', true)
          AND coalesce(a.told_at < now() - :hours * interval '1 hour', true)"""
_CLAIM = f"""
    INSERT INTO alerts AS a (key, kind, dag_id, task_id, error, message, first_at, last_at, num_times, num_untold,
                             claimed_at, claimed_by)
    VALUES (:key, :kind, :dag, :task, :error, :message, now(), now(), 1, 1, now(), :token)
    ON CONFLICT (key) DO UPDATE SET
        message = excluded.message, last_at = greatest(a.last_at, excluded.last_at), num_times = a.num_times + 1,
        num_untold = a.num_untold + 1,
        claimed_at = CASE WHEN {_DUE} THEN excluded.claimed_at ELSE a.claimed_at END,
        claimed_by = CASE WHEN {_DUE} THEN excluded.claimed_by ELSE a.claimed_by END
    RETURNING coalesce(claimed_by = :token, false) AS is_mine, num_times, num_untold, first_at, told_at"""


def _marks(facts: Mapping[str, object]) -> str:
    """The identifying facts, days taken out. The file is none where a day is a fact: each day has a file of its own."""
    left_out = {"file"} if facts.get("day") is not None else set()
    known = {name: facts[name] for name in IDENTIFYING if name not in left_out and facts.get(name) not in (None, "")}
    return " ".join(f"{name}={_DAY.sub('*', _plain(value))}" for name, value in known.items())


def _plain(value: object) -> str:
    return ",".join(sorted(str(each) for each in value)) if isinstance(value, list | tuple | set) else str(value)


def _place(frame: traceback.FrameSummary) -> str:
    """File and function, without the folder (that of another version may be another) and the line."""
    return f"{frame.filename.rpartition('/')[2]}:{frame.name}"
