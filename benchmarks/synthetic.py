"""A seeded inventory that looks like CMS's: names, sizes, copies, ages, owners and popularity are spread as there."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames

NOW = datetime(2018, 1, 15, 12, tzinfo=UTC)
DAY_US = 86_400_000_000
TIERS = ("AODSIM", "MINIAODSIM", "RAW", "AOD", "RECO", "MINIAOD", "GEN-SIM", "NANOAODSIM")
STATUSES = ("valid", "production", "deprecated", "invalid")
STATUS_SHARE = (0.955, 0.03, 0.01, 0.005)
GROUPS = ("AnalysisOps", "DataOps", "physics", "tracker")
NUM_TAPE = 7
OCCUPANCY = 0.97
ATTRIBUTES = ("usage_rank", "last_access", "num_access")


def inventory(dataset_replicas: int, *, blocks_per_dataset: float, sites: int = 100, seed: int = 1) -> InventoryFrames:
    """About ``dataset_replicas`` replicas, 2.5 a dataset, at ``sites`` sites, 7 of them tape; disks are 97 % full.

    The number of a dataset's blocks is geometric around ``blocks_per_dataset``; 1.5 % of the block replicas are
    incomplete, 6 % younger than a week. The partition ``Physics`` is everything.
    """
    rng = np.random.default_rng(seed)
    num_datasets = max(1, int(dataset_replicas / 2.5))
    num_blocks = np.minimum(rng.geometric(1 / blocks_per_dataset, num_datasets), 2000)
    dataset, site = _holders(rng, num_datasets, sites)
    first_block = np.cumsum(num_blocks) - num_blocks
    total = int(num_blocks.sum())
    dataset_of_block = np.repeat(np.arange(num_datasets), num_blocks)
    size = rng.lognormal(25.5, 1.2, total).astype(np.int64)
    counts = num_blocks[dataset]
    offset = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    block = np.repeat(first_block[dataset], counts) + offset
    block_replicas = _block_replicas(rng, block, np.repeat(dataset, counts), np.repeat(site, counts), size)
    used = block_replicas.group_by("site_id").agg(pl.col("size_bytes").sum())
    return InventoryFrames(
        sites=_sites(rng, sites),
        groups=_frame({"group_id": range(4), "group": GROUPS, "ownership_level": ["dataset", "block"] * 2}, f.GROUPS),
        datasets=_datasets(rng, num_datasets),
        blocks=_blocks(total, dataset_of_block, size),
        dataset_replicas=_frame(
            {"dataset_id": dataset, "site_id": site, "is_growing": rng.random(len(dataset)) < 0.1, "group_id": 0},
            f.DATASET_REPLICAS,
        ),
        block_replicas=block_replicas,
        quotas=_frame(
            {"site_id": used["site_id"], "partition": "Physics", "quota_bytes": used["size_bytes"] / OCCUPANCY},
            f.QUOTAS,
        ),
        locks=_frame({"item": ["/Data1/*", "/Data2/Run2-v2/RAW"], "sites": "", "groups": ""}, f.LOCKS),
        attribute_values=_attribute_values(rng, num_datasets),
        attributes=_frame({"name": ATTRIBUTES, "produced_at": [NOW] * len(ATTRIBUTES)}, f.ATTRIBUTES),
    )


def _holders(rng: np.random.Generator, datasets: int, sites: int) -> tuple[np.ndarray, np.ndarray]:
    """(dataset, site) of the dataset replicas: a tape copy of 3 in 5 datasets, else disks by their weight."""
    copies = 1 + rng.poisson(1.05, datasets)
    dataset = np.repeat(np.arange(datasets), copies)
    weight = rng.lognormal(0, 0.7, sites - NUM_TAPE)
    site = NUM_TAPE + rng.choice(sites - NUM_TAPE, len(dataset), p=weight / weight.sum())
    on_tape = np.flatnonzero(rng.random(datasets) < 0.6)
    dataset = np.concatenate((dataset, on_tape))
    site = np.concatenate((site, rng.integers(0, NUM_TAPE, len(on_tape))))
    key = np.unique(dataset * sites + site)
    return key // sites, key % sites


def _block_replicas(
    rng: np.random.Generator, block: np.ndarray, dataset: np.ndarray, site: np.ndarray, size: np.ndarray
) -> pl.DataFrame:
    number = len(block)
    is_complete = rng.random(number) < 0.985
    age = np.where(rng.random(number) < 0.06, rng.integers(0, 7, number), rng.integers(7, 900, number))
    group = np.where(rng.random(number) < 0.02, rng.integers(0, 4, number), rng.choice(4, dataset.max() + 1)[dataset])
    return _frame(
        {
            "block_id": block,
            "dataset_id": dataset,
            "site_id": site,
            "group_id": group,
            "size_bytes": np.where(is_complete, size[block], size[block] // 3),
            "is_complete": is_complete,
            "is_custodial": site < NUM_TAPE,
            "last_update_at": int(NOW.timestamp() * 1e6) - age * DAY_US,
        },
        f.BLOCK_REPLICAS,
    )


def _sites(rng: np.random.Generator, sites: int) -> pl.DataFrame:
    is_tape = np.arange(sites) < NUM_TAPE
    names = [f"T1_{i:02}_MSS" if tape else f"T2_{i:02}_Disk" for i, tape in enumerate(is_tape)]
    storage = np.where(is_tape, "mss", "disk")
    status = np.where(~is_tape & (rng.random(sites) < 0.03), "waitroom", "ready")
    return _frame({"site_id": range(sites), "site": names, "storage_type": storage, "status": status}, f.SITES)


def _datasets(rng: np.random.Generator, number: int) -> pl.DataFrame:
    index = pl.Series(np.arange(number))
    tier = pl.Series(rng.choice(TIERS, number))
    age = rng.integers(7, 900, number)
    frame = pl.DataFrame({"dataset_id": index, "tier": tier}).select(
        "dataset_id",
        pl.format("/Data{}/Run{}-v{}/{}", pl.col("dataset_id") % 9973, pl.col("dataset_id"), index % 4, "tier").alias(
            "dataset"
        ),
        pl.Series("status", rng.choice(STATUSES, number, p=STATUS_SHARE)),
        pl.lit(False).alias("is_open"),
        pl.Series("software_release", rng.choice(("CMSSW_8_0_1", "CMSSW_9_4_0", "CMSSW_10_0_0"), number)),
        pl.Series("last_update_at", int(NOW.timestamp() * 1e6) - age * DAY_US).cast(f.UTC),
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in f.DATASETS.items())


def _blocks(total: int, dataset: np.ndarray, size: np.ndarray) -> pl.DataFrame:
    frame = pl.DataFrame({"block_id": np.arange(total), "dataset_id": dataset, "size_bytes": size}).select(
        "block_id",
        "dataset_id",
        pl.format("{}-4ce8-4f6e-9b1d-0242ac130003", pl.col("block_id").cast(pl.String).str.zfill(8)).alias("block"),
        "size_bytes",
        pl.lit(20).alias("num_files"),
        pl.lit(int(NOW.timestamp() * 1e6)).cast(f.UTC).alias("last_update_at"),
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in f.BLOCKS.items())


def _attribute_values(rng: np.random.Generator, number: int) -> pl.DataFrame:
    values = {
        "usage_rank": rng.gamma(2, 120, number),
        "last_access": NOW.timestamp() - rng.gamma(1.5, 150, number) * 86_400,
        "num_access": rng.poisson(3, number),
    }
    return pl.concat(
        _frame({"dataset_id": np.arange(number), "name": name, "value": column}, f.ATTRIBUTE_VALUES)
        for name, column in values.items()
    )


def _frame(columns: dict[str, object], schema: f.Schema) -> pl.DataFrame:
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in schema.items())
