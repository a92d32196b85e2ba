"""Roles that others gave: an auth manager's, an issuer's groups. They are told at each login, and remembered for a
while, since a token comes without them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Connection, text

AIRFLOW = "airflow"
"""Who told them: Airflow's auth manager."""
SEEN_EVERY = timedelta(hours=1)
"""How exactly is known when somebody had a role last: a write for each call would cost more than the call."""


def note_roles(connection: Connection, name: str, told_by: str, roles: Collection[str]) -> None:
    """Somebody logged in with these roles, and with no others of who told them (``AIRFLOW``, or an issuer's URL)."""
    connection.execute(
        text("""INSERT INTO seen_roles (person, told_by, roles)
                SELECT :person, :told_by, CAST(:roles AS text[])
                WHERE NOT EXISTS (
                    SELECT FROM seen_roles
                    WHERE person = :person AND told_by = :told_by AND roles = CAST(:roles AS text[])
                      AND seen_at > now() - CAST(:every AS interval))
                ON CONFLICT (person, told_by) DO UPDATE SET roles = excluded.roles, seen_at = now()"""),
        {"person": name, "told_by": told_by, "roles": sorted({*roles}), "every": SEEN_EVERY},
    )


def seen_roles(connection: Connection, name: str, days: int, issuers: Collection[str]) -> tuple[str, ...]:
    """What Airflow and those ``issuers`` that are still believed told of somebody at their last logins, if these are
    not more than so many days ago."""
    seen = connection.execute(
        text("""SELECT DISTINCT unnest(roles) AS role FROM seen_roles
                WHERE person = :person AND seen_at > now() - make_interval(days => :days)
                  AND told_by = ANY(CAST(:told_by AS text[])) ORDER BY role"""),
        {"person": name, "days": days, "told_by": [AIRFLOW, *issuers]},
    )
    return tuple(seen.scalars())
