"""Who holds what; members of groups; tokens of one's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access import grants, tokens
from dynamo_ops.access.actions import Action
from dynamo_ops.access.person import Grant, Role, Scope
from dynamo_ops.base.errors import InventoryError, SettingsError
from dynamo_ops.database.connection import Database
from dynamo_ops.query.group import find_group
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Query as Parameters
from dynamo_web.lists import rows_answer
from dynamo_web.writes import Body, Name, Reason, RemoveQuery, Remover, Write, does, end_of

router = APIRouter()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
PersonName = Annotated[str, Path(max_length=500)]
RoleName = Literal["viewer", "user", "producer", "manager", "site_admin", "operator", "admin"]


class SubjectQuery(Parameters):
    """``subject``: a person, or @role of the auth manager; without it all."""

    subject: str | None = None


class GroupQuery(Parameters):
    """``group``: its name; without it all."""

    group: str | None = None


class PersonQuery(Parameters):
    """``person``: whose; without it all."""

    person: str | None = None


class Held(Body):
    """``role``, and ``scope``: where it holds."""

    role: RoleName
    scope: Name = "*"

    @property
    def grant(self) -> Grant:
        """Raises InventoryError for what is no scope."""
        return _grant(self.role, self.scope)


class NewGrant(Held):
    """``subject``: a person, or @role of the auth manager. ``until``: without it for ever."""

    subject: Name
    reason: Reason
    until: str | None = None


class TakenQuery(RemoveQuery):
    """Which grant."""

    subject: Name
    role: RoleName
    scope: Name = "*"


class Taker(Remover):
    """A grant that is taken back."""

    def __init__(self, request: Request, person: Who, query: Annotated[TakenQuery, Query()]) -> None:
        super().__init__(request, person, query)
        self.subject, self.grant = query.subject, _grant(query.role, query.scope)


class NewToken(Body):
    """``name``: what it is for. ``grants``: no more than these of what one may; without it all."""

    name: str = Field(max_length=100)
    days: float = Field(gt=0, le=tokens.MOST_DAYS)
    grants: Annotated[list[Held], Field(max_length=100)] | None = None


@router.get("/grants", dependencies=[needs(Action.GRANT)])
def list_grants(query: Annotated[SubjectQuery, Query()]) -> Response:
    """Who was given which role, where, until when, by whom and why."""
    return rows_answer(grants.grants(reading(), query.subject).to_dicts())


@router.post("/grants", dependencies=[does(Action.GRANT)])
def grant(given: NewGrant, write: Write) -> Response:
    """Give a role; again, to change its end."""
    held, end = given.grant, end_of(given.until)

    def act(database: Database) -> dict[str, Any]:
        grants.grant(database, given.subject, held, by=write.by, reason=given.reason, until=end)
        return {"subject": given.subject, "role": given.role, "scope": str(held.scope), "until": end}

    return write.create(act, f"/grants?subject={quote(given.subject, safe='')}".replace("{", "{{").replace("}", "}}"))


@router.delete("/grants", dependencies=[does(Action.GRANT)])
def revoke_grant(write: Annotated[Taker, Depends()]) -> Response:
    """Take a role back, at once; from their tokens too."""

    def act(database: Database) -> dict[str, Any]:
        grants.revoke(database, write.subject, write.grant, by=write.by, reason=write.reason)
        return {"subject": write.subject, "role": write.grant.role, "scope": str(write.grant.scope)}

    return write.do(act)


@router.get("/members", dependencies=[needs(Action.READ)])
def list_all_members(query: Annotated[GroupQuery, Query()]) -> Response:
    """Who may ask for copies and locks for which group."""
    return rows_answer(grants.members(reading(), query.group).to_dicts())


@router.get("/groups/{name}/members", dependencies=[needs(Action.READ)])
def list_members(name: str) -> Response:
    """Who may ask for copies and locks for it."""
    with reading().begin() as connection:
        find_group(connection, name)
    return rows_answer(grants.members(reading(), name).to_dicts())


@router.put("/groups/{name}/members/{person}", dependencies=[does(Action.SET_MEMBERS)])
def add_member(name: str, person: PersonName, write: Write) -> Response:
    """They are a member from now on."""
    return write.do(lambda database: _set_member(database, name, person, write, is_member=True))


@router.delete("/groups/{name}/members/{person}", dependencies=[does(Action.SET_MEMBERS)])
def remove_member(name: str, person: PersonName, write: Write) -> Response:
    """They are a member no longer."""
    return write.do(lambda database: _set_member(database, name, person, write, is_member=False))


@router.get("/tokens", dependencies=[needs(Action.GRANT)])
def list_all_tokens(query: Annotated[PersonQuery, Query()]) -> Response:
    """Those of all, or of one, newest first, and those that are over; no secrets."""
    return rows_answer(tokens.tokens(reading(), query.person).to_dicts())


@router.get("/me/tokens", dependencies=[needs(Action.READ)])
def list_tokens(person: Who) -> Response:
    """One's own, newest first, and those that are over; no secrets."""
    return rows_answer(tokens.tokens(reading(), person.name).to_dicts())


@router.post("/me/tokens", dependencies=[does(Action.OWN_TOKEN)])
def make_token(asked: NewToken, write: Write) -> Response:
    """A token of one's own, for a program. Its secret is in this answer, and nowhere else."""
    held = None if asked.grants is None else [each.grant for each in asked.grants]

    def act(database: Database) -> dict[str, Any]:
        made = tokens.make(database, asked.name, days=asked.days, by=write.by, grants=held)
        return {"id": made.id, "name": asked.name, "until": made.until, "secret": made.secret}

    return write.create(act, "/me/tokens", secrets=("secret",))


@router.delete("/me/tokens/{token_id}", dependencies=[does(Action.OWN_TOKEN)])
def revoke_token(token_id: Id, write: Write) -> Response:
    """It is refused from now on. Admins: anybody's."""

    def act(database: Database) -> dict[str, Any]:
        tokens.revoke(database, token_id, by=write.by)
        return {"id": token_id, "is_revoked": True}

    return write.do(act)


def _set_member(database: Database, name: str, person: str, write: Write, *, is_member: bool) -> dict[str, Any]:
    grants.set_member(database, name, person, by=write.by, is_member=is_member)
    return {"group": name, "person": person, "is_member": is_member}


def _grant(role: str, scope: str) -> Grant:
    try:
        return Grant(Role(role), Scope.parse(scope))
    except SettingsError as error:
        raise InventoryError(error.message, scope=scope) from None
