"""The grid as a whole: builds what is not built, starts all services, and ends them."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from simgrid.build import build, site_root
from simgrid.control import Control
from simgrid.dbs import BASE, DbsReader
from simgrid.faults import Faults
from simgrid.feeds import AccessFeed, SiteStatus
from simgrid.fts.service import Fts
from simgrid.history import Clock
from simgrid.http import Request, Response, Server, Service
from simgrid.mail import MailSink
from simgrid.scenario import Scenario, load_scenario
from simgrid.scenario import Site as SiteEntry
from simgrid.storage import Storage
from simgrid.tape import Tape
from simgrid.tls import make_credentials
from simgrid.webdav import Site
from simgrid.webhook import PATH as WEBHOOK
from simgrid.webhook import WebhookSink

HOST = "127.0.0.1"


class _Away(Service):
    """Stands in for a service that is just being restarted: cuts every connection."""

    def is_down(self) -> bool:
        return True

    def handle(self, request: Request) -> Response:
        raise ConnectionAbortedError(f"{request.path}: the service is being restarted")


class Grid:
    """A running pocket grid; a context manager.

    `endpoints` says where everything is. With `port_base` 0 the system chooses the ports; else the services take
    port_base (control), +1 (fts), +2 (dbs), +3 (site status), +4 (accesses), +5 (smtp), +6 (a chat's webhook), and
    site i +10 + i on its own address. Over an existing directory the grid goes on with the storage, jobs and staging
    requests it finds there.
    """

    def __init__(
        self, scenario: Scenario | str | Path, directory: str | Path, port_base: int = 0, fresh: bool = False
    ) -> None:
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        self.directory = Path(directory).resolve()
        self._port_base = port_base
        self._servers: list[Server] = []
        self._mail: MailSink | None = None
        self._fts: Fts | None = None
        self.catalogue = build(self.scenario, self.directory, fresh)
        self.clock = Clock()
        self.faults = Faults(self.scenario.faults, [site.name for site in self.scenario.sites], self.scenario.seed)
        self._addresses = self.scenario.addresses
        self.credentials = make_credentials(
            self.directory / "tls", self.scenario.user_dn, [HOST, *self._addresses.values()]
        )
        self._context = self.credentials.server_context()
        try:
            self.endpoints = self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Grid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fault(self, **services: Any) -> None:
        """Set faults: grid.fault(fts={"down": True}, sites={"T2_CC": {"read_only": True}})."""
        self.faults.set(services)

    def heal(self) -> None:
        self.faults.clear()

    def restart_fts(self) -> None:
        """End the FTS daemons and read their state again from disk, as a restart of the service would."""
        assert self._fts is not None
        self._fts_server.service = _Away()
        self._fts.close()
        self._fts = Fts(self.scenario, self.directory / "state", self.credentials, self.faults)
        self._fts_server.service = self._fts.rest

    def write_endpoints(self) -> Path:
        """Write `simgrid.json`, whole or not at all."""
        path = self.directory / "simgrid.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(self.endpoints, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
        return path

    def close(self) -> None:
        closing = [threading.Thread(target=server.close) for server in self._servers]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        self._servers.clear()
        if self._fts is not None:
            self._fts.close()
            self._fts = None
        if self._mail is not None:
            self._mail.close()
            self._mail = None

    def _start(self) -> dict[str, Any]:
        sites = {site.name: self._start_site(number, site) for number, site in enumerate(self.scenario.sites)}
        status = SiteStatus(self.scenario.sites, {name: entry["prefix"] for name, entry in sites.items()}, self.faults)
        self._fts = Fts(self.scenario, self.directory / "state", self.credentials, self.faults)
        control = Control(self.faults, status, self.clock, self.restart_fts, self._health)
        self._fts_server = self._serve(self._fts.rest, HOST, 1)
        dbs = self._serve(DbsReader(self.catalogue, self.faults, self.clock), HOST, 2)
        status_server = self._serve(status, HOST, 3)
        accesses = self._serve(AccessFeed(self.catalogue, self.faults, self.clock), HOST, 4)
        self._mail = MailSink(self.directory / "mail", HOST, self._port(5))
        chat = WebhookSink(self.directory / "chat")
        chat_server = self._serve(chat, HOST, 6)
        control_server = self._serve(control, HOST, 0, plain=True)
        return {
            "fts": f"https://{HOST}:{self._fts_server.port}",
            "dbs": f"https://{HOST}:{dbs.port}{BASE}",
            "site_status": f"https://{HOST}:{status_server.port}/sites",
            "accesses": f"https://{HOST}:{accesses.port}/accesses",
            "control": f"http://{HOST}:{control_server.port}",
            "smtp": {"host": HOST, "port": self._mail.port},
            "mail_dir": str(self._mail.directory),
            "webhook": f"https://{HOST}:{chat_server.port}{WEBHOOK}",
            "chat_dir": str(chat.directory),
            "ca": str(self.credentials.ca),
            "user_cert": str(self.credentials.user_cert),
            "user_key": str(self.credentials.user_key),
            "replicas": str(self.directory / "replicas.json"),
            "sites": sites,
        }

    def _start_site(self, number: int, entry: SiteEntry) -> dict[str, str]:
        root = site_root(self.directory, entry.name)
        storage = Storage(root, self.directory / "uploads" / entry.name, entry.capacity_bytes)
        tape = self._tape(entry, storage) if entry.storage_type == "mss" else None
        site = Site(entry.name, self.scenario.url_prefix, storage, tape, self.faults, self.scenario.anonymous_writes)
        address = self._addresses[entry.name]
        server = self._serve(site, address, 10 + number)
        return {
            "root": str(root),
            "prefix": f"davs://{address}:{server.port}{self.scenario.url_prefix}",
            "storage_type": entry.storage_type,
        }

    def _tape(self, entry: SiteEntry, storage: Storage) -> Tape:
        state = self.directory / "state" / f"tape-{entry.name}.json"
        state.parent.mkdir(parents=True, exist_ok=True)
        scale = self.scenario.time_scale
        return Tape(
            state,
            lambda lfn: storage.path(lfn).is_file(),
            entry.staging_delay * scale,
            entry.archive_delay * scale,
            lambda: self.faults.site(entry.name).tape_stuck,
            lambda: self.faults.site(entry.name).archive_stuck,
        )

    def _serve(self, service: Service, address: str, offset: int, plain: bool = False) -> Server:
        context: ssl.SSLContext | None = None if plain else self._context
        server = Server(service, address, self._port(offset), context)
        self._servers.append(server)
        server.start()
        return server

    def _port(self, offset: int) -> int:
        return self._port_base + offset if self._port_base else 0

    def _health(self) -> dict[str, Any]:
        assert self._fts is not None
        store = self._fts.store
        return {
            "status": "ok",
            "scenario": self.scenario.name,
            "pid": os.getpid(),
            "time": time.time(),
            "jobs": len(store.jobs),
            "files_waiting": len(store.waiting),
            "files_staging": len(store.staging),
        }
