"""How fast Detox plans: a synthetic partition, one cycle; prints rows per second and CPU seconds.

python benchmarks/detox_plan.py --datasets 20000 --blocks 10 --copies 3
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

import numpy as np
import polars as pl

from dynamo_ops.detox.plan import plan_deletions
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.check import load_policy
from dynamo_ops.policy.partition import load_partitions

NOW = datetime(2018, 1, 15, 12, tzinfo=UTC)
POLICY = """
Partition Disk
On site.storage_type == DISK
When site.occupancy > 0.9
Until site.occupancy < 0.85
Protect replica.incomplete
ProtectBlock blockreplica.last_update newer_than 7 days ago
Delete dataset.status == INVALID
Protect dataset.name == /*/*/RAW
Dismiss dataset.usage_rank > 300
Protect replica.num_full_disk_copy_common_owner < 2
Dismiss
Order decreasing dataset.usage_rank increasing replica.size
"""


def synthetic(datasets: int, blocks: int, copies: int, sites: int, seed: int) -> InventoryFrames:
    """Datasets of ``blocks`` blocks, each at ``copies`` random sites; quotas such that every site is 95 % full."""
    rng = np.random.default_rng(seed)
    ids = np.arange(datasets)
    at = np.argsort(rng.random((datasets, sites)), axis=1)[:, :copies]
    size = rng.integers(10**9, 10**12, datasets * blocks)
    moment = int(NOW.timestamp() * 1e6)
    age = rng.integers(0, 500, datasets * blocks * copies) * 86_400_000_000
    block_ids = np.repeat(np.arange(datasets * blocks), copies)
    site_ids = np.repeat(at, blocks, axis=0).reshape(-1)
    replicas = pl.DataFrame(
        {
            "block_id": block_ids,
            "dataset_id": block_ids // blocks,
            "site_id": site_ids,
            "group_id": np.zeros(len(block_ids), dtype=np.int64),
            "size_bytes": size[block_ids],
            "is_complete": rng.random(len(block_ids)) < 0.999,
            "is_custodial": np.zeros(len(block_ids), dtype=bool),
            "last_update_at": moment - np.where(rng.random(len(age)) < 0.98, age, age % 7),
        }
    )
    names = [f"/Data{i % 997}/Run{i}-v1/{('AOD', 'MINIAOD', 'RAW', 'RECO')[i % 4]}" for i in range(datasets)]
    statuses = np.where(rng.random(datasets) < 0.005, "invalid", "valid")
    count = datasets * blocks
    tables = {
        "sites": {"site_id": range(sites), "site": [f"T2_{i:03}" for i in range(sites)]},
        "groups": {"group_id": [0], "group": ["AnalysisOps"], "ownership_level": ["dataset"]},
        "datasets": {"dataset_id": ids, "dataset": names, "status": statuses},
        "blocks": {"block_id": range(count), "dataset_id": np.repeat(ids, blocks), "size_bytes": size},
        "dataset_replicas": {"dataset_id": np.repeat(ids, copies), "site_id": at.reshape(-1)},
        "attribute_values": {"dataset_id": ids, "value": rng.random(datasets) * 600},
        "attributes": {"name": ["usage_rank"], "produced_at": [NOW]},
    }
    same = {
        "sites": {"storage_type": "disk", "status": "ready"},
        "datasets": {"is_open": False, "software_release": "8_0_1", "last_update_at": moment},
        "blocks": {"num_files": 4, "last_update_at": moment},
        "dataset_replicas": {"is_growing": False, "group_id": 0},
        "attribute_values": {"name": "usage_rank"},
    }
    made = {
        name: pl.DataFrame(columns).with_columns(**constants(same.get(name, {}))) for name, columns in tables.items()
    }
    made["blocks"] = made["blocks"].with_columns(
        block=pl.format("b{}", pl.col("block_id").cast(pl.String).str.zfill(8))
    )
    made["block_replicas"] = replicas
    used = replicas.group_by("site_id").agg(quota_bytes=(pl.col("size_bytes").sum() / 0.95).cast(pl.Int64))
    made["quotas"] = used.with_columns(partition=pl.lit("Disk"))
    return InventoryFrames(**{name: as_declared(name, table) for name, table in made.items()})


def constants(values: dict[str, object]) -> dict[str, pl.Expr]:
    """Columns that have one value."""
    return {name: pl.lit(value) for name, value in values.items()}


def as_declared(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """The table with the declared columns of the frame."""
    return table.select(pl.col(column).cast(dtype) for column, dtype in schema(name).items())


def schema(name: str) -> f.Schema:
    """The declared columns of a frame."""
    found: f.Schema = getattr(f, name.upper())
    return found


def main() -> None:
    """Make the inventory, plan once, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("datasets", 5000), ("blocks", 10), ("copies", 3), ("sites", 50), ("seed", 1)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    frames = synthetic(options.datasets, options.blocks, options.copies, options.sites, options.seed)
    policy = load_policy(POLICY, now=NOW)
    partitions = load_partitions("Disk: site.storage_type == DISK\n", now=NOW)
    started, cpu = time.perf_counter(), time.process_time()
    plan = plan_deletions(frames, policy, partitions, now=NOW)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    rows, deletions = plan.decisions.height, plan.deletions["delete_order"].n_unique()
    print(f"{rows} block replicas, {deletions} deletions: {wall:.2f} s, {cpu:.2f} CPU s, {rows / wall:,.0f} rows/s")
    print(plan.decisions["decision"].value_counts().sort("decision"))


if __name__ == "__main__":
    main()
