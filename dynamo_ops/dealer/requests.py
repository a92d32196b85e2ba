"""Plugin ``requests``: the copies that users ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.dealer.config import TB, checked_settings
from dynamo_ops.dealer.plugin import ProposalContext, proposals_frame
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.attributes import NULL_GROUP
from dynamo_ops.policy.compile import texts_expr


class RequestsSettings(BaseModel):
    """``block_request_max``: share of a dataset's blocks above which a request for blocks becomes one for the dataset.

    ``max_size``: TB of one copy of what a request asks of one dataset; null no limit. ``overwritten_groups``: owners
    from whom copies that are there may be taken; the null group always.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    block_request_max: float = Field(default=1.0, gt=0, le=1)
    max_size: float | None = Field(default=None, gt=0)
    overwritten_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wish:
    """What one request asks of one dataset. ``block_ids`` null: all of it."""

    request_id: int
    dataset: str
    dataset_id: int | None
    block_ids: tuple[int, ...] | None
    sites: tuple[str, ...]
    num_copies: int
    group: str
    unknown: str | None = None


class RequestsPlugin:
    """``num_copies`` over the sites of the request, 0: one at each. Copies there already, and the group's, count."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = checked_settings(RequestsSettings, settings, file="", below="plugins.requests")

    def attributes(self) -> tuple[str, ...]:
        """None: requests name what they want."""
        return ()

    def needs_detox(self) -> bool:
        """No."""
        return False

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """Proposals by request id and dataset: changes of owner first, then copies whose destination the engine
        draws."""
        inventory = _Inventory(frames)
        rows: list[dict[str, Any]] = []
        for wish in self._wishes(inventory, context.copy_requests):
            rows += self._answer(inventory, wish)
        return proposals_frame(rows)

    def _wishes(self, inventory: _Inventory, requests: pl.DataFrame) -> list[_Wish]:
        grouped: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for row in requests.sort("request_id", "dataset").iter_rows(named=True):
            dataset = row["dataset"].split("#", 1)[0]
            grouped.setdefault((row["request_id"], dataset), []).append(row)
        return [self._wish(inventory, dataset, rows) for (_, dataset), rows in grouped.items()]

    def _wish(self, inventory: _Inventory, dataset: str, rows: list[dict[str, Any]]) -> _Wish:
        dataset_id = inventory.datasets.get(dataset)
        known = inventory.blocks_of(dataset_id)
        names = sorted({row["dataset"].split("#", 1)[1] for row in rows if "#" in row["dataset"]})
        unknown = f"unknown dataset {dataset}" if dataset_id is None else None
        unknown = unknown or next((f"unknown block {dataset}#{name}" for name in names if name not in known), None)
        is_whole = any("#" not in row["dataset"] for row in rows) or len(names) > self.settings.block_request_max * len(
            known
        )
        return _Wish(
            request_id=rows[0]["request_id"],
            dataset=dataset,
            dataset_id=dataset_id,
            block_ids=None if is_whole or unknown else tuple(known[name][0] for name in names),
            sites=tuple(rows[0]["sites"] or ()),
            num_copies=rows[0]["num_copies"] or 0,
            group=rows[0]["group"],
            unknown=unknown,
        )

    def _answer(self, inventory: _Inventory, wish: _Wish) -> list[dict[str, Any]]:
        row = {
            "request_id": wish.request_id,
            "dataset_id": wish.dataset_id,
            "block_ids": None if wish.block_ids is None else list(wish.block_ids),
            "reason": f"request {wish.request_id}",
        }
        refused = wish.unknown or self._refusal(inventory, wish)
        if refused:
            return [{**row, "refused": refused}]
        row["group_id"] = inventory.groups[wish.group]
        owned, takeable, foreign = self._present(inventory, wish)
        sites = inventory.sites_matching(wish.sites)
        free = [site for site in sites if site not in owned and site not in takeable and site not in foreign]
        changes = [site for site in sites if site in takeable]
        if wish.num_copies == 0:
            return [{**row, "site_id": site} for site in sites if site in takeable or site in free]
        missing = wish.num_copies - sum(site in owned for site in sites)
        answer = [{**row, "site_id": site} for site in changes[: max(0, missing)]]
        drawn = min(max(0, missing - len(answer)), len(free))
        return answer + [{**row, "candidate_site_ids": free}] * drawn

    def _refusal(self, inventory: _Inventory, wish: _Wish) -> str | None:
        if wish.group not in inventory.groups:
            return f"unknown group {wish.group}"
        if not inventory.sites_matching(wish.sites):
            return f"no site matches {' '.join(wish.sites)}"
        size = inventory.size_of(wish.dataset_id, wish.block_ids)
        if self.settings.max_size is not None and size > self.settings.max_size * TB:
            return f"{size / TB:.3f} TB are above max_size {self.settings.max_size} TB"
        return None

    def _present(self, inventory: _Inventory, wish: _Wish) -> tuple[set[int], set[int], set[int]]:
        """Sites that have all its blocks (complete or on the way): the group's, those it may take, those of other
        owners."""
        overwritten = {NULL_GROUP, wish.group, *self.settings.overwritten_groups}
        owned, takeable, foreign = set(), set(), set()
        for site, owners in inventory.owners_at(wish.dataset_id, wish.block_ids).items():
            if owners == {wish.group}:
                owned.add(site)
            elif owners <= overwritten:
                takeable.add(site)
            else:
                foreign.add(site)
        return owned, takeable, foreign


class _Inventory:
    """Look-ups by name that answering requests needs."""

    def __init__(self, frames: InventoryFrames) -> None:
        self.frames = frames
        self.datasets: dict[str, int] = dict(frames.datasets.select("dataset", "dataset_id").iter_rows())
        self.groups: dict[str, int] = dict(frames.groups.select("group", "group_id").iter_rows())
        self._group_names = {group_id: name for name, group_id in self.groups.items()}

    def blocks_of(self, dataset_id: int | None) -> dict[str, tuple[int, int]]:
        """Id and size of the dataset's blocks, by name."""
        if dataset_id is None:
            return {}
        blocks = self.frames.blocks.filter(pl.col("dataset_id") == dataset_id).select("block", "block_id", "size_bytes")
        return {name: (block_id, size) for name, block_id, size in blocks.iter_rows()}

    def size_of(self, dataset_id: int | None, block_ids: tuple[int, ...] | None) -> int:
        """Full size of the blocks asked for."""
        blocks = self.blocks_of(dataset_id).values()
        return sum(size for block_id, size in blocks if block_ids is None or block_id in block_ids)

    def sites_matching(self, globs: tuple[str, ...]) -> list[int]:
        """Sites that match one of the globs, by name."""
        if not globs:
            return []
        return self.frames.sites.filter(texts_expr(globs, pl.col("site"))).sort("site")["site_id"].to_list()

    def owners_at(self, dataset_id: int | None, block_ids: tuple[int, ...] | None) -> dict[int, set[str]]:
        """Owners by site, for sites that have a replica of every block asked for."""
        replicas = self.frames.block_replicas.filter(pl.col("dataset_id") == dataset_id)
        if block_ids is not None:
            replicas = replicas.filter(pl.col("block_id").is_in(list(block_ids)))
        wanted = len(self.blocks_of(dataset_id)) if block_ids is None else len(block_ids)
        found: dict[int, list[str]] = {}
        for site, group in replicas.select("site_id", "group_id").iter_rows():
            found.setdefault(site, []).append(self._group_names.get(group, NULL_GROUP))
        return {site: set(owners) for site, owners in found.items() if len(owners) == wanted and wanted}
