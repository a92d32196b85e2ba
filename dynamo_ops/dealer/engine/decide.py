"""One Dealer cycle: the proposals are looked at one by one, as each accepted copy changes what the next may do.

All that can be known beforehand is in arrays; a turn costs some microseconds for each site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

import numpy as np

from dynamo_ops.dealer.engine.item import Items
from dynamo_ops.dealer.engine.placement import Placement
from dynamo_ops.dealer.engine.site import Flags, Ints, TargetSites

NOT_VALID = "dataset is neither valid nor in production"
NO_SOURCE = "no source"
FILES_MISSING = "source files missing"
NOT_A_TARGET = "not a target site"
NOT_ALLOWED = "not allowed by a placement rule"
ALREADY_THERE = "already there and owned by the group"
FULL = "destination full"
NO_DESTINATION = "no destination"
VOLUME_REACHED = "cycle volume reached"
LOWER_PRIORITY = "only plugins of priority 0 run"
REFUSED = "refused by the plugin"

OUTCOMES = (
    REFUSED,
    LOWER_PRIORITY,
    NOT_VALID,
    NO_SOURCE,
    FILES_MISSING,
    NOT_A_TARGET,
    NOT_ALLOWED,
    ALREADY_THERE,
    FULL,
    NO_DESTINATION,
    VOLUME_REACHED,
)
"""All reasons why a proposal is not accepted."""


class Cycle:
    """Decides; what was decided is in arrays by proposal.

    ``turn``: place in the order looked at, from 1; 0 never. ``outcome``: None accepted, else a reason of ``OUTCOMES``.
    ``copy``: number of the accepted copy, from 1. ``place``: its destination, of ``sites``. ``weight``: probability
    with which that was drawn, NaN where it was named. ``num_candidates``: sites among which it was drawn.
    """

    def __init__(
        self, items: Items, sites: TargetSites, placement: Placement, *, max_volume_bytes: float, seed: int
    ) -> None:
        proposals = items.rows
        self.items, self.sites, self.placement, self.max_volume_bytes = items, sites, placement, max_volume_bytes
        self.random = Random(f"{seed}/engine")  # noqa: S311  repeatable, nothing secret
        self.class_of: list[int] = placement.class_of.to_list()
        self.item: list[int] = items.item.tolist()
        self.dataset: list[int] = proposals["dataset_id"].fill_null(-1).to_list()
        self.group: list[int] = proposals["group_id"].to_list()
        self.asked: list[int | None] = proposals["site_id"].to_list()
        self.candidates = proposals["candidate_site_ids"]
        self.complete: list[dict[int, int]] = self._complete()
        self.promised: dict[int, dict[int, dict[int, int]]] = {}
        num_proposals = proposals.height
        self.turn: Ints = np.zeros(num_proposals, dtype=np.int64)
        self.copy: Ints = np.zeros(num_proposals, dtype=np.int64)
        self.place: Ints = np.full(num_proposals, -1, dtype=np.int64)
        self.num_candidates: Ints = np.zeros(num_proposals, dtype=np.int64)
        self.weight = np.full(num_proposals, np.nan)
        self.outcome: list[str | None] = [None] * num_proposals

    def _complete(self) -> list[dict[int, int]]:
        """By item: places of sites where it is complete, with the owner there."""
        owners_of_item: list[dict[int, int]] = [{} for _ in range(len(self.items.size))]
        for item, site_id, owner in self.items.present().iter_rows():
            owners_of_item[item][self.sites.place_of[site_id]] = owner
        return owners_of_item

    def run(self, priorities: Mapping[str, int]) -> None:
        """Take proposals in the drawn order until the cycle's volume is passed. ``priorities``: by plugin."""
        volume, copies = 0, 0
        for turn, row in enumerate(self._interleaved(priorities), start=1):
            self.turn[row] = turn
            if volume > self.max_volume_bytes:
                self.outcome[row] = VOLUME_REACHED
                continue
            self.outcome[row] = self.try_row(row)
            if self.outcome[row] is None:
                copies += 1
                self.copy[row] = copies
                volume += int(self.items.size[self.item[row]])

    def try_row(self, row: int) -> str | None:
        """Accept the proposal and promise its blocks to the destination, or say why not."""
        reason = self._source_reason(self.item[row]) or self._destination(row)
        if reason is None:
            self._promise(row)
        return reason

    def exists_level(self, row: int, place: int) -> int:
        """0: the item is absent or incomplete there, 1: complete with another owner, 2: complete and the group's."""
        owner = self.complete[self.item[row]].get(place)
        return 0 if owner is None else 2 if owner == self.group[row] else 1

    def _interleaved(self, priorities: Mapping[str, int]) -> Iterator[int]:
        """Rows by weighted draw of the plugin, weight 1/priority; each plugin's own order is kept."""
        queues: dict[str, list[int]] = {}
        for row, (plugin, refused) in enumerate(self.items.rows.select("plugin", "refused").iter_rows()):
            if refused is None:
                queues.setdefault(plugin, []).append(row)
            else:
                self.outcome[row] = REFUSED
        if 0 in {priorities[name] for name in queues}:
            for name in [name for name in queues if priorities[name] > 0]:
                for row in queues.pop(name):
                    self.outcome[row] = LOWER_PRIORITY
        waiting = {name: iter(queue) for name, queue in sorted(queues.items())}
        while waiting:
            names = list(waiting)
            name = self.random.choices(names, [1.0 / (priorities[name] or 1) for name in names])[0]
            following = next(waiting[name], None)
            if following is None:
                del waiting[name]
            else:
                yield following

    def _source_reason(self, item: int) -> str | None:
        if not self.items.is_valid[item]:
            return NOT_VALID
        if not self.items.has_source[item]:
            return NO_SOURCE
        return None if self.items.is_covered[item] else FILES_MISSING

    def _destination(self, row: int) -> str | None:
        """Set where the proposal goes, or say why it goes nowhere."""
        asked = self.asked[row]
        if asked is None:
            return self._draw(row)
        place = self.sites.place_of.get(asked)
        reason = NOT_A_TARGET if place is None else self.why_not_at(row, place)
        if reason is None and place is not None:
            self.place[row] = place
        return reason

    def why_not_at(self, row: int, place: int) -> str | None:
        """Why the proposal cannot go to this site now; None if it can. Its sources are not looked at."""
        if not self.sites.is_target[place]:
            return NOT_A_TARGET
        if not self.placement.allowed[self.class_of[row], place]:
            return NOT_ALLOWED
        if self._is_owned_at(row, place):
            return ALREADY_THERE
        item = self.item[row]
        if place not in self.complete[item] and self.sites.is_full_with(place, int(self.items.size[item])):
            return FULL
        return None

    def _draw(self, row: int) -> str | None:
        """Draw among the sites that can take the item and do not have it, with probability ∝ what is left free."""
        weights = self.sites.weights(int(self.items.size[self.item[row]]))
        places = np.flatnonzero(self._can_take(row) & (weights > 0))
        if not len(places):
            return NO_DESTINATION
        until = np.cumsum(weights[places])
        chosen = int(np.searchsorted(until[:-1], self.random.random() * until[-1], side="right"))
        self.place[row] = places[chosen]
        self.weight[row] = weights[places[chosen]] / until[-1]
        self.num_candidates[row] = len(places)
        return None

    def _can_take(self, row: int) -> Flags:
        """Targets that are allowed and asked for, and neither have the item nor are promised it."""
        item = self.item[row]
        able: Flags = self.sites.is_target & self.placement.allowed[self.class_of[row]]
        candidates = self.candidates[row]
        if candidates is not None:
            asked = np.zeros(len(able), dtype=np.bool_)
            asked[[self.sites.place_of[site] for site in candidates if site in self.sites.place_of]] = True
            able &= asked
        able[list(self.complete[item])] = False
        promised = self.promised.get(self.dataset[row], {})
        blocks = self.items.blocks[item].tolist() if promised else []
        for place, owners in promised.items():
            if all(block in owners for block in blocks):
                able[place] = False
        return able

    def _is_owned_at(self, row: int, place: int) -> bool:
        """All blocks are complete there or promised in this cycle, and are or will be the group's."""
        item, group = self.item[row], self.group[row]
        promised = self.promised.get(self.dataset[row], {}).get(place)
        if promised is None:
            return self.complete[item].get(place) == group
        site_id = int(self.sites.ids[place])
        blocks = self.items.blocks[item].tolist()
        return bool(blocks) and all(
            (promised[block] if block in promised else self.items.replicas.complete_owner(block, site_id)) == group
            for block in blocks
        )

    def _promise(self, row: int) -> None:
        item, place = self.item[row], int(self.place[row])
        size = int(self.items.size[item])
        promised = self.promised.setdefault(self.dataset[row], {}).setdefault(place, {})
        promised.update(dict.fromkeys(self.items.blocks[item].tolist(), self.group[row]))
        self.sites.add(place, size)
