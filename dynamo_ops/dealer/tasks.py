"""The tasks of the DAGs ``dealer_<partition>``, and of ``dynamo dealer``: proposals by plugin → decide → gate →
commit."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import GateError, PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import counts_text
from dynamo_ops.base.units import TB, size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.commit import FOLLOWS, commit
from dynamo_ops.dealer.detox_cycle import last_cycle
from dynamo_ops.dealer.engine import plugin as plugins_of
from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.plugin import (
    Plugin,
    ProposalInputs,
    collect_proposals,
    detox_warnings,
    make_plugins,
)
from dynamo_ops.dealer.proposals import AGAIN, read_proposals, store_proposals
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.inventory.freshness import refuse_future
from dynamo_ops.inventory.replica import usage
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.inputs import DealerInputs, PlanInputs, dealer_source, read_dealer_inputs
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.plan.story import inputs_of
from dynamo_ops.plan.verdict import GATE, approve, refuse
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.partition import Partitions, partition_quota
from dynamo_ops.quality.suites.freshness import check_freshness
from dynamo_ops.quality.suites.plans import check_dealer_plan
from dynamo_ops.quality.thresholds import read_thresholds
from dynamo_ops.request import copy_request

if TYPE_CHECKING:
    from dynamo_ops.dealer.engine.plan import CopyPlan

log = logging.getLogger(__name__)

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


def config_of(inputs: PlanInputs) -> DealerConfig:
    """The Dealer's configuration among the inputs of a plan. Raises SettingsError when it has an error, or is for
    another partition."""
    config = load_config(inputs.policy.text, file=inputs.policy.file)
    config.check_partition(inputs.partition)
    return config


def read_config(settings: Settings, partition: str) -> DealerConfig:
    """A partition's Dealer configuration as it is now."""
    source = dealer_source(settings, partition)
    return load_config(source.text, file=source.file)


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


