"""Roles that others gave: an auth manager's, an issuer's groups. They are told at each login, and remembered for a
while, since a token comes without them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Connection, text

from dynamo_ops.access.person import KnownBy

SEEN_EVERY = timedelta(hours=1)
"""How exactly is known when somebody had a role last: a write for each call would cost more than the call."""


def note_roles(connection: Connection, name: str, known_by: KnownBy, roles: Collection[str]) -> None:
    """Somebody logged in with these roles, and with no others of that kind of login."""
    connection.execute(
        text("""INSERT INTO seen_roles (person, known_by, roles)
                SELECT :person, :known_by, CAST(:roles AS text[])
                WHERE NOT EXISTS (
                    SELECT FROM seen_roles
                    WHERE person = :person AND known_by = :known_by AND roles = CAST(:roles AS text[])
                      AND seen_at > now() - CAST(:every AS interval))
                ON CONFLICT (person, known_by) DO UPDATE SET roles = excluded.roles, seen_at = now()"""),
        {"person": name, "known_by": known_by, "roles": sorted({*roles}), "every": SEEN_EVERY},
    )


def seen_roles(connection: Connection, name: str, days: int) -> tuple[str, ...]:
    """What somebody had at their last logins, each kind of login alone, if that is not more than so many days ago."""
    rows = connection.execute(
        text("""SELECT DISTINCT unnest(roles) AS role FROM seen_roles
                WHERE person = :person AND seen_at > now() - make_interval(days => :days) ORDER BY role"""),
        {"person": name, "days": days},
    )
    return tuple(rows.scalars())
