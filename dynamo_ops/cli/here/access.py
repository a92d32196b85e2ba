"""Rights, tokens and the audit of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dynamo_ops.access import audit, grants
from dynamo_ops.access import identity as known
from dynamo_ops.access import tokens as credentials
from dynamo_ops.access.person import Grant, KnownBy
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records


def grant(subject: str, given: Grant, *, reason: str, until: datetime | None, by: str | None) -> None:
    """Give somebody a role."""
    grants.grant(database(), subject, given, by=who(by), reason=reason, until=until)


def revoke(subject: str, taken: Grant, *, reason: str, by: str | None) -> None:
    """Take it back."""
    grants.revoke(database(), subject, taken, by=who(by), reason=reason)


def granted(subject: str | None) -> Records:
    """Who was given which role: all, or one."""
    return grants.grants(database(), subject).to_dicts()


def set_member(group: str, person: str, *, is_member: bool, by: str | None) -> None:
    """Make somebody a member of a group, or no longer."""
    grants.set_member(database(), group, person, by=who(by), is_member=is_member)


def members(group: str | None) -> Records:
    """Who is a member of which group: of all, or of one."""
    return grants.members(database(), group).to_dicts()


def set_identity(kind: str, value: str, person: str | None, *, by: str | None) -> str:
    """Say whose a certificate or JWT is: how it is kept."""
    return known.set_identity(database(), KnownBy(kind), value, person, by=who(by))


def identities(person: str | None) -> Records:
    """Which certificates and JWTs are whose."""
    return known.identities(database(), person).to_dicts()


def make_token(name: str, *, person: str | None, days: float, limits: Sequence[Grant] | None, by: str | None) -> Record:
    """A token: ``id``, ``person``, ``secret``, ``until``."""
    maker = who(by)
    owner = person or maker.name
    return {
        "person": owner,
        **vars(credentials.make(database(), name, days=days, by=maker, person=owner, grants=limits)),
    }


def tokens(person: str | None) -> Records:
    """Which there are: of all, or of one person."""
    return credentials.tokens(database(), person).to_dicts()


def revoke_token(token_id: int, *, by: str | None) -> None:
    """Refuse it from now on."""
    credentials.revoke(database(), token_id, by=who(by))


def audited(
    *, person: str | None, action: str | None, outcome: str | None, since: datetime | None, limit: int
) -> Records:
    """Who did what, the newest so many. ``person``, ``action``: a part of the name."""
    records = audit.records(database(), person=person, action=action, outcome=outcome, since=since, limit=limit)
    return records.to_dicts()
