"""Plugin ``groupreassign``: blocks of some groups are to be owned by the configured group, where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.dealer.engine.config import checked_settings
from dynamo_ops.dealer.engine.plugin import ProposalContext
from dynamo_ops.dealer.plugins.names import group_ids, owned_by
from dynamo_ops.dealer.plugins.proposal import REPLICA, as_proposals, count_texts, replica_items, size_texts
from dynamo_ops.inventory.frames import InventoryFrames

KEY = "plugins.groupreassign"


class GroupReassignSettings(BaseModel):
    """Blocks change hands where they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_groups: tuple[str, ...] = Field(min_length=1)
    """Owners whose blocks do; `None` is the null group."""


class GroupReassignPlugin:
    """One proposal per dataset replica, tape included, that has blocks of ``from_groups``: those blocks, where they
    are (SEMANTICS §4, §8.8)."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = checked_settings(GroupReassignSettings, settings, file="", below=KEY)

    def attributes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def needs_detox(self) -> bool:
        """No."""
        return False

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """Proposals by names of dataset, blocks and site. SettingsError when a group is unknown."""
        ids = group_ids(frames, self.settings.from_groups, key=f"{KEY}.from_groups")
        theirs = frames.block_replicas.lazy().filter(owned_by(ids)).select("block_id", *REPLICA).collect()
        dataset_replicas = replica_items(frames, theirs)
        owners, owner = pl.lit(", ".join(sorted(set(self.settings.from_groups)))), pl.lit(context.group)
        blocks, size = count_texts("num_blocks", "block"), size_texts("size_bytes")
        reason = pl.format("{} of {} at {} ({}): to be owned by {}", blocks, owners, "site", size, owner)
        return as_proposals(dataset_replicas.with_columns(reason=reason))
