"""What is expected of a plan of Detox or Dealer, before it is approved and committed.

A null in what is judged is refused like a wrong value: unknown keeps data.
"""

from __future__ import annotations

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.quality.checks import FrameCheck
from dynamo_ops.quality.gate import GateReport, run_gate
from dynamo_ops.quality.thresholds import DataDocs, DealerThresholds, DetoxThresholds

BLOCK = ("dataset", "block", "site")


def check_detox_plan(
    db: Database,
    run_key: str,
    deletions: pl.DataFrame,
    sites: pl.DataFrame,
    thresholds: DetoxThresholds,
    *,
    partition: str,
    num_image_replicas: int,
    num_image_replicas_before: int | None = None,
    set_aside_bytes: int = 0,
    age_h: float | None = None,
    docs: DataDocs | None = None,
) -> GateReport:
    """Judge what a Detox plan would delete. Raises GateError; changes nothing but ``gate_results``.

    ``deletions``: one row a block replica to be deleted: dataset, block, site, size_bytes, is_locked, is_last_copy,
    is_last_copy_allowed (a Delete line asks for it), is_last_source, is_enforcer_needed.
    ``sites``: one row a site: site, quota_bytes (0: to be emptied, negative: unlimited, null: unknown), deleted_bytes.
    ``num_image_replicas``: block replicas in the image of this plan, and of the partition's plan before (None: none).
    ``set_aside_bytes``: what the policy would have deleted beside it, and must stay; too much of it only warns.
    ``age_h``: hours since the plan was made; null, unknown, is too old.
    """
    checks = [
        *_deletion_checks(deletions, thresholds),
        *_site_volume_checks(sites, thresholds),
        *_whole_plan_checks(sites, partition, num_image_replicas, num_image_replicas_before, age_h, thresholds),
        _set_aside_check(sites, partition, set_aside_bytes, thresholds),
    ]
    warn_only = thresholds.warn_only | {"set_aside"}
    return run_gate(db, "detox", f"partition {partition!r}", run_key, checks, warn_only, docs=docs)


def check_dealer_plan(
    db: Database,
    run_key: str,
    sites: pl.DataFrame,
    plan: pl.DataFrame,
    thresholds: DealerThresholds,
    *,
    partition: str,
    docs: DataDocs | None = None,
) -> GateReport:
    """Judge what a Dealer plan would copy. Raises GateError; changes nothing but ``gate_results``.

    ``sites``: one row a site: site, status, quota_bytes (negative: unlimited, null: unknown), copied_bytes (all
    accepted copies), added_bytes (what is to be written there), projected_bytes_after (with what is written). Sites
    that get nothing (copied_bytes 0) are not judged. ``plan``: one row: partition, volume_bytes (all accepted copies),
    over_cycle_bytes (what they were over the configuration's volume before the last was accepted), age_h (hours since
    the plan was made; null, unknown, is too old).
    """
    targets = sites.filter(pl.col("copied_bytes").fill_null(1) != 0)
    filled = targets.filter(pl.col("added_bytes").fill_null(1) != 0).with_columns(over_quota_bytes=_over_quota())
    checks = [
        FrameCheck(
            "site_ready",
            "not ready, or its status is not known, but gets copies",
            "site",
            targets,
            "status",
            ("site", "copied_bytes"),
            allowed=(SiteStatus.READY.value,),
        ),
        FrameCheck(
            "site_quota",
            "goes over its quota, or its quota is not known",
            "site",
            filled,
            "over_quota_bytes",
            ("site", "quota_bytes", "projected_bytes_after"),
            highest=0,
        ),
        *_copy_volume_checks(plan, thresholds),
    ]
    return run_gate(db, "dealer", f"partition {partition!r}", run_key, checks, thresholds.warn_only, docs=docs)


FLAGS = {
    "locked": ("is_locked", "locked, or not known to be free,"),
    "last_copy": ("is_last_copy_lost", ""),
    "last_source": ("is_last_source", "the only source of a pending copy, or not known not to be,"),
    "enforcer_needed": ("is_enforcer_needed", "needed by an enforcer rule that protects, or not known not to be,"),
}
LAST_COPY_WORDS = {
    "never": "the last copy anywhere, or not known not to be (last_copies: never),",
    "delete_lines": "the last copy anywhere, or not known not to be, and no Delete line asks for it,",
    "always": "not known to be the last copy anywhere or not,",
}


def _copy_volume_checks(plan: pl.DataFrame, thresholds: DealerThresholds) -> list[FrameCheck]:
    return [
        FrameCheck(
            "volume",
            f"more than {thresholds.max_volume_bytes:,} bytes are copied",
            "plan",
            plan,
            "volume_bytes",
            ("partition",),
            highest=thresholds.max_volume_bytes,
        ),
        FrameCheck(
            "cycle_volume",
            "copies were accepted after the configuration's max_total_cycle_volume was passed",
            "plan",
            plan,
            "over_cycle_bytes",
            ("partition", "volume_bytes"),
            highest=0,
        ),
        _plan_age_check(plan, thresholds.max_plan_age_h),
    ]


