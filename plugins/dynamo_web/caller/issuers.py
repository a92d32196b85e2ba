"""JWTs of others: verified by the keys that their issuer publishes, if ``access.issuers`` names it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from time import monotonic
from typing import Any

import jwt
import requests

from dynamo_ops.base.errors import DynamoError, RetryableRemoteError
from dynamo_ops.base.http.session import Patience, RemoteSession
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.base.settings import IssuerSettings, settings
from dynamo_web.problem import NotLoggedInError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""None with a shared secret: whoever can check those can make them."""
LEEWAY_S = 30
"""So far may clocks differ."""
KEPT_S = 300
"""Keys are asked for again after that long: so long a key that was withdrawn still counts."""
KEPT_ALONE_S = 3600
"""So long while the issuer does not answer."""
ASKED_EVERY_S = 30
"""An unknown key makes us ask, no more often than that: anybody can send one."""
DISCOVERY = "/.well-known/openid-configuration"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claims:
    """What a good token says. ``person``: by the claim that the settings name; ``roles``: groups, each from ``/`` on:
    none of them is called as a role of Airflow's auth manager is."""

    issuer: str
    subject: str
    person: str | None
    roles: tuple[str, ...]


def issuer_of(token: str) -> IssuerSettings | None:
    """The issuer that a token names, if it is one of ours; nothing of it is verified."""
    known = settings().access.issuers
    if not known:
        return None
    try:
        named = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError:
        return None
    return next((issuer for issuer in known if issuer.issuer == named), None)


def claims_of(token: str, issuer: IssuerSettings) -> Claims:
    """What a token of ``issuer`` says. Raises NotLoggedInError that says what is wrong with it, RetryableRemoteError
    where the issuer's keys cannot be had."""
    try:
        key = keys_of(issuer).of(jwt.get_unverified_header(token).get("kid"))
        claims = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError as error:
        raise NotLoggedInError(f"the token of {issuer.issuer} is not good: {error}") from None
    person = claims.get(issuer.person_claim) if issuer.person_claim else None
    given = claims.get(issuer.groups_claim)
    groups = [group for group in given if isinstance(group, str)] if isinstance(given, list) else []
    return Claims(
        issuer.issuer,
        str(claims["sub"]),
        person if isinstance(person, str) and person else None,
        tuple(f"/{group.lstrip('/')}" for group in groups),
    )


@dataclass
class Keys:
    """The keys of one issuer, as this process knows them. ``fault``: why they could not be had when asked for last."""

    issuer: IssuerSettings
    known: dict[str | None, Any] = field(default_factory=dict)
    fault: str | None = None
    asked_at_s: float = float("-inf")
    had_at_s: float = float("-inf")
    _lock: Lock = field(default_factory=Lock)

    def of(self, name: str | None) -> Any:
        """The key that a token names; without a name the only one.

        Raises jwt.InvalidKeyError: there is none; RetryableRemoteError: that cannot be told.
        """
        if self._lock.acquire(blocking=self._named(name) is None):  # who knows the key waits for nobody's asking
            try:
                now_s = monotonic()
                is_due = now_s - self.had_at_s > KEPT_S or self._named(name) is None
                if is_due and now_s - self.asked_at_s > ASKED_EVERY_S:
                    self._ask(now_s)
                if now_s - self.had_at_s > KEPT_ALONE_S:
                    self.known = {}
            finally:
                self._lock.release()
        key = self._named(name)
        if key is None and self.fault:
            raise RetryableRemoteError(
                f"the keys of {self.issuer.issuer} cannot be had: {self.fault}", service="issuer"
            )
        if key is None:
            raise jwt.InvalidKeyError(f"its issuer has no key {name!r}")
        return key

    def _named(self, name: str | None) -> Any:
        if name is None and len(self.known) == 1:
            return next(iter(self.known.values()))
        return self.known.get(name)

    def _ask(self, now_s: float) -> None:
        self.asked_at_s = now_s
        try:
            published = jwt.PyJWKSet.from_dict(self._published())
        except (requests.RequestException, DynamoError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            self.fault = str(error)
            log.warning("the keys of %s cannot be had: %s", self.issuer.issuer, error)
            return
        self.known = {key.key_id: key for key in published.keys if key.public_key_use in (None, "sig")}
        self.fault, self.had_at_s = None, now_s

    def _published(self) -> Any:
        ca = str(self.issuer.ca) if self.issuer.ca else None
        with RemoteSession(Credentials(ca), timeout=5, patience=Patience(repeats=1)) as session:
            where = self.issuer.keys
            if where is None:
                about = session.call("GET", self.issuer.issuer.rstrip("/") + DISCOVERY)
                about.raise_for_status()
                where = about.json()["jwks_uri"]
            answer = session.call("GET", where)
            answer.raise_for_status()
            return answer.json()


@cache
def keys_of(issuer: IssuerSettings) -> Keys:
    """Those of this process."""
    return Keys(issuer)
