"""Credentials of programs: made for a person, for some time, with no more rights than theirs; revoked at once."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import NOTHING, AccessError, Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.grants import confined
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.database.connection import Database

START = "dyn_"
MOST_DAYS = 3_660
"""Ten years: of a token that an admin makes; one's own has less (``actions``)."""
SHOWN = 12
"""Characters of the secret that are kept to know it again."""
USED_EVERY = timedelta(minutes=5)
"""How exactly is known when a token was used last: a write for each call would cost more than the call."""


@dataclass(frozen=True)
class NewToken:
    """``secret``: to be shown once; it is kept nowhere."""

    id: int
    secret: str
    until: datetime


def make(
    database: Database,
    name: str,
    *,
    days: float,
    by: Person,
    person: str | None = None,
    grants: Sequence[Grant] | None = None,
) -> NewToken:
    """A token of one's own, or (admins) of another ``person``. ``grants``: what it may, of what its owner may; None:
    all.

    A token makes none of its owner's: it would outlast its end, and could have rights that it has not. Raises
    AccessError, and InventoryError where the owner has a token of this name that is still good.
    """
    owner = person or by.name
    if not name.strip():
        raise InventoryError("a token needs a name: what is it for?", value=name)
    if not abs(days) <= MOST_DAYS:
        raise InventoryError(f"a token for {days:g} days: {MOST_DAYS:,} are the most", value=days)
    until = datetime.now(UTC) + timedelta(days=days)
    secret = START + secrets.token_urlsafe(32)
    action = Action.OWN_TOKEN if owner == by.name else Action.GRANT
    with acting(database, by, action, f"token {name!r} of {owner}, until {until:%Y-%m-%dT%H:%MZ}") as act:
        act.check(Target(owner=owner, days=days))
        if by.known_by is KnownBy.TOKEN and owner == by.name:
            raise AccessError("a token makes no tokens of its owner: log in to Airflow for that", needs=["a login"])
        if grants is not None and owner == by.name:
            _check_held(by, grants)
        # a name is free again once its token is over
        act.connection.execute(
            text("""UPDATE tokens SET revoked_at = until, revoked_by = 'its end'
                    WHERE person = :person AND name = :name AND until <= now() AND revoked_at IS NULL"""),
            {"person": owner, "name": name},
        )
        token_id = act.connection.execute(
            text("""
            INSERT INTO tokens (person, name, digest, prefix, grants, created_by, until)
            VALUES (:person, :name, :digest, :prefix, CAST(:grants AS jsonb), :by, :until)
            ON CONFLICT (person, name) WHERE revoked_at IS NULL DO NOTHING RETURNING id"""),
            {
                "person": owner,
                "name": name,
                "digest": _digest(secret),
                "prefix": secret[:SHOWN],
                "grants": None if grants is None else json.dumps([[g.role, str(g.scope)] for g in grants]),
                "by": by.name,
                "until": until,
            },
        ).scalar()
        if token_id is None:
            raise InventoryError(f"{owner} has a token {name!r}: revoke it, or choose another name", value=name)
        act.ids.append(int(token_id))
    return NewToken(int(token_id), secret, until)


def _check_held(by: Person, wanted: Sequence[Grant]) -> None:
    for grant in wanted:
        if not any(held.includes(grant) for held in by.grants):
            raise AccessError(
                f"{by.name} does not hold {grant}: a token may not do more than its owner", needs=[str(grant)]
            )


def owner_of(connection: Connection, secret: str, load: Callable[[str], Person]) -> Person:
    """Who uses a token now: its owner as ``load`` knows them at this moment, with no more rights than the token's.

    Raises AccessError: it is unknown, over or revoked.
    """
    token = _token(connection, "digest", _digest(secret))
    if token.is_use_to_be_noted:
        connection.execute(text("UPDATE tokens SET last_used_at = now() WHERE id = :id"), {"id": token.id})
    return _owner(token, load)


def owner_again(connection: Connection, token_id: int, load: Callable[[str], Person]) -> Person:
    """Who has used a token before: its owner, likewise. Raises AccessError: it is over or revoked by now."""
    return _owner(_token(connection, "id", token_id), load)


def _token(connection: Connection, column: str, value: object) -> Any:
    """Its row, if it is good."""
    token = connection.execute(
        text(f"""SELECT id, person, grants, until <= now() AS is_over, revoked_at,
                        coalesce(last_used_at < now() - CAST(:every AS interval), true) AS is_use_to_be_noted
                 FROM tokens WHERE {column} = :value"""),
        {"value": value, "every": USED_EVERY},
    ).one_or_none()
    if token is None:
        raise AccessError("the token is not known", needs=["a token"])
    if token.revoked_at is not None or token.is_over:
        raise AccessError(f"the token is {'revoked' if token.revoked_at else 'over'}: make another", needs=["a token"])
    return token


def _owner(token: Any, load: Callable[[str], Person]) -> Person:
    owner = load(token.person)
    if token.grants is not None:
        owner = confined(owner, [Grant(Role(role), Scope.parse(scope)) for role, scope in token.grants])
    return replace(owner, known_by=KnownBy.TOKEN, token_id=token.id)


def revoke(database: Database, token_id: int, *, by: Person) -> None:
    """From now on it is refused. One's own, or (admins) anybody's. InventoryError: there is none that is still good."""
    with acting(database, by, Action.OWN_TOKEN, f"token {token_id}, revoked") as act:
        act.ids.append(token_id)
        owner = act.connection.execute(text("SELECT person FROM tokens WHERE id = :id"), {"id": token_id}).scalar()
        if owner != by.name:
            act.action = Action.GRANT
            act.check(NOTHING)
        gone = act.connection.execute(
            text("UPDATE tokens SET revoked_at = now(), revoked_by = :by WHERE id = :id AND revoked_at IS NULL"),
            {"id": token_id, "by": by.name},
        ).rowcount
        if not gone:
            raise UnknownNameError(f"there is no token {token_id} that is not revoked", value=token_id)


def tokens(database: Database, person: str | None = None) -> pl.DataFrame:
    """Columns: id, person, name, prefix, grants (JSON; null: all of the owner's), created_by, created_at, until,
    last_used_at, revoked_at, revoked_by; newest first; of everybody, or of one."""
    return database.frame(
        """SELECT id, person, name, prefix, grants::text AS grants, created_by, created_at, until, last_used_at,
                  revoked_at, revoked_by
           FROM tokens WHERE ($1::text IS NULL OR person = $1) ORDER BY created_at DESC, id DESC""",
        (person,),
    )


def _digest(secret: str) -> bytes:
    """SHA-256 is enough: the secret is 256 random bits, and nobody can guess at those."""
    return hashlib.sha256(secret.encode()).digest()
