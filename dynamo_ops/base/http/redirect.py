"""Where a call may be sent on to, and what goes with it.

A redirect never changes the verb, never leads from https to http, and takes nothing of ours to another host: neither
token nor any header of the settings. A certificate goes along to another https host (its key does not leave us; doors
of storages send on to hosts that ask for it), and never to http, which has none. Secrets never go over plain http at
all, but to this machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import SplitResult, urljoin, urlsplit

from requests.utils import requote_uri

from dynamo_ops.base.errors import PermanentRemoteError

KEEP_THE_VERB = frozenset({301, 302, 307, 308})
"""303 says "GET that instead": of these, those who do not GET follow none."""

LOGIN = frozenset({302, 303})
"""How services send those to a login whom they do not know: with another question. 307 and 308 are of doors."""

MOST_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_SECRETS = ("auth", "token", "key", "secret", "password", "credential", "cookie", "session")


def next_url(url: str, location: str) -> str:
    """Where an answer of ``url`` sends us. PermanentRemoteError where we do not go."""
    sent_to = requote_uri(urljoin(url, location))
    scheme = urlsplit(sent_to).scheme
    if scheme not in _PORTS or (urlsplit(url).scheme == "https" and scheme == "http"):
        raise PermanentRemoteError(
            f"{origin(url)} sends us on to {origin(sent_to)}, out of https: not followed", url=origin(url), status=None
        )
    return sent_to


def too_many(url: str, redirect_status: int | None = None) -> PermanentRemoteError:
    """The error for a door that leads to itself. ``redirect_status``: its last, where it is known; a fact, too."""
    return PermanentRemoteError(
        f"{origin(url)}: more than {MOST_REDIRECTS} redirects; mend the service's door",
        url=origin(url),
        status=None,
        redirect_status=redirect_status,
    )


def is_same_host(one: str, other: str) -> bool:
    """Whether two URLs lead to one server: scheme, host and port."""
    return origin(one) == origin(other)


def origin(url: str) -> str:
    """Scheme, host and port, the usual one left out; what may be shown of any URL."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = _port(parts)
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS.get(parts.scheme)) else "")


def check_secrecy(url: str, headers: Iterable[str]) -> None:
    """PermanentRemoteError where a secret among these headers would go over plain http, to other than this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or _is_here(parts.hostname or ""):
        return
    if secret := next((name for name in headers if any(word in name.lower() for word in _SECRETS)), None):
        raise PermanentRemoteError(
            f"{origin(url)}: the header {secret} would go there in the clear; give an https address",
            url=origin(url),
            status=None,
        )


def _port(parts: SplitResult) -> int | str | None:
    try:
        return parts.port
    except ValueError:  # no number: it is shown, and nothing can be asked there
        return parts.netloc.rpartition(":")[2]


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
