"""Which FTS server: of a link, of a job; and the servers of an installation, each asked for its own.

Another rule for the choice is another ``FtsLinks.server``: what it says is stored with the batch, and asked for it ever
after. One that is ill keeps nobody else back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dynamo_ops.base.errors import RemoteError
from dynamo_ops.base.glob import is_named
from dynamo_ops.base.settings import FtsSettings, Settings
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.fts.identity import FtsIdentity

log = logging.getLogger(__name__)

Share = TypeVar("Share")


@dataclass(frozen=True)
class FtsServer:
    """A server and the links that it takes, by globs (``glob.is_named``). ``address`` None: that of the only one there
    is, which nobody told. ``files_in_flight``, ``files_per_job``: its own limits; None: those of all."""

    address: str | None = None
    sources: tuple[str, ...] = ("*",)
    destinations: tuple[str, ...] = ("*",)
    files_in_flight: int | None = None
    files_per_job: int | None = None

    def takes(self, source: str, destination: str) -> bool:
        """Whether it copies from one site to the other."""
        return is_named(source, self.sources) and is_named(destination, self.destinations)


@dataclass(frozen=True)
class FtsLinks:
    """Which server takes which link; ``identities``: who we are to those that answer now, by address. ``left_out``:
    those that answer, and are to get nothing while another one takes their links. ``on_trial``: those that are to get
    so many files, and no more. ``room``: how many more files a server may be given, where that is bounded."""

    servers: tuple[FtsServer, ...]
    identities: Mapping[str | None, FtsIdentity]
    left_out: frozenset[str | None] = frozenset()
    on_trial: Mapping[str | None, int] = field(default_factory=dict)
    room: Mapping[str | None, int] = field(default_factory=dict)

    def server(self, source: str, destination: str) -> FtsServer | None:
        """The server of a link: the first that takes it and is well; where none is, the first that takes it, for which
        the files wait if it does not answer. None: FTS does not copy there."""
        taking = [server for server in self.servers if server.takes(source, destination)]
        well = (one for one in taking if one.address in self.identities and one.address not in self.left_out)
        answering = (one for one in taking if one.address in self.identities)
        return next(well, None) or next(answering, None) or next(iter(taking), None)

    def without_trial(self) -> FtsLinks:
        """The same, as it is for the files beyond those of a trial."""
        return replace(self, left_out=self.left_out | self.on_trial.keys(), on_trial={})


def links_of(identity: FtsIdentity | FtsLinks | None) -> FtsLinks:
    """One identity: one server that takes every link; None: there is no FTS, and it takes none."""
    if isinstance(identity, FtsLinks):
        return identity
    return FtsLinks((FtsServer(),), {None: identity}) if identity else FtsLinks((), {})


class FtsServers:
    """Clients by address, each opened when it is first asked, all closed at the end.

    ``servers``: those of the settings, one at least. A batch may be at one that the settings name no longer: it is
    asked all the same. ``ill``: the errors of those that could not be asked; this object asks them no more.
    ``answered``: the addresses of those that could.
    """

    def __init__(self, servers: Sequence[FtsServer], open_client: Callable[[str], FtsClient]) -> None:
        self.servers = tuple(servers)
        self.ill: dict[str, RemoteError] = {}
        self.answered: set[str] = set()
        self._open_client = open_client
        self._clients: dict[str, FtsClient] = {}

    @property
    def addresses(self) -> list[str]:
        """Of the servers of the settings, in their order."""
        return list(dict.fromkeys(server.address for server in self.servers if server.address is not None))

    def address(self, recorded: str | None) -> str:
        """Where a batch is asked for, by the server that is recorded with it. None: at the first one."""
        return recorded or self.addresses[0]

    def client(self, address: str | None) -> FtsClient:
        """The client of a server, as it is recorded with a batch."""
        known = self.address(address)
        if known not in self._clients:
            self._clients[known] = self._open_client(known)
        return self._clients[known]

    def each(self, shares: Mapping[str | None, Share], ask: Callable[[FtsClient, Share], object]) -> None:
        """Have ``ask`` ask each server, by address, of its own share.

        One that is ill is left out with a warning; its RemoteError is raised when no server of the settings is left.
        """
        for address, share in shares.items():
            if self.address(address) not in self.ill:
                try:
                    ask(self.client(address), share)
                except RemoteError as error:
                    self.put_aside(address, error)
                else:
                    self.answered.add(self.address(address))
        self.check()

    def put_aside(self, address: str | None, error: RemoteError) -> None:
        """Ask this server no more. An error of our own database, met between two questions, is raised."""
        if _is_of_database(error):
            raise error
        self.ill[self.address(address)] = error
        log.warning("FTS %s is left alone for now, and what it has waits: %s", address, error.message)

    def check(self) -> None:
        """The gravest error, when no server of the settings is left."""
        if self.ill.keys() >= set(self.addresses):
            raise min(self.ill.values(), key=lambda error: error.retryable)

    def can_wait(self, errors: Sequence[tuple[str | None, RemoteError]]) -> bool:
        """Whether what single calls (at these servers) brought is for a later run: each error may pass, and some server
        of the settings made none."""
        failed = {self.address(recorded) for recorded, _ in errors}
        may_pass = all(error.retryable and not _is_of_database(error) for _, error in errors)
        return may_pass and not failed.issuperset(self.addresses)

    def links(self) -> FtsLinks:
        """Leave our credential with every server of the settings, and ask who we are to it.

        One that is ill has no identity: what waits for its links goes on waiting.
        """
        identities: dict[str | None, FtsIdentity] = {}

        def introduce(client: FtsClient, address: str) -> None:
            client.ensure_delegation()
            identities[address] = client.whoami()

        self.each({address: address for address in self.addresses}, introduce)
        return FtsLinks(self.servers, identities)

    def close(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            client.close()


class _OneClient(FtsServers):
    """A client that somebody has opened: its own is what is at its address, and what has none. Others are not asked."""

    def __init__(self, client: FtsClient) -> None:
        super().__init__((FtsServer(client.url),), lambda _: client)

    def each(self, shares: Mapping[str | None, Share], ask: Callable[[FtsClient, Share], object]) -> None:
        own = {address: share for address, share in shares.items() if address in {None, *self.addresses}}
        super().each(own, ask)


def servers_of(client: FtsClient | FtsServers) -> FtsServers:
    """The servers as they are; one client: as the only one."""
    return client if isinstance(client, FtsServers) else _OneClient(client)


@contextmanager
def fts_servers(settings: Settings) -> Iterator[FtsServers | None]:
    """The servers of the installation; None where there is no FTS. All are asked with the same credentials."""
    named = settings.fts.named_servers
    if not named:
        yield None
        return
    servers = FtsServers(
        [
            FtsServer(
                server.url,
                tuple(server.sources),
                tuple(server.destinations),
                server.files_in_flight,
                server.files_per_job,
            )
            for server in named
        ],
        lambda address: _open(settings, address),
    )
    try:
        yield servers
    finally:
        servers.close()


def address_of(fts: FtsSettings, server: str | None) -> str:
    """Where a batch is asked for. ``server``: as recorded with it; None: at the first of the settings."""
    return server or next((one.url for one in fts.named_servers), "")


def job_page(fts: FtsSettings, server: str | None, job_id: str) -> str | None:
    """The page of a job, in the monitor of its own server where the settings name one; None: there is no FTS."""
    address = address_of(fts, server)
    monitor = next((one.monitor_url for one in fts.named_servers if one.url == address and one.monitor_url), None)
    return f"{monitor or f'{address}/jobs/'}{job_id}" if address else None


def _is_of_database(error: RemoteError) -> bool:
    return error.facts.get("service") == "postgresql"


def _open(settings: Settings, address: str) -> FtsClient:
    tls, token_file = settings.tls, settings.fts.token_file
    token = token_file.read_text().strip() if token_file else None
    cert, key = (None, None) if token else (_text(tls.cert), _text(tls.key))
    return FtsClient(address, ca=tls.authorities, cert=cert, key=key, token=token)


def _text(path: object) -> str | None:
    return None if path is None else str(path)
