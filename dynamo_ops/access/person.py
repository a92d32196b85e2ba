"""Who somebody is, how that is known, and what they were granted: roles with scopes."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from enum import StrEnum

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.glob import glob_includes


class Role(StrEnum):
    """What somebody is to us. Who needs two of them holds two grants; none contains another but ``VIEWER``, which is
    contained in all."""

    VIEWER = "viewer"
    USER = "user"
    PRODUCER = "producer"
    MANAGER = "manager"
    SITE_ADMIN = "site_admin"
    OPERATOR = "operator"
    ADMIN = "admin"


class ScopeKind(StrEnum):
    """What a scope's glob is matched with: names of groups, sites, partitions, or datasets."""

    GROUP = "group"
    SITE = "site"
    PARTITION = "partition"
    NAMESPACE = "namespace"


class KnownBy(StrEnum):
    """How we know who somebody is. ``SHELL``: who holds the database's password says so; ``DAG``: a task of ours."""

    SHELL = "shell"
    DAG = "dag"
    AIRFLOW = "airflow"
    TOKEN = "token"  # noqa: S105
    CERTIFICATE = "certificate"
    JWT = "jwt"


@dataclass(frozen=True, order=True)
class Scope:
    """Where a role holds: everywhere (no kind), or for the names that match a glob. Written ``site:T2_DE_*``, ``*``."""

    kind: ScopeKind | None = None
    glob: str = "*"

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Raises SettingsError that says how a scope is written."""
        if text == "*":
            return cls()
        kind, _, glob = text.partition(":")
        if kind not in set(ScopeKind) or not glob:
            written = f"*, {', '.join(f'{known}:GLOB' for known in ScopeKind)}"
            raise SettingsError(
                f"{text!r} is no scope: write one of {written}",
                key="scope",
                reason="no scope",
            )
        return cls(ScopeKind(kind), glob)

    def __str__(self) -> str:
        return self.glob if self.kind is None else f"{self.kind}:{self.glob}"

    def includes(self, other: Scope) -> bool:
        """Whether nothing is in ``other`` that is not in this one, as far as that can be told: true is certain."""
        return self.kind is None or (self.kind == other.kind and glob_includes(self.glob, other.glob))

    def covers(self, kind: ScopeKind, name: str) -> bool:
        """Whether a name, or every name that a glob matches, is in it."""
        return self.includes(Scope(kind, name))


EVERYWHERE = Scope()


@dataclass(frozen=True, order=True)
class Grant:
    """A role, and where it holds."""

    role: Role
    scope: Scope = EVERYWHERE

    def __str__(self) -> str:
        return f"{self.role} of {self.scope}" if self.scope.kind else str(self.role)

    def includes(self, other: Grant) -> bool:
        """Whether who holds this one may all that ``other`` lets do: each role may read, everywhere."""
        return other.role is Role.VIEWER or (self.role == other.role and self.scope.includes(other.scope))


@dataclass(frozen=True)
class Person:
    """Somebody who acts: a person, or a program by its token.

    ``name``: what the auth manager calls them; nobody can choose it in a call. ``grants``: what they hold now.
    ``groups``: those that they are members of. ``on_behalf_of``: for whom a service acts, as it says itself.
    ``token_id``: by which of our tokens; ``address``: from where; ``key``: their name of this call, which may be sent
    twice (``once``); of calls over the network only. ``manager_roles``: of the auth manager, as it told them.
    """

    name: str
    known_by: KnownBy
    grants: tuple[Grant, ...] = ()
    groups: frozenset[str] = frozenset()
    on_behalf_of: str | None = None
    token_id: int | None = None
    address: str | None = None
    key: str | None = None
    manager_roles: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.known_by})" if self.known_by is KnownBy.SHELL else self.name

    def scopes(self, role: Role) -> tuple[Scope, ...]:
        """Where they have it."""
        return tuple(grant.scope for grant in self.grants if grant.role == role)


ALL_RIGHTS = (Grant(Role.OPERATOR), Grant(Role.ADMIN))


def shell_person(name: str | None = None) -> Person:
    """Who runs a command on the database itself: whoever can do that can do anything, so nothing is asked.

    ``name``: who says so, if not the login name; the audit shows that it was said in a shell.
    """
    return Person(name or getpass.getuser(), KnownBy.SHELL, ALL_RIGHTS)


def task_person(dag_id: str) -> Person:
    """A task of a DAG, which acts by itself."""
    return Person(dag_id, KnownBy.DAG, ALL_RIGHTS)
