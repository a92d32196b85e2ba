"""What people hold: grants of roles, given by name or to all who have a role of the auth manager; members of groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import NOTHING, AccessError, Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.settings import AccessSettings
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database

ROLES_OF_MANAGERS: Mapping[str, tuple[Role, ...]] = {
    "viewer": (Role.VIEWER,),
    "user": (Role.USER,),
    "op": (Role.OPERATOR,),
    "admin": (Role.OPERATOR, Role.ADMIN),
}
"""What a role of Airflow's auth manager is to us, unless ``access.map`` says otherwise."""

_HELD = """
    SELECT role, scope FROM access_grants
    WHERE subject = ANY(:subjects) AND (until IS NULL OR until > now())"""
_HELD_AND_GROUPS = f"""{_HELD}
    UNION ALL
    SELECT NULL, owner.name FROM group_members AS member JOIN groups AS owner ON owner.id = member.group_id
    WHERE member.person = :name"""
"""Roles with their scopes, and, with no role, the groups that somebody is a member of: one question a call."""


def person_of(
    connection: Connection,
    name: str,
    known_by: KnownBy,
    *,
    manager_roles: Collection[str] = (),
    role_map: Mapping[str, Collection[Role]] = ROLES_OF_MANAGERS,
    default: Role | None = Role.VIEWER,
    address: str | None = None,
) -> Person:
    """Somebody who was let in, with what they hold now: by their name, by their roles of the auth manager (``@role``
    grants, and what ``role_map`` makes of them), and, holding nothing, ``default``."""
    if not name or name.startswith("@"):
        raise AccessError(f"{name!r} is no name of a person: it would hold what is granted to a role")
    subjects = [name, *(f"@{role}" for role in manager_roles)]
    held = connection.execute(text(_HELD_AND_GROUPS), {"subjects": subjects, "name": name}).all()
    grants = {Grant(Role(role), Scope.parse(scope)) for role, scope in held if role is not None}
    grants |= {Grant(role) for manager_role in manager_roles for role in role_map.get(manager_role, ())}
    if not grants and default is not None:
        grants = {Grant(default)}
    groups = frozenset(group for role, group in held if role is None)
    given = tuple(sorted(grants))
    return Person(name, known_by, given, groups, address=address, manager_roles=tuple(manager_roles))


def role_map(access: AccessSettings) -> Mapping[str, tuple[Role, ...]]:
    """What each role of the auth manager is to us: as shipped, unless the settings say otherwise."""
    return {**ROLES_OF_MANAGERS, **{name: tuple(map(Role, roles)) for name, roles in access.map.items()}}


def default_role(access: AccessSettings) -> Role | None:
    """What who holds nothing is; None: nothing."""
    return None if access.default is None else Role(access.default)


def is_granted(connection: Connection, role: Role) -> bool:
    """Whether anybody was given the role, somewhere; also where it is over: who was asked once is asked for good."""
    return bool(
        connection.execute(
            text("SELECT EXISTS (SELECT FROM access_grants WHERE role = :role)"), {"role": role}
        ).scalar_one()
    )


def grant(
    database: Database, subject: str, given: Grant, *, by: Person, reason: str, until: datetime | None = None
) -> None:
    """Give a role (again: with another end). Raises AccessError, and InventoryError where no reason is given."""
    _needs_reason(subject, reason)
    with acting(database, by, Action.GRANT, f"{given} to {subject}", reason) as act:
        act.check(NOTHING)
        act.connection.execute(
            text("""
            INSERT INTO access_grants (subject, role, scope, granted_by, reason, until)
            VALUES (:subject, :role, :scope, :by, :reason, :until)
            ON CONFLICT (subject, role, scope) DO UPDATE
            SET granted_by = excluded.granted_by, reason = excluded.reason, until = excluded.until, created_at = now()
            """),
            {
                "subject": subject,
                "role": given.role,
                "scope": str(given.scope),
                "by": by.name,
                "reason": reason.strip(),
                "until": until,
            },
        )


def revoke(database: Database, subject: str, given: Grant, *, by: Person, reason: str) -> None:
    """Take a role back. InventoryError, with what they hold, where they do not hold just this."""
    _needs_reason(subject, reason)
    with acting(database, by, Action.GRANT, f"{given} of {subject}, taken back", reason) as act:
        act.check(NOTHING)
        gone = act.connection.execute(
            text("DELETE FROM access_grants WHERE subject = :subject AND role = :role AND scope = :scope"),
            {"subject": subject, "role": given.role, "scope": str(given.scope)},
        ).rowcount
        if not gone:
            held = act.connection.execute(text(_HELD), {"subjects": [subject]})
            named = ", ".join(sorted(str(Grant(Role(role), Scope.parse(scope))) for role, scope in held))
            raise InventoryError(f"{subject} does not hold {given}; they hold {named or 'nothing'}", subject=subject)


def grants(database: Database, subject: str | None = None) -> pl.DataFrame:
    """Columns: subject, role, scope, granted_by, reason, created_at, until; of everybody, or of one."""
    return database.frame(
        """SELECT subject, role, scope, granted_by, reason, created_at, until FROM access_grants
           WHERE ($1::text IS NULL OR subject = $1) ORDER BY subject, role, scope""",
        (subject,),
    )


def set_member(database: Database, group: str, name: str, *, by: Person, is_member: bool) -> None:
    """Make somebody a member of a group, or no longer. InventoryError: no such group."""
    what = f"{name} is a member of {group}" if is_member else f"{name} is no longer a member of {group}"
    with acting(database, by, Action.SET_MEMBERS, what) as act:
        connection = act.connection
        group_id = connection.execute(text("SELECT id FROM groups WHERE name = :name"), {"name": group}).scalar()
        if group_id is None:
            known = connection.execute(text("SELECT name FROM groups")).scalars()
            raise UnknownNameError(f"there is no group {group!r}.{near(group, known)}", group=group)
        act.check(Target(groups=(group,)))
        row: dict[str, Any] = {"group": group_id, "person": name, "by": by.name}
        if is_member:
            connection.execute(
                text("""INSERT INTO group_members (group_id, person, created_by) VALUES (:group, :person, :by)
                        ON CONFLICT DO NOTHING"""),
                row,
            )
        else:
            connection.execute(text("DELETE FROM group_members WHERE group_id = :group AND person = :person"), row)


def groups_of(connection: Connection, name: str) -> tuple[str, ...]:
    """The groups that somebody is a member of."""
    groups = connection.execute(
        text("SELECT g.name FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.person = :name ORDER BY 1"),
        {"name": name},
    )
    return tuple(groups.scalars())


def members(database: Database, group: str | None = None) -> pl.DataFrame:
    """Columns: group, person, created_by, created_at; of all groups, or of one."""
    return database.frame(
        """SELECT g.name AS "group", m.person, m.created_by, m.created_at
           FROM group_members m JOIN groups g ON g.id = m.group_id
           WHERE ($1::text IS NULL OR g.name = $1) ORDER BY 1, 2""",
        (group,),
    )


def confined(person: Person, held: Collection[Grant]) -> Person:
    """The person with no more than ``held`` of what they hold: what a token of theirs may."""
    kept = {wanted for wanted in held if any(grant.includes(wanted) for grant in person.grants)}
    narrower = {grant for grant in person.grants if any(wanted.includes(grant) for wanted in held)}
    return replace(person, grants=tuple(sorted(kept | narrower)))


def _needs_reason(subject: str, reason: str) -> None:
    if not reason.strip():
        raise InventoryError(f"grant to {subject}: say why (reason is empty)", subject=subject)
