"""The people of the demo: who they are to Airflow and to Dynamo, and their passwords."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from demo.instance import Instance
from dynamo_ops.access.grants import grant, set_member
from dynamo_ops.access.person import Grant, Role, Scope, shell_person
from dynamo_ops.database.connection import Database

WHY = "one of the demo's people"
GROUP = "physics"


@dataclass(frozen=True)
class Somebody:
    """``airflow``: their role of Airflow's auth manager. ``role``, ``scope``: what they were granted, if that is more
    than Airflow's role makes of them."""

    name: str
    is_: str
    airflow: str
    role: Role | None = None
    scope: str = "*"
    is_member: bool = False


PEOPLE = (
    Somebody("vera", "looks", "viewer"),
    Somebody("phil", f"physicist, member of {GROUP}", "viewer", Role.USER, is_member=True),
    Somebody("gwen", f"manager of {GROUP}", "viewer", Role.MANAGER, f"group:{GROUP}"),
    Somebody("sam", "admin of the site T2_CC", "viewer", Role.SITE_ADMIN, "site:T2_CC"),
    Somebody("olga", "operator", "op"),
    Somebody("ada", "admin: gives rights", "admin"),
)
OPERATOR = "olga"
"""Who does what the demo does by hand."""


def passwords_file(instance: Instance) -> Path:
    """Airflow's own: a JSON object, name → password. It is not there where everybody is let in."""
    return instance.home / "passwords.json"


def make_passwords(instance: Instance) -> None:
    """New ones; nobody else may read them."""
    file = passwords_file(instance)
    file.touch(mode=0o600)
    file.write_text(json.dumps({somebody.name: secrets.token_urlsafe(9) for somebody in PEOPLE}))


def password_of(instance: Instance, name: str) -> str | None:
    """None where everybody is let in."""
    file = passwords_file(instance)
    return str(json.loads(file.read_text())[name]) if file.exists() else None


def give_rights(database: Database) -> None:
    """What Airflow's roles do not make of them."""
    for somebody in PEOPLE:
        if somebody.role is not None:
            given = Grant(somebody.role, Scope.parse(somebody.scope))
            grant(database, somebody.name, given, by=shell_person(), reason=WHY)


def join_group(database: Database) -> None:
    """Members are members, now that there is their group."""
    for somebody in PEOPLE:
        if somebody.is_member:
            set_member(database, GROUP, somebody.name, by=shell_person(), is_member=True)


def logins(instance: Instance) -> str:
    """A line each, as it is printed once."""
    if not passwords_file(instance).exists():
        return f"{instance.ui}: no login, everybody is let in as an admin (DEMO_OPEN)"
    lines = [f"  {one.name:<5} {password_of(instance, one.name)}  {one.is_}" for one in PEOPLE]
    return "\n".join([f"{instance.ui}: log in as one of", *lines, f"  (kept in {passwords_file(instance)})"])
