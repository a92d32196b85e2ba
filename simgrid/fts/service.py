"""The FTS part as a whole: what it keeps, its daemons and its REST face. Can be stopped and started again."""

from __future__ import annotations

from pathlib import Path

from simgrid.faults import Faults
from simgrid.fts.copier.dav import StorageClients
from simgrid.fts.copier.refusal import Refusals
from simgrid.fts.delegation import Delegations
from simgrid.fts.engine import Engine
from simgrid.fts.journal import Journal
from simgrid.fts.routes import FtsRest
from simgrid.fts.staging import StagingDaemon
from simgrid.fts.store import JobStore
from simgrid.scenario import Scenario
from simgrid.tls import Credentials


class Fts:
    """State lives in `directory`; a second Fts on the same directory goes on where the first stopped or died."""

    def __init__(self, scenario: Scenario, directory: Path, credentials: Credentials, faults: Faults) -> None:
        settings = scenario.fts
        self._journal = Journal(directory / "fts.sqlite")
        self.store = JobStore(self._journal)
        delegations = Delegations(self._journal, directory / "proxies", credentials.ca)
        clients = StorageClients(credentials.ca)
        self.rest = FtsRest(self.store, delegations, faults, settings.vo)
        refusals = Refusals(scenario, faults)
        self._engine = Engine(self.store, delegations, clients, faults, refusals, settings, scenario.time_scale)
        self._staging = StagingDaemon(
            self.store, delegations, clients, faults, settings.transfer_host, scenario.time_scale
        )

    def close(self) -> None:
        self._staging.close()
        self._engine.close()
        self._journal.close()
