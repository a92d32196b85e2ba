"""Plugin ``undertaker``: what would be lost with a site that is out of service is copied to another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from dynamo_ops.dealer.engine.config import checked_settings
from dynamo_ops.dealer.engine.plugin import PROPOSALS, ProposalContext
from dynamo_ops.dealer.plugins.names import site_ids
from dynamo_ops.dealer.plugins.proposal import REPLICA, as_proposals, count_texts, replica_items, size_texts
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.replica.good import doubtful_replicas
from dynamo_ops.plan.states import Decision

KEY = "plugins.undertaker"


class UndertakerSettings(BaseModel):
    """What Detox protects and only bad sites have goes elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    additional_sites: tuple[str, ...] = ()
    """Names of sites to be emptied as well, whatever their status."""


class UndertakerPlugin:
    """For each replica that the last Detox cycle protected at a bad site (not ready, or named in the settings): its
    blocks that have no block replica at any other site but bad ones (SEMANTICS §4, §10). An incomplete replica
    elsewhere, or one on tape, counts: it is there or on its way."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = checked_settings(UndertakerSettings, settings, file="", below=KEY)

    def attributes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def needs_detox(self) -> bool:
        """Yes: what Detox protects is what is wanted still."""
        return True

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """One proposal per dataset and bad site, by names of dataset, blocks and site. SettingsError when a site is
        unknown."""
        named = site_ids(frames, self.settings.additional_sites, key=f"{KEY}.additional_sites")
        if context.detox is None:
            return empty(PROPOSALS)
        is_bad = (pl.col("status").str.to_lowercase() != SiteStatus.READY) | pl.col("site_id").is_in(named)
        bad = frames.sites.filter(is_bad)
        last_replicas = replica_items(frames, _last_blocks(frames, context.detox.decisions, bad["site_id"]))
        last_replicas = last_replicas.join(bad.select("site_id", "status"), on="site_id", maintain_order="left")
        return as_proposals(
            last_replicas.drop("site_id").with_columns(reason=_reason(), candidate_site_ids=_candidates(frames, bad))
        )


def _candidates(frames: InventoryFrames, bad: pl.DataFrame) -> pl.Expr:
    """Sites that are not bad; null where the engine leaves out all bad ones by itself: none of them is ready."""
    if not (bad["status"].str.to_lowercase() == SiteStatus.READY).any():
        return pl.lit(None, dtype=pl.List(pl.Int64))
    good_site_ids = frames.sites.join(bad, on="site_id", how="anti").sort("site")["site_id"]
    return pl.lit(good_site_ids.implode()).first()


def _reason() -> pl.Expr:
    is_whole = pl.col("block_ids").is_null()
    part_text = pl.when(is_whole).then(pl.lit("the dataset")).otherwise(count_texts("num_blocks", "block"))
    is_named = pl.col("status").str.to_lowercase() == SiteStatus.READY
    why = pl.when(is_named).then(pl.lit("to be emptied")).otherwise(pl.format("status {}", "status"))
    size = size_texts("size_bytes")
    return pl.format("only at sites out of service, here {} ({}): {}, {}", "site", why, part_text, size)


def _last_blocks(frames: InventoryFrames, decisions: pl.DataFrame, bad_sites: pl.Series) -> pl.DataFrame:
    """Block replicas of protected dataset replicas at bad sites, whose block has none at any other site. One with a
    doubtful file there is none: what is doubted may not be there, and the bad site will go."""
    is_at_bad = pl.col("site_id").is_in(bad_sites.implode())
    protected = decisions.filter((pl.col("decision") == Decision.PROTECT) & is_at_bad).select(REPLICA).unique()
    there = frames.block_replicas.filter(is_at_bad).join(protected, on=REPLICA, how="semi")
    elsewhere = frames.block_replicas.filter(~is_at_bad & pl.col("block_id").is_in(there["block_id"].implode()))
    elsewhere = elsewhere.join(doubtful_replicas(frames), on=["block_id", "site_id"], how="anti")
    return there.join(elsewhere, on="block_id", how="anti")
