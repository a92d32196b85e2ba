"""Writes that a page of somebody else sends with the cookies of who looks at it are refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from starlette.datastructures import Headers
from starlette.responses import Response

from dynamo_ops.access.tokens import START
from dynamo_web.problem import problem

OURS = "x-dynamo"
"""A header that no page can send to another origin without being let (and nobody is)."""
SAME = "same-origin"
PORTS = {"http": 80, "https": 443}
Parts = tuple[str, str, int]


def foreign(scope: Any) -> Response | None:
    """The refusal of a write that is not said to come from a page of ours, or from a program.

    A foreign ``Origin`` is refused in any case. Without a Bearer token it is the cookie that says who asks, which goes
    along by itself: then ``Sec-Fetch-Site`` (which browsers write, not pages) or ``Origin`` must say that the page is
    ours, and the header ``X-Dynamo: 1`` be there. Where all are admins nobody needs a cookie: then always, but with a
    token of Dynamo, which counts there too, and which no page of somebody else has.
    """
    headers = Headers(scope=scope)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if (origin is not None and _parts(origin) not in _ours(scope, headers)) or site not in (None, SAME, "none"):
        return _refused(f"a page of {origin or 'another site'} may not write here")
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (secret.startswith(START) or not all_are_admins()):
        return None
    if headers.get(OURS) != "1":
        return _refused("the header X-Dynamo: 1 is missing")
    if site != SAME and (site is not None or origin is None):
        return _refused("neither Sec-Fetch-Site nor Origin says that a page of ours asks")
    return None


def all_are_admins() -> bool:
    """Whether Airflow lets everybody in as an admin."""
    return conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False)


def _ours(scope: Any, headers: Headers) -> list[Parts]:
    """That of Airflow's base_url, and the one by which we are called. Behind a proxy that ends TLS that is https where
    base_url says so of this name, whatever the server sees itself."""
    base = _parts(conf.get("api", "base_url", fallback=None) or "")
    called = _parts(f"{scope['scheme']}://{headers.get('host', '')}")
    if base is None or called is None:
        return [called] if called else []
    if base[:2] != called[:2] and base[1] == called[1]:
        called = _parts(f"{base[0]}://{headers.get('host', '')}")
    return [base, *([called] if called else [])]


def _parts(url: str) -> Parts | None:
    """Scheme, name and port of an origin; None where it is none (``null``, of what has no address)."""
    try:
        split = urlsplit(url.lower())
        port = split.port or PORTS.get(split.scheme)
    except ValueError:
        return None
    return (split.scheme, split.hostname, port) if split.hostname and port else None


def _refused(detail: str) -> Response:
    return problem(
        403,
        detail,
        kind="origin",
        next_step="Programs send 'Authorization: Bearer …'; pages of ours send 'X-Dynamo: 1' from Airflow's address "
        "(`[api] base_url`).",
    )
