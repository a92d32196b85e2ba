"""The tasks of the DAGs ``dealer_<partition>``, and of ``dynamo dealer``: proposals by plugin → decide → gate →
commit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
import polars as pl

from dynamo_ops.base.errors import GateError, PlanError, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.commit import FOLLOWS, commit
from dynamo_ops.dealer.detox_cycle import last_cycle
from dynamo_ops.dealer.engine import plugin as plugins_of
from dynamo_ops.dealer.engine.config import TB, DealerConfig, load_config
from dynamo_ops.dealer.engine.decide import REFUSED
from dynamo_ops.dealer.engine.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import (
    WITH_PLUGIN,
    Plugin,
    ProposalInputs,
    collect_proposals,
    detox_warnings,
    make_plugins,
)
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.inventory.read import read_inventory
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.policy.files import read_partitions, read_rules
from dynamo_ops.policy.partition import partition_quota
from dynamo_ops.quality.suites.freshness import check_freshness
from dynamo_ops.quality.suites.plans import check_dealer_plan
from dynamo_ops.quality.thresholds import read_thresholds
from dynamo_ops.request import copy_request

PLAN_FRAMES = (
    "proposals",
    "copies",
    "block_copies",
    "rejected",
    "site_states",
    "present",
    "forbidden",
)
"""Frames of ``CopyPlan`` that are stored with a plan."""


def config_text(settings: Settings, partition: str) -> str:
    """The text of a partition's Dealer configuration. Raises SettingsError if there is none."""
    file = settings.config_dir / "dealer" / f"{partition}.yaml"
    try:
        return file.read_text(encoding="utf-8")
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


def read_inputs(database: Database, settings: Settings, config: DealerConfig, now: datetime) -> ProposalInputs:
    """What the plugins of a configuration work on, as it is now."""
    return ProposalInputs(
        frames=read_inventory(database),
        partitions=read_partitions(settings, now),
        now=now,
        copy_requests=copy_request.open_requests(database, config.group),
        enforcer_rules=read_rules(settings, config.partition, now),
        detox=last_cycle(database, detox_partition(config)),
        attribute_max_age=timedelta(hours=read_thresholds(settings).dealer.attribute_max_age_h),
    )


def detox_partition(config: DealerConfig) -> str:
    """The partition whose last Detox cycle plugins work on."""
    return config.detox_policy or config.partition


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
    """One plugin's proposals, stored as a frame. Returns where. Changes nothing in the inventory.

    Column ``follows_plan`` says which Dealer plan of the partition had been committed last when the inventory was read.
    """
    config = read_config(settings, partition)
    made = make_plugins(config)[plugin]
    follows = _follows(database, partition)
    inputs = read_inputs(database, settings, config, now)
    proposals = plugins_of.propose(made, plugin, inputs, config, seed=seed_of(run_key) if seed is None else seed)
    key = hashlib.sha256(run_key.encode()).hexdigest()[:16]
    place = settings.files_at("proposals", partition, key, f"{plugin}.parquet")
    with fsspec.open(place, "wb", auto_mkdir=True) as handle:
        proposals.with_columns(pl.lit(follows, dtype=pl.Int64).alias(FOLLOWS)).write_parquet(handle)
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
    """Decide on the stored proposals and store the plan. Returns its id.

    Raises PlanError when another plan of the partition was committed since the plugins were asked: what they propose
    may be on its way by now, and would be copied twice.
    """
    done = plan_store.of_run(database, "dealer", partition, run_key)
    if done is not None and done.state == "committed":
        return done.id
    config = read_config(settings, partition)
    plugins = make_plugins(config)
    follows = _follows(database, partition)
    proposed = _read_proposals(proposals, partition, follows=follows)
    warnings = detox_warnings(plugins, last_cycle(database, detox_partition(config)), detox_partition(config))
    plan = plan_copies(
        read_inventory(database),
        proposed,
        config,
        read_partitions(settings, now),
        now=now,
        seed=seed_of(run_key) if seed is None else seed,
    )
    text = config_text(settings, partition)
    return _store(database, settings, plan, text, run_key=run_key, more={FOLLOWS: follows}, warnings=warnings)


def plan_now(
    database: Database, settings: Settings, partition: str, *, run_key: str, now: datetime, seed: int | None
) -> int:
    """A whole cycle at once: ask all plugins, decide and store the plan. Returns its id."""
    config = read_config(settings, partition)
    follows = _follows(database, partition)
    drawn = seed_of(run_key) if seed is None else seed
    plan = decide(make_plugins(config), read_inputs(database, settings, config, now), config, seed=drawn)
    text = config_text(settings, partition)
    return _store(database, settings, plan, text, run_key=run_key, more={FOLLOWS: follows}, warnings=())


def decide(plugins: Mapping[str, Plugin], inputs: ProposalInputs, config: DealerConfig, *, seed: int) -> CopyPlan:
    """Ask all plugins and decide; nothing is stored."""
    proposals = collect_proposals(plugins, inputs, config, seed=seed)
    plan = plan_copies(inputs.frames, proposals, config, inputs.partitions, now=inputs.now, seed=seed)
    return plan.with_warnings(detox_warnings(plugins, inputs.detox, detox_partition(config)))


def _follows(database: Database, partition: str) -> int | None:
    before = plan_store.last_committed(database, "dealer", partition)
    return before.id if before else None


def _store(
    database: Database,
    settings: Settings,
    plan: CopyPlan,
    text: str,
    *,
    run_key: str,
    more: Mapping[str, Any],
    warnings: Sequence[str],
) -> int:
    stored = plan_store.save(
        database,
        kind="dealer",
        partition=plan.partition,
        run_key=run_key,
        policy_text=text,
        now=plan.now,
        frames={
            **{name: getattr(plan, name) for name in PLAN_FRAMES},
            "dataset_copies": _dataset_copies(plan),
            "refused": _refused(plan),
        },
        summary={**_summary(plan.with_warnings(warnings)), **more},
        location=settings.files_at("plans"),
    )
    return stored.id


