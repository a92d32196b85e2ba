"""What every dealer plugin must do. A plugin's own tests derive from :class:`PluginConformance`, third parties' too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, ClassVar

import polars as pl
import pytest

from dynamo_ops.dealer.plugin import COPY_REQUESTS, PROPOSALS, Plugin, ProposalContext
from dynamo_ops.errors import SettingsError
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW, PARTITIONS, small_inventory

RULES = (
    "rules: {two: {num_copies: 2, destinations: [site.name == T2_*], sources: [site.name == T2_*],"
    " replicas: ['dataset.name == /*']}}"
)


def make_context(**changes: Any) -> ProposalContext:
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
    )
    return replace(context, **changes)


def make_frames() -> InventoryFrames:
    return small_inventory([("/a", "T2_A"), ("/b", "T2_B"), ("/c", "T2_A"), ("/c", "T2_C", "DataOps")])


class PluginConformance:
    """Set ``plugin`` and, when defaults do not do, ``settings``."""

    plugin: ClassVar[type[Plugin]]
    settings: ClassVar[Mapping[str, Any]] = {}

    def proposals(self, frames: InventoryFrames | None = None, **changes: Any) -> pl.DataFrame:
        return self.plugin(self.settings).propose(make_frames() if frames is None else frames, make_context(**changes))

    def test_proposes_the_declared_columns(self) -> None:
        found = self.proposals()
        assert dict(found.schema) == dict(PROPOSALS)
        assert found.height, "the example must make the plugin propose something"

    def test_ids_are_those_of_the_inventory(self) -> None:
        frames, found = make_frames(), self.proposals()
        made = found.filter(pl.col("refused").is_null())
        assert made["dataset_id"].null_count() == 0
        assert set(made["dataset_id"]) <= set(frames.datasets["dataset_id"])
        assert set(found["site_id"].drop_nulls()) <= set(frames.sites["site_id"])
        assert set(found["group_id"].drop_nulls()) <= set(frames.groups["group_id"])

    def test_every_proposal_says_why(self) -> None:
        found = self.proposals()
        assert found.filter(pl.col("reason").is_null() & pl.col("refused").is_null()).is_empty()

    def test_same_seed_same_proposals_in_any_row_order(self) -> None:
        frames = make_frames()
        tables = ("sites", "groups", "datasets", "blocks", "dataset_replicas", "block_replicas")
        shuffled = {name: getattr(frames, name).sample(fraction=1, shuffle=True, seed=3) for name in tables}
        assert self.proposals(frames).equals(self.proposals(replace(frames, **shuffled)))

    def test_an_empty_inventory_has_no_accepted_wish(self) -> None:
        frames = make_frames()
        empty = replace(
            frames, block_replicas=frames.block_replicas.clear(), dataset_replicas=frames.dataset_replicas.clear()
        )
        context = make_context(copy_requests=make_context().copy_requests.clear())
        assert self.plugin(self.settings).propose(empty, context).is_empty()

    def test_unknown_settings_are_refused(self) -> None:
        with pytest.raises(SettingsError, match="no_such_setting"):
            self.plugin({**self.settings, "no_such_setting": 1})
