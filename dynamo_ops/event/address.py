"""Where a person's webhook may be. The servers of an installation can reach what its people cannot: nothing is called
but what the settings name.

A host that ``events.hosts`` names may have a private address: whoever wrote the settings knows it. Behind a glob
anybody could have a name for a private address, so there the connection itself is looked at.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import glob_matches, is_glob
from dynamo_ops.base.http.redirect import origin
from dynamo_ops.base.http.session import RemoteSession
from dynamo_ops.base.settings import Settings
from dynamo_ops.event.settings import event_settings

LONGEST = 2_000
_MAIL = re.compile(r"[^\s@,;:<>()\[\]\"\\]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_PORTS = {"https": 443, "http": 80}
NOT_PUBLIC = "it has no public address"


@dataclass(frozen=True)
class Hosts:
    """Those that may be called. ``names``: as ``events.hosts`` says; ``origins``: of the chats of the settings."""

    names: Sequence[str]
    origins: Sequence[str]

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        """Of an installation."""
        return cls(event_settings(settings).hosts, [origin(webhook.url) for webhook in settings.alerts.webhooks])

    def is_vouched_for(self, url: str) -> bool:
        """Whether the settings name the host, and no glob."""
        place = _place(urlsplit(url))
        return origin(url) in self.origins or any(not is_glob(name) and name.lower() == place for name in self.names)

    def check(self, url: str) -> None:
        """Raises InventoryError, which says what is wrong with the URL, or what setting would allow it."""
        parts = _parts(url)
        if parts.username is not None or parts.fragment:
            raise InventoryError(
                "webhook: a URL without a user, a password and a fragment (#…) is expected", webhook=""
            )
        host = (parts.hostname or "").lower()
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
            raise InventoryError(f"webhook at {origin(url)}: give an https address", webhook=origin(url))
        place = _place(parts)
        if self.is_vouched_for(url):
            return
        if any(is_glob(name) and glob_matches(place, name.lower()) for name in self.names):
            if not (_is_address(host) or _is_loopback(host)):
                return
            raise InventoryError(
                f"webhook at {origin(url)}: an address is called only where events.hosts has it itself, no glob",
                webhook=origin(url),
            )
        raise InventoryError(
            f"webhook at {origin(url)}: this installation calls no such host; its operators can let it, by "
            f"{place!r} in events.hosts of dynamo.yaml",
            webhook=origin(url),
        )

    def guard(self, session: RemoteSession, url: str) -> None:
        """Where a glob lets the host be called, the session connects to public addresses only."""
        if not self.is_vouched_for(url):
            session.mount("https://", _PublicOnly(max_retries=0))


def check_mail(address: str) -> None:
    """Raises InventoryError for what is no address of one mailbox."""
    if len(address) > 320 or not _MAIL.fullmatch(address):
        raise InventoryError(f"mail: {address!r} is no address; write it plainly, as ada@example.org", mail=address)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises where it is no number
    except ValueError:
        raise InventoryError("webhook: this is no URL", webhook="") from None
    if not parts.hostname or len(url) > LONGEST or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise InventoryError("webhook: this is no URL of a host (https://host/path)", webhook="")
    return parts


def _place(parts: SplitResult) -> str:
    """Host, and port where it is another than the usual one."""
    host = (parts.hostname or "").lower().rstrip(".")
    return host if parts.port in (None, _PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _is_address(host: str) -> bool:
    """Also as 2130706433 and 0x7f.1, which some resolvers take for one."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(re.fullmatch(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*\.?", host))
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_public(address: str) -> bool:
    """Whether anybody in the world could call it: also where it is written within another one."""
    known = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(known, ipaddress.IPv6Address):
        inner = known.ipv4_mapped or known.sixtofour or (known.teredo[1] if known.teredo else None)
        if inner is None and known in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(known) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return known.is_global and not known.is_multicast


class _PublicConnection(HTTPSConnection):
    """Looks at whom it is connected to before it says a word: what a name means can change from call to call."""

    def _new_conn(self) -> Any:
        made = super()._new_conn()
        if not is_public(str(made.getpeername()[0])):
            made.close()
            raise NewConnectionError(self, NOT_PUBLIC)
        return made


class _PublicPool(HTTPSConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicOnly(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": _PublicPool}
