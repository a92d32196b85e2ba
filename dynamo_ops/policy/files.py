"""Where an installation keeps its policies, partitions and enforcer rules, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dynamo_ops.base.errors import PolicyError, SettingsError, UnknownNameError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import near
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules
from dynamo_ops.policy.language.source import SourceText, read_source
from dynamo_ops.policy.partition import Partitions, load_partitions

PARTITIONS_FILE = "partitions.txt"


def policy_file(settings: Settings, partition: str) -> Path:
    """Where the policy of a partition is."""
    return settings.policy_dir / f"{partition}.txt"


def policy_source(settings: Settings, partition: str) -> SourceText:
    """A partition's policy as it is now. Raises PolicyError if there is none."""
    return read_source(policy_file(settings, partition))


def installed_policy(settings: Settings, partition: str, now: datetime) -> SourceText:
    """A partition's policy as it is now, called by the partition in messages. Raises UnknownNameError, with near names,
    for what is no partition, or has no policy."""
    names = _partitions_with_policy(settings, now)
    if partition not in names:
        raise UnknownNameError(
            f"{partition!r} is no partition with a policy; {', '.join(names) or 'none'} have one."
            f"{near(partition, names)}",
            partition=partition,
        )
    return SourceText(partition, policy_source(settings, partition).text)


def installed_policies(settings: Settings, now: datetime) -> list[SourceText]:
    """Those of all partitions that have one, as ``installed_policy``."""
    names = _partitions_with_policy(settings, now)
    return [SourceText(name, policy_source(settings, name).text) for name in names]


def partitions_source(settings: Settings) -> SourceText:
    """The definitions of the partitions as they are now. Raises PolicyError if there are none."""
    file = settings.config_dir / PARTITIONS_FILE
    if not file.exists():
        raise PolicyError(f"{file}: the definitions of the partitions are not there", file=str(file))
    return read_source(file)


def rules_source(settings: Settings, partition: str) -> SourceText | None:
    """A partition's enforcer rules as they are now; null if it has no file in ``enforcer/``."""
    file = settings.config_dir / "enforcer" / f"{partition}.yaml"
    return read_source(file) if file.exists() else None


def read_partitions(settings: Settings, now: datetime) -> Partitions:
    """The partitions of this installation."""
    source = partitions_source(settings)
    return load_partitions(source.text, now=now, file=source.file)


def known_partitions(settings: Settings, now: datetime) -> list[str]:
    """The leaf partitions of this installation: those that quotas are set for."""
    return sorted(read_partitions(settings, now).conditions)


def read_rules(settings: Settings, partition: str, now: datetime) -> tuple[EnforcerRule, ...]:
    """The enforcer rules of a partition; none if it has no file in ``enforcer/``."""
    source = rules_source(settings, partition)
    return load_rules(source.text, now=now, file=source.file) if source else ()


def protected_sites(names: Sequence[str], frames: InventoryFrames) -> tuple[str, ...]:
    """The protected sites. Raises SettingsError for one that the inventory does not know: it would protect nothing."""
    site_names = frames.sites["site"].to_list()
    for site in names:
        if site not in site_names:
            raise SettingsError(
                f"detox.protected_sites names the unknown site {site!r}.{near(site, site_names)}",
                file="dynamo.yaml",
                key="detox.protected_sites",
                reason="unknown site",
            )
    return tuple(names)


def _partitions_with_policy(settings: Settings, now: datetime) -> list[str]:
    """Those for whom Detox has a policy, as they are defined now."""
    defined = read_partitions(settings, now)
    return [name for name in (*defined.conditions, *defined.unions) if policy_file(settings, name).exists()]
