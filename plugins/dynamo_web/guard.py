"""Which requests come in at all, before anybody is asked who they are; and what every answer carries."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from airflow.configuration import conf
from starlette.datastructures import Headers, MutableHeaders

from dynamo_ops.base.glob import glob_matches
from dynamo_ops.base.settings import settings
from dynamo_web.problem import SECURITY_HEADERS, problem

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
METHODS = frozenset({"GET"})
"""Nothing can be changed by this API yet."""


class Guard:
    """ASGI middleware. Refuses: a Host that is not ours (a page of somebody else whose name was bound to our address
    would read with the cookies of who looks at it), other methods than ``METHODS``, and NULs, which no name has."""

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
    if scope["method"] not in METHODS:
        return problem(405, f"{scope['method']} is not allowed: this API only reads")
    if b"\0" in unquote_to_bytes(scope.get("query_string", b"")) or "\0" in scope["path"]:
        return problem(422, "there is a NUL in the address", kind="parameter")
    return None


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