def proposal_inputs(database: Database, config: DealerConfig, inputs: PlanInputs) -> ProposalInputs:
    """What the plugins of a configuration work on: the inventory, the requests and the last Detox cycle as they are
    now, and what was read of files and settings."""
    return ProposalInputs(
        frames=read_inventory(database),
        partitions=inputs.known_partitions(),
        now=inputs.now,
        copy_requests=copy_request.open_requests(database, config.group),
        enforcer_rules=inputs.enforcer_rules(),
        detox=last_cycle(database, detox_partition(config)),
        attribute_max_age=inputs.attribute_max_age,
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
    """One plugin's proposals, stored with what it was asked with. Returns where. Changes nothing in the inventory."""
    look(database, PauseKind.DEALER, partition)
    inputs = _read_inputs(database, settings, partition, run_key, now, seed)
    config = config_of(inputs)
    if plugin not in config.plugins:
        raise PlanError(
            f"{inputs.policy.file} does not name the plugin {plugin} any more: {AGAIN}", partition=partition, state=None
        )
    asked_plugin = make_plugins(config)[plugin]
    follows = _follows(database, partition)
    proposals = plugins_of.propose(
        asked_plugin, plugin, proposal_inputs(database, config, inputs), config, seed=inputs.seed
    )
    return store_proposals(settings, proposals, inputs, plugin, run_key=run_key, follows=follows)


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
    may be on its way by now, and would be copied twice; and when they were asked with another configuration, other
    rules, partitions or settings than those that are read now: the plan would be made of two.
    """
    from dynamo_ops.dealer.engine.plan import plan_copies  # of all tasks, only this one decides

    earlier = plan_store.of_run(database, PlanKind.DEALER, partition, run_key)
    if earlier is not None and earlier.state == PlanState.COMMITTED:
        return earlier.id
    inputs = _read_inputs(database, settings, partition, run_key, now, seed)
    config = config_of(inputs)
    plugins = make_plugins(config)
    follows = _follows(database, partition)
    proposed = read_proposals(proposals, inputs, plugins, follows=follows)
    warnings = detox_warnings(plugins, last_cycle(database, detox_partition(config)), detox_partition(config))
    plan = plan_copies(
        read_inventory(database),
        proposed,
        config,
        inputs.known_partitions(),
        now=inputs.now,
        seed=inputs.seed,
        attribute_max_age=inputs.attribute_max_age,
    )
    return _store(database, settings, plan.with_warnings(warnings), inputs, run_key=run_key, follows=follows)


def plan_now(
    database: Database,
    settings: Settings,
    partition: str,
    *,
    run_key: str,
    now: datetime,
    seed: int | None,
    config: SourceText | None = None,
    by: Person | None = None,
) -> int:
    """A whole cycle at once: ask all plugins, decide and store the plan. Returns its id.

    ``config``: the configuration where it was read before; else the installed one. ``by``: who stores it by hand.
    """
    inputs = _read_inputs(database, settings, partition, run_key, now, seed, config)
    checked = config_of(inputs)
    follows = _follows(database, partition)
    plan = decide(make_plugins(checked), proposal_inputs(database, checked, inputs), checked, seed=inputs.seed)
    return _store(database, settings, plan, inputs, run_key=run_key, follows=follows, by=by)


def _read_inputs(
    database: Database,
    settings: Settings,
    partition: str,
    run_key: str,
    now: datetime,
    seed: int | None,
    config: SourceText | None = None,
) -> DealerInputs:
    """What files and settings say now: read once by each task, before everything else. InventoryError for a ``now`` to
    come."""
    refuse_future(database, now, "the plan would be made as of")
    drawn = seed_of(run_key) if seed is None else seed
    return read_dealer_inputs(settings, partition, now, seed=drawn, config=config)


def decide(plugins: Mapping[str, Plugin], inputs: ProposalInputs, config: DealerConfig, *, seed: int) -> CopyPlan:
    """Ask all plugins and decide; nothing is stored."""
    from dynamo_ops.dealer.engine.plan import plan_copies

    proposals = collect_proposals(plugins, inputs, config, seed=seed)
    plan = plan_copies(
        inputs.frames,
        proposals,
        config,
        inputs.partitions,
        now=inputs.now,
        seed=seed,
        attribute_max_age=inputs.attribute_max_age,
    )
    return plan.with_warnings(detox_warnings(plugins, inputs.detox, detox_partition(config)))


def _follows(database: Database, partition: str) -> int | None:
    before = plan_store.last_committed(database, PlanKind.DEALER, partition)
    return before.id if before else None


def _store(
    database: Database,
    settings: Settings,
    plan: CopyPlan,
    inputs: DealerInputs,
    *,
    run_key: str,
    follows: int | None,
    by: Person | None = None,
) -> int:
    stored = plan_store.save(
        database,
        inputs,
        run_key=run_key,
        frames={
            **{name: getattr(plan, name) for name in PLAN_FRAMES},
            "dataset_copies": _dataset_copies(plan),
            "refused": _refused(plan),
        },
        summary={**_summary(plan), FOLLOWS: follows},
        location=settings.files_at("plans"),
        by=by,
    )
    for what in ("copies_by_plugin", "rejected"):
        log.info("%s: %s", what.replace("_", " "), counts_text(stored.summary[what]))
    amount = f"{stored.summary['num_copies']:,} copies, {size_text(stored.summary['copied_bytes'])}"
    log.info("plan %d of %s makes %s; look at it: dynamo plan show %d", stored.id, stored.partition, amount, stored.id)
    return stored.id


def gate_plan(database: Database, settings: Settings, plan_id: int, *, run_key: str) -> None:
    """Approve the plan or refuse it. Raises GateError; then the plan can never be committed."""
    plan = plan_store.load(database, plan_id)
    if plan.state == PlanState.COMMITTED:
        return
    thresholds = read_thresholds(settings)
    inputs = inputs_of(database, settings, plan)
    config = config_of(inputs)
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
            _sites_now(database, plan, inputs.known_partitions()),
            _whole_plan(plan, config, plan_store.age_h(database, plan)),
            thresholds.dealer,
            partition=plan.partition,
            docs=thresholds.data_docs,
        )
    except GateError as error:
        refuse(database, plan_id, error.message)
        raise
    approve(database, plan_id, GATE)
    log.info("plan %d is approved", plan_id)


def _sites_now(database: Database, plan: StoredPlan, partitions: Partitions) -> pl.DataFrame:
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
    quota = partition_quota(small, partitions, plan.partition)
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


def _whole_plan(plan: StoredPlan, config: DealerConfig, age_h: float) -> pl.DataFrame:
    """What the gate judges of the plan as a whole, under the configuration that it was made with."""
    sizes = plan.frame("proposals").filter(pl.col("copy").is_not_null()).sort("copy")["size_bytes"]
    volume = int(sizes.sum())
    last = int(sizes[-1]) if len(sizes) else 0
    return pl.DataFrame(
        {
            "partition": [plan.partition],
            "volume_bytes": [volume],
            "over_cycle_bytes": [max(0, int(volume - last - config.max_total_cycle_volume * TB))],
            "age_h": [age_h],
        }
    )


def commit_plan(database: Database, plan_id: int, *, by: Person) -> dict[str, Any]:
    """Commit an approved plan. What was committed before is not committed again: its summary is returned. Raises
    AccessError, PausedError, PlanError."""
    plan = plan_store.load(database, plan_id)
    is_open = plan.state != PlanState.COMMITTED
    if is_open:
        look(database, PauseKind.DEALER, plan.partition)
    summary = commit(database, plan_id, by=by) if is_open else None
    usage.fold(database)
    counts = asdict(summary) if summary else plan_store.load(database, plan_id).summary["commit"]
    log.info("plan %d was committed%s: %s", plan_id, "" if summary else " before", counts_text(counts))
    return counts


def _dataset_copies(plan: CopyPlan) -> pl.DataFrame:
    return plan.block_copies.group_by("dataset_id", "site_id").agg(
        group_id=pl.col("group_id").sort_by("is_growing", descending=True).first(),
        is_growing=pl.col("is_growing").any(),
    )


def _refused(plan: CopyPlan) -> pl.DataFrame:
    """``request_id``, ``reason``: what a plugin refused to users."""
    from dynamo_ops.dealer.engine.decide import REFUSED

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
