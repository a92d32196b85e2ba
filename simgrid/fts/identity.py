"""Who is asking: from the TLS peer's DN to the user FTS sees."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from simgrid.fts.errors import FtsError
from simgrid.http import Request, Response

BASE_ID = uuid.UUID("01874efb-4735-4595-bc9c-591aef8240c9")
_HTML = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<title>400 Bad Request</title>\n'
    "<h1>Bad Request</h1>\n<p>Unsupported authentication method: method=OAuth2</p>\n"
)


@dataclass(frozen=True, slots=True)
class User:
    """`vo` is empty and `delegation_id` None for somebody without credentials."""

    dn: str
    vo: str
    delegation_id: str

    @property
    def is_anonymous(self) -> bool:
        return self.dn == "anon"

    def whoami(self) -> dict[str, Any]:
        known = not self.is_anonymous
        return {
            "user_dn": self.dn,
            "dn": [self.dn],
            "base_id": str(BASE_ID),
            "voms_cred": [],
            "vos": [self.vo] if known else [],
            "vos_id": [str(uuid.uuid5(BASE_ID, self.vo))] if known else [],
            "roles": [],
            "level": {"transfer": "vo", "datamanagement": "all"} if known else [],
            "delegation_id": self.delegation_id if known else None,
            "method": "certificate" if known else "unauthenticated",
            "is_root": False,
        }


def user_of(request: Request, vo: str) -> User:
    if request.dn is None:
        return User("anon", "", "")
    return User(request.dn, vo, hashlib.sha1(request.dn.encode(), usedforsecurity=False).hexdigest()[:16])


def require(user: User) -> User:
    if user.is_anonymous:
        raise FtsError(403, "Not enough permissions")
    return user


def bearer_refusal(request: Request) -> Response | None:
    """Tokens need a provider, and this service has none: an HTML page, from before any JSON is thought of."""
    if (request.headers.get("Authorization") or "").lower().startswith("bearer "):
        return Response(400, _HTML.encode(), "text/html; charset=utf-8", reason="BAD REQUEST")
    return None
