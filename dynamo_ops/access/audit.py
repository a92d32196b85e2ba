"""Who did what: a row in the transaction of the effect, so that there is never one without the other; refusals too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import DEFAULT_LIMITS, AccessError, Action, Limits, Outcome, Target, may
from dynamo_ops.access.person import Person, Role
from dynamo_ops.base.errors import DynamoError
from dynamo_ops.database.connection import Database

MOST_IDS = 1_000


@dataclass
class Act:
    """What somebody is doing, in ``connection``'s transaction. ``what``: to what, in words; may be made more exact.

    ``ids``: of the rows that it touched. ``is_dry_run``: nothing of it is kept but that it was asked. ``run_key``: the
    run of a DAG that does it.
    """

    connection: Connection
    by: Person
    action: Action
    what: str
    reason: str | None = None
    run_key: str | None = None
    limits: Limits = DEFAULT_LIMITS
    ids: list[int] = field(default_factory=list)
    is_dry_run: bool = False

    def check(self, of: Target) -> Role:
        """The role by which they may do this to ``of``. Raises AccessError."""
        return may(self.by, self.action, of, self.limits)


@contextmanager
def acting(
    database: Database,
    by: Person,
    action: Action,
    what: str,
    reason: str | None = None,
    *,
    run_key: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Act]:
    """One transaction in which somebody acts, and which says so in the audit.

    Who uses it calls ``check`` before anything has an effect. A refusal (AccessError), what failed for another reason
    of ours, and a dry run are rolled back, and noted in a transaction of their own. What the audit cannot take down has
    no effect either.
    """
    act: Act | None = None
    try:
        with database.begin() as connection:
            act = Act(connection, by, action, what, reason, run_key, limits)
            yield act
            if act.is_dry_run:
                raise _TakenBackError
            if not database.is_trial:
                _note(connection, act, Outcome.DONE)
    except _TakenBackError:
        pass
    except DynamoError as error:
        if act is not None and not error.retryable:
            _note_apart(database, act, Outcome.REFUSED if isinstance(error, AccessError) else Outcome.FAILED)
        raise
    if act is not None and (act.is_dry_run or database.is_trial):
        _note_apart(database, act, Outcome.DRY_RUN)


class _TakenBackError(Exception):
    """Rolls a dry run back, be it a transaction or a part of one."""


def _note_apart(database: Database, act: Act, outcome: Outcome) -> None:
    """Nothing was touched, so no ids."""
    act.ids = []
    database.apart(partial(_note, act=act, outcome=outcome))


def _note(connection: Connection, act: Act, outcome: Outcome) -> None:
    connection.execute(
        text("""
        INSERT INTO audit (person, known_by, on_behalf_of, address, token_id, action, object, outcome, reason, key,
                           run_key, ids)
        VALUES (:person, :known_by, :on_behalf_of, :address, :token_id, :action, :object, :outcome, :reason, :key,
                :run_key, :ids)"""),
        {
            "person": act.by.name,
            "known_by": act.by.known_by,
            "on_behalf_of": act.by.on_behalf_of,
            "address": act.by.address,
            "token_id": act.by.token_id,
            "action": act.action,
            "object": act.what,
            "outcome": outcome,
            "reason": act.reason or None,
            "key": act.by.key,
            "run_key": act.run_key,
            "ids": act.ids[:MOST_IDS],
        },
    )


def records(
    database: Database,
    *,
    person: str | None = None,
    action: str | None = None,
    outcome: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
) -> pl.DataFrame:
    """The newest records. Columns: at, person, known_by, on_behalf_of, address, token (its name), action, object,
    outcome, reason, key, run_key, ids. ``person``, ``action``: also a part of the name."""
    return database.frame(
        """SELECT a.at, a.person, a.known_by, a.on_behalf_of, a.address, t.name AS token, a.action, a.object, a.outcome,
                  a.reason, a.key, a.run_key, a.ids
           FROM audit a LEFT JOIN tokens t ON t.id = a.token_id
           WHERE ($1::text IS NULL OR strpos(a.person, $1) > 0) AND ($2::text IS NULL OR strpos(a.action, $2) > 0)
             AND ($3::text IS NULL OR a.outcome = $3) AND ($4::text IS NULL OR a.at >= $4::text::timestamptz)
           ORDER BY a.at DESC, a.id DESC LIMIT $5""",
        (person, action, outcome, since.isoformat() if since else None, limit),
    )


def prune(database: Database, *, before: datetime) -> int:
    """Forget what is older; the database refuses to forget what is younger than two years."""
    with database.begin() as connection:
        return int(connection.execute(text("DELETE FROM audit WHERE at < :before"), {"before": before}).rowcount)
