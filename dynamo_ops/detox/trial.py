"""A plan made to be looked at: from a folder in the golden format, or from an installation. Nothing is changed."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from dynamo_ops.base.errors import InventoryError, PlanError, PolicyError
from dynamo_ops.base.settings import DETOX, Settings
from dynamo_ops.base.text import near
from dynamo_ops.base.unpack import gunzip
from dynamo_ops.detox.engine.plan import DeletionPlan, plan_deletions
from dynamo_ops.inventory.folder import read_folder
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.files import policy_file, policy_source, protected_sites, read_partitions, read_rules
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules
from dynamo_ops.policy.language.source import read_source
from dynamo_ops.policy.partition import Partitions, load_partitions
from dynamo_ops.quality.thresholds import ATTRIBUTE_MAX_AGE, LastCopies, detox_limits

DUMP_FILES = ("case.json", "sites.csv", "datasets.csv", "blocks.csv", "block_replicas.csv")
"""Without these no folder is an inventory; the others may be absent."""

UNREADABLE = (OSError, EOFError, zlib.error, ValueError, KeyError)
"""What reading a broken file of a dump may raise: bytes that are no text, no number, no gzip."""


@dataclass(frozen=True)
class TrialInputs:
    """All that a plan is made of but its policy."""

    frames: InventoryFrames
    partitions: Partitions
    now: datetime
    rules: tuple[EnforcerRule, ...] = ()
    protected_sites: tuple[str, ...] = ()
    deletion_per_iteration: float = DETOX.deletion_per_iteration
    attribute_max_age: timedelta = ATTRIBUTE_MAX_AGE
    last_copies: LastCopies | None = None


def dump_now(folder: Path) -> datetime:
    """The moment of the inventory in ``folder``. Raises InventoryError when the folder does not hold one."""
    if not folder.is_dir():
        raise InventoryError(f"{folder}: there is no such folder", path=str(folder))
    lacking = [name for name in DUMP_FILES if not _dumped(folder, name)]
    if lacking:
        raise InventoryError(
            f"{folder} holds no inventory in the golden format: {', '.join(lacking)} (plain or .gz) not there",
            path=str(folder),
            missing=lacking,
        )
    try:
        return datetime.fromtimestamp(int(json.loads(_dump_text(folder, "case.json"))["now"]), tz=UTC)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InventoryError(
            f"{folder / 'case.json'}: expected a document with the unix time 'now': {error}", path=str(folder)
        ) from error


def dump_inputs(
    folder: Path, *, now: datetime | None = None, partitions: Path | None = None, enforcer: Path | None = None
) -> TrialInputs:
    """What the folder holds; ``now``, ``partitions`` and ``enforcer`` (files) replace what it says itself.

    Dataset attributes count as produced at the folder's own moment. Raises InventoryError, PolicyError, SettingsError.
    """
    moment = now or dump_now(folder)
    where = partitions or folder / "partitions.txt"
    text = read_source(partitions).text if partitions else _dump_text(folder, "partitions.txt")
    if not text.strip():
        raise PolicyError(f"{where}: no partition is defined there; name a file by --partitions", file=str(where))
    defined = load_partitions(text, now=moment, file=str(where))
    rules_text = read_source(enforcer).text if enforcer else _dump_text(folder, "enforcer.json")
    rules_file = str(enforcer or folder / "enforcer.json")
    rules = load_rules(rules_text, now=moment, file=rules_file) if rules_text.strip() else ()
    try:
        dump = read_folder(folder)
    except (pl.exceptions.PolarsError, *UNREADABLE) as error:
        raise InventoryError(f"{folder}: cannot be read as an inventory: {error}", path=str(folder)) from error
    return TrialInputs(dump.frames, defined, moment, rules=rules, protected_sites=dump.protected_sites)


def installation_inputs(
    frames: InventoryFrames,
    settings: Settings,
    partition: str,
    now: datetime,
    *,
    partitions: Path | None = None,
    enforcer: Path | None = None,
) -> TrialInputs:
    """The inventory with the partitions and enforcer rules of the installation, or those of the files given."""
    defined = (
        load_partitions(read_source(partitions).text, now=now, file=str(partitions))
        if partitions
        else read_partitions(settings, now)
    )
    rules = (
        load_rules(read_source(enforcer).text, now=now, file=str(enforcer))
        if enforcer
        else read_rules(settings, partition, now)
    )
    limits = detox_limits(settings, partition)
    return TrialInputs(
        frames,
        defined,
        now,
        rules=rules,
        protected_sites=protected_sites(settings.detox.protected_sites, frames),
        deletion_per_iteration=settings.detox.deletion_per_iteration,
        attribute_max_age=timedelta(hours=limits.attribute_max_age_h),
        last_copies=limits.last_copies,
    )


def policy_of_file(file: Path, now: datetime) -> CheckedPolicy:
    """The policy in ``file``. Raises PolicyError when it cannot be read or has an error."""
    return load_policy(read_source(file).text, now=now, file=str(file))


def installed_policy(settings: Settings, partition: str | None, now: datetime) -> CheckedPolicy:
    """The policy that the installation has for ``partition``. Raises PolicyError, with near names, if it has none."""
    installed = sorted(file.stem for file in settings.policy_dir.glob("*.txt"))
    if partition is None:
        raise PolicyError(
            f"name a partition, or a policy by --policy; policies are installed for {', '.join(installed) or 'none'}",
            file=str(settings.policy_dir),
        )
    file = policy_file(settings, partition)
    if not file.exists():
        hint = near(partition, installed) or f" Policies are installed for {', '.join(installed) or 'none'}."
        raise PolicyError(f"{file}: there is no policy for partition {partition!r}.{hint}", file=str(file))
    source = policy_source(settings, partition)
    return load_policy(source.text, now=now, file=source.file)


def partition_of(policy: CheckedPolicy, partition: str | None) -> str:
    """The partition that the command or the policy names. Raises PlanError if none does, or they disagree."""
    file = policy.source.file
    if policy.partition is None and partition is None:
        raise PlanError(f"{file} has no Partition line: name the partition in the command", file=file, state=None)
    if policy.partition and partition and policy.partition != partition:
        raise PlanError(
            f"{file} is the policy of partition {policy.partition!r}, the command names {partition!r}",
            file=file,
            partition=partition,
            state=None,
        )
    return policy.partition or partition or ""


def decide(
    inputs: TrialInputs, policy: CheckedPolicy, partition: str, *, deletion_per_iteration: float | None = None
) -> DeletionPlan:
    """The plan of one cycle on these inputs. Raises PolicyError (unknown partition, with near names) and PlanError."""
    inputs.partitions.leaves(partition)
    step = inputs.deletion_per_iteration if deletion_per_iteration is None else deletion_per_iteration
    return plan_deletions(
        inputs.frames,
        policy,
        inputs.partitions,
        now=inputs.now,
        partition=partition,
        deletion_per_iteration=step,
        enforcer_rules=inputs.rules,
        protected_sites=inputs.protected_sites,
        attribute_max_age=inputs.attribute_max_age,
        last_copies=inputs.last_copies,
    )


def _dumped(folder: Path, name: str) -> Path | None:
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def _dump_text(folder: Path, name: str) -> str:
    """The text of a file of the dump, plain or gzipped; empty when it is not there."""
    file = _dumped(folder, name)
    if file is None:
        return ""
    try:
        content = file.read_bytes()
        return (gunzip(content) if file.suffix == ".gz" else content).decode("utf-8")
    except UNREADABLE as error:
        raise InventoryError(f"{file}: cannot be read: {error}", path=str(file)) from error
