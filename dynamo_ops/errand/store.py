"""Errands as rows: asked for, begun, ended, forgotten; and what was sent with them, compressed, in pieces."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.access.grants import default_role, person_of, role_map
from dynamo_ops.access.person import KnownBy, Person, shell_person
from dynamo_ops.access.problem import as_json
from dynamo_ops.access.tokens import owner_again
from dynamo_ops.base.settings import AccessSettings
from dynamo_ops.base.times import time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.states import OPEN, ErrandKind, ErrandState

log = logging.getLogger(__name__)

KEEP_DAYS = 30
PIECE_BYTES = 10**6
"""Of what was sent, compressed: what is in memory at a time when it is written."""

LATE = timedelta(hours=6)

_COLUMNS = """id, kind, what, arguments, person, known_by, manager_roles, on_behalf_of, address, token_id, key, tries"""


@dataclass(frozen=True)
class Errand:
    """What is to be done, and for whom. ``what``: in words. ``tries``: how often it was begun, this time included."""

    id: int
    kind: ErrandKind
    what: str
    arguments: Mapping[str, Any]
    person: str
    known_by: KnownBy
    manager_roles: tuple[str, ...]
    on_behalf_of: str | None
    address: str | None
    token_id: int | None
    key: str | None
    tries: int

    def __str__(self) -> str:
        return f"errand {self.id} of {self.person} ({self.kind}: {self.what})"

    @property
    def nobody(self) -> Person:
        """Who asked, holding nothing: as whom the audit has what is refused before their rights are known."""
        return Person(self.person, self.known_by, token_id=self.token_id, address=self.address, key=self.key)


def add(
    connection: Connection,
    kind: ErrandKind,
    what: str,
    arguments: Mapping[str, Any],
    *,
    by: Person,
    pieces: Iterable[bytes] = (),
) -> int:
    """Ask for it; whether they may, the caller has asked. ``pieces``: what was sent with it, compressed (``Packer``);
    taken one by one. Returns its id."""
    errand_id = connection.execute(
        text("""
        INSERT INTO errands (kind, what, arguments, person, known_by, manager_roles, on_behalf_of, address, token_id,
                             key)
        VALUES (:kind, :what, CAST(:arguments AS jsonb), :person, :known_by, :manager_roles, :on_behalf_of, :address,
                :token_id, :key) RETURNING id"""),
        {
            "kind": kind,
            "what": what,
            "arguments": as_json(arguments).decode(),
            "person": by.name,
            "known_by": by.known_by,
            "manager_roles": list(by.manager_roles),
            "on_behalf_of": by.on_behalf_of,
            "address": by.address,
            "token_id": by.token_id,
            "key": by.key,
        },
    ).scalar_one()
    for number, piece in enumerate(pieces):
        _keep(connection, errand_id, number, piece)
    return int(errand_id)


def _keep(connection: Connection, errand_id: int, number: int, piece: bytes) -> None:
    connection.execute(
        text("INSERT INTO errand_pieces (errand_id, number, piece) VALUES (:id, :number, :piece)"),
        {"id": errand_id, "number": number, "piece": piece},
    )


class Packer:
    """How what is sent is compressed: part by part, so that nobody holds all of it."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(1)

    def pack(self, part: bytes) -> bytes:
        """What can be written of it by now."""
        return self._pack.compress(part)

    def flush(self) -> bytes:
        """The end."""
        return self._pack.flush()


def sent(connection: Connection, errand_id: int) -> bytearray:
    """What was sent with it, as it was sent."""
    unpack = zlib.decompressobj()
    body = bytearray()
    pieces = connection.execute(
        text("SELECT piece FROM errand_pieces WHERE errand_id = :id ORDER BY number"),
        {"id": errand_id},
        execution_options={"stream_results": True, "max_row_buffer": 4},
    )
    for (piece,) in pieces:
        body += unpack.decompress(piece)
    return body + unpack.flush()


def asker(connection: Connection, errand: Errand, access: AccessSettings) -> Person:
    """Who asked, with what they hold now. What they were in the auth manager, nobody but itself knows: of that counts
    what they were when they asked. Raises AccessError: their token is over or revoked by now."""

    def load(name: str) -> Person:
        return person_of(
            connection,
            name,
            errand.known_by,
            manager_roles=errand.manager_roles,
            role_map=role_map(access),
            default=default_role(access),
        )

    if errand.known_by is KnownBy.SHELL:
        person = shell_person(errand.person)
    elif errand.token_id is not None:
        person = owner_again(connection, errand.token_id, load)
    else:
        person = load(errand.person)
    return replace(person, address=errand.address, on_behalf_of=errand.on_behalf_of, key=errand.key)


