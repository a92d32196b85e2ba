"""Plugin ``requests``: the copies that users ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.base.config_file import Terabytes
from dynamo_ops.base.glob import glob_matches
from dynamo_ops.base.units import TB, size_text
from dynamo_ops.dealer.engine.config import checked_settings
from dynamo_ops.dealer.engine.plugin import ProposalContext
from dynamo_ops.dealer.plugins.proposal import as_proposals, size_texts
from dynamo_ops.inventory.frames import NULL_GROUP, InventoryFrames

DEMAND = ["request_id", "dataset"]
"""What one request asks of one dataset."""


class RequestsSettings(BaseModel):
    """Copies that users asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block_request_max: float = Field(default=1.0, gt=0, le=1)
    """Share of a dataset's blocks above which a request for blocks becomes one for the dataset."""
    max_size: Terabytes | None = Field(default=None, gt=0)
    """Of one copy of what a request asks of one dataset; without it no limit."""
    overwritten_groups: tuple[str, ...] = ()
    """Owners from whom copies that are there may be taken; the null group always."""


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
        """Proposals by request id and dataset: changes of owner first, by site name, then copies whose destination the
        engine draws."""
        asked = _items(frames, context.copy_requests)
        sites = _sites(frames, context.copy_requests)
        demands, blocks = self._demands(frames, asked)
        demands = self._judged(frames, demands, sites)
        open_demands = demands.filter(pl.col("refused").is_null())
        present = self._present(frames, open_demands, blocks).join(sites, on=["request_id", "site_id"])
        counted = present.group_by(DEMAND).agg(num_owned=(pl.col("kind") == "owned").sum().cast(pl.Int64))
        lacking = (
            open_demands.join(counted, on=DEMAND, how="left")
            .with_columns(pl.col("num_owned").fill_null(0))
            .with_columns(missing=pl.col("num_copies") - pl.col("num_owned"))
            .filter((pl.col("num_copies") == 0) | (pl.col("missing") > 0))
            .with_columns(reason=_reason())
        )
        at_each = _at_each_site(lacking.filter(pl.col("num_copies") == 0), present, sites)
        changes, drawn = _some_sites(lacking.filter(pl.col("num_copies") > 0), present, sites)
        known_blocks = pl.when(pl.col("unknown").is_null()).then("block_ids")
        refused = demands.filter(pl.col("refused").is_not_null()).select(*DEMAND, "dataset_id", known_blocks, "refused")
        parts = [refused.with_columns(place=pl.lit(0)), at_each, changes, drawn]
        proposals = pl.concat(parts, how="diagonal_relaxed")
        return as_proposals(proposals.sort(*DEMAND, "place", "site", nulls_last=True, maintain_order=True))

    def _demands(self, frames: InventoryFrames, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The demands, with ``num_blocks``, ``size_bytes`` and ``block_ids`` (null: the whole dataset) of what they ask
        and the first ``unknown`` name; and the blocks of those that are not for whole datasets."""
        wanted = items["dataset_id"].unique().implode()
        dataset_sizes = (
            frames.blocks.filter(pl.col("dataset_id").is_in(wanted))
            .group_by("dataset_id")
            .agg(num_known=pl.len().cast(pl.Int64), known_bytes=pl.col("size_bytes").sum())
        )
        name = pl.format("unknown block {}#{}", "dataset", "block")
        is_unknown = pl.col("block").is_not_null() & pl.col("block_id").is_null()
        demands = (
            items.group_by(DEMAND)
            .agg(
                pl.col("dataset_id", "num_copies", "group", "sites").first(),
                is_named=pl.col("block").is_null().any(),
                num_named=pl.col("block").drop_nulls().n_unique().cast(pl.Int64),
                unknown=name.filter(is_unknown).min(),
            )
            .join(dataset_sizes, on="dataset_id", how="left")
            .with_columns(pl.col("num_known", "known_bytes").fill_null(0))
        )
        share = self.settings.block_request_max * pl.col("num_known")
        demands = demands.with_columns(is_whole=pl.col("is_named") | (pl.col("num_named") > share))
        parts = demands.filter(~pl.col("is_whole")).select(DEMAND)
        blocks = items.filter(pl.col("block_id").is_not_null()).join(parts, on=DEMAND).unique([*DEMAND, "block_id"])
        of_parts = blocks.group_by(DEMAND).agg(
            block_ids=pl.col("block_id").sort(),
            num_blocks=pl.len().cast(pl.Int64),
            size_bytes=pl.col("block_bytes").sum(),
        )
        demands = demands.join(of_parts, on=DEMAND, how="left").with_columns(
            num_blocks=pl.when("is_whole").then("num_known").otherwise(pl.col("num_blocks").fill_null(0)),
            size_bytes=pl.when("is_whole").then("known_bytes").otherwise(pl.col("size_bytes").fill_null(0)),
        )
        return demands, blocks.select(*DEMAND, "block_id")

    def _judged(self, frames: InventoryFrames, demands: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
        """``demands`` with ``group_id`` and ``refused``: why they are never answered, null if they are."""
        limit = self.settings.max_size
        sited = sites.select("request_id", has_sites=pl.lit(True)).unique()
        globs = pl.col("sites").list.join(" ")
        joined = demands.join(frames.groups.select("group", "group_id"), on="group", how="left").join(
            sited, on="request_id", how="left"
        )
        is_large = pl.lit(False) if limit is None else pl.col("size_bytes") > limit * TB
        most = size_text(0 if limit is None else round(limit * TB))
        large = pl.format("{} are above max_size {}", size_texts("size_bytes"), pl.lit(most))
        return joined.with_columns(
            refused=pl.when(pl.col("dataset_id").is_null())
            .then(pl.format("unknown dataset {}", "dataset"))
            .when(pl.col("unknown").is_not_null())
            .then("unknown")
            .when(pl.col("group_id").is_null())
            .then(pl.format("unknown group {}", "group"))
            .when(pl.col("has_sites").is_null())
            .then(pl.format("no site matches {}", globs))
            .when(is_large)
            .then(large)
        )

    def _present(self, frames: InventoryFrames, demands: pl.DataFrame, blocks: pl.DataFrame) -> pl.DataFrame:
        """The sites that have all blocks asked for, complete or on the way: ``request_id``, ``dataset``, ``site_id``
        and ``kind``: owned by the group, takeable by it, or foreign."""
        taken = [*self.settings.overwritten_groups, NULL_GROUP]
        takeable = frames.groups.filter(pl.col("group").is_in(taken))["group_id"].implode()
        wanted = demands.select(*DEMAND, "dataset_id", "num_blocks", wanted_by="group_id")
        replicas = frames.block_replicas.filter(
            pl.col("dataset_id").is_in(wanted["dataset_id"].unique().implode())
        ).select("block_id", "dataset_id", "site_id", "group_id")
        whole = wanted.join(demands.filter("is_whole").select(DEMAND), on=DEMAND, how="semi")
        of_datasets = replicas.group_by("dataset_id", "site_id", "group_id").agg(here=pl.len().cast(pl.Int64))
        parts = blocks.join(wanted, on=DEMAND).join(replicas.drop("dataset_id"), on="block_id")
        of_blocks = parts.group_by(*DEMAND, "num_blocks", "wanted_by", "site_id", "group_id").agg(
            here=pl.len().cast(pl.Int64)
        )
        columns = [*DEMAND, "num_blocks", "wanted_by", "site_id", "group_id", "here"]
        holdings = pl.concat([whole.join(of_datasets, on="dataset_id").select(columns), of_blocks.select(columns)])
        is_ours = pl.col("group_id").eq_missing(pl.col("wanted_by"))
        may_take = is_ours | pl.col("group_id").is_null() | pl.col("group_id").is_in(takeable)
        kinds = holdings.group_by(*DEMAND, "site_id").agg(
            all_here=pl.col("here").sum() == pl.col("num_blocks").first(), owned=is_ours.all(), may=may_take.all()
        )
        kind = pl.when("owned").then(pl.lit("owned")).when("may").then(pl.lit("takeable")).otherwise(pl.lit("foreign"))
        return kinds.filter("all_here").select(*DEMAND, "site_id", kind=kind)


def _items(frames: InventoryFrames, requests: pl.DataFrame) -> pl.DataFrame:
    """One row per item: the request's columns, ``dataset`` and ``block`` (null: all of it), ids and ``block_bytes``
    where they are known."""
    parts = pl.col("dataset").str.splitn("#", 2).struct.rename_fields(["dataset", "block"])
    named = (
        requests.sort("request_id", "dataset")
        .select("request_id", "sites", "group", pl.col("num_copies").fill_null(0), parts.alias("parts"))
        .unnest("parts")
        .join(frames.datasets.select("dataset", "dataset_id"), on="dataset", how="left", maintain_order="left")
    )
    asked = named.filter(pl.col("block").is_not_null())["dataset_id"].unique().implode()
    blocks = frames.blocks.filter(pl.col("dataset_id").is_in(asked)).select(
        "dataset_id", "block", "block_id", block_bytes="size_bytes"
    )
    return named.join(blocks, on=["dataset_id", "block"], how="left", maintain_order="left")


def _sites(frames: InventoryFrames, requests: pl.DataFrame) -> pl.DataFrame:
    """``request_id``, ``site_id``, ``site``: the sites that match one of a request's globs."""
    asked = requests.select("request_id", pattern="sites").explode("pattern", empty_as_null=True).drop_nulls().unique()
    matching = [
        (pattern, site_id, site)
        for pattern in asked["pattern"].unique()
        for site_id, site in frames.sites.select("site_id", "site").iter_rows()
        if glob_matches(site, pattern)
    ]
    matched_sites = pl.DataFrame(
        matching, schema={"pattern": pl.String, "site_id": pl.Int64, "site": pl.String}, orient="row"
    )
    return asked.join(matched_sites, on="pattern").select("request_id", "site_id", "site").unique()


def _reason() -> pl.Expr:
    """What is asked, and what there is of it."""
    there = pl.format(", {} there", "num_owned")
    copies = pl.when(pl.col("num_copies") == 1).then(pl.lit("y")).otherwise(pl.lit("ies"))
    return pl.format(
        "request {}: {}{}",
        "request_id",
        pl.when(pl.col("num_copies") == 0)
        .then(pl.lit("one copy at each of its sites"))
        .otherwise(pl.format("{} cop{}", "num_copies", copies)),
        there,
    )


def _at_each_site(demands: pl.DataFrame, present: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """A proposal for each site that has no copy of the group's, unless it is another owner's."""
    there = present.filter(pl.col("kind") != "takeable").select(*DEMAND, "site_id")
    return (
        demands.join(sites, on="request_id")
        .join(there, on=[*DEMAND, "site_id"], how="anti")
        .select(*DEMAND, "dataset_id", "block_ids", "group_id", "reason", "site_id", "site", place=pl.lit(1))
    )


def _some_sites(demands: pl.DataFrame, present: pl.DataFrame, sites: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Changes of owner, as many as are missing, by site name; and draws among the sites without a copy for the rest.

    Where no such site is left there is one draw among none, so that people see why they wait.
    """
    taken = (
        demands.join(present.filter(pl.col("kind") == "takeable"), on=DEMAND)
        .sort(*DEMAND, "site")
        .filter(pl.int_range(pl.len()).over(DEMAND) < pl.col("missing"))
    )
    rest = (
        demands.join(taken.group_by(DEMAND).agg(num_taken=pl.len().cast(pl.Int64)), on=DEMAND, how="left")
        .with_columns(missing=pl.col("missing") - pl.col("num_taken").fill_null(0))
        .filter(pl.col("missing") > 0)
    )
    free = (
        rest.select(DEMAND)
        .join(sites, on="request_id")
        .join(present.select(*DEMAND, "site_id"), on=[*DEMAND, "site_id"], how="anti")
        .sort(*DEMAND, "site")
        .group_by(DEMAND, maintain_order=True)
        .agg(candidate_site_ids="site_id")
    )
    num_free = pl.col("candidate_site_ids").list.len().cast(pl.Int64)
    wait_reason = pl.format("{}; the other sites asked for have it for other groups", "reason")
    draws = (
        rest.join(free, on=DEMAND, how="left")
        .with_columns(pl.col("candidate_site_ids").fill_null([]))
        .with_columns(
            number=pl.max_horizontal(pl.min_horizontal("missing", num_free), 1),
            reason=pl.when(num_free > 0).then("reason").otherwise(wait_reason),
        )
    )
    columns = [*DEMAND, "dataset_id", "block_ids", "group_id", "reason"]
    repeated = draws.select(
        *columns, "candidate_site_ids", place=pl.lit(2), n=pl.int_ranges(0, pl.col("number"))
    ).explode("n", empty_as_null=False)
    return taken.select(*columns, "site_id", "site", place=pl.lit(1)), repeated.drop("n")
