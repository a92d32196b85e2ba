"""The plugins against plain loops (``plugin_oracle``), on random inventories with everything odd in them."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from dynamo_ops.dealer.engine.plugin import DETOX_DECISIONS, DetoxCycle, ProposalContext
from dynamo_ops.dealer.plugins.balancer import BalancerPlugin
from dynamo_ops.dealer.plugins.group_reassign import GroupReassignPlugin
from dynamo_ops.dealer.plugins.popularity import PopularityPlugin
from dynamo_ops.dealer.plugins.undertaker import UndertakerPlugin
from dynamo_ops.dealer.report.enforcer_report import enforcer_report, possible_requests
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions, partition_mask, partition_quota
from tests.dealer.plugins import plugin_oracle as oracle
from tests.dealer.plugins.conformance import with_weights
from tests.detox.random_case import PARTITIONS, SITES, random_case
from tests.detox.small import NOW

SEEDS = range(40)
REASONS = ("replica.incomplete", "dataset.on_tape != FULL")


class Case:
    """The random inventory of a seed, a random Detox cycle on it and random settings."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        rng = np.random.default_rng(seed)
        frames = random_case(seed).frames
        few = (frames.block_replicas["block_id"].hash(seed) % 7 == 0) & (frames.block_replicas["site_id"] % 2 == 0)
        frames = replace(frames, block_replicas=frames.block_replicas.filter(~few))
        names = frames.datasets["dataset"].to_list()
        self.weights = {name: float(rng.integers(0, 150)) for name in names if rng.random() < 0.8}
        self.frames: InventoryFrames = with_weights(frames, self.weights)
        self.stock = oracle.Stock(self.frames)
        self.context = ProposalContext(
            partition=str(rng.choice(["P", "All"])),
            partitions=load_partitions(PARTITIONS, now=NOW),
            group="Ana",
            now=NOW,
            random=Random(seed),
            detox=DetoxCycle(1, self._decisions(rng)),
        )

    def _decisions(self, rng: np.random.Generator) -> pl.DataFrame:
        sizes = self.frames.block_replicas.group_by("dataset_id", "site_id").agg(pl.col("size_bytes").sum())
        rows = [
            (dataset, site, str(decision), str(rng.choice(REASONS)) if decision == "protect" else None, size)
            for dataset, site, size in sizes.sort("dataset_id", "site_id").iter_rows()
            for decision in [rng.choice(["protect", "keep", "delete", "ignore"], p=[0.7, 0.1, 0.1, 0.1])]
        ]
        return pl.DataFrame(rows, schema=dict(DETOX_DECISIONS), orient="row")

    @property
    def decisions(self) -> pl.DataFrame:
        assert self.context.detox is not None
        return self.context.detox.decisions

    def inside(self, partition: str) -> InventoryFrames:
        """All block replicas of dataset replicas with a block in the partition."""
        mask = partition_mask(self.frames, self.context.partitions, partition)
        some, key = self.frames.block_replicas.filter(mask), ["dataset_id", "site_id"]
        return replace(self.frames, block_replicas=self.frames.block_replicas.join(some, on=key, how="semi"))

    def named(self, proposals: pl.DataFrame) -> list[oracle.Proposal]:
        blocks = dict(self.frames.blocks.select("block_id", "block").iter_rows())
        return [
            (
                self.stock.datasets[row["dataset_id"]],
                None if row["block_ids"] is None else tuple(sorted(blocks[block] for block in row["block_ids"])),
                None if row["site_id"] is None else self.stock.sites[row["site_id"]]["site"],
            )
            for row in proposals.iter_rows(named=True)
        ]


@pytest.fixture(params=SEEDS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_popularity(case: Case) -> None:
    settings: dict[str, Any] = {
        "source_groups": case.rng.sample(["Ana", "Bulk", "Data", "None"], case.rng.randint(1, 3)),
        "max_dataset_size": case.rng.choice([400e-12, 1.0]),
        "max_replication": case.rng.randint(1, 5),
        "request_to_replica_threshold": case.rng.choice([5, 10, 20]),
    }
    found = PopularityPlugin(settings).propose(case.frames, case.context)
    assert case.named(found) == list(oracle.popularity(case.stock, case.weights, settings))


def test_group_reassign(case: Case) -> None:
    groups = case.rng.sample(["Ana", "Bulk", "Data", "None"], case.rng.randint(1, 3))
    found = GroupReassignPlugin({"from_groups": groups}).propose(case.frames, case.context)
    assert case.named(found) == oracle.group_reassign(case.stock, groups)


def test_undertaker(case: Case) -> None:
    additional = case.rng.sample(SITES, case.rng.randint(0, 3))
    found = UndertakerPlugin({"additional_sites": additional}).propose(case.frames, case.context)
    assert case.named(found) == oracle.undertaker(case.stock, case.decisions, additional)


def test_balancer(case: Case) -> None:
    most, limits = (
        case.rng.randint(0, 3),
        {"max_dataset_size": 300e-12, "max_cycle_volume": case.rng.choice([1e-9, 1.0])},
    )
    settings = {"target_reasons": {REASONS[0]: most}, **limits}
    sites = {site_id: row["site"] for site_id, row in case.stock.sites.items()}
    quotas = partition_quota(case.frames, case.context.partitions, case.context.partition).iter_rows()
    wanted = oracle.balancer(
        case.stock,
        case.decisions,
        {sites[site_id]: quota for site_id, quota in quotas},
        {(held.dataset, held.site) for held in oracle.Stock(case.inside(case.context.partition)).held},
        reason=REASONS[0],
        most=most,
        settings=settings,
    )
    assert case.named(BalancerPlugin(settings).propose(case.frames, case.context)) == list(wanted)


def test_enforcer(case: Case) -> None:
    destinations = case.rng.sample(SITES, case.rng.randint(1, 5))
    num_copies, group = case.rng.randint(1, 4), case.rng.choice(["Ana", "Bulk"])
    partition, source = case.rng.choice(["P", "Q", "All"]), case.rng.choice(SITES)
    text = f"""rules: {{r: {{num_copies: {num_copies}, destination_group: {group}, partition: {partition},
        destinations: ['site.name in [{" ".join(destinations)}]'], sources: ['site.name == {source}'],
        replicas: ['dataset.name == /*']}}}}"""
    rules = load_rules(text, now=NOW)
    stock = oracle.Stock(case.inside(partition))
    datasets = {held.dataset for held in stock.held if held.site == source}
    wanted = oracle.enforcer(stock, datasets, destinations, num_copies, group)
    report = enforcer_report(case.frames, case.context, rules).datasets
    possible: dict[str, list[str]] = {}
    for dataset_id, site_id in (
        possible_requests(case.frames, case.context, rules).select("dataset_id", "site_id").rows()
    ):
        possible.setdefault(stock.datasets[dataset_id], []).append(stock.sites[site_id]["site"])
    found = {
        dataset: (state, number, sorted(possible.get(dataset, [])))
        for dataset, state, number in report.select("dataset", "state", "num_missing").iter_rows()
    }
    assert found == wanted
