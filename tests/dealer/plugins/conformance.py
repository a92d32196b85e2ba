"""What every dealer plugin must do. A plugin's own tests derive from :class:`PluginConformance`, third parties' too."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, replace
from random import Random
from typing import Any, ClassVar

import polars as pl
import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.dealer.engine.plugin import (
    COPY_REQUESTS,
    DETOX_DECISIONS,
    PROPOSALS,
    DetoxCycle,
    Plugin,
    ProposalContext,
)
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW, PARTITIONS, small_inventory

RULES = (
    "rules: {two: {num_copies: 2, destinations: [site.name == T2_*], sources: [site.name == T2_*],"
    " replicas: ['dataset.name == /*']}}"
)
LAST_COPY = "replica.num_full_disk_copy_common_owner < 2"
WEIGHTS = {"/a": 50.0, "/b": 30.0, "/c": 10.0}


def make_cycle(*decisions: tuple[int, int, str, str | None, int]) -> DetoxCycle:
    """A Detox cycle that said (dataset id, site id, decision, reason, bytes)."""
    return DetoxCycle(1, pl.DataFrame(decisions, schema=dict(DETOX_DECISIONS), orient="row"))


def make_context(**changes: Any) -> ProposalContext:
    """A context in which each of our plugins finds something in ``make_frames``."""
    requests = pl.DataFrame(
        [(1, "/a", ["T2_*"], 2, "AnalysisOps"), (2, "/b", ["T2_C"], 0, "AnalysisOps")],
        schema=dict(COPY_REQUESTS),
        orient="row",
    )
    context = ProposalContext(
        partition="Disk",
        partitions=load_partitions(PARTITIONS, now=NOW),
        group="AnalysisOps",
        now=NOW,
        random=Random(7),
        copy_requests=requests,
        enforcer_rules=load_rules(RULES, now=NOW),
        detox=make_cycle(
            (0, 0, "protect", LAST_COPY, 200),
            (2, 0, "protect", LAST_COPY, 200),
            (1, 1, "protect", LAST_COPY, 200),
            (2, 2, "keep", None, 200),
        ),
    )
    return replace(context, **changes)


def make_frames() -> InventoryFrames:
    """Three datasets at three sites, with the attributes that plugins of ours ask for."""
    frames = small_inventory([("/a", "T2_A"), ("/b", "T2_B"), ("/c", "T2_A"), ("/c", "T2_C", "DataOps")])
    return with_weights(frames, WEIGHTS)


def with_weights(
    frames: InventoryFrames, weights: Mapping[str, float], *, name: str = "request_weight"
) -> InventoryFrames:
    """``frames`` with request weights, or values of another attribute, by dataset name."""
    ids = dict(frames.datasets.select("dataset", "dataset_id").iter_rows())
    rows = [(ids[dataset], name, weight) for dataset, weight in weights.items()]
    values = pl.DataFrame(rows, schema=dict(f.ATTRIBUTE_VALUES), orient="row")
    produced = pl.DataFrame([(name, NOW)], schema=dict(f.ATTRIBUTES), orient="row")
    return replace(
        frames,
        attribute_values=pl.concat([frames.attribute_values, values]),
        attributes=pl.concat([frames.attributes, produced]),
    )


def shuffled(frames: InventoryFrames, seed: int) -> InventoryFrames:
    """The same inventory, the rows of each table in another order."""
    tables = {field.name: getattr(frames, field.name) for field in fields(frames)}
    return replace(
        frames, **{name: table.sample(fraction=1, shuffle=True, seed=seed) for name, table in tables.items()}
    )


def tables_of(frames: InventoryFrames, context: ProposalContext) -> dict[str, pl.DataFrame]:
    """Copies of all tables that a plugin is given."""
    found = {field.name: getattr(frames, field.name).clone() for field in fields(frames)}
    found["copy_requests"] = context.copy_requests.clone()
    if context.detox is not None:
        found["detox"] = context.detox.decisions.clone()
    return found


class PluginConformance:
    """Set ``plugin``; when defaults do not do, ``settings``; and when it reads attributes of its own, ``attributes``:
    name → value by dataset, of which there are /a, /b and /c."""

    plugin: ClassVar[type[Plugin]]
    settings: ClassVar[Mapping[str, Any]] = {}
    attributes: ClassVar[Mapping[str, Mapping[str, float]]] = {}

    def frames(self) -> InventoryFrames:
        """What ``make_frames`` makes, with the attributes of the plugin's own."""
        frames = make_frames()
        for name, values in self.attributes.items():
            frames = with_weights(frames, values, name=name)
        return frames

    def proposals(self, frames: InventoryFrames | None = None, **changes: Any) -> pl.DataFrame:
        return self.plugin(self.settings).propose(self.frames() if frames is None else frames, make_context(**changes))

    def test_proposes_the_declared_columns(self) -> None:
        found = self.proposals()
        assert dict(found.schema) == dict(PROPOSALS)
        assert found.height, "the example must make the plugin propose something"

    def test_ids_are_those_of_the_inventory(self) -> None:
        frames, found = self.frames(), self.proposals()
        made = found.filter(pl.col("refused").is_null())
        sites = set(frames.sites["site_id"])
        assert made["dataset_id"].null_count() == 0
        assert set(made["dataset_id"]) <= set(frames.datasets["dataset_id"])
        assert set(found["site_id"].drop_nulls()) <= sites
        assert set(found["group_id"].drop_nulls()) <= set(frames.groups["group_id"])
        for candidates in found["candidate_site_ids"].drop_nulls():
            assert set(candidates) <= sites

    def test_blocks_are_of_the_dataset_and_each_once(self) -> None:
        dataset_of = dict(self.frames().blocks.select("block_id", "dataset_id").iter_rows())
        some = self.proposals().filter(pl.col("block_ids").is_not_null())
        for dataset_id, block_ids in some.select("dataset_id", "block_ids").iter_rows():
            assert block_ids
            assert len(set(block_ids)) == len(block_ids)
            assert {dataset_of[block_id] for block_id in block_ids} == {dataset_id}

    def test_every_proposal_says_why(self) -> None:
        made = self.proposals().filter(pl.col("refused").is_null())
        assert made["reason"].null_count() == 0
        assert made["reason"].str.strip_chars().str.len_chars().min() > 0  # type: ignore[operator]

    @pytest.mark.parametrize("seed", range(3))
    def test_same_seed_same_proposals_in_any_row_order(self, seed: int) -> None:
        cycle = make_context().detox
        assert cycle is not None
        other = DetoxCycle(cycle.plan_id, cycle.decisions.sample(fraction=1, shuffle=True, seed=seed))
        assert self.proposals().equals(self.proposals(shuffled(self.frames(), seed), detox=other))

    def test_asked_twice_it_says_the_same(self) -> None:
        plugin = self.plugin(self.settings)
        first, second = (plugin.propose(self.frames(), make_context()) for _ in range(2))
        assert first.equals(second)

    def test_what_it_is_given_stays_as_it_is(self) -> None:
        frames, context, settings = self.frames(), make_context(), deepcopy(dict(self.settings))
        before = tables_of(frames, context)
        self.plugin(settings).propose(frames, context)
        after = tables_of(frames, context)
        assert [name for name in before if not before[name].equals(after[name])] == []
        assert settings == dict(self.settings)

    def test_an_empty_inventory_has_no_accepted_subscription(self) -> None:
        frames = self.frames()
        empty = replace(
            frames, block_replicas=frames.block_replicas.clear(), dataset_replicas=frames.dataset_replicas.clear()
        )
        found = self.proposals(empty, copy_requests=make_context().copy_requests.clear())
        assert found.is_empty()
        assert dict(found.schema) == dict(PROPOSALS)

    def test_names_the_attributes_that_it_reads(self) -> None:
        named = self.plugin(self.settings).attributes()
        assert isinstance(named, tuple)
        assert list(named) == sorted(set(named))
        frames = self.frames()
        is_named = pl.col("name").is_in(list(named))
        bare = replace(
            frames,
            attributes=frames.attributes.filter(is_named),
            attribute_values=frames.attribute_values.filter(is_named),
        )
        assert self.proposals(bare).equals(self.proposals())

    def test_without_a_detox_cycle_only_those_that_need_none_propose(self) -> None:
        needs = self.plugin(self.settings).needs_detox()
        assert isinstance(needs, bool)
        found = self.proposals(detox=None)
        assert dict(found.schema) == dict(PROPOSALS)
        assert found.is_empty() if needs else found.equals(self.proposals())

    def test_unknown_settings_are_refused(self) -> None:
        with pytest.raises(SettingsError, match="no_such_setting"):
            self.plugin({**self.settings, "no_such_setting": 1})
