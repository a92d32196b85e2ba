"""Small inventories for tests: a few lines say who has what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames

NOW = datetime(2018, 1, 15, 12, tzinfo=UTC)
GROUPS = {"AnalysisOps": "dataset", "DataOps": "block"}
PARTITIONS = "Disk: site.storage_type == DISK\nTape: site.storage_type == MSS\nAll: [Disk, Tape]\n"


def small_inventory(
    replicas: Sequence[tuple[str, str] | tuple[str, str, str]],
    *,
    sites: Sequence[str] = ("T2_A", "T2_B", "T2_C"),
    quotas: Mapping[str, int | None] | None = None,
    partition: str = "Disk",
    num_blocks: int = 2,
    block_bytes: int = 100,
    ranks: Mapping[str, float] | None = None,
    locks: Sequence[tuple[str, str, str]] = (),
) -> InventoryFrames:
    """An inventory with the dataset replicas (dataset, site[, group]), each complete, with ``num_blocks`` blocks.

    Sites named ``*_MSS`` are tape. ``quotas`` null: no row. Datasets are updated 100 days before NOW.
    """
    names = sorted({r[0] for r in replicas})
    site_ids = {site: number for number, site in enumerate(sites)}
    group_ids = {group: number for number, group in enumerate(GROUPS)}
    ids = {name: number for number, name in enumerate(names)}
    old = NOW - timedelta(days=100)
    quotas = dict.fromkeys(sites, 1000) if quotas is None else quotas
    blocks = [(ids[n] * num_blocks + b, ids[n], f"b{b}", block_bytes, 2, old) for n in names for b in range(num_blocks)]
    holders = [(*r, "AnalysisOps")[:3] for r in replicas]
    rows = [
        (ids[n] * num_blocks + b, ids[n], site_ids[s], group_ids.get(g), block_bytes, True, False, old)
        for n, s, g in holders
        for b in range(num_blocks)
    ]
    ranks = ranks or {}
    return InventoryFrames(
        sites=_frame([(i, s, "mss" if s.endswith("_MSS") else "disk", "ready") for s, i in site_ids.items()], f.SITES),
        groups=_frame([(i, g, GROUPS[g]) for g, i in group_ids.items()], f.GROUPS),
        datasets=_frame([(i, n, "valid", False, "8_0_1", old) for n, i in ids.items()], f.DATASETS),
        blocks=_frame(blocks, f.BLOCKS),
        dataset_replicas=_frame(
            [(ids[n], site_ids[s], False, group_ids.get(g)) for n, s, g in holders], f.DATASET_REPLICAS
        ),
        block_replicas=_frame(rows, f.BLOCK_REPLICAS),
        quotas=_frame([(site_ids[s], partition, q) for s, q in quotas.items() if q is not None], f.QUOTAS),
        locks=_frame(list(locks), f.LOCKS),
        attribute_values=_frame([(ids[n], "usage_rank", v) for n, v in ranks.items()], f.ATTRIBUTE_VALUES),
        attributes=_frame([("usage_rank", NOW)], f.ATTRIBUTES),
    )


def _frame(rows: list[tuple[object, ...]], schema: f.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(schema), orient="row")
