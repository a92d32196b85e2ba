"""Where a call may be sent on to, and what goes with it.

A redirect never changes the verb, and never leads from https to http. Who owns several hosts names them (``Hosts``, of
a site): there our credentials go along, and nowhere else is followed. Else any host may be asked, but sees nothing of
ours: no token, no header of the settings, no certificate, no cookie. What is of the settings never goes over plain
http at all, but to this machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from requests.utils import requote_uri

from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.glob import glob_matches

KEEP_THE_VERB = frozenset({301, 302, 307, 308})
"""303 says "GET that instead": of these, those who do not GET follow none."""

LOGIN = frozenset({302, 303})
"""How services send those to a login whom they do not know: with another question. 307 and 308 are of doors."""

MOST_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_SECRETS = ("auth", "token", "key", "secret", "password", "credential", "cookie", "session")


@dataclass(frozen=True)
class Hosts:
    """Hosts of one owner, whatever their ports: names, or globs of them, in small letters. ``setting``: where more of
    them are named."""

    names: Collection[str]
    setting: str

    def has(self, url: str, asked: str) -> bool:
        """Whether a URL is of one of them, or of that which was asked."""
        host, known = (_host(urlsplit(place)) for place in (url, asked))
        is_same = host == known or (_is_here(host) and _is_here(known))
        return is_same or any(glob_matches(host, name) for name in self.names)


def next_url(url: str, location: str, own: Hosts | None = None) -> str:
    """Where an answer of ``url`` sends us. PermanentRemoteError where we do not go. ``own``: nowhere else."""
    sent_to = _literal(url, location) or requote_uri(urljoin(url, location))
    scheme = urlsplit(sent_to).scheme
    if scheme not in _PORTS or (urlsplit(url).scheme == "https" and scheme == "http"):
        raise PermanentRemoteError(
            f"{origin(url)} sends us on to {origin(sent_to)}, out of https: not followed", url=origin(url), status=None
        )
    if own is not None and not own.has(sent_to, url):
        raise PermanentRemoteError(
            f"{origin(url)} sends us on to {origin(sent_to)}, which is no host of the same owner: not followed. If it "
            f"is, name it in {own.setting}",
            url=origin(url),
            status=None,
        )
    return sent_to


def _literal(url: str, location: str) -> str | None:
    """The same name at another host, of a server that writes names as they are (XRootD 5.5): taken for encoded,
    ``f%41`` there would be another file, ``fA``. None: it is written as it must be."""
    asked = urlsplit(url).path
    server = re.match(r"https?://[^/?#]*", location)
    place = location[server.end() :] if server else location
    name = unquote(asked)
    if not place.startswith(name) or place[len(name) :][:1] not in ("", "?"):
        return None
    return urljoin(url, f"{server[0] if server else ''}{asked}{place[len(name) :]}")


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


def check_secrecy(url: str, headers: Iterable[str], own_headers: Iterable[str] = ()) -> None:
    """PermanentRemoteError where a secret among these headers would go over plain http, to other than this machine.
    ``own_headers``: all of these are secrets, whatever they are called."""
    parts = urlsplit(url)
    if parts.scheme != "http" or _is_here(parts.hostname or ""):
        return
    own = {name.lower() for name in own_headers}
    if secret := next((name for name in headers if name.lower() in own or _is_secret(name)), None):
        raise PermanentRemoteError(
            f"{origin(url)}: the header {secret} would go there in the clear; give an https address",
            url=origin(url),
            status=None,
        )


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


def _is_secret(header: str) -> bool:
    return any(word in header.lower() for word in _SECRETS)


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
