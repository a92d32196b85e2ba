"""Random inventories and policies, by seed: every verb, most variables, tape, hand-overs, locks, rules, odd quotas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from dynamo_ops.detox.engine.plan import DeletionPlan, plan_deletions
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW

SITES = ("T1_A_MSS", "T2_A", "T2_B", "T2_C", "T2_D")
GROUPS = (("Ana", "dataset"), ("Bulk", "block"), ("Data", "dataset"))
PARTITIONS = "P: blockreplica.owner != Data\nQ: blockreplica.owner == Data\nAll: [P, Q]\n"
STATUSES = ("valid", "production", "invalid")
PREDICATES = (
    "dataset.name == /d0*",
    "dataset.name in [/d01 /d03 /d1*]",
    "dataset.name =~ /d[0-4]",
    "dataset.status == INVALID",
    "dataset.status != VALID",
    "dataset.on_tape == FULL",
    "dataset.on_tape != FULL",
    "dataset.on_tape == PARTIAL",
    "dataset.size > 250",
    "dataset.last_access newer_than 20 days ago",
    "dataset.num_full_disk_copy < 2",
    "dataset.num_full_disk_copy > 1",
    "dataset.num_full_copy > 2",
    "dataset.usage_rank > 2",
    "dataset.on_protected_site",
    "replica.size > 150",
    "replica.incomplete",
    "not replica.incomplete",
    "replica.last_block_created newer_than 30 days ago",
    "replica.first_block_created older_than 30 days ago",
    "replica.last_used older_than 10 days ago",
    "replica.num_access < 2",
    "replica.num_full_disk_copy_common_owner > 1",
    "replica.num_full_disk_copy_common_owner < 2",
    "replica.num_full_other_copy_common_owner > 0",
    "replica.enforcer_protected",
    "replica.owners == Bulk",
    "replica.owners != Ana",
    "replica.has_locked_block",
    "blockreplica.owner == Bulk",
    "blockreplica.owner == None",
    "blockreplica.owner != Ana",
    "blockreplica.owner in [Ana Data]",
    "blockreplica.last_update newer_than 30 days ago",
    "blockreplica.is_locked",
    "not blockreplica.is_locked",
    "blockreplica.is_last_transfer_source",
    "blockreplica.num_full_disk_copy < 2",
    "blockreplica.num_full_disk_copy > 1",
    "blockreplica.on_tape",
    "blockreplica.age_relative_to_newest > 20",
    "site.name == T2_[AB]*",
    "site.status == READY",
    "site.storage_type == MSS",
)
VERBS = ("Protect", "Dismiss", "Delete", "Ignore", "ProtectBlock", "DismissBlock", "DeleteBlock")
ORDERS = (
    "Order none",
    "Order decreasing dataset.usage_rank",
    "Order decreasing dataset.usage_rank increasing replica.size",
    "Order increasing replica.size decreasing dataset.name",
    "Order increasing dataset.num_full_disk_copy increasing site.name",
    "Order increasing replica.last_used",
)


@dataclass(frozen=True)
class RandomCase:
    """One inventory and one policy, and what else a plan is made of."""

    frames: InventoryFrames
    policy_text: str
    partition: str
    rules_text: str
    protected_sites: tuple[str, ...]
    deletion_per_iteration: float

    def plan(self, frames: InventoryFrames | None = None) -> DeletionPlan:
        """The plan for this case, or for other frames under its policy."""
        return plan_deletions(
            frames or self.frames,
            load_policy(self.policy_text, now=NOW),
            load_partitions(PARTITIONS, now=NOW),
            now=NOW,
            partition=self.partition,
            enforcer_rules=load_rules(self.rules_text, now=NOW),
            protected_sites=self.protected_sites,
            deletion_per_iteration=self.deletion_per_iteration,
        )


def random_case(seed: int, *, predicates: Sequence[str] = PREDICATES, verbs: Sequence[str] = VERBS) -> RandomCase:
    """The case of this seed."""
    rng = np.random.default_rng(seed)
    return RandomCase(
        frames=_inventory(rng),
        policy_text=_policy(rng, predicates, verbs),
        partition=str(rng.choice(["P", "All"])),
        rules_text=_rules(rng),
        protected_sites=("T2_C",) if rng.random() < 0.2 else (),
        deletion_per_iteration=float(rng.choice([0.01, 0.1, 0.5])),
    )


def _policy(rng: np.random.Generator, predicates: Sequence[str], verbs: Sequence[str]) -> str:
    high = rng.choice([0.2, 0.6, 0.9])
    when = rng.choice([f"site.occupancy > {high}"] * 5 + ["always", "site.quota > 1500", "site.name == T2_A"])
    until = rng.choice([f"site.occupancy < {high / 2}"] * 4 + ["never", f"site.occupancy < {high}"])
    lines = [f"On site.storage_type == DISK{rng.choice(['', '', ' and site.status == READY'])}"]
    if rng.random() < 0.5:
        lines.append("On site.storage_type == MSS")
    lines += [f"When {when}", f"Until {until}"]
    if rng.random() < 0.6:
        lines.append("Ignore site.storage_type == MSS")
    for _ in range(int(rng.integers(0, 7))):
        verb = rng.choice(verbs)
        chosen = rng.choice(len(predicates), size=int(rng.choice([1, 1, 2, 3])), replace=False)
        lines.append(f"{verb} {' and '.join(predicates[number] for number in chosen)}")
    lines.append(str(rng.choice(["Dismiss", "Dismiss", "Dismiss", "Protect", "Delete", "Ignore"])))
    lines.append(str(rng.choice(ORDERS)))
    if rng.random() < 0.05:
        lines.append("Algo Static")
    return "\n".join(lines) + "\n"


def _rules(rng: np.random.Generator) -> str:
    rule = {
        "num_copies": int(rng.integers(1, 3)),
        "protect": True,
        "destinations": [str(rng.choice(["site.storage_type == DISK", "site.name == T2_[ABC]*"]))],
        "sources": [str(rng.choice(["site.name == *", "site.storage_type == DISK"]))],
        "replicas": [str(rng.choice(["dataset.name == /d0*", "dataset.num_full_disk_copy > 0", "replica.size > 50"]))],
    }
    return json.dumps({"rules": {"keep": rule} if rng.random() < 0.7 else {}})


def _inventory(rng: np.random.Generator) -> InventoryFrames:
    """Up to 12 datasets of up to 4 blocks at 5 sites, with lacking, incomplete, new and otherwise owned replicas."""
    number = int(rng.integers(1, 13))
    num_blocks = rng.integers(1, 5, number)
    dataset_of_block = np.repeat(np.arange(number), num_blocks)
    size = rng.integers(0, 150, len(dataset_of_block))
    held = rng.random((number, len(SITES))) < rng.choice([0.4, 0.8])
    dataset, site = np.nonzero(held)
    block, at = np.nonzero(held[dataset_of_block])
    present = rng.random(len(block)) < 0.92
    block, at = block[present], at[present]
    is_complete = rng.random(len(block)) < 0.9
    age = rng.choice([5, 25, 100], len(block), p=[0.2, 0.1, 0.7])
    owner_of_dataset = rng.integers(0, 4, number)
    group = np.where(
        rng.random(len(block)) < rng.choice([0.0, 0.2]),
        rng.integers(0, 4, len(block)),
        owner_of_dataset[dataset_of_block[block]],
    )
    quota = [int(rng.choice([0, -1, 300, 800, 1500, 3000])) for _ in SITES]
    quotas = [(s, p, q) for s, q in enumerate(quota) for p in ("P", "Q") if rng.random() < 0.95]
    locks = [(("/d01", "/d0*", "/d02#b1")[int(rng.integers(3))], ("", "T2_A", "T9*")[int(rng.integers(3))], "")]
    status = ["waitroom" if rng.random() < 0.15 else "ready" for _ in SITES]
    old = NOW - timedelta(days=100)
    return InventoryFrames(
        sites=_rows([(i, s, "mss" if "MSS" in s else "disk", status[i]) for i, s in enumerate(SITES)], f.SITES),
        groups=_rows([(i, name, level) for i, (name, level) in enumerate(GROUPS)], f.GROUPS),
        datasets=_rows(
            [
                (i, f"/d{i:02}", str(rng.choice(STATUSES, p=[0.7, 0.15, 0.15])), False, "8_0_1", old)
                for i in range(number)
            ],
            f.DATASETS,
        ),
        blocks=_columns(
            {
                "block_id": np.arange(len(size)),
                "dataset_id": dataset_of_block,
                "block": [f"b{i}" for i in range(len(size))],
                "size_bytes": size,
                "num_files": 1,
                "last_update_at": old,
            },
            f.BLOCKS,
        ),
        dataset_replicas=_columns(
            {"dataset_id": dataset, "site_id": site, "is_growing": False, "group_id": None}, f.DATASET_REPLICAS
        ),
        block_replicas=_columns(
            {
                "block_id": block,
                "dataset_id": dataset_of_block[block],
                "site_id": at,
                "group_id": pl.Series(np.where(group < 3, group, -1)).replace(-1, None),
                "size_bytes": np.where(is_complete, size[block], size[block] // 2),
                "is_complete": is_complete,
                "is_custodial": False,
                "last_update_at": pl.Series([NOW - timedelta(days=int(days)) for days in age], dtype=f.UTC),
            },
            f.BLOCK_REPLICAS,
        ),
        quotas=_rows(quotas, f.QUOTAS),
        locks=_rows(locks if rng.random() < 0.4 else [], f.LOCKS),
        attribute_values=_rows(_values(rng, number), f.ATTRIBUTE_VALUES),
        attributes=_rows([(name, NOW) for name in ("usage_rank", "last_access", "num_access")], f.ATTRIBUTES),
    )


def _values(rng: np.random.Generator, number: int) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for dataset in range(number):
        if rng.random() < 0.9:
            rows.append((dataset, "usage_rank", float(rng.integers(0, 5))))
        if rng.random() < 0.7:
            rows.append((dataset, "last_access", NOW.timestamp() - 86_400.0 * float(rng.choice([3, 15, 50]))))
            rows.append((dataset, "num_access", float(rng.integers(1, 4))))
    return rows


def _rows(rows: Sequence[tuple[object, ...]], schema: f.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(schema), orient="row")


def _columns(columns: dict[str, object], schema: f.Schema) -> pl.DataFrame:
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def first_and_more(seeds: range) -> list[Any]:
    """The slices as parameters: the first is tried in the short loop, two more in CI, and all by `make test-all`."""
    marks = [(), *[(pytest.mark.thorough,)] * 2, *[(pytest.mark.thorough, pytest.mark.slow)] * len(seeds)]
    return [pytest.param(first, marks=chosen) for first, chosen in zip(seeds, marks, strict=False)]
