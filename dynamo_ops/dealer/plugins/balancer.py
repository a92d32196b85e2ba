"""Plugin ``balancer``: last copies spread over the sites, so that none holds much more protected data than others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.base.config_file import Terabytes
from dynamo_ops.base.text import near
from dynamo_ops.base.units import TB, size_text
from dynamo_ops.dealer.engine.config import checked_settings
from dynamo_ops.dealer.engine.plugin import PROPOSALS, ProposalContext
from dynamo_ops.dealer.plugins.proposal import as_proposals, by_replica
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.plan.states import Decision
from dynamo_ops.policy.evaluation.attributes import site_table
from dynamo_ops.policy.partition import partition_expr, partition_quota

log = logging.getLogger(__name__)

KEY = "plugins.balancer"
ENOUGH_BALANCE = 0.05
"""Sites whose protected fractions differ by less are balanced."""


class BalancerSettings(BaseModel):
    """Last copies are spread over the sites."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_reasons: Mapping[str, Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """Condition of a line of the Detox policy → replicas of the dataset up to which what that line protects may be
    proposed."""
    max_dataset_size: Terabytes | None = Field(default=None, gt=0)
    """Of one replica on disk; larger ones stay where they are; without it no limit."""
    max_cycle_volume: Terabytes = Field(gt=0)
    """Of full datasets; what reaches it is the last proposal of the cycle."""


@dataclass
class _Site:
    """A site while proposals are made. ``protected_bytes``: less what was proposed. ``waiting``: row numbers of its
    candidates, the next one last."""

    name: str
    quota_bytes: int
    protected_bytes: int
    waiting: list[int]

    @property
    def fraction(self) -> float:
        return self.protected_bytes / self.quota_bytes


class BalancerPlugin:
    """Takes the site with the highest protected fraction (bytes that the last Detox cycle protected / quota) and
    proposes a copy, somewhere, of its smallest candidate; until the fractions differ by less than 5 % (SEMANTICS §4).

    Sites that take part: those with a quota above 0 that are ready disk sites, or of which the cycle decided something
    (an Ignore line decides nothing). So an empty site counts as the emptiest one, unless nothing can be brought there.
    Candidates: datasets protected there for one of the ``target_reasons``.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = checked_settings(BalancerSettings, settings, file="", below=KEY)
        self.most_replicas = {one_blank(reason): most for reason, most in self.settings.target_reasons.items()}

    def attributes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def needs_detox(self) -> bool:
        """Yes."""
        return True

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """Whole datasets, in the order proposed; a dataset that is a candidate of several sites may be proposed for
        each of them. Ties by name. Logs a warning for a target reason that no line of the cycle has."""
        if context.detox is None:
            return empty(PROPOSALS)
        decisions = context.detox.decisions.with_columns(_normalised("reason"))
        self._warn_of_unknown_reasons(decisions["reason"])
        candidates = self._candidates(frames, context, decisions.filter(pl.col("decision") == Decision.PROTECT))
        sites = _sites(frames, context, decisions, candidates)
        names = candidates["reason"].to_list()
        proposals = [
            {"dataset_id": dataset_id, "reason": f"{why}; protected there: {names[number]}"}
            for number, dataset_id, why in self._balanced(sites, candidates)
        ]
        return as_proposals(pl.DataFrame(proposals, schema={"dataset_id": pl.Int64, "reason": pl.String}))

    def _warn_of_unknown_reasons(self, reasons: pl.Series) -> None:
        cycle_reasons = reasons.drop_nulls().unique().sort().to_list()
        for reason in sorted(self.most_replicas.keys() - set(cycle_reasons)):
            log.warning(
                "%s.target_reasons: no line of the last Detox cycle has decided for %r.%s",
                KEY,
                reason,
                near(reason, cycle_reasons),
            )

    def _candidates(self, frames: InventoryFrames, context: ProposalContext, protected: pl.DataFrame) -> pl.DataFrame:
        """``site_id``, ``dataset_id``, ``dataset``, ``reason``, ``size_bytes`` (full), by size on disk of what is
        protected, then name. One row a site and dataset: its smallest."""
        most = pl.col("reason").replace_strict(self.most_replicas, default=None, return_dtype=pl.Int64)
        targeted = protected.with_columns(most=most).filter(pl.col("most").is_not_null())
        if self.settings.max_dataset_size is not None:
            targeted = targeted.filter(pl.col("size_bytes") <= self.settings.max_dataset_size * TB)
        blocks = frames.blocks.filter(pl.col("dataset_id").is_in(targeted["dataset_id"].unique().implode()))
        sizes = blocks.group_by("dataset_id").agg(full_bytes=pl.col("size_bytes").sum(), num_blocks=pl.len())
        return (
            targeted.join(sizes, on="dataset_id")
            .join(_num_disk_replicas(frames, context, sizes), on="dataset_id")
            .filter(pl.col("num_replicas") <= pl.col("most"))
            .join(frames.datasets.select("dataset_id", "dataset"), on="dataset_id")
            .sort("size_bytes", "dataset", "reason")
            .unique(["site_id", "dataset_id"], keep="first", maintain_order=True)
            .select("site_id", "dataset_id", "dataset", "reason", size_bytes="full_bytes")
        )

    def _balanced(self, sites: list[_Site], candidates: pl.DataFrame) -> list[tuple[int, int, str]]:
        """Row number of the candidate, dataset and reason of each proposal."""
        dataset_ids, sizes = candidates["dataset_id"].to_list(), candidates["size_bytes"].to_list()
        moves: list[tuple[int, int, str]] = []
        volume = 0
        while sites and volume < self.settings.max_cycle_volume * TB:
            highest = min(sites, key=lambda site: (-site.fraction, site.name))
            lowest = min(sites, key=lambda site: (site.fraction, site.name))
            if highest.fraction - lowest.fraction < ENOUGH_BALANCE:
                break
            if not highest.waiting:
                sites.remove(highest)
                continue
            number = highest.waiting.pop()
            why = (
                f"{highest.name} holds {highest.fraction:.1%} of its quota as protected data, {lowest.name} "
                f"{lowest.fraction:.1%}: a copy of {size_text(sizes[number])} elsewhere"
            )
            moves.append((number, dataset_ids[number], why))
            highest.protected_bytes -= sizes[number]
            volume += sizes[number]
        return moves


