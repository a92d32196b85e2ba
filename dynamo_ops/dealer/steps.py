"""The tasks of the DAGs ``dealer_<partition>``: proposals by plugin → decide → gate → commit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from random import Random
from typing import Any

import fsspec
import polars as pl

from dynamo_ops.dealer.commit import commit
from dynamo_ops.dealer.config import DealerConfig, load_config
from dynamo_ops.dealer.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.plugin import PROPOSALS, ProposalContext, load_plugin
from dynamo_ops.errors import GateError, SettingsError
from dynamo_ops.inventory import plan_store
from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.frames import Schema, empty
from dynamo_ops.inventory.read import read_inventory
from dynamo_ops.policy.files import read_partitions, read_rules
from dynamo_ops.quality.suites.plans import check_dealer_plan
from dynamo_ops.quality.thresholds import read_thresholds
from dynamo_ops.requests import copy_request
from dynamo_ops.settings import Settings

WITH_PLUGIN: Schema = {"plugin": pl.String, **PROPOSALS}


def config_text(settings: Settings, partition: str) -> str:
    """The text of a partition's Dealer configuration. Raises SettingsError if there is none."""
    file = settings.config_dir / "dealer" / f"{partition}.yaml"
    try:
        return file.read_text()
    except OSError as error:
        raise SettingsError(
            f"{file}: the dealer configuration cannot be read: {error.strerror}",
            file=str(file),
            key="",
            reason=str(error),
        ) from error


def read_config(settings: Settings, partition: str) -> DealerConfig:
    """A partition's Dealer configuration."""
    return load_config(config_text(settings, partition), file=str(settings.config_dir / "dealer" / f"{partition}.yaml"))


def plugin_names(settings: Settings, partition: str) -> list[str]:
    """The plugins that the partition's configuration names."""
    return sorted(read_config(settings, partition).plugins)


def served_groups(settings: Settings) -> set[str]:
    """The groups that some partition's configuration places for."""
    files = sorted((settings.config_dir / "dealer").glob("*.yaml"))
    return {read_config(settings, file.stem).group for file in files}


def seed_of(run_key: str) -> int:
    """The seed of a cycle: the same for every try of every task of a run."""
    return int.from_bytes(hashlib.sha256(run_key.encode()).digest()[:4])


def propose(
    database: Database,
    settings: Settings,
    partition: str,
    plugin: str,
    *,
    run_key: str,
    now: datetime,
    seed: int | None,
) -> str:
    """One plugin's proposals, stored as a frame. Returns where. Changes nothing in the inventory."""
    config = read_config(settings, partition)
    context = ProposalContext(
        partition=config.partition,
        partitions=read_partitions(settings, now),
        group=config.group,
        now=now,
        random=Random(f"{seed_of(run_key) if seed is None else seed}/{plugin}"),  # noqa: S311 draws, not secrets
        copy_requests=copy_request.open_requests(database, config.group),
        enforcer_rules=read_rules(settings, partition, now),
    )
    made = load_plugin(plugin)(config.plugins[plugin].settings)
    proposals = made.propose(read_inventory(database), context).select(
        pl.lit(plugin).alias("plugin"), *(pl.col(name).cast(kind) for name, kind in PROPOSALS.items())
    )
    key = hashlib.sha256(run_key.encode()).hexdigest()[:16]
    place = settings.files_at("proposals", partition, key, f"{plugin}.parquet")
    with fsspec.open(place, "wb", auto_mkdir=True) as handle:
        proposals.write_parquet(handle)
    return place


def plan_cycle(
    database: Database,
    settings: Settings,
    partition: str,
    proposals: Sequence[str],
    *,
    run_key: str,
    now: datetime,
    seed: int | None,
) -> int:
    """Decide on the stored proposals and store the plan. Returns its id."""
    config = read_config(settings, partition)
    plan = plan_copies(
        read_inventory(database),
        _read_proposals(proposals),
        config,
        read_partitions(settings, now),
        now=now,
        seed=seed_of(run_key) if seed is None else seed,
    )
    stored = plan_store.save(
        database,
        kind="dealer",
        partition=partition,
        run_key=run_key,
        policy_text=config_text(settings, partition),
        now=now,
        frames={
            "copies": plan.copies,
            "block_copies": plan.block_copies,
            "dataset_copies": _dataset_copies(plan),
            "rejected": plan.rejected,
            "site_states": plan.site_states,
        },
        summary=_summary(plan),
        location=settings.files_at("plans"),
    )
    return stored.id


def gate_plan(database: Database, settings: Settings, plan_id: int, *, run_key: str) -> None:
    """Approve the plan or refuse it. Raises GateError; then the plan can never be committed."""
    plan = plan_store.load(database, plan_id)
    if plan.state == "committed":
        return
    copied = plan.frame("copies").group_by("site").agg(copied_bytes=pl.col("size_bytes").sum())
    sites = (
        plan.frame("site_states").join(copied, on="site", how="left").with_columns(pl.col("copied_bytes").fill_null(0))
    )
    try:
        check_dealer_plan(
            database,
            run_key,
            sites,
            plan.summary["copied_bytes"],
            read_thresholds(settings).dealer,
            partition=plan.partition,
        )
    except GateError as error:
        plan_store.refuse(database, plan_id, error.message)
        raise
    plan_store.approve(database, plan_id, "gate")


def commit_plan(database: Database, plan_id: int) -> dict[str, Any]:
    """Commit an approved plan; the requests that it serves become ``activated``."""
    summary = commit(database, plan_id)
    plan = plan_store.load(database, plan_id)
    served = plan.frame("copies")["request_id"].drop_nulls().unique().to_list()
    copy_request.activate(database, served)
    return asdict(summary) if summary else plan.summary["commit"]


def _read_proposals(places: Sequence[str]) -> pl.DataFrame:
    frames = [empty(WITH_PLUGIN)]
    for place in places:
        with fsspec.open(place, "rb") as handle:
            frames.append(pl.read_parquet(handle))
    return pl.concat(frames)


def _dataset_copies(plan: CopyPlan) -> pl.DataFrame:
    return plan.block_copies.group_by("dataset_id", "site_id").agg(
        group_id=pl.col("group_id").sort_by("is_growing", descending=True).first(),
        is_growing=pl.col("is_growing").any(),
    )


def _summary(plan: CopyPlan) -> dict[str, Any]:
    return {
        "seed": plan.seed,
        "num_copies": plan.copies["copy"].n_unique() if plan.copies.height else 0,
        "copied_bytes": int(plan.copies["size_bytes"].sum()),
        "copies_by_plugin": dict(
            plan.copies.group_by("plugin").agg(pl.col("copy").n_unique()).sort("plugin").iter_rows()
        ),
        "rejected": dict(plan.rejected.group_by("reason").len().sort("reason").iter_rows()),
        "warnings": list(plan.warnings),
    }
