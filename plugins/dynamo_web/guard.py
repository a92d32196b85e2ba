"""Which requests come in at all, before anybody is asked who they are; and what every answer carries."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from airflow.configuration import conf
from starlette.datastructures import Headers, MutableHeaders

from dynamo_ops.base.glob import glob_matches
from dynamo_ops.base.settings import settings
from dynamo_web.body import LARGE, GoneError, declared_bytes, is_large, read_body, refusal_of_large, replayed
from dynamo_web.origin import foreign
from dynamo_web.problem import SECURITY_HEADERS, problem

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
READS, WRITES = frozenset({"GET"}), frozenset({"POST", "PUT", "PATCH", "DELETE"})
DIGEST = "dynamo_digest"
"""In the scope of a write: SHA-256 of all that makes it this call and no other."""


class Guard:
    """ASGI middleware. Refuses: a Host that is not ours (a page of somebody else whose name was bound to our address
    would read with the cookies of who looks at it), methods that are neither ``READS`` nor ``WRITES``, NULs, which no
    name has, and writes that come from a page of somebody else (``origin``) or bring what is no JSON or too much of it
    (``body``)."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if scope["method"] in WRITES and LARGE not in scope:
            try:
                body = await read_body(scope, receive)
            except GoneError:
                return
            if not isinstance(body, bytes):
                await body(scope, receive, send)
                return
            scope[DIGEST] = digest_of(scope, body)
            receive = replayed(body, receive)

        async def send_secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_secured)


def _refusal(scope: Any) -> Any:
    host = host_of(Headers(scope=scope).get("host", ""))
    if not is_ours(host):
        return problem(400, f"this API is not called {host!r}", kind="host")
    if scope["method"] not in READS | WRITES:
        return problem(405, f"{scope['method']} is not allowed", headers={"Allow": ", ".join(sorted(READS | WRITES))})
    if b"\0" in unquote_to_bytes(scope.get("query_string", b"")) or "\0" in scope["path"]:
        return problem(422, "there is a NUL in the address", kind="parameter")
    if scope["method"] not in WRITES:
        return None
    return foreign(scope) or _refusal_of_body(scope)


def _refusal_of_body(scope: Any) -> Any:
    """What a body says of itself before it is read. A large one is noted in the scope."""
    size_bytes = declared_bytes(scope)
    if not isinstance(size_bytes, int):
        return size_bytes
    if not is_large(scope, size_bytes):
        return None
    scope[LARGE] = size_bytes
    return refusal_of_large(scope, size_bytes)


def digest_of(scope: Any, body: bytes) -> bytes:
    """Of a write with this body, or with the digest of a large one."""
    seen = Headers(scope=scope).get("if-match", "").encode()
    parts = (scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b""), seen, body)
    return hashlib.sha256(b"\0".join(parts)).digest()


def is_ours(host: str) -> bool:
    """Whether a name (without a port) is one under which we are called."""
    base = urlsplit(conf.get("api", "base_url", fallback=None) or "").hostname
    names = [*settings().access.hosts, *([base] if base else [])]
    return host in LOCAL_NAMES or any(glob_matches(host, name.lower()) for name in names)


def host_of(header: str) -> str:
    """The name in a Host header, without port and brackets; empty where it is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
