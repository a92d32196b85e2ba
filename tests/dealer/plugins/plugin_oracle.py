"""What SEMANTICS §4 says of each plugin, in plain loops over a small inventory. Slow, and written apart from ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames

Proposal = tuple[str, tuple[str, ...] | None, str | None]
"""Dataset, blocks (None: all), destination."""


@dataclass(frozen=True)
class Held:
    """A block replica."""

    dataset: str
    block: str
    site: str
    owner: str
    is_complete: bool


class Stock:
    """An inventory by names."""

    def __init__(self, frames: InventoryFrames) -> None:
        self.sites = {row["site_id"]: row for row in frames.sites.iter_rows(named=True)}
        self.datasets = dict(frames.datasets.select("dataset_id", "dataset").iter_rows())
        groups = dict(frames.groups.select("group_id", "group").iter_rows())
        names = {row["block_id"]: row["block"] for row in frames.blocks.iter_rows(named=True)}
        self.blocks: dict[str, dict[str, int]] = {}
        for row in frames.blocks.iter_rows(named=True):
            self.blocks.setdefault(self.datasets[row["dataset_id"]], {})[row["block"]] = row["size_bytes"]
        self.held = [
            Held(
                self.datasets[row["dataset_id"]],
                names[row["block_id"]],
                self.sites[row["site_id"]]["site"],
                groups.get(row["group_id"], "None"),
                row["is_complete"],
            )
            for row in frames.block_replicas.iter_rows(named=True)
        ]
        self.replicas = {(held.dataset, held.site) for held in self.held}
        self.replicas |= {
            (self.datasets[dataset], self.sites[site]["site"])
            for dataset, site in frames.dataset_replicas.select("dataset_id", "site_id").iter_rows()
        }

    def at(self, dataset: str, site: str) -> list[Held]:
        """The block replicas of a dataset at a site."""
        return [held for held in self.held if (held.dataset, held.site) == (dataset, site)]

    def size(self, dataset: str) -> int:
        """Full size."""
        return sum(self.blocks[dataset].values())

    def item(self, dataset: str, blocks: set[str], site: str | None) -> Proposal:
        """A proposal; all blocks are the dataset."""
        return (dataset, None if blocks == set(self.blocks[dataset]) else tuple(sorted(blocks)), site)


def popularity(stock: Stock, weights: Mapping[str, float], settings: Mapping[str, Any]) -> Iterator[Proposal]:
    lacking = {}
    for dataset, weight in sorted(weights.items(), key=lambda pair: (-pair[1], pair[0])):
        owners = {held.owner for held in stock.held if held.dataset == dataset}
        if owners & set(settings["source_groups"]) and stock.size(dataset) <= settings["max_dataset_size"] * 10**12:
            wanted = min(settings["max_replication"], math.ceil(weight / settings["request_to_replica_threshold"]))
            lacking[dataset] = wanted - sum(replica[0] == dataset for replica in stock.replicas)
    for turn in range(max([0, *lacking.values()])):
        yield from ((dataset, None, None) for dataset, number in lacking.items() if number > turn)


def group_reassign(stock: Stock, groups: Sequence[str]) -> list[Proposal]:
    found = []
    for dataset, site in stock.replicas:
        blocks = {held.block for held in stock.at(dataset, site) if held.owner in groups}
        if blocks:
            found.append(stock.item(dataset, blocks, site))
    return sorted(found, key=_by_name)


def undertaker(stock: Stock, decisions: pl.DataFrame, additional: Sequence[str]) -> list[Proposal]:
    bad = {row["site"] for row in stock.sites.values() if row["status"] != "ready" or row["site"] in additional}
    found = []
    protected = decisions.filter(pl.col("decision") == "protect").select("dataset_id", "site_id").unique()
    for dataset_id, site_id in protected.iter_rows():
        dataset, site = stock.datasets[dataset_id], stock.sites[site_id]["site"]
        elsewhere = {held.block for held in stock.held if held.dataset == dataset and held.site not in bad}
        blocks = {held.block for held in stock.at(dataset, site)} - elsewhere
        if site in bad and blocks:
            found.append(stock.item(dataset, blocks, None))
    return sorted(found, key=_by_name)


def _by_name(proposal: Proposal) -> tuple[str, str, str]:
    dataset, blocks, site = proposal
    return (dataset, "*" if blocks is None else ";".join(blocks), site or "")


def balancer(
    stock: Stock,
    decisions: pl.DataFrame,
    quotas: Mapping[str, int | None],
    inside: set[tuple[str, str]],
    *,
    reason: str,
    most: int,
    settings: Mapping[str, Any],
) -> Iterator[Proposal]:
    """``inside``: dataset replicas with a block in the partition; ``most``: replicas for this one target reason."""
    disks = {row["site"] for row in stock.sites.values() if row["storage_type"] == "disk"}
    ready = {row["site"] for row in stock.sites.values() if row["status"] == "ready"}
    protected = dict.fromkeys((site for site in disks & ready if (quotas[site] or 0) > 0), 0)
    candidates: dict[str, list[tuple[int, str]]] = {}
    for dataset_id, site_id, decision, why, size in decisions.iter_rows():
        dataset, site = stock.datasets[dataset_id], stock.sites[site_id]["site"]
        if decision == "ignore" or (quotas[site] or 0) <= 0:
            continue
        protected[site] = protected.get(site, 0) + size * (decision == "protect")
        num_replicas = sum(
            here in disks and (dataset, here) in inside and not _is_partial(stock, dataset, here)
            for here in {held.site for held in stock.held if held.dataset == dataset}
        )
        is_small = size <= settings["max_dataset_size"] * 10**12
        if (decision, why) == ("protect", reason) and num_replicas <= most and is_small:
            candidates.setdefault(site, []).append((size, dataset))
    volume = 0
    while protected and volume < settings["max_cycle_volume"] * 10**12:
        fraction = {site: size / (quotas[site] or 1) for site, size in sorted(protected.items())}
        highest = max(fraction, key=fraction.__getitem__)
        if fraction[highest] - min(fraction.values()) < 0.05:
            return
        if not candidates.get(highest):
            del protected[highest]
            continue
        first = min(candidates[highest])
        candidates[highest].remove(first)
        yield (first[1], None, None)
        protected[highest] -= stock.size(first[1])
        volume += stock.size(first[1])


def _is_partial(stock: Stock, dataset: str, site: str) -> bool:
    there = stock.at(dataset, site)
    return all(held.is_complete for held in there) and len(there) < len(stock.blocks[dataset])


def enforcer(
    stock: Stock, datasets: set[str], destinations: Sequence[str], num_copies: int, group: str
) -> dict[str, Any]:
    """By dataset: the state, the number of requests, the sites that a draw may ask.

    ``datasets``: those that the rule is about; only replicas with a block in the partition are in ``stock``.
    """
    found: dict[str, Any] = {}
    for dataset in datasets:
        kinds: dict[str, list[str]] = {"complete": [], "en route": [], "change": [], "candidate": []}
        for site in sorted(destinations):
            there = stock.at(dataset, site)
            owners = {held.owner for held in there}
            if len(there) < len(stock.blocks[dataset]) or "None" in owners:
                kinds["candidate"].append(site)
            elif owners != {group}:
                kinds["change"].append(site)
            else:
                kinds["complete" if all(held.is_complete for held in there) else "en route"].append(site)
        wanted = min(num_copies, len(destinations))
        number = max(0, wanted - len(kinds["complete"]) - len(kinds["en route"]))
        state = "missing" if number else "enough complete" if len(kinds["complete"]) >= wanted else "en route"
        drawn = kinds["candidate"] if number > len(kinds["change"]) else []
        found[dataset] = (state, number, sorted([*kinds["change"][:number], *drawn]) if number else [])
    return found
