"""Injection: all of a document or nothing, and the same document twice is once."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from dynamo_ops.errors import InventoryError
from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.injection import InjectionSummary, inject
from dynamo_ops.sources.steps import merge as merge_all
from simgrid.grid import Grid
from tests.inventory.told import block, dataset, file, merge, site, sync_sites
from tests.sources.pocket import NOW, TINY, inventory_counts, pull_all, settings_for

DOCUMENT: dict[str, Any] = {
    "groups": [{"name": "phys", "ownership_level": "dataset"}],
    "quotas": [{"site": "T2_A", "partition": "Physics", "quota_bytes": 100}],
    "dataset_replicas": [
        {"dataset": "/A/B-v1/C", "site": "T2_A", "group": "phys", "growing": True, "blocks": "*"},
        {"dataset": "/A/B-v1/C", "site": "T2_B", "group": None, "growing": False, "blocks": ["/A/B-v1/C#b2"]},
    ],
}


@pytest.fixture
def filled(database: Database) -> Database:
    sync_sites(database, site("T2_A"), site("T2_B"))
    merge(
        database,
        [dataset()],
        [block("b1"), block("b2")],
        [file("/a/1"), file("/a/2"), file("/a/3", in_block="b2", size_bytes=7)],
    )
    return database


def replicas(db: Database) -> list[tuple[object, ...]]:
    return db.frame("""
        SELECT b.name AS block, s.name AS site, g.name AS owner, r.is_complete, r.size_bytes FROM block_replicas AS r
        JOIN blocks AS b ON b.id = r.block_id JOIN sites AS s ON s.id = r.site_id
        LEFT JOIN groups AS g ON g.id = r.group_id ORDER BY 1, 2""").rows()


def test_all_of_it_is_written(filled: Database) -> None:
    assert inject(filled, DOCUMENT) == InjectionSummary(1, 1, 2, 3, 34)
    assert replicas(filled) == [
        ("b1", "T2_A", "phys", True, 20),
        ("b2", "T2_A", "phys", True, 7),
        ("b2", "T2_B", None, True, 7),
    ]
    growing = filled.frame("SELECT is_growing, group_id IS NULL AS is_null FROM dataset_replicas ORDER BY site_id")
    assert growing.rows() == [(True, False), (False, True)]
    quotas = filled.frame("SELECT partition, quota_bytes, changed_by FROM quotas")
    assert quotas.rows() == [("Physics", 100, "injection")]


def test_the_same_document_again_changes_nothing(filled: Database) -> None:
    inject(filled, DOCUMENT)
    before = replicas(filled)
    assert inject(filled, DOCUMENT) == InjectionSummary(0, 0, 0, 0, 0)
    assert replicas(filled) == before


def test_a_dry_run_tells_and_writes_nothing(filled: Database) -> None:
    before = inventory_counts(filled)
    assert inject(filled, DOCUMENT, dry_run=True) == InjectionSummary(1, 1, 2, 3, 34)
    assert inventory_counts(filled) == before


def test_changes_are_taken_over(filled: Database) -> None:
    inject(filled, DOCUMENT)
    changed = deepcopy(DOCUMENT)
    changed["groups"].append({"name": "top", "ownership_level": "block"})
    changed["quotas"][0]["quota_bytes"] = -1
    changed["dataset_replicas"][0].update(group="top", growing=False)
    assert inject(filled, changed) == InjectionSummary(1, 1, 1, 2, 27)
    assert replicas(filled)[0] == ("b1", "T2_A", "top", True, 20)


def test_an_incomplete_block_replica_becomes_complete(filled: Database) -> None:
    inject(filled, DOCUMENT)
    merge(filled, [dataset()], [block("b2")], [file("/a/4", in_block="b2")], run_key="next")
    assert filled.frame("SELECT count(*) AS n FROM block_replica_files").item() == 2
    assert inject(filled, DOCUMENT).block_replicas == 2
    assert filled.frame("SELECT count(*) AS n FROM block_replica_files").item() == 0
    assert ("b2", "T2_A", "phys", True, 17) in replicas(filled)


def test_an_empty_document_is_fine(database: Database) -> None:
    assert inject(database, {}) == InjectionSummary(0, 0, 0, 0, 0)


def replica(**changes: Any) -> dict[str, Any]:
    return {"dataset_replicas": [{"dataset": "/A/B-v1/C", "site": "T2_A", "blocks": "*", **changes}]}


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown site": (replica(site="T2_AA"), ["dataset_replicas[0].site: unknown site 'T2_AA'; near: T2_A"]),
    "unknown dataset": (
        replica(dataset="/A/B-v2/C"),
        ["dataset_replicas[0].dataset: unknown dataset '/A/B-v2/C'; near: /A/B-v1/C"],
    ),
    "unknown group": (
        {"groups": [{"name": "phys", "ownership_level": "block"}], **replica(group="fys")},
        ["dataset_replicas[0].group: unknown group 'fys'; near: phys"],
    ),
    "unknown block": (
        replica(blocks=["/A/B-v1/C#b1", "/A/B-v1/C#b3"]),
        ["dataset_replicas[0].blocks[1]: unknown block '/A/B-v1/C#b3'; near: /A/B-v1/C#b"],
    ),
    "block of another dataset": (
        replica(blocks=["/D/E/F#b1"]),
        ["dataset_replicas[0].blocks[0]: block '/D/E/F#b1' is not one of dataset '/A/B-v1/C'"],
    ),
    "no block name": (
        replica(blocks=["/A/B-v1/C"]),
        ["dataset_replicas[0].blocks[0]: '/A/B-v1/C' is not of the form dataset#block"],
    ),
    "the same twice": (
        {"dataset_replicas": replica()["dataset_replicas"] * 2},
        ["dataset_replicas[1]: the same dataset and site as dataset_replicas[0]: '/A/B-v1/C' 'T2_A'"],
    ),
    "quota at an unknown site": (
        {"quotas": [{"site": "T3_X", "partition": "Physics", "quota_bytes": 1}]},
        ["quotas[0].site: unknown site 'T3_X'"],
    ),
    "wrong level": (
        {"groups": [{"name": "phys", "ownership_level": "file"}]},
        ["groups[0].ownership_level: Input should be 'dataset' or 'block', got 'file'"],
    ),
    "unknown key": (replica(sight="T2_A"), ["dataset_replicas[0].sight: Extra inputs are not permitted"]),
    "blocks of a wrong kind": (replica(blocks="all"), ["dataset_replicas[0].blocks: "]),
    "several faults": (
        {"quotas": [{"site": "T3_X", "partition": "P", "quota_bytes": 1}], **replica(site="T2_C", dataset="/X/Y/Z")},
        ["quotas[0].site", "dataset_replicas[0].site: unknown site 'T2_C'; near: T2_", "dataset_replicas[0].dataset"],
    ),
}


@pytest.mark.parametrize(("document", "told"), BAD.values(), ids=BAD.keys())
def test_faults_are_named_by_their_path(filled: Database, document: dict[str, Any], told: list[str]) -> None:
    before = inventory_counts(filled)
    with pytest.raises(InventoryError, match="nothing was written") as caught:
        inject(filled, document)
    for words in told:
        assert words in str(caught.value)
    assert inventory_counts(filled) == before


def test_very_many_faults_are_cut(filled: Database) -> None:
    many = {"dataset_replicas": [{"dataset": f"/X/Y/{n}", "site": "T2_A"} for n in range(50)]}
    with pytest.raises(InventoryError, match="… and 30 more"):
        inject(filled, many)


def test_the_grids_own_document(database: Database, tmp_path: Path) -> None:
    with Grid(TINY, tmp_path / "grid") as grid:
        pull_all(database, settings_for(grid), "run")
        merge_all(database, "run", ["dbs"], ["cric"], NOW)
        document = json.loads(Path(grid.endpoints["replicas"]).read_text())
        summary = inject(database, document)
        assert summary.dataset_replicas == len(grid.catalogue.replicas)
        assert summary.block_replicas == sum(len(replica.blocks) for replica in grid.catalogue.replicas)


def test_a_hundred_thousand_block_replicas_take_a_handful_of_statements(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO sites (name, storage_type, status)
            SELECT 'T2_' || n, 'disk', 'ready' FROM generate_series(1, 10) n""")
        )
        connection.execute(
            text("""
            INSERT INTO datasets (name, status, is_open, last_update_at)
            SELECT '/A/' || n || '/C', 'valid', false, now() FROM generate_series(1, 1000) n""")
        )
        connection.execute(
            text("""
            INSERT INTO blocks (dataset_id, name, is_open, size_bytes, last_update_at)
            SELECT d.id, 'b' || n, false, 10, now() FROM datasets d, generate_series(1, 10) n""")
        )
    blocks = {n: [f"/A/{n}/C#b{b}" for b in range(1, 11)] for n in range(1, 1001)}
    document = {
        "dataset_replicas": [
            {"dataset": f"/A/{n}/C", "site": f"T2_{s}", "blocks": blocks[n] if s % 2 else "*"}
            for n in blocks
            for s in range(1, 11)
        ]
    }
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert inject(database, document).block_replicas == 100_000
    assert len(statements) < 40
