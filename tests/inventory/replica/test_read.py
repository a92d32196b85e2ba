"""Reading the inventory back: frames for decisions, figures for people."""

from __future__ import annotations

from dataclasses import fields

import pytest
from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory import frames
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.replica.read import read_inventory, summary
from tests.inventory.told import block, dataset, file, merge, site, sync_sites
from tests.people import inject

SCHEMAS = {
    "sites": frames.SITES,
    "groups": frames.GROUPS,
    "datasets": frames.DATASETS,
    "blocks": frames.BLOCKS,
    "dataset_replicas": frames.DATASET_REPLICAS,
    "block_replicas": frames.BLOCK_REPLICAS,
    "quotas": frames.QUOTAS,
    "locks": frames.LOCKS,
    "attribute_values": frames.ATTRIBUTE_VALUES,
    "attributes": frames.ATTRIBUTES,
    "partial_files": frames.PARTIAL_FILES,
    "doomed_files": frames.DOOMED_FILES,
    "doubted_files": frames.DOUBTED_FILES,
    "refused_sites": frames.REFUSED_SITES,
    "awaited": frames.AWAITED,
    "former_owners": frames.FORMER_OWNERS,
    "shared_storages": frames.SHARED_STORAGES,
}


@pytest.fixture
def filled(database: Database) -> Database:
    sync_sites(database, site("T2_A"), site("T2_B", "morgue"))
    merge(database, [dataset()], [block("b1"), block("b2")], [file("/a/1"), file("/a/2", in_block="b2", size_bytes=7)])
    inject(
        database,
        {
            "groups": [{"name": "phys", "ownership_level": "dataset"}],
            "quotas": [{"site": "T2_A", "partition": "Physics", "quota_bytes": 100}],
            "dataset_replicas": [{"dataset": "/A/B-v1/C", "site": "T2_A", "group": "phys", "growing": True}],
        },
    )
    merge(
        database, [dataset()], [block("b2"), block("b3")], [file("/a/3", in_block="b2", size_bytes=1)], run_key="next"
    )
    return database


def schemas(inventory: InventoryFrames) -> dict[str, dict[str, object]]:
    return {each.name: dict(getattr(inventory, each.name).schema) for each in fields(inventory)}


def test_frames_have_the_agreed_columns_empty_or_not(database: Database, request: pytest.FixtureRequest) -> None:
    expected = {name: dict(schema) for name, schema in SCHEMAS.items()}
    assert schemas(read_inventory(database)) == expected
    assert schemas(read_inventory(request.getfixturevalue("filled"))) == expected


def test_what_was_written_is_read(filled: Database) -> None:
    inventory = read_inventory(filled)
    heights = {name: getattr(inventory, name).height for name in SCHEMAS}
    assert heights == {
        "sites": 2,
        "groups": 1,
        "datasets": 1,
        "blocks": 3,
        "dataset_replicas": 1,
        "block_replicas": 3,
        "quotas": 1,
        "locks": 0,
        "attribute_values": 0,
        "attributes": 0,
        "partial_files": 1,
        "doomed_files": 0,
        "doubted_files": 0,
        "refused_sites": 0,
        "awaited": 0,
        "former_owners": 0,
        "shared_storages": 2,
    }
    replicas = inventory.block_replicas.join(inventory.blocks.select("block_id", "block"), on="block_id").sort("block")
    assert replicas.select("block", "size_bytes", "is_complete").rows() == [
        ("b1", 10, True),
        ("b2", 7, False),
        ("b3", 0, False),
    ]


def test_only_locks_in_force_are_read(filled: Database) -> None:
    with filled.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO locks (item, reason, created_by, expires_at) VALUES ('/A/*', 'x', 'me', NULL),
            ('/B/*', 'x', 'me', now() + interval '1 day'), ('/C/*', 'x', 'me', now() - interval '1 day')""")
        )
    assert sorted(read_inventory(filled).locks.rows()) == [("/A/*", "", ""), ("/B/*", "", "")]


def test_occupancy_and_summary(filled: Database) -> None:
    found = summary(filled)
    assert found.sites.rows() == [("T2_A", "disk", "ready", 3, 17, 18), ("T2_B", "disk", "morgue", 0, 0, 0)]
    assert (found.num_datasets, found.num_blocks, found.num_files, found.size_bytes) == (1, 3, 3, 18)
    assert (found.num_dataset_replicas, found.num_block_replicas, found.bytes_on_disk) == (1, 3, 17)


def test_an_empty_inventory_has_zeros(database: Database) -> None:
    found = summary(database)
    assert (found.num_datasets, found.size_bytes, found.bytes_on_disk, found.sites.height) == (0, 0, 0, 0)
