"""A pocket grid as the outside world of the sources, and the settings that lead there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dynamo_ops.base.settings import Settings, SourceSettings, Tls
from dynamo_ops.database.connection import Database
from dynamo_ops.sources.tasks import pull_datasets, pull_details, pull_sites
from simgrid.grid import Grid
from tests import ROOT

TINY = ROOT / "include/scenarios/tiny.yaml"
NOW = datetime.now(UTC)
"""The end of every interval: later than anything that the grid was built with."""

INVENTORY_TABLES = (
    "sites",
    "site_endpoints",
    "groups",
    "datasets",
    "blocks",
    "files",
    "dataset_replicas",
    "block_replicas",
    "block_replica_files",
    "quotas",
    "source_states",
    "accesses_daily",
    "aggregated_days",
    "attributes",
    "dataset_attributes",
    "subscriptions",
)


def settings_for(grid: Grid) -> Settings:
    ends = grid.endpoints
    return Settings(
        metadata_sources=[SourceSettings(name="dbs", type="dbs", options={"url": ends["dbs"]})],
        site_sources=[SourceSettings(name="cric", type="json", options={"url": ends["site_status"]})],
        access_sources=[SourceSettings(name="monit", type="json", options={"url": ends["accesses"]})],
        tls=Tls(ca=Path(ends["ca"])),
    )


@pytest.fixture(scope="module")
def shared_grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(TINY, tmp_path_factory.mktemp("grid") / "grid") as running:
        yield running


@pytest.fixture
def grid(shared_grid: Grid) -> Iterator[Grid]:
    """A tiny grid that others use too: its faults are healed afterwards, its catalogue must stay as it is."""
    yield shared_grid
    shared_grid.heal()


@pytest.fixture
def own_grid(tmp_path: Path) -> Iterator[Grid]:
    """A tiny grid whose catalogue may be changed."""
    with Grid(TINY, tmp_path / "grid") as running:
        yield running


def pull_all(db: Database, settings: Settings, run_key: str, *, start: datetime = NOW, full: bool = False) -> None:
    """What the DAG does before its gate."""
    pull_sites(db, settings, run_key, "cric")
    for page in pull_datasets(db, settings, run_key, "dbs", start, NOW, full=full, page_size=2):
        pull_details(db, settings, run_key, "dbs", page)


def inventory_counts(db: Database) -> dict[str, int]:
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in INVENTORY_TABLES)
    return db.frame(f"SELECT {counts}").row(0, named=True)