def open_ids(database: Database) -> list[int]:
    """Those that have not ended; first what was begun least often, so that one that kills its run holds up none."""
    with database.begin() as connection:
        ids = connection.execute(text(f"SELECT id FROM errands WHERE state IN {OPEN} ORDER BY tries, id"))
        return [int(errand_id) for errand_id in ids.scalars()]


def tell_waiting(database: Database) -> int:
    """How many have not ended; the log says since when, where that is for longer than ``LATE``."""
    number, oldest = waiting_since(database)
    if oldest is not None and oldest < datetime.now(UTC) - LATE:
        log.warning("%d errands wait, the oldest since %s: does the DAG `errands` run?", number, time_text(oldest))
    return number


def waiting_since(database: Database) -> tuple[int, datetime | None]:
    """How many have not ended, and when the oldest of them was asked for."""
    with database.begin() as connection:
        row = connection.execute(
            text(f"SELECT count(*) AS number, min(created_at) AS oldest FROM errands WHERE state IN {OPEN}")
        ).one()
    return int(row.number), row.oldest


def begin(database: Database, errand_id: int, run_key: str) -> Errand | None:
    """Note that the run begins it. None: it has ended meanwhile."""
    with database.begin() as connection:
        row = connection.execute(
            text(f"""
            UPDATE errands SET state = '{ErrandState.RUNNING}', tries = tries + 1, started_at = now(),
                               run_key = :run_key
            WHERE id = :id AND state IN {OPEN} RETURNING {_COLUMNS}"""),
            {"id": errand_id, "run_key": run_key},
        ).one_or_none()
    if row is None:
        return None
    kinds = {"kind": ErrandKind(row.kind), "known_by": KnownBy(row.known_by), "manager_roles": tuple(row.manager_roles)}
    return Errand(**{**row._mapping, **kinds})


def is_begun_by(database: Database, errand_id: int, run_key: str) -> bool:
    """Whether this run has begun it, and it has not ended."""
    with database.begin() as connection:
        row = connection.execute(
            text(f"SELECT FROM errands WHERE id = :id AND run_key = :run_key AND state = '{ErrandState.RUNNING}'"),
            {"id": errand_id, "run_key": run_key},
        )
        return row.one_or_none() is not None


def put_back(database: Database, errand_id: int) -> None:
    """It waits again, as if it had not been begun; unless it has ended."""
    with database.begin() as connection:
        connection.execute(
            text(f"""UPDATE errands SET state = '{ErrandState.WAITING}', tries = tries - 1
                     WHERE id = :id AND state = '{ErrandState.RUNNING}'"""),
            {"id": errand_id},
        )


def take(connection: Connection, errand_id: int) -> bool:
    """Hold its row until the end of the transaction; false where it has ended, or another one holds it."""
    row = connection.execute(
        text(f"SELECT FROM errands WHERE id = :id AND state IN {OPEN} FOR UPDATE SKIP LOCKED"), {"id": errand_id}
    )
    return row.one_or_none() is not None


def end(
    connection: Connection,
    errand_id: int,
    *,
    answer: Mapping[str, Any] | None = None,
    problem: Mapping[str, Any] | None = None,
) -> None:
    """It is done, with an ``answer``, or failed, for a ``problem``. What was sent with it goes."""
    connection.execute(
        text("""
        UPDATE errands SET state = :state, answer = CAST(:answer AS jsonb), problem = CAST(:problem AS jsonb),
               ended_at = now() WHERE id = :id"""),
        {
            "id": errand_id,
            "state": ErrandState.DONE if problem is None else ErrandState.FAILED,
            "answer": None if answer is None else as_json(answer).decode(),
            "problem": None if problem is None else as_json(problem).decode(),
        },
    )
    connection.execute(text("DELETE FROM errand_pieces WHERE errand_id = :id"), {"id": errand_id})


def over(database: Database, before: datetime | None = None) -> list[int]:
    """Those that ended before then (not given: ``KEEP_DAYS`` ago)."""
    oldest = before or datetime.now(UTC) - timedelta(days=KEEP_DAYS)
    with database.begin() as connection:
        ids = connection.execute(text("SELECT id FROM errands WHERE ended_at < :oldest"), {"oldest": oldest})
        return [int(errand_id) for errand_id in ids.scalars()]


def forget(database: Database, errand_ids: Sequence[int]) -> int:
    """Remove these; how many there were."""
    with database.begin() as connection:
        return connection.execute(
            text("DELETE FROM errands WHERE id = ANY(:ids) AND ended_at IS NOT NULL"), {"ids": list(errand_ids)}
        ).rowcount
