"""A Dealer plan in figures: what is shown of it, and what a program gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from dynamo_ops.base.errors import UnknownPlanError
from dynamo_ops.base.glob import glob_matches, texts_expr
from dynamo_ops.base.text import near
from dynamo_ops.dealer.record import DealerRecord
from dynamo_ops.dealer.report.explain import Explanation

PROPOSAL = (
    "turn",
    "plugin",
    "dataset",
    "blocks",
    "site",
    "owner",
    "size_bytes",
    "copy",
    "weight",
    "outcome",
    "request_id",
    "reason",
)


def plugins_table(record: DealerRecord) -> pl.DataFrame:
    """One row a plugin of the configuration, by name: priority, num_proposals, num_copies, copied_bytes."""
    accepted = pl.col("copy").is_not_null()
    counts = record.proposals.group_by("plugin").agg(
        num_proposals=pl.len().cast(pl.Int64),
        num_copies=accepted.sum().cast(pl.Int64),
        copied_bytes=pl.col("size_bytes").filter(accepted).sum(),
    )
    named = [(name, plugin_config.priority) for name, plugin_config in sorted(record.config.plugins.items())]
    plugins = pl.DataFrame(named, schema={"plugin": pl.String, "priority": pl.Int64}, orient="row")
    return plugins.join(counts, on="plugin", how="left", maintain_order="left").with_columns(
        pl.col("num_proposals", "num_copies", "copied_bytes").fill_null(0)
    )


def rejections_table(record: DealerRecord) -> pl.DataFrame:
    """One row a reason and plugin, the most frequent first: outcome, plugin, num_proposals, size_bytes."""
    return (
        record.proposals.filter(pl.col("outcome").is_not_null())
        .group_by("outcome", "plugin")
        .agg(num_proposals=pl.len().cast(pl.Int64), size_bytes=pl.col("size_bytes").sum())
        .sort("num_proposals", "outcome", "plugin", descending=[True, False, False])
    )


def sites_table(record: DealerRecord) -> pl.DataFrame:
    """One row a site that is named by the configuration or gets something, by name."""
    counts = record.accepted.group_by("site_id").agg(num_copies=pl.len().cast(pl.Int64))
    joined = record.site_states.join(counts, on="site_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("num_copies").fill_null(0)).filter(
        pl.col("is_named") | (pl.col("num_copies") > 0)
    )


def select_proposals(
    record: DealerRecord,
    *,
    site: str | None = None,
    dataset: str | None = None,
    plugin: str | None = None,
    rejected: bool = False,
) -> pl.DataFrame:
    """The accepted proposals, in the order of acceptance, or the rejected ones by turn; columns ``PROPOSAL``.

    ``site`` (destination, or the one that was asked) and ``dataset``: name or glob. ``blocks``: how many, null for the
    whole dataset.
    """
    sites = record.site_states.select("site_id", "site")
    if site is not None and not any(glob_matches(name, site) for name in sites["site"]):
        raise UnknownPlanError(
            f"{record.name} knows no site {site!r}.{near(site, sites['site'])}", site=site, state=None
        )
    owners = pl.DataFrame(
        {"group_id": list(record.groups), "owner": list(record.groups.values())},
        schema={"group_id": pl.Int64, "owner": pl.String},
    )
    wanted = pl.col("copy").is_null() if rejected else pl.col("copy").is_not_null()
    proposals = (
        record.proposals.filter(wanted)
        .with_columns(
            site_id=pl.coalesce("site_id", "asked_site_id"),
            blocks=pl.col("block_ids").list.len().cast(pl.Int64),
            reason=pl.coalesce("detail", "reason"),
        )
        .join(sites, on="site_id", how="left", maintain_order="left")
        .join(owners, on="group_id", how="left", maintain_order="left")
        .sort("copy", "turn", "number", nulls_last=True)
    )
    for column, pattern in (("site", site), ("dataset", dataset)):
        if pattern is not None:
            proposals = proposals.filter(texts_expr([pattern], pl.col(column)).fill_null(False))
    if plugin is not None:
        proposals = proposals.filter(pl.col("plugin") == plugin)
    return proposals.select(*PROPOSAL)


def plan_document(record: DealerRecord) -> dict[str, Any]:
    """The plan's figures as a JSON document."""
    return {
        "partition": record.partition,
        "now": record.now,
        "seed": record.seed,
        "plugins": plugins_table(record).to_dicts(),
        "rejected": rejections_table(record).to_dicts(),
        "sites": finite_rows(sites_table(record)),
        "warnings": list(record.warnings),
    }


def finite_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, which knows no infinity: an infinite occupancy (quota 0) becomes null."""
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    return frame.with_columns(pl.when(pl.col(name).is_finite()).then(name) for name in floats).to_dicts()


def explain_document(record: DealerRecord, found: Sequence[Explanation]) -> dict[str, Any]:
    """Explanations as a JSON document."""
    return {
        "plan": record.name,
        "partition": record.partition,
        "now": record.now,
        "seed": record.seed,
        "proposals": [
            {
                **{
                    column: cell for column, cell in explanation.proposal.items() if column not in {"item", "placement"}
                },
                "owner": explanation.owner,
                "priority": explanation.priority,
                "verdict": explanation.verdict,
                "sites": finite_rows(explanation.sites),
            }
            for explanation in found
        ],
    }
