"""Where an installation keeps its policies, partitions and enforcer rules, and how they are read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from dynamo_ops.base.errors import PolicyError, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import near
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules
from dynamo_ops.policy.language.source import read_source
from dynamo_ops.policy.partition import Partitions, load_partitions

PARTITIONS_FILE = "partitions.txt"


def policy_file(settings: Settings, partition: str) -> Path:
    """Where the policy of a partition is."""
    return settings.policy_dir / f"{partition}.txt"


def policy_text(settings: Settings, partition: str) -> str:
    """The text of a partition's policy. Raises PolicyError if there is none."""
    return read_source(policy_file(settings, partition)).text


def read_partitions(settings: Settings, now: datetime) -> Partitions:
    """The partitions of this installation."""
    file = settings.config_dir / PARTITIONS_FILE
    if not file.exists():
        raise PolicyError(f"{file}: the definitions of the partitions are not there", file=str(file))
    return load_partitions(read_source(file).text, now=now, file=str(file))


def known_partitions(settings: Settings, now: datetime) -> list[str]:
    """The leaf partitions of this installation: those that quotas are set for."""
    return sorted(read_partitions(settings, now).conditions)


def read_rules(settings: Settings, partition: str, now: datetime) -> tuple[EnforcerRule, ...]:
    """The enforcer rules of a partition; none if it has no file in ``enforcer/``."""
    file = settings.config_dir / "enforcer" / f"{partition}.yaml"
    return load_rules(read_source(file).text, now=now, file=str(file)) if file.exists() else ()


def protected_sites(settings: Settings, frames: InventoryFrames) -> tuple[str, ...]:
    """The protected sites of this installation. Raises SettingsError for an unknown one: it would protect nothing."""
    site_names = frames.sites["site"].to_list()
    for site in settings.detox.protected_sites:
        if site not in site_names:
            raise SettingsError(
                f"detox.protected_sites names the unknown site {site!r}.{near(site, site_names)}",
                file="dynamo.yaml",
                key="detox.protected_sites",
                reason="unknown site",
            )
    return tuple(settings.detox.protected_sites)
