"""Who asks: by a token of Dynamo or of an issuer that is believed, as Airflow's auth manager knows them, or by a
certificate that a trusted proxy has verified; and whether they may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Annotated, Any, NamedTuple

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import Depends, HTTPException, Request
from fastapi.params import Depends as Dependency
from fastapi.security import HTTPAuthorizationCredentials
from sqlalchemy import Connection

from dynamo_ops.access.actions import AccessError, Action, Limits, may
from dynamo_ops.access.grants import default_role, person_of, role_map
from dynamo_ops.access.identity import identified, slash_dn
from dynamo_ops.access.person import KnownBy, Person
from dynamo_ops.access.seen_roles import AIRFLOW, note_roles, seen_roles
from dynamo_ops.access.tokens import START, owner_of
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import settings
from dynamo_web.caller.issuers import claims_of, issuer_of
from dynamo_web.databases import databases
from dynamo_web.problem import NotLoggedInError

FAB_ROLES: Mapping[str, str] = {"Viewer": "viewer", "User": "user", "Op": "op", "Admin": "admin"}
"""Roles that FAB is shipped with, and how the map of roles calls them."""

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)]


class Login(NamedTuple):
    """Roles with which somebody has just logged in. ``told_by``: ``AIRFLOW``, or the issuer of their JWT."""

    told_by: str
    roles: tuple[str, ...]


PROXY_HEADER = "x-dynamo-proxy"
"""By its secret a proxy shows that it is ours."""


async def airflow_user(request: Request, bearer: Bearer) -> Any:
    """The user of Airflow's token or cookie; None where another credential is sent. NotLoggedInError: none is good."""
    if bearer is not None and (bearer.credentials.startswith(START) or issuer_of(bearer.credentials)):
        return None
    try:
        return await get_user(request, None, bearer)
    except HTTPException as error:
        if bearer is None and PROXY_HEADER in request.headers:
            return None
        raise NotLoggedInError(f"Airflow does not know who asks: {error.detail}") from None


def who(request: Request, bearer: Bearer, user: Annotated[Any, Depends(airflow_user)]) -> Person:
    """The person who asks, with what they hold now. Raises NotLoggedInError."""
    address = request.client.host if request.client else None
    secret = bearer.credentials if bearer is not None else ""
    issuer = None if user is not None or secret.startswith(START) else issuer_of(secret)
    claims = claims_of(secret, issuer) if issuer else None  # before a connection is taken: it may ask the issuer
    with databases().logins.begin() as connection:
        if user is not None:
            login = Login(AIRFLOW, manager_roles(user))
            return _person(connection, str(user.get_name()), KnownBy.AIRFLOW, login, address)
        if claims is not None:
            name = claims.person or _identified(connection, KnownBy.JWT, f"{claims.issuer}|{claims.subject}")
            return _person(connection, name, KnownBy.JWT, Login(claims.issuer, claims.roles), address)
        if bearer is not None:
            return _by_token(connection, secret, address)
        name = _identified(connection, KnownBy.CERTIFICATE, verified_dn(request.headers))
        return _person(connection, name, KnownBy.CERTIFICATE, None, address)


Who = Annotated[Person, Depends(who)]


def needs(action: Action) -> Dependency:
    """The dependency of a route that does ``action``. What depends on what it touches is asked by the act itself."""

    def check(person: Who) -> Person:
        may(person, action, limits=limits())
        return person

    check.action = action  # type: ignore[attr-defined]  # a test walks all routes by it
    return Depends(check)


def limits() -> Limits:
    """Of this installation."""
    return Limits(free_bytes=settings().access.free_size)


def manager_roles(user: Any) -> tuple[str, ...]:
    """Names of the roles that somebody has in the auth manager: SimpleAuth's one, FAB's several, none of Keycloak's."""
    given = getattr(user, "role", None)
    if given is not None:
        return (str(given),)
    names = [str(getattr(role, "name", role)) for role in getattr(user, "roles", None) or ()]
    return tuple(dict.fromkeys([*names, *(FAB_ROLES[name] for name in names if name in FAB_ROLES)]))


def verified_dn(headers: Mapping[str, str]) -> str:
    """The DN that a proxy has verified. NotLoggedInError: it is none of ours, or there was no certificate."""
    said = headers.get(PROXY_HEADER, "").encode()
    proxy = next((one for one in settings().access.proxies if compare_digest(one.secret.encode(), said)), None)
    if proxy is None:
        raise NotLoggedInError("a proxy says who asks, and is none of ours: its secret is not that of access.proxies")
    dn = headers.get(proxy.header, "")
    if not dn:
        raise NotLoggedInError("the proxy has seen no certificate")
    try:
        return slash_dn(dn)
    except InventoryError as error:
        raise NotLoggedInError(error.message) from None


def _identified(connection: Connection, kind: KnownBy, value: str) -> str:
    try:
        return identified(connection, kind, value)
    except AccessError as error:
        raise NotLoggedInError(error.message) from None


def _by_token(connection: Connection, secret: str, address: str | None) -> Person:
    def load(name: str) -> Person:
        return _person(connection, name, KnownBy.TOKEN, None, address)

    try:
        return owner_of(connection, secret, load)
    except AccessError as error:
        raise NotLoggedInError(error.message) from None


def _person(connection: Connection, name: str, known_by: KnownBy, login: Login | None, address: str | None) -> Person:
    """``login``: None where it tells no roles, and those of the last logins count."""
    if not name or name.startswith("@"):  # it would hold what is granted to a role
        raise NotLoggedInError(f"the auth manager calls somebody {name!r}: no name that a person can have here")
    access = settings().access
    if login is None:
        roles = seen_roles(connection, name, access.roles_seen_days, [issuer.issuer for issuer in access.issuers])
    else:
        roles = login.roles
        note_roles(connection, name, login.told_by, roles)
    return person_of(
        connection,
        name,
        known_by,
        manager_roles=roles,
        role_map=role_map(access),
        default=default_role(access),
        address=address,
    )


def permission_of(dependency: Callable[..., Any]) -> Action | None:
    """The action that a dependency of ``needs`` asks for; None for all others."""
    return getattr(dependency, "action", None)
