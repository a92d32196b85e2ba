"""Two real XRootD servers, one before a tape, and the pocket grid's FTS that copies between them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.protocol import Storage, StorageOptions
from dynamo_ops.storage.registry import load_plugin, plugins
from simgrid.grid import Grid
from simgrid.scenario import parse_scenario
from tests.inventory.factory import Inventory
from tests.xrootd.servers import XrootdServer, running_servers

STAGING_S = 0.5
SCENARIO = {"name": "xrootd", "time_scale": 0.003, "sites": [{"name": "T3_POCKET"}]}
SITES = {"T2_A": None, "T2_B": None, "T1_TAPE": STAGING_S}


@pytest.fixture(scope="session")
def xrootd_session() -> Iterator[dict[str, XrootdServer]]:
    with running_servers(SITES) as servers:
        yield servers


@pytest.fixture
def servers(xrootd_session: dict[str, XrootdServer]) -> dict[str, XrootdServer]:
    """The servers by site, with nothing in them."""
    for server in xrootd_session.values():
        server.clear()
    return xrootd_session


def storage_at(server: XrootdServer, protocol: str) -> Storage:
    options = StorageOptions(ca=str(server.credentials.ca), connect_timeout=2, read_timeout=20)
    return load_plugin(plugins()[protocol])(Endpoint(server.name, protocol, server.prefix(protocol)), options)


@dataclass
class XrootdWorld:
    """The servers, an inventory that knows them by one protocol, and the FTS."""

    servers: dict[str, XrootdServer]
    protocol: str
    inventory: Inventory
    client: FtsClient
    grid: Grid

    def open_storage(self, site_id: int) -> Storage:
        name = next(name for name, number in self.inventory.site_ids.items() if number == site_id)
        return storage_at(self.servers[name], "https" if self.protocol == "davs" else self.protocol)

    def block(self, name: str, site: str, num_files: int = 3) -> dict[str, bytes]:
        """A block with real files, complete at ``site``; LFN → content. Only those on tape have names of every day."""
        blank = "-" if self.servers[site].is_tape else " "
        lfns = [f"/store/{name}/d{n % 3}/f{blank}{n}.root" for n in range(num_files)]
        return self.files(name, site, {lfn: f"{name} {n} ".encode() * (500 + n) for n, lfn in enumerate(lfns)})

    def files(self, name: str, site: str, contents: dict[str, bytes]) -> dict[str, bytes]:
        """A block of these files, complete at ``site``."""
        self.inventory.block(name, contents=contents)
        self.inventory.replica(name, site)
        self.servers[site].put_all(contents)
        return contents

    def expected(self, site: str) -> dict[str, int]:
        """LFN → bytes of what the inventory says is there."""
        rows = self.inventory.rows(
            """SELECT f.lfn, f.size_bytes FROM block_replicas r JOIN files f ON f.block_id = r.block_id
            WHERE r.site_id = :s AND (r.is_complete OR EXISTS (SELECT FROM block_replica_files p
              WHERE (p.block_id, p.site_id, p.file_id) = (r.block_id, r.site_id, f.id)))""",
            s=self.inventory.site_ids[site],
        )
        return dict(rows)

    def assert_inventory_is_storage(self) -> None:
        """Each site has the files of the inventory and no others: listed by its protocol, and on its disk."""
        for site, site_id in self.inventory.site_ids.items():
            storage = self.open_storage(site_id)
            listed = {row[0]: row[1] for frame in storage.list_files("/store") for row in frame.iter_rows()}
            storage.close()
            assert listed == self.expected(site) == self.servers[site].files()


@pytest.fixture(params=["davs", "root"])
def xworld(
    request: pytest.FixtureRequest, servers: dict[str, XrootdServer], database: Database, tmp_path: Path
) -> Iterator[XrootdWorld]:
    protocol: str = request.param
    inventory = Inventory(database)
    for name, server in servers.items():
        site_id = inventory.site(name, "mss" if server.is_tape else "disk", prefix=server.prefix(protocol))
        inventory.rows("UPDATE site_endpoints SET protocol = :p WHERE site_id = :s", p=protocol, s=site_id)
    tls = next(iter(servers.values())).credentials.ca.parent
    shutil.copytree(tls, tmp_path / "grid" / "tls")  # the FTS trusts the authority that the servers do
    with Grid(parse_scenario(SCENARIO), tmp_path / "grid") as grid:
        e = grid.endpoints
        with FtsClient(e["fts"], ca=e["ca"], cert=e["user_cert"], key=e["user_key"], timeout=(5, 10)) as client:
            yield XrootdWorld(servers, protocol, inventory, client, grid)