def _plan_age_check(plan: pl.DataFrame, max_age_h: float) -> FrameCheck:
    return FrameCheck(
        "plan_age",
        f"made more than {max_age_h:g} hours ago, or nobody knows when,",
        "plan",
        plan,
        "age_h",
        ("partition",),
        highest=max_age_h,
    )


def _deletion_checks(deletions: pl.DataFrame, thresholds: DetoxThresholds) -> list[FrameCheck]:
    """Block replicas that must not go. Only those in doubt are handed on: their number is the same, whatever the plan's
    size."""
    allowed = {
        "never": pl.lit(False),
        "delete_lines": pl.col("is_last_copy_allowed").fill_null(False),
        "always": pl.col("is_last_copy").is_not_null(),
    }[thresholds.last_copies]
    columns = [column for column, _ in FLAGS.values()]
    judged = deletions.with_columns(is_last_copy_lost=pl.col("is_last_copy") & ~allowed)
    doubtful = judged.filter(~pl.all_horizontal([(~pl.col(column)).fill_null(False) for column in columns]))
    frame = doubtful.select(*BLOCK, *columns)
    return [
        FrameCheck(
            key,
            words or LAST_COPY_WORDS[thresholds.last_copies],
            "block replica",
            frame,
            column,
            BLOCK,
            allowed=(False,),
        )
        for key, (column, words) in FLAGS.items()
    ]


def _site_volume_checks(sites: pl.DataFrame, thresholds: DetoxThresholds) -> list[FrameCheck]:
    """Of a site with quota 0 everything may go, and an unlimited one has no fraction: there only bytes are judged."""
    quota = pl.col("quota_bytes")
    judged = sites.filter(pl.col("deleted_bytes").fill_null(1) != 0).with_columns(
        deleted_fraction=pl.when(quota.is_null())
        .then(None)
        .when(quota > 0)
        .then(pl.col("deleted_bytes") / quota)
        .otherwise(0.0)
    )
    too_much = f"more than {thresholds.max_site_fraction:.0%} of the quota is deleted, or the quota is not known,"
    return [
        FrameCheck(
            "site_fraction",
            too_much,
            "site",
            judged,
            "deleted_fraction",
            ("site", "quota_bytes", "deleted_bytes"),
            highest=thresholds.max_site_fraction,
        ),
        FrameCheck(
            "site_volume",
            f"more than {thresholds.max_site_bytes:,} bytes are deleted",
            "site",
            judged,
            "deleted_bytes",
            ("site",),
            highest=thresholds.max_site_bytes,
        ),
    ]


def _whole_plan_checks(
    sites: pl.DataFrame,
    partition: str,
    num_replicas: int,
    num_before: int | None,
    age_h: float | None,
    thresholds: DetoxThresholds,
) -> list[FrameCheck]:
    plan = pl.DataFrame(
        {
            "partition": [partition],
            "deleted_bytes": [int(sites["deleted_bytes"].sum())],
            "num_before": [num_before or 0],
            "num_replicas": [num_replicas],
            "kept_fraction": [num_replicas / num_before if num_before else 1.0],
            "age_h": [age_h],
        },
        schema_overrides={"age_h": pl.Float64},
    )
    shrunken = f"more than {thresholds.max_image_shrink_fraction:.0%} of the image is gone since the last plan"
    return [
        FrameCheck(
            "volume",
            f"more than {thresholds.max_volume_bytes:,} bytes are deleted",
            "plan",
            plan,
            "deleted_bytes",
            ("partition",),
            highest=thresholds.max_volume_bytes,
        ),
        FrameCheck(
            "image_shrunken",
            shrunken,
            "plan",
            plan,
            "kept_fraction",
            ("partition", "num_before", "num_replicas"),
            lowest=1 - thresholds.max_image_shrink_fraction,
        ),
        _plan_age_check(plan, thresholds.max_plan_age_h),
    ]


def _set_aside_check(
    sites: pl.DataFrame, partition: str, set_aside_bytes: int, thresholds: DetoxThresholds
) -> FrameCheck:
    meant = int(sites["deleted_bytes"].sum()) + set_aside_bytes
    plan = pl.DataFrame(
        {
            "partition": [partition],
            "set_aside_bytes": [set_aside_bytes],
            "set_aside_fraction": [set_aside_bytes / meant if meant else 0.0],
        }
    )
    return FrameCheck(
        "set_aside",
        f"more than {thresholds.max_set_aside_fraction:.0%} of what the policy would delete must stay",
        "plan",
        plan,
        "set_aside_fraction",
        ("partition", "set_aside_bytes"),
        highest=thresholds.max_set_aside_fraction,
    )


def _over_quota() -> pl.Expr:
    """Bytes over the quota; never positive for an unlimited one, null where the quota is unknown."""
    quota = pl.col("quota_bytes")
    return pl.when(quota < 0).then(pl.lit(0)).otherwise(pl.col("projected_bytes_after") - quota)
