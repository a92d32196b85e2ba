"""Random inventories, proposals and Dealer configurations, by seed: what is odd is there more often than in life."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import yaml

from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import PROPOSALS
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.partition import load_partitions
from tests.detox.random_case import GROUPS, PARTITIONS, SITES
from tests.detox.random_case import random_case as detox_case
from tests.detox.small import NOW

PLUGINS = ("alpha", "beta", "gamma")
PATTERNS = (["T2_*"], ["*"], ["T*", "!T1_*"], ["T2_*", "!T2_[BC]*", "T2_C"])
RULES = (
    {"condition": "dataset.name == /d0[0-3]*", "sites": ["T2_A", "T2_B"]},
    {"condition": "dataset.name in [/d01 /d04 /d07]", "sites": ["T2_[CD]*"]},
    {"groups": ["Data"], "sites": ["T*", "!T2_A"]},
    {"storage_types": ["disk"]},
)
UNKNOWN = 99


@dataclass(frozen=True)
class DealerCase:
    """One cycle's input."""

    frames: InventoryFrames
    proposals: pl.DataFrame
    config: DealerConfig
    seed: int

    def plan(self, frames: InventoryFrames | None = None, seed: int | None = None) -> CopyPlan:
        """The plan for this case, or for other frames or another seed."""
        return plan_copies(
            frames or self.frames,
            self.proposals,
            self.config,
            load_partitions(PARTITIONS, now=NOW),
            now=NOW,
            seed=self.seed if seed is None else seed,
        )


def random_case(seed: int) -> DealerCase:
    """The case of this seed."""
    rng = np.random.default_rng(seed)
    frames = _with_files(rng, detox_case(seed).frames)
    roomier = int(rng.choice([1, 4, 20]))
    quota = pl.when(pl.col("quota_bytes") > 0).then(pl.col("quota_bytes") * roomier).otherwise("quota_bytes")
    frames = replace(frames, quotas=frames.quotas.with_columns(quota_bytes=quota))
    return DealerCase(frames, _proposals(rng, frames), _config(rng), int(rng.integers(2**31)))


def _with_files(rng: np.random.Generator, frames: InventoryFrames) -> InventoryFrames:
    """Blocks of 0 to 3 files; incomplete replicas have some of them."""
    counts = rng.choice([0, 1, 2, 3], frames.blocks.height, p=[0.03, 0.37, 0.3, 0.3])
    files = dict(zip(frames.blocks["block_id"], counts.tolist(), strict=True))
    replicas = frames.block_replicas
    broken = rng.random(replicas.height) < rng.choice([0.0, 0.5])
    replicas = replicas.with_columns(is_complete=pl.col("is_complete") & ~pl.Series(broken))
    present = [
        (block, site, 10 * block + number)
        for block, site in replicas.filter(~pl.col("is_complete")).select("block_id", "site_id").iter_rows()
        for number in range(files[block])
        if rng.random() < 0.6
    ]
    return replace(
        frames,
        blocks=frames.blocks.with_columns(num_files=pl.Series(counts, dtype=pl.Int64)),
        block_replicas=replicas,
        partial_files=pl.DataFrame(present, schema=dict(f.PARTIAL_FILES), orient="row"),
    )


def _proposals(rng: np.random.Generator, frames: InventoryFrames) -> pl.DataFrame:
    """Up to 40, of each plugin in turns; some name what is not there."""
    datasets = frames.datasets["dataset_id"].to_list()
    blocks = {
        dataset: frames.blocks.filter(pl.col("dataset_id") == dataset)["block_id"].to_list() for dataset in datasets
    }
    rows = []
    for number in range(int(rng.integers(0, 41))):
        is_odd, dataset = rng.random() < 0.03, int(rng.choice(datasets))
        is_named, is_narrow = rng.random() < 0.5, rng.random() < 0.3
        picked = rng.choice(blocks[dataset], int(rng.integers(1, len(blocks[dataset]) + 1)), replace=False)
        rows.append(
            {
                "plugin": str(rng.choice(PLUGINS)),
                "request_id": number if rng.random() < 0.5 else None,
                "dataset_id": UNKNOWN if is_odd else dataset,
                "block_ids": [int(b) for b in picked] if rng.random() < 0.3 else None,
                "site_id": int(rng.choice([*range(len(SITES)), UNKNOWN], p=[0.19] * 5 + [0.05])) if is_named else None,
                "candidate_site_ids": [int(s) for s in rng.choice(len(SITES), 3, replace=False)] if is_narrow else None,
                "group_id": int(rng.integers(len(GROUPS))) if rng.random() < 0.6 else None,
                "reason": f"why {number}",
                "refused": "too large" if rng.random() < 0.05 else None,
            }
        )
    return pl.DataFrame(rows, schema={"plugin": pl.String, **PROPOSALS})


def _config(rng: np.random.Generator) -> DealerConfig:
    weights = [0, 1, 1, 2, 3] if rng.random() < 0.2 else [1, 1, 2, 3]
    chosen = rng.choice(len(RULES), size=int(rng.choice([0, 0, 1, 2])), replace=False)
    given = {
        "partition": str(rng.choice(["P", "Q", "All"])),
        "group": "Ana",
        "target_sites": PATTERNS[int(rng.integers(len(PATTERNS)))],
        "target_site_occupancy": float(rng.choice([0.5, 0.93, 3.0])),
        "max_site_pending_fraction": float(rng.choice([0.02, 0.3, 5.0])),
        "max_total_cycle_volume": float(rng.choice([400, 1500, 10**6])) / 10**12,
        "placement": [RULES[int(number)] for number in chosen],
        "plugins": {name: {"priority": int(rng.choice(weights))} for name in PLUGINS},
    }
    return load_config(yaml.safe_dump(given))
