"""What is expected of the knowledge that a plan of Detox or Dealer was made with: fresh, and without holes."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.freshness import accesses_ages, metadata_ages, missing_days, usage_attributes
from dynamo_ops.quality.checks import FrameCheck
from dynamo_ops.quality.gate import GateReport, run_gate
from dynamo_ops.quality.thresholds import FreshnessThresholds, Gates


def check_freshness(
    db: Database,
    settings: Settings,
    run_key: str,
    subject: str,
    attributes: Collection[str],
    thresholds: Gates,
) -> GateReport:
    """Judge what is known now. Raises GateError; changes nothing but ``gate_results``.

    ``subject``: what was planned with it, for the message. ``attributes``: those that the plan used. Days of accesses
    that lack count only where one of them is computed from such days.
    """
    limits = thresholds.freshness
    checks = [_metadata_check(db, settings, limits)]
    if set(attributes) & usage_attributes(db):
        checks += [_stale_check(db, settings, limits), _gap_check(db, settings, limits)]
    return run_gate(db, "freshness", subject, run_key, checks, limits.warn_only, docs=thresholds.data_docs)


def _metadata_check(db: Database, settings: Settings, thresholds: FreshnessThresholds) -> FrameCheck:
    ages = metadata_ages(db, [source.name for source in settings.metadata_sources])
    until = pl.col("merged_until").dt.strftime("%Y-%m-%dT%H:%MZ").fill_null("never")
    return FrameCheck(
        "metadata_stale",
        f"metadata were merged last more than {thresholds.metadata_max_age_h:g} hours ago (backfill metadata_sync)",
        "source",
        ages.with_columns(merged_until=until),
        "age_h",
        ("source", "merged_until"),
        highest=thresholds.metadata_max_age_h,
    )


def _stale_check(db: Database, settings: Settings, thresholds: FreshnessThresholds) -> FrameCheck:
    ages = accesses_ages(db, [source.name for source in settings.access_sources])
    newest = pl.col("newest_day").dt.strftime("%Y-%m-%d").fill_null("never")
    return FrameCheck(
        "popularity_stale",
        f"the last day of accesses ended more than {thresholds.popularity_max_age_h:g} hours ago"
        " (backfill popularity_aggregation; its next run pulls what is missing)",
        "source",
        ages.with_columns(newest_day=newest),
        "age_h",
        ("source", "newest_day"),
        highest=thresholds.popularity_max_age_h,
    )


def _gap_check(db: Database, settings: Settings, thresholds: FreshnessThresholds) -> FrameCheck:
    sources = [source.name for source in settings.access_sources]
    missing = missing_days(db, sources, thresholds.gaps_accepted_before)
    days = pl.col("day").dt.strftime("%Y-%m-%d")
    counted = missing.group_by("source").agg(
        num_missing=pl.len().cast(pl.Int64), first_missing=days.min(), last_missing=days.max()
    )
    frame = pl.DataFrame({"source": sources}, schema={"source": pl.String}).join(
        counted, on="source", how="left", maintain_order="left"
    )
    return FrameCheck(
        "popularity_gap",
        f"more than {thresholds.max_missing_days} days of accesses lack (backfill popularity_aggregation)"
        "; its next run pulls them if their source has them",
        "source",
        frame.with_columns(pl.col("num_missing").fill_null(0)),
        "num_missing",
        ("source", "first_missing", "last_missing"),
        highest=thresholds.max_missing_days,
    )