def gate_plan(database: Database, settings: Settings, plan_id: int, *, run_key: str) -> None:
    """Approve the plan or refuse it. Raises GateError; then the plan can never be committed."""
    plan = plan_store.load(database, plan_id)
    if plan.state == "committed":
        return
    thresholds = read_thresholds(settings)
    config = load_config(plan_store.policy_text(database, plan))
    try:
        check_freshness(
            database,
            settings,
            run_key,
            f"what the plan of partition {plan.partition!r} was made with",
            {name for plugin in make_plugins(config).values() for name in plugin.attributes()},
            thresholds,
        )
        check_dealer_plan(
            database,
            run_key,
            _sites_now(database, settings, plan),
            _whole_plan(plan, config),
            thresholds.dealer,
            partition=plan.partition,
            docs=thresholds.data_docs,
        )
    except GateError as error:
        plan_store.refuse(database, plan_id, error.message)
        raise
    plan_store.approve(database, plan_id, "gate")


def _sites_now(database: Database, settings: Settings, plan: StoredPlan) -> pl.DataFrame:
    """What the gate judges of sites: their status and quota as they are now, and what the plan brings them."""
    with database.snapshot() as snapshot:
        status = snapshot.frame("SELECT id::bigint AS site_id, name AS site, storage_type, status FROM sites")
        quotas = snapshot.frame("SELECT site_id::bigint AS site_id, partition, quota_bytes FROM quotas")
    small = InventoryFrames(
        status,
        empty(f.GROUPS),
        empty(f.DATASETS),
        empty(f.BLOCKS),
        empty(f.DATASET_REPLICAS),
        empty(f.BLOCK_REPLICAS),
        quotas=quotas,
    )
    quota = partition_quota(small, read_partitions(settings, plan.planned_for_at), plan.partition)
    copied = plan.frame("copies").group_by("site_id").agg(copied_bytes=pl.col("size_bytes").sum())
    return (
        plan.frame("site_states")
        .select(
            "site_id",
            "site",
            "added_bytes",
            (pl.col("projected_bytes_before") + pl.col("added_bytes")).alias("projected_bytes_after"),
        )
        .join(status.select("site_id", "status"), on="site_id", how="left")
        .join(quota, on="site_id", how="left")
        .join(copied, on="site_id", how="left")
        .with_columns(pl.col("copied_bytes").fill_null(0))
    )


def _whole_plan(plan: StoredPlan, config: DealerConfig) -> pl.DataFrame:
    """What the gate judges of the plan as a whole, under the configuration that it was made with."""
    sizes = plan.frame("proposals").filter(pl.col("copy").is_not_null()).sort("copy")["size_bytes"]
    volume = int(sizes.sum())
    last = int(sizes[-1]) if len(sizes) else 0
    return pl.DataFrame(
        {
            "partition": [plan.partition],
            "volume_bytes": [volume],
            "over_cycle_bytes": [max(0, int(volume - last - config.max_total_cycle_volume * TB))],
            "age_h": [(datetime.now(UTC) - plan.created_at) / timedelta(hours=1)],
        }
    )


def commit_plan(database: Database, plan_id: int) -> dict[str, Any]:
    """Commit an approved plan. What was committed before is not committed again: its summary is returned."""
    summary = commit(database, plan_id)
    return asdict(summary) if summary else plan_store.load(database, plan_id).summary["commit"]


def _read_proposals(places: Sequence[str], partition: str, *, follows: int | None) -> pl.DataFrame:
    """What the plugins proposed. PlanError when another plan than ``follows`` was the newest when one of them was
    asked."""
    frames = [empty(WITH_PLUGIN)]
    for place in places:
        with fsspec.open(place, "rb") as handle:
            frame = pl.read_parquet(handle)
        if not frame[FOLLOWS].eq_missing(pl.Series([follows], dtype=pl.Int64)).all():
            raise PlanError(
                f"plan {follows} of {partition} was committed after the plugins were asked: clear the tasks from "
                "`propose` on, or leave it to the next cycle",
                plan_id=follows,
                state="committed",
            )
        frames.append(frame.select(*WITH_PLUGIN))
    return pl.concat(frames)


def _dataset_copies(plan: CopyPlan) -> pl.DataFrame:
    return plan.block_copies.group_by("dataset_id", "site_id").agg(
        group_id=pl.col("group_id").sort_by("is_growing", descending=True).first(),
        is_growing=pl.col("is_growing").any(),
    )


def _refused(plan: CopyPlan) -> pl.DataFrame:
    """``request_id``, ``reason``: what a plugin refused to users."""
    refused = plan.rejected.filter((pl.col("reason") == REFUSED) & pl.col("request_id").is_not_null())
    return refused.select("request_id", reason="detail")


def _summary(plan: CopyPlan) -> dict[str, Any]:
    copies = plan.proposals.filter(pl.col("copy").is_not_null())
    return {
        "seed": plan.seed,
        "num_proposals": plan.proposals.height,
        "num_copies": copies.height,
        "copied_bytes": int(copies["size_bytes"].sum()),
        "added_bytes": int(plan.site_states["added_bytes"].sum()),
        "copies_by_plugin": dict(copies.group_by("plugin").len().sort("plugin").iter_rows()),
        "rejected": dict(plan.rejected.group_by("reason").len().sort("reason").iter_rows()),
        "warnings": list(plan.warnings),
    }
