"""Which server is meant, and whether a token may be sent there."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.http.redirect import check_secrecy, origin
from dynamo_ops.client.errors import UsageError

MOUNT, VERSION = "/dynamo", "/v1"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_TOKEN = re.compile(r"[!-~]+")
_KEY = re.compile(r"[!-~]{1,64}")


def base_address(server: str, *, allow_plain_http: bool = False) -> str:
    """Where the API is: ``https://dynamo.example.org/dynamo/v1``, whether it was given whole, or without what Dynamo
    always has there, or without https.

    Raises UsageError: it is no address, has a password in it, or is plain http to another machine.
    """
    written = server.strip()
    parts = urlsplit(written if _SCHEME.match(written) else f"https://{written}")
    shown = origin(parts.geturl())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{shown!r} is no address of a server: give one like https://dynamo.example.org", server=shown)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"{shown}: an address has no name, password, query or fragment in it", server=shown)
    if not allow_plain_http:
        try:
            check_secrecy(parts.geturl(), ["Authorization"])
        except PermanentRemoteError:
            message = f"{shown}: the token would go there in the clear; give an https address, or allow_plain_http=True"
            raise UsageError(message, server=shown) from None
    path = parts.path.rstrip("/").removesuffix(VERSION).removesuffix(MOUNT)
    return f"{shown}{path}{MOUNT}{VERSION}"


def checked_token(token: str) -> str:
    """Without what a file or a copy has around it. Raises UsageError, which does not say it."""
    stripped = token.strip()
    if not _TOKEN.fullmatch(stripped):
        raise UsageError("the token is empty, or has blanks or other characters in it that no token has")
    return stripped


def checked_key(key: str) -> str:
    """Raises UsageError for what cannot be an Idempotency-Key."""
    if not _KEY.fullmatch(key):
        raise UsageError("a key is 1 to 64 printable characters without blanks", key=key)
    return key
