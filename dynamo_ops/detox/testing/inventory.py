"""The inventory that the facts of one policy test describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.text import near
from dynamo_ops.base.times import resolve_time
from dynamo_ops.detox.testing.facts import DatasetFacts, Example, Examples, ReplicaFacts, SiteFacts, known_attributes
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.variables import DATASET_STATUS

INCOMPLETE_SHARE = 0.5
"""What an incomplete block replica has of its block."""


def example_frames(
    examples: Examples, example: Example, *, file: str, leaves: tuple[str, ...], quotas: Mapping[str, int | None]
) -> InventoryFrames:
    """The frames of one test. ``leaves`` of the partition: ``quotas`` (by site) go to the first, the others have 0.

    Raises SettingsError naming file, key and reason where facts contradict each other.
    """
    return _Builder(examples, example, file).frames(leaves, quotas)


def site_facts(examples: Examples, example: Example) -> Mapping[str, SiteFacts]:
    """The file's sites, and the test's on top."""
    return {**examples.sites, **example.sites}


class _Builder:
    """Collects the rows of one inventory. Ids are numbers in the order of the file."""

    def __init__(self, examples: Examples, example: Example, file: str) -> None:
        self.examples, self.example, self.file = examples, example, file
        self.key = f"tests.{examples.tests.index(example)}"
        self.now = example.now or examples.now
        self.sites = site_facts(examples, example)
        self.site_ids = {name: number for number, name in enumerate(self.sites)}
        self.group_ids = {name: number for number, name in enumerate(examples.groups)}
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in ROWS}

    def wrong(self, key: str, reason: str) -> SettingsError:
        return SettingsError(f"{self.file}: {self.key}.{key}: {reason}", file=self.file, key=key, reason=reason)

    def frames(self, leaves: tuple[str, ...], quotas: Mapping[str, int | None]) -> InventoryFrames:
        for number, (name, facts) in enumerate(self.example.datasets.items()):
            self.dataset(number, name, facts)
        for site, quota in quotas.items():
            if quota is not None:
                quota_of_leaf = (quota, *[0] * (len(leaves) - 1))
                self.rows["quotas"] += [
                    (self.site_ids[site], *pair) for pair in zip(leaves, quota_of_leaf, strict=True)
                ]
        sites = [(n, name, self.sites[name].storage_type, self.sites[name].status) for name, n in self.site_ids.items()]
        groups = [(n, name, self.examples.groups[name]) for name, n in self.group_ids.items()]
        produced = [(name, self.now) for name in sorted(known_attributes())]
        return InventoryFrames(
            sites=_frame(sites, f.SITES),
            groups=_frame(groups, f.GROUPS),
            attributes=_frame(produced, f.ATTRIBUTES),
            **{name: _frame(rows, ROWS[name]) for name, rows in self.rows.items()},
        )

    def dataset(self, number: int, name: str, facts: DatasetFacts) -> None:
        key = f"datasets.{name}"
        if facts.status.upper() not in DATASET_STATUS:
            raise self.wrong(f"{key}.status", f"{facts.status!r} is none of {', '.join(DATASET_STATUS)}")
        updated = resolve_time(facts.updated, self.now)
        self.rows["datasets"].append((number, name, facts.status.lower(), facts.open, facts.release, updated))
        ids = {}
        for block, size in facts.block_sizes.items():
            ids[block] = len(self.rows["blocks"])
            self.rows["blocks"].append((ids[block], number, block, size, 1, updated))
        for attribute, attribute_value in facts.attributes.items():
            if attribute not in known_attributes():
                raise self.wrong(
                    f"{key}.attributes", f"unknown attribute {attribute!r}.{near(attribute, known_attributes())}"
                )
            self.rows["attribute_values"].append((number, attribute, self.number(attribute_value)))
        for site, replica in facts.replicas.items():
            self.replica(f"{key}.replicas.{site}", (number, name), site, replica, facts, ids)

    def number(self, value: bool | float | str) -> float:
        return resolve_time(value, self.now).timestamp() if isinstance(value, str) else float(value)

    def replica(
        self,
        key: str,
        dataset: tuple[int, str],
        site: str,
        facts: ReplicaFacts,
        of: DatasetFacts,
        ids: Mapping[str, int],
    ) -> None:
        if site not in self.site_ids:
            raise self.wrong(key, f"unknown site {site!r}.{near(site, self.site_ids)}")
        unknown = [block for block in facts.blocks or () if block not in ids]
        if unknown:
            raise self.wrong(f"{key}.blocks", f"the dataset has no block {unknown[0]!r}; its blocks: {', '.join(ids)}")
        number, site_id = dataset[0], self.site_ids[site]
        self.rows["dataset_replicas"].append((number, site_id, facts.growing, None))
        for block, size in of.block_sizes.items():
            if facts.has(block):
                block_facts = facts.facts_of(block)
                on_disk = round(size * INCOMPLETE_SHARE) if block_facts["incomplete"] else size
                owner = self.owner(key, block_facts.get("owner", self.examples.owner))
                updated = resolve_time(f"{block_facts['age']} ago", self.now)
                block_replica = (
                    ids[block],
                    number,
                    site_id,
                    owner,
                    on_disk,
                    not block_facts["incomplete"],
                    False,
                    updated,
                )
                self.rows["block_replicas"].append(block_replica)
                if block_facts["locked"]:
                    self.rows["locks"].append((f"{dataset[1]}#{block}", site, ""))

    def owner(self, key: str, name: str | None) -> int | None:
        if name is None:
            return None
        if name not in self.group_ids:
            raise self.wrong(key, f"unknown group {name!r}; the file's groups: {', '.join(self.group_ids) or 'none'}")
        return self.group_ids[name]


ROWS: dict[str, f.Schema] = {
    "datasets": f.DATASETS,
    "blocks": f.BLOCKS,
    "dataset_replicas": f.DATASET_REPLICAS,
    "block_replicas": f.BLOCK_REPLICAS,
    "quotas": f.QUOTAS,
    "locks": f.LOCKS,
    "attribute_values": f.ATTRIBUTE_VALUES,
}


def _frame(rows: list[tuple[Any, ...]], schema: f.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(schema), orient="row")
