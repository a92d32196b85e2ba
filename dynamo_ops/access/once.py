"""A call that may be sent twice is done once: who sends it gives it a key, and its answer is written with its effect.

The key is noted first, in a transaction of its own. The act's transaction then holds the key's row, does what is asked,
and writes the answer into it: when it is committed, there are both; when whoever did it dies before, there is neither,
PostgreSQL lets go of the row, and the same call is done by who asks next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, text

from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import DynamoError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.within import Within

KEEP_DAYS = 7


class CallState(StrEnum):
    """``BEGUN``: noted, and not done: its row is held by who does it now, or by nobody."""

    BEGUN = "begun"
    DONE = "done"


class UsedKeyError(DynamoError):
    """The key is that of another call. Facts: ``key``."""

    next_step = "Give each call a key of its own, and the same key only to the same call."


class UnderWayError(DynamoError):
    """The call is being done. Facts: ``key``, ``retry_after_s``."""

    next_step = "Send the same again, with the same key, in a moment: it is answered as soon as it is done."


@dataclass(frozen=True)
class Answer:
    """What a call is answered. ``body``: JSON. ``location``: of what it made. ``kept_body``: what is kept of the body,
    where that must not be kept whole (a secret). ``is_replay``: it was done before."""

    status: int
    body: str
    location: str | None = None
    kept_body: str | None = None
    is_replay: bool = False


def once(
    database: Database, by: Person, digest: bytes, act: Callable[[Database], Answer], *, is_trial: bool = False
) -> Answer:
    """What ``act`` answers; where ``by.key`` is that of a call that was done, what it answered then.

    ``digest``: of all that was sent. ``act`` is given the database in one transaction, so that all it does is done
    together, or not at all. An act that raises has done nothing, and its key may be sent again. ``is_trial``: all is
    taken back, and the key not noted. Raises UsedKeyError, UnderWayError, and what ``act`` raises.
    """
    key = None if is_trial else by.key
    if key is not None:
        _note(database, by.name, key, digest)
    notes: list[Callable[[Connection], None]] = []
    try:
        with database.begin() as connection:
            if key is not None and (before := _claim(connection, by.name, key, digest)):
                return before
            within = Within(database, connection, is_trial=is_trial)
            notes = within.notes
            answer = act(within)
            if is_trial:
                connection.rollback()
            elif key is not None:
                _keep(connection, by.name, key, answer)
        return answer
    finally:
        for note in notes:
            database.apart(note)


def forget(database: Database, before: datetime | None = None) -> int:
    """Remove the keys that were noted before (not given: ``KEEP_DAYS`` ago); how many."""
    oldest = before or datetime.now(UTC) - timedelta(days=KEEP_DAYS)
    with database.begin() as connection:
        return connection.execute(text("DELETE FROM idempotency WHERE at < :oldest"), {"oldest": oldest}).rowcount


def _note(database: Database, person: str, key: str, digest: bytes) -> None:
    with database.begin() as connection:
        connection.execute(
            text("""INSERT INTO idempotency (person, key, digest) VALUES (:person, :key, :digest)
                    ON CONFLICT DO NOTHING"""),
            {"person": person, "key": key, "digest": digest},
        )


def _claim(connection: Connection, person: str, key: str, digest: bytes) -> Answer | None:
    """The answer, if the call was done; else its row is ours until the end of the transaction."""
    call = connection.execute(
        text("""SELECT digest, state, status, location, answer FROM idempotency
                WHERE person = :person AND key = :key FOR UPDATE SKIP LOCKED"""),
        {"person": person, "key": key},
    ).one_or_none()
    if call is None:
        raise UnderWayError(f"the call with the key {key!r} is under way", key=key, retry_after_s=1)
    if bytes(call.digest) != digest:
        raise UsedKeyError(f"the key {key!r} is that of another call: its path or body was another", key=key)
    if call.state == CallState.BEGUN:
        return None
    return Answer(call.status, call.answer, call.location, is_replay=True)


def _keep(connection: Connection, person: str, key: str, answer: Answer) -> None:
    connection.execute(
        text("""UPDATE idempotency SET state = :state, status = :status, location = :location, answer = :answer
                WHERE person = :person AND key = :key"""),
        {
            "state": CallState.DONE,
            "person": person,
            "key": key,
            "status": answer.status,
            "location": answer.location,
            "answer": answer.body if answer.kept_body is None else answer.kept_body,
        },
    )
