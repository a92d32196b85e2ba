from __future__ import annotations

import json
import os
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simgrid.build import build, placement_document
from simgrid.population import populate
from simgrid.scenario import load_scenario
from tests.simgrid.conftest import TINY

DEMO = TINY.with_name("demo.yaml")


def stored(directory: Path) -> dict[str, bytes]:
    """Everything on the storages, by site and LFN."""
    root = directory / "sites"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_storage_holds_what_the_catalogue_says(tmp_path: Path) -> None:
    catalogue = build(load_scenario(TINY), tmp_path)
    blocks = catalogue.blocks_by_name()
    expected = {f"{r.site}{f.lfn}": f for r in catalogue.replicas for name in r.blocks for f in blocks[name].files}
    found = stored(tmp_path)
    missing = {f"{site}{lfn}" for site, lfn in catalogue.missing}
    orphans = {f"{site}{lfn}" for site, lfn in catalogue.orphans}
    assert len(missing) == 2
    assert len(orphans) == 3
    assert found.keys() == (expected.keys() - missing) | orphans
    for place in expected.keys() - missing:
        assert len(found[place]) == expected[place].size
        assert f"{zlib.adler32(found[place]):08x}" == expected[place].adler32


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    build(load_scenario(TINY), tmp_path / "one")
    build(load_scenario(TINY), tmp_path / "two")
    assert stored(tmp_path / "one") == stored(tmp_path / "two")


def test_ages_count_back_from_the_moment_of_building() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    catalogue = populate(load_scenario(TINY), now)
    age = {dataset.name: now.timestamp() - dataset.modified_at for dataset in catalogue.datasets}
    assert age["/Electrons/Run2026A-v1/MINI"] == 40 * 86400
    assert {access.day for access in catalogue.accesses} == {"2026-11-22", "2026-11-21", "2026-11-20", "2026-11-19"}


def test_building_again_keeps_what_happened_and_fresh_wipes_only_ours(tmp_path: Path) -> None:
    scenario = load_scenario(TINY)
    (tmp_path / "theirs.txt").write_text("keep me")
    first = build(scenario, tmp_path)
    lfn = first.datasets[0].blocks[0].files[0].lfn
    os.unlink(f"{tmp_path}/sites/T1_AA_Disk{lfn}")
    assert build(scenario, tmp_path) == first
    assert not os.path.exists(f"{tmp_path}/sites/T1_AA_Disk{lfn}")
    build(scenario, tmp_path, fresh=True)
    assert os.path.exists(f"{tmp_path}/sites/T1_AA_Disk{lfn}")
    assert (tmp_path / "theirs.txt").read_text() == "keep me"


def test_placement_document(tmp_path: Path) -> None:
    catalogue = build(load_scenario(TINY), tmp_path)
    document = json.loads((tmp_path / "replicas.json").read_text())
    assert document.keys() == {"groups", "quotas", "dataset_replicas"}
    assert document["groups"] == [
        {"name": "physics", "ownership_level": "dataset"},
        {"name": "express", "ownership_level": "block"},
    ]
    by_place = {(r["dataset"], r["site"]): r for r in document["dataset_replicas"]}
    assert len(by_place[("/SimTop/Run2026A-v1/MINI", "T2_CC")]["blocks"]) == 1
    assert by_place[("/Muons/Run2026A-v1/AOD", "T2_BB")]["growing"] is True
    quota = {(q["site"], q["partition"]): q["quota_bytes"] for q in document["quotas"]}
    assert catalogue.placed_bytes("T2_BB", "physics") / quota["T2_BB", "physics"] == pytest.approx(0.95, abs=0.001)


def test_the_demo_has_the_promised_shape() -> None:
    scenario = load_scenario(DEMO)
    catalogue = populate(scenario, datetime.now(UTC))
    files = [file for dataset in catalogue.datasets for block in dataset.blocks for file in block.files]
    assert 2800 <= len({file.lfn for file in files}) <= 3200
    assert all(file.lfn.startswith(("/store/data/", "/store/express/")) for file in files)
    blocks = catalogue.blocks_by_name()
    assert sum(blocks[name].size for r in catalogue.replicas for name in r.blocks) < 100e6
    document = placement_document(scenario, catalogue)
    for quota in document["quotas"]:
        if quota["site"] in ("T2_CC", "T2_DD"):
            assert 0.9 < catalogue.placed_bytes(quota["site"], quota["partition"]) / quota["quota_bytes"] < 0.99
    tapes = {site.name for site in scenario.sites if site.storage_type == "mss"}
    sites_of: dict[str, set[str]] = {}
    for replica in catalogue.replicas:
        sites_of.setdefault(replica.dataset, set()).add(replica.site)
    assert any(sites <= tapes for sites in sites_of.values())
    assert sum(1 for dataset in catalogue.datasets if dataset.name not in {a.dataset for a in catalogue.accesses}) > 30
