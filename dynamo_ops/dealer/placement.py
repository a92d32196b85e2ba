"""Placement rules: which datasets may go to which sites."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl

from dynamo_ops.dealer.config import DealerConfig
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.compile import texts_expr
from dynamo_ops.policy.dataset import matching_datasets


def allowed_sites(frames: InventoryFrames, config: DealerConfig, *, now: datetime) -> Callable[[int, int], bool]:
    """The test (dataset_id, site_id) → allowed: every rule whose condition the dataset meets names the site."""
    rules = []
    for number, rule in enumerate(config.placement):
        datasets = matching_datasets(frames, rule.condition, now=now, file=f"placement.{number}.condition")
        sites = frames.sites.filter(texts_expr(list(rule.sites), pl.col("site")))["site_id"]
        rules.append((set(datasets), set(sites)))

    def is_allowed(dataset_id: int, site_id: int) -> bool:
        return all(site_id in sites for datasets, sites in rules if dataset_id in datasets)

    return is_allowed
