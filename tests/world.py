"""An inventory in a fresh database, an identity at an FTS, and a pocket grid with an inventory to match."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.protocol import Storage, StorageOptions
from dynamo_ops.storage.webdav import WebDavStorage
from simgrid.faults import Faults
from simgrid.fts.service import Fts
from simgrid.fts.store import JobStore
from simgrid.grid import HOST, Grid
from simgrid.scenario import parse_scenario
from tests.inventory.factory import Inventory


@pytest.fixture
def inventory(database: Database) -> Inventory:
    return Inventory(database)


@pytest.fixture
def identity() -> FtsIdentity:
    return FtsIdentity("/CN=test", "01874efb-4735-4595-bc9c-591aef8240c9", "cms", "c3a622c34b769920", "certificate")


SCENARIO = {
    "name": "fileops",
    "time_scale": 0.01,
    "sites": [
        {"name": "T2_A"},
        {"name": "T2_B"},
        {"name": "T2_C"},
        {"name": "T1_TAPE", "storage_type": "mss", "staging_delay": 10},
    ],
}


@dataclass
class PocketGrid:
    """A running grid and what is needed to look behind it: files go straight into and out of the sites' directories."""

    grid: Grid
    options: StorageOptions

    def path(self, site: str, lfn: str) -> Path:
        return Path(self.grid.endpoints["sites"][site]["root"]) / lfn.lstrip("/")

    def put(self, site: str, lfn: str, data: bytes) -> None:
        path = self.path(site, lfn)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def client(self) -> FtsClient:
        e = self.grid.endpoints
        return FtsClient(e["fts"], ca=e["ca"], cert=e["user_cert"], key=e["user_key"], timeout=(5, 10))

    def storage(self, site: str) -> WebDavStorage:
        return WebDavStorage(Endpoint(site, "davs", self.grid.endpoints["sites"][site]["prefix"]), self.options)


@pytest.fixture
def pocket(tmp_path: Path) -> Iterator[PocketGrid]:
    with Grid(parse_scenario(SCENARIO), tmp_path / "grid") as grid:
        e = grid.endpoints
        yield PocketGrid(grid, StorageOptions(ca=e["ca"], cert=e["user_cert"], key=e["user_key"], threads=4))


@dataclass
class SecondFts:
    """Another FTS over the storages of a grid, with faults of its own."""

    url: str
    faults: Faults
    store: JobStore


@contextmanager
def second_fts(grid: Grid) -> Iterator[SecondFts]:
    faults = Faults(grid.scenario.faults, [site.name for site in grid.scenario.sites], grid.scenario.seed)
    fts = Fts(grid.scenario, grid.directory / "second-fts", grid.credentials, faults)
    try:
        yield SecondFts(f"https://{HOST}:{grid._serve(fts.rest, HOST, 99).port}", faults, fts.store)
    finally:
        fts.close()


@dataclass
class World:
    """The grid and an inventory that knows its sites."""

    pocket: PocketGrid
    inventory: Inventory
    client: FtsClient

    def open_storage(self, site_id: int) -> Storage:
        name = next(name for name, number in self.inventory.site_ids.items() if number == site_id)
        return self.pocket.storage(name)

    def block(self, name: str, *sites: str, num_files: int = 3) -> dict[str, bytes]:
        """A block with real files, complete at ``sites``; LFN → content."""
        contents = {f"/store/{name}/f{n}": f"{name} {n} ".encode() * (100 + n) for n in range(num_files)}
        self.inventory.block(name, contents=contents)
        for site in sites:
            self.inventory.replica(name, site)
            for lfn, data in contents.items():
                self.pocket.put(site, lfn, data)
        return contents


@pytest.fixture
def world(pocket: PocketGrid, inventory: Inventory) -> Iterator[World]:
    for name, site in pocket.grid.endpoints["sites"].items():
        inventory.site(name, site["storage_type"], prefix=site["prefix"])
    with pocket.client() as client:
        yield World(pocket, inventory, client)