def one_blank(text: str) -> str:
    """``text`` with one blank where there are several, none at the ends."""
    return " ".join(text.split())


def _normalised(column: str) -> pl.Expr:
    """As ``one_blank``."""
    return pl.col(column).str.replace_all(r"\s+", " ").str.strip_chars()


def _sites(
    frames: InventoryFrames, context: ProposalContext, decisions: pl.DataFrame, candidates: pl.DataFrame
) -> list[_Site]:
    """Those that take part, by name."""
    held = decisions.filter(pl.col("decision") != Decision.IGNORE).group_by("site_id")
    protected = held.agg(protected=pl.col("size_bytes").filter(pl.col("decision") == Decision.PROTECT).sum())
    quotas = partition_quota(frames, context.partitions, context.partition)
    taking_part = (
        site_table(frames)
        .join(quotas.filter(pl.col("quota_bytes") > 0), on="site_id")
        .join(protected, on="site_id", how="left")
        .filter(pl.col("is_ready_disk") | pl.col("protected").is_not_null())
        .with_columns(pl.col("protected").fill_null(0))
        .sort("site")
    )
    numbered = candidates.with_row_index("number").group_by("site_id").agg(pl.col("number").reverse())
    waiting = dict(numbered.iter_rows())
    return [
        _Site(name, quota, protected, waiting.get(site_id, []))
        for site_id, name, quota, protected in taking_part.select(
            "site_id", "site", "quota_bytes", "protected"
        ).iter_rows()
    ]


def _num_disk_replicas(frames: InventoryFrames, context: ProposalContext, datasets: pl.DataFrame) -> pl.DataFrame:
    """``dataset_id``, ``num_replicas``: at disk sites, with a block in the partition, and not partial (complete, but
    blocks are lacking); of the datasets that are still somewhere. ``datasets``: ``dataset_id``, ``num_blocks``."""
    disks = frames.sites.filter(pl.col("storage_type").str.to_lowercase() == StorageType.DISK)["site_id"]
    of_these = frames.block_replicas.lazy().filter(pl.col("dataset_id").is_in(datasets["dataset_id"].implode()))
    replicas = by_replica(
        of_these.with_columns(is_inside=partition_expr(frames, context.partitions, context.partition)),
        pl.col("is_inside").any(),
        pl.col("is_complete").all(),
        pl.len().alias("present"),
    ).join(datasets, on="dataset_id")
    is_partial = pl.col("is_complete") & (pl.col("present") < pl.col("num_blocks"))
    counts = pl.col("is_inside") & ~is_partial & pl.col("site_id").is_in(disks.implode())
    return replicas.group_by("dataset_id").agg(num_replicas=counts.sum().cast(pl.Int64))
