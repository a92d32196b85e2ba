"""The policy language in plain Python, one block replica at a time: slow, obvious, and without a line of the engine.

What SEMANTICS §2 and §9 say of conditions and levels, for inventories of a few rows. Only the parser and the checker
are shared with the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from dynamo_ops.policy.language.check import CheckedCondition, CheckedLine, CheckedPolicy, CheckedPredicate
from dynamo_ops.policy.language.enforcement import EnforcerRule
from tests.detox.random_case import RandomCase


@dataclass(frozen=True)
class Row:
    """One block replica of the image."""

    dataset: str
    site: str
    block: str
    owner: str
    size: int
    is_complete: bool
    updated: datetime


Decided = dict[Row, CheckedLine]


class Oracle:
    """What each line says of the rows that are left, for one case."""

    def __init__(self, case: RandomCase, policy: CheckedPolicy, rules: Iterable[EnforcerRule]) -> None:
        frames = case.frames
        self.policy, self.case = policy, case
        self.rules = list(rules)
        self.sites = {site["site"]: site for site in frames.sites.to_dicts()}
        self.datasets = {dataset["dataset"]: dataset for dataset in frames.datasets.to_dicts()}
        names = {dataset["dataset_id"]: dataset["dataset"] for dataset in frames.datasets.to_dicts()}
        self.blocks: dict[str, dict[str, int]] = {name: {} for name in self.datasets}
        for block in frames.blocks.to_dicts():
            self.blocks[names[block["dataset_id"]]][block["block"]] = block["size_bytes"]
        self.values = {(names[v["dataset_id"]], v["name"]): v["value"] for v in frames.attribute_values.to_dicts()}
        self.locks = frames.locks.to_dicts()
        self.protected_sites = case.protected_sites
        self.at_start: tuple[Row, ...] = ()

    def decide(self, rows: list[Row]) -> Decided:
        """The line that decides each of ``rows``: all that is left of one dataset."""
        decided: Decided = {}
        for site in {row.site for row in rows}:
            left = [row for row in rows if row.site == site]
            for line in self.policy.lines:
                view = View(self, left, rows)
                if not left or not view.matches(line):
                    continue
                taken = [row for row in left if not line.is_block or view.block_matches(line, row)]
                decided.update(dict.fromkeys(taken, line))
                left = [row for row in left if row not in taken]
            decided.update(dict.fromkeys(left, self.policy.default))
        return decided


class View:
    """One dataset replica with what is left of it, beside the other replicas of the dataset, seen whole."""

    def __init__(self, oracle: Oracle, mine: list[Row], rows: list[Row], *, rules: bool = True) -> None:
        self.oracle, self.mine, self.asks_rules = oracle, mine, rules
        self.whole = rows
        self.dataset = rows[0].dataset
        self.site = mine[0].site if mine else ""
        self.others = [row for row in rows if row.site != self.site]

    def matches(self, line: CheckedLine) -> bool:
        assert line.condition is not None
        return self.holds(line.condition)

    def holds(self, condition: CheckedCondition) -> bool:
        return condition.in_force and all(self._predicate(p) for p in condition.predicates)

    def block_matches(self, line: CheckedLine, row: Row) -> bool:
        assert line.condition is not None
        own = [p for p in line.condition.predicates if p.variable.name.startswith("blockreplica.")]
        return all(test(p, self._of_block(p.variable.name, row)) for p in own)

    def _predicate(self, predicate: CheckedPredicate) -> bool:
        name = predicate.variable.name
        if name.startswith("blockreplica."):
            return any(test(predicate, self._of_block(name, row)) for row in self.mine)
        if name == "replica.owners":
            return any(test(predicate, row.owner) for row in self.mine)
        return test(predicate, self._value(name))

    def _value(self, name: str) -> Any:
        oracle, dataset = self.oracle, self.oracle.datasets[self.dataset]
        attributes = {"dataset.usage_rank": "usage_rank", "replica.num_access": "num_access"}
        if name in attributes:
            return oracle.values.get((self.dataset, attributes[name]), 0.0)
        last_access = datetime.fromtimestamp(oracle.values.get((self.dataset, "last_access"), 0.0), UTC)
        newest = max(row.updated for row in self.mine)
        simple = {
            "dataset.name": self.dataset,
            "dataset.status": dataset["status"].upper(),
            "dataset.size": sum(oracle.blocks[self.dataset].values()),
            "dataset.last_access": last_access,
            "dataset.on_protected_site": any(
                row.dataset == self.dataset and row.site in oracle.protected_sites for row in oracle.at_start
            ),
            "replica.size": sum(row.size for row in self.mine),
            "replica.incomplete": not all(row.is_complete for row in self.mine),
            "replica.last_block_created": newest,
            "replica.first_block_created": min(row.updated for row in self.mine),
            "replica.last_used": max(newest, last_access),
            "replica.has_locked_block": any(self._is_locked(row) for row in self.mine),
            "site.name": self.site,
            "site.status": oracle.sites[self.site]["status"].upper(),
            "site.storage_type": oracle.sites[self.site]["storage_type"].upper(),
        }
        return simple[name] if name in simple else self._copies(name)

    def _copies(self, name: str) -> Any:
        full = [site for site in {row.site for row in self.whole} if self._is_full(site)]
        disk = [site for site in full if self._is_ready_disk(site)]
        tapes = {row.site for row in self.whole if self._is_tape(row.site)}
        if name == "dataset.num_full_disk_copy":
            return len(disk)
        if name == "dataset.num_full_copy":
            return len(full)
        if name == "dataset.on_tape":
            return "FULL" if tapes & set(full) else "PARTIAL" if tapes else "NONE"
        if name == "replica.num_full_disk_copy_common_owner":
            return sum(site == self.site or self._shares_owner(site) for site in disk)
        if name == "replica.num_full_other_copy_common_owner":
            return sum(site != self.site and self._shares_owner(site) for site in full)
        assert name == "replica.enforcer_protected", name
        return self.asks_rules and any(self._is_enforced(rule) for rule in self.oracle.rules)

    def _rows_at(self, site: str) -> list[Row]:
        return self.mine if site == self.site else [row for row in self.others if row.site == site]

    def _is_full(self, site: str) -> bool:
        rows = self._rows_at(site)
        return all(row.is_complete for row in rows) and {row.block for row in rows} == set(
            self.oracle.blocks[self.dataset]
        )

    def _is_ready_disk(self, site: str) -> bool:
        found = self.oracle.sites[site]
        return bool(found["storage_type"] == "disk" and found["status"] == "ready")

    def _is_tape(self, site: str) -> bool:
        return bool(self.oracle.sites[site]["storage_type"] == "mss")

    def _shares_owner(self, site: str) -> bool:
        return bool({row.owner for row in self._rows_at(site)} & {row.owner for row in self.mine})

    def _is_enforced(self, rule: EnforcerRule) -> bool:
        """Judged on whole replicas: what was set aside in this evaluation still counts."""
        wholes = {
            site: View(self.oracle, [row for row in self.whole if row.site == site], self.whole, rules=False)
            for site in {row.site for row in self.whole}
        }
        there = [site for site, view in wholes.items() if any(view.holds(c) for c in rule.destinations)]
        applies = any(
            any(view.holds(c) for c in rule.sources) and any(view.holds(c) for c in rule.replicas)
            for view in wholes.values()
        )
        return applies and self.site in there and len(there) <= rule.num_copies

    def _is_locked(self, row: Row) -> bool:
        for lock in self.oracle.locks:
            dataset, _, block = lock["item"].partition("#")
            site_known = any(fnmatchcase(site, lock["sites"]) for site in self.oracle.sites)
            is_here = not lock["sites"] or not site_known or fnmatchcase(row.site, lock["sites"])
            if fnmatchcase(row.dataset, dataset) and (not block or block == row.block) and is_here:
                return True
        return False

    def _of_block(self, name: str, row: Row) -> Any:
        same = [other for other in self.whole if other.block == row.block]
        elsewhere = [other for other in same if other is not row]
        newest = max(other.updated for other in self.mine)
        ready = any(other.is_complete and self._is_ready_disk(other.site) for other in elsewhere)
        values = {
            "blockreplica.owner": row.owner,
            "blockreplica.last_update": row.updated,
            "blockreplica.is_locked": self._is_locked(row),
            "blockreplica.is_last_transfer_source": row.is_complete
            and any(not other.is_complete for other in elsewhere)
            and not ready,
            "blockreplica.num_full_disk_copy": sum(other.is_complete for other in same),
            "blockreplica.on_tape": row.is_complete
            and any(other.is_complete and self._is_tape(other.site) for other in same),
            "blockreplica.age_relative_to_newest": (newest - row.updated).total_seconds() / 86_400,
        }
        return values[name]


def test(predicate: CheckedPredicate, value: Any) -> bool:
    """The predicate on one value."""
    operator, wanted = predicate.operator, predicate.values
    if operator in ("true", "not"):
        return bool(value) == (operator == "true")
    if operator in ("<", "older_than"):
        return bool(value < wanted[0])
    if operator in (">", "newer_than"):
        return bool(value > wanted[0])
    if operator in ("=~", "!=~"):
        return bool(re.match(str(wanted[0]), value)) == (operator == "=~")
    found = any(fnmatchcase(value, str(w)) if isinstance(value, str) else value == w for w in wanted)
    return found == (operator in ("==", "in"))


test.__test__ = False  # type: ignore[attr-defined]
