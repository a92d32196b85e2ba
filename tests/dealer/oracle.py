"""The Dealer's rules (SEMANTICS §4) in plain Python, a proposal and a block at a time, without a line of the engine.

It does not draw: it follows what a plan says was drawn, in the plan's own order, and says at each turn what had to come
of it. Only the reading of names (globs, conditions of placement rules) is shared, by way of small tables of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from dynamo_ops.dealer.engine import decide as engine
from dynamo_ops.dealer.engine.plan import CopyPlan
from dynamo_ops.inventory.frames import InventoryFrames
from tests.dealer.random_case import DealerCase

LEAVES = {"P": ("P",), "Q": ("Q",), "All": ("P", "Q")}
DATA = 2
"""Block replicas of the group Data are the leaf Q, all others the leaf P."""

Replica = Mapping[str, Any]


@dataclass
class Site:
    """A destination. ``quota`` null: unknown."""

    name: str
    storage_type: str
    is_ready_and_named: bool
    quota: int | None
    physical: int = 0
    projected: int = 0


@dataclass
class Told:
    """What must come of a proposal: ``reason`` null: accepted, at one of ``weights`` if it is to be drawn."""

    reason: str | None
    weights: dict[int, float] = field(default_factory=dict)


class Oracle:
    """The state of one cycle. ``judge`` says what must come of a proposal now, ``accept`` changes the state."""

    def __init__(self, case: DealerCase) -> None:
        self.config = case.config
        frames = case.frames
        self.datasets = {row["dataset_id"]: row for row in frames.datasets.to_dicts()}
        self.blocks = {row["block_id"]: row for row in frames.blocks.to_dicts()}
        self.replicas = {(row["block_id"], row["site_id"]): row for row in frames.block_replicas.to_dicts()}
        self.files: dict[int, set[int]] = {}
        for row in frames.partial_files.to_dicts():
            self.files.setdefault(row["block_id"], set()).add(row["file_id"])
        self.groups = {row["group_id"]: row["group"] for row in frames.groups.to_dicts()}
        self.sites = self._sites(frames)
        self.promised: dict[tuple[int, int], int] = {}
        self.volume = 0

    def _sites(self, frames: InventoryFrames) -> dict[int, Site]:
        leaves = LEAVES[self.config.partition]
        quotas = {(row["site_id"], row["partition"]): row["quota_bytes"] for row in frames.quotas.to_dicts()}
        found = {}
        for row in frames.sites.to_dicts():
            parts = [quotas.get((row["site_id"], leaf)) for leaf in leaves]
            is_unlimited = any(part is not None and part < 0 for part in parts)
            known = None if None in parts else sum(part for part in parts if part is not None)
            named = False
            for pattern in self.config.target_sites:
                if fnmatchcase(row["site"], pattern.lstrip("!")):
                    named = not pattern.startswith("!")
            found[row["site_id"]] = Site(
                row["site"], row["storage_type"], named and row["status"] == "ready", -1 if is_unlimited else known
            )
        for replica in self.replicas.values():
            if ("Q" if replica["group_id"] == DATA else "P") in leaves:
                found[replica["site_id"]].physical += replica["size_bytes"]
                found[replica["site_id"]].projected += self.blocks[replica["block_id"]]["size_bytes"]
        return found

    # -- what is proposed ----------------------------------------------------------------------------------------------

    def blocks_of(self, row: Replica) -> list[int]:
        named = row["block_ids"]
        return [
            block
            for block, known in self.blocks.items()
            if known["dataset_id"] == row["dataset_id"] and (named is None or block in named)
        ]

    def size_of(self, row: Replica) -> int:
        return sum(self.blocks[block]["size_bytes"] for block in self.blocks_of(row))

    def is_complete_at(self, row: Replica, site: int) -> bool:
        blocks = self.blocks_of(row)
        return bool(blocks) and all(self.replicas.get((b, site), {}).get("is_complete") for b in blocks)

    def is_owned_at(self, row: Replica, site: int) -> bool:
        """Each block is complete or promised there, and is or will be the group's."""
        for block in self.blocks_of(row):
            there = self.replicas.get((block, site), {})
            owner = there["group_id"] if there.get("is_complete") else "nobody"
            if self.promised.get((block, site), owner) != row["group_id"]:
                return False
        return True

    def is_promised(self, row: Replica, site: int) -> bool:
        return all((block, site) in self.promised for block in self.blocks_of(row))

    def is_allowed(self, row: Replica, site: int) -> bool:
        name, group = self.datasets[row["dataset_id"]]["dataset"], self.groups[row["group_id"]]
        for rule in self.config.placement:
            if not concerns(rule, name, group):
                continue
            if "storage_types" in rule and self.sites[site].storage_type not in rule["storage_types"]:
                return False
            named = False
            for pattern in rule.get("sites", ["*"]):
                if fnmatchcase(self.sites[site].name, pattern.lstrip("!")):
                    named = not pattern.startswith("!")
            if not named:
                return False
        return True

    # -- the site ------------------------------------------------------------------------------------------------------

    def occupancy(self, site: int, size: int) -> float:
        quota = self.sites[site].quota
        if quota is None or quota == 0:
            return math.inf
        return 0.0 if quota < 0 else size / quota

    def is_target(self, site: int) -> bool:
        if site not in self.sites or not self.sites[site].is_ready_and_named:
            return False
        projected = self.occupancy(site, self.sites[site].projected)
        if projected > self.config.target_site_occupancy:
            return False
        return projected - self.occupancy(site, self.sites[site].physical) <= self.config.max_site_pending_fraction

    # -- the turn ------------------------------------------------------------------------------------------------------

    def judge(self, row: Replica) -> Told:
        """What must come of the proposal now, by the checks in the order of SEMANTICS §4."""
        if self.volume > self.config.max_total_cycle_volume * 10**12:
            return Told(engine.VOLUME_REACHED)
        if self.datasets.get(row["dataset_id"], {}).get("status") not in ("valid", "production"):
            return Told(engine.NOT_VALID)
        blocks = self.blocks_of(row)
        if not any(block in blocks for block, _ in self.replicas):
            return Told(engine.NO_SOURCE)
        if not all(self._is_covered(block) for block in blocks):
            return Told(engine.FILES_MISSING)
        return self._draw(row) if row["asked_site_id"] is None else Told(self._reason_at(row, row["asked_site_id"]))

    def _is_covered(self, block: int) -> bool:
        is_complete = any(r["is_complete"] for (b, _), r in self.replicas.items() if b == block)
        return is_complete or len(self.files.get(block, ())) >= self.blocks[block]["num_files"]

    def _reason_at(self, row: Replica, site: int) -> str | None:
        if not self.is_target(site):
            return engine.NOT_A_TARGET
        if not self.is_allowed(row, site):
            return engine.NOT_ALLOWED
        if self.is_owned_at(row, site):
            return engine.ALREADY_THERE
        if not self.is_complete_at(row, site) and self._occupancy_after(row, site) > 1:
            return engine.FULL
        return None

    def _occupancy_after(self, row: Replica, site: int) -> float:
        return self.occupancy(site, self.sites[site].projected + self.size_of(row))

    def _draw(self, row: Replica) -> Told:
        asked = self.sites if row["candidate_site_ids"] is None else row["candidate_site_ids"]
        free = {
            site: 1 - self._occupancy_after(row, site)
            for site in asked
            if self.is_target(site)
            and self.is_allowed(row, site)
            and not self.is_complete_at(row, site)
            and not self.is_promised(row, site)
            and self._occupancy_after(row, site) < 1
        }
        total = sum(free.values())
        return Told(None if free else engine.NO_DESTINATION, {site: weight / total for site, weight in free.items()})

    def accept(self, row: Replica) -> None:
        """The copy is made at ``site_id``."""
        self.promised |= {(block, row["site_id"]): row["group_id"] for block in self.blocks_of(row)}
        self.sites[row["site_id"]].projected += self.size_of(row)
        self.volume += self.size_of(row)


def concerns(rule: Mapping[str, Any], dataset: str, group: str) -> bool:
    """Whether a placement rule is for this dataset and owner. Knows the two forms of conditions of the random cases."""
    if "groups" in rule and group not in rule["groups"]:
        return False
    if "condition" not in rule:
        return True
    _, operator, value = rule["condition"].split(" ", 2)
    return fnmatchcase(dataset, value) if operator == "==" else dataset in value.strip("[]").split()


def in_turn(plan: CopyPlan) -> list[dict[str, Any]]:
    """The proposals that were looked at, in that order."""
    return sorted((row for row in plan.proposals.to_dicts() if row["turn"] is not None), key=lambda row: row["turn"])
