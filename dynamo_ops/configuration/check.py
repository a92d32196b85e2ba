"""Every fault of every file of a configuration folder, each with file, key and reason; nothing is asked of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from dynamo_ops.base.config_file import read_yaml
from dynamo_ops.base.errors import DynamoError, Fault, PolicyError, SettingsError
from dynamo_ops.base.installation import SHIPPED, Installation
from dynamo_ops.base.settings import MAIN_FILE, Settings, SourceSettings, Tls, read_settings
from dynamo_ops.base.text import near
from dynamo_ops.configuration.keep import keep_settings
from dynamo_ops.configuration.pools import POOLS_FILE, read_pools
from dynamo_ops.consistency.settings import ConsistencySettings, load_settings
from dynamo_ops.consistency.tasks import SETTINGS_FILE as CONSISTENCY_FILE
from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.placement import make_rule
from dynamo_ops.dealer.engine.plugin import load_plugin
from dynamo_ops.event.settings import event_settings
from dynamo_ops.inventory.doubt.settings import damage_settings
from dynamo_ops.policy.files import PARTITIONS_FILE
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.language.source import policy_faults, read_source
from dynamo_ops.policy.partition import Partitions, load_partitions
from dynamo_ops.quality.thresholds import GATES_FILE, read_gates
from dynamo_ops.sources.loader import metadata_source, site_source
from dynamo_ops.sources.usage.source import access_source, demand_source
from dynamo_ops.storage.registry import served

Content = TypeVar("Content")

SOURCES: Mapping[str, Callable[[SourceSettings, Tls], object]] = {
    "metadata_sources": metadata_source,
    "site_sources": site_source,
    "access_sources": access_source,
    "demand_sources": demand_source,
}
"""By key of ``dynamo.yaml``, what makes a plugin of its settings: each checks its own options."""


@dataclass
class Checked:
    """What a folder says, and what is wrong with it. ``files``: those that were read; None: could not be."""

    files: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    settings: Settings | None = None
    consistency: ConsistencySettings | None = None
    dealers: dict[str, DealerConfig] = field(default_factory=dict)

    def read(self, file: Path, read: Callable[[], Content]) -> Content | None:
        """The content of a file; its faults are kept."""
        self.files.append(str(file))
        if file.suffix == ".yaml":
            self.check_repeated(file)
        return self.attempt(file, read)

    def check_repeated(self, file: Path) -> None:
        """A fault for each key that a YAML file has twice in one place: the later one wins, and nobody sees it."""
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            for key, line in _repeated(yaml.compose(file.read_text(encoding="utf-8"))):
                self.fault(file, key, f"stands twice, in line {line} again, and only the last counts: take one out")

    def attempt(self, file: Path, act: Callable[[], Content], below: str = "") -> Content | None:
        """What ``act`` returns; if it raises, what it says of ``file`` (of the key ``below`` in it) is kept."""
        try:
            return act()
        except SettingsError as error:
            faults = list(error.all_faults())
        except PolicyError as error:
            faults = policy_faults(error)
        except DynamoError as error:
            faults = [Fault(str(file), "", error.message)]
        self.faults += [_placed(fault, str(file), below) for fault in faults]
        return None

    def fault(self, file: Path, key: str, reason: str) -> None:
        """Keep one fault."""
        self.faults.append(Fault(str(file), key, reason))


def check_configuration(folder: Path, installation: Installation | None, now: datetime) -> Checked:
    """Read every file of a configuration folder, whatever is wrong in others.

    ``pools.json`` may be left out: Airflow has it once it was imported. Policies have ``dynamo policy check``.
    """
    checked = Checked()
    main = folder / MAIN_FILE
    settings = checked.settings = checked.read(main, lambda: read_settings(main, installation))
    _check_plugins(checked, main, settings or _readable_part(main))
    if settings:
        checked.attempt(main, lambda: event_settings(settings))
        checked.attempt(main, lambda: damage_settings(settings))
        checked.attempt(main, lambda: keep_settings(settings))
    policy_dir = settings.policy_dir if settings else installation.policy_dir if installation else SHIPPED / "policies"
    checked.read(folder / GATES_FILE, lambda: read_gates(folder / GATES_FILE, policy_dir))
    checked.consistency = checked.read(folder / CONSISTENCY_FILE, lambda: load_settings(folder / CONSISTENCY_FILE))
    partitions = _check_partitions(checked, folder / PARTITIONS_FILE, now)
    for file in sorted((folder / "dealer").glob("*.yaml")):
        _check_dealer(checked, file, partitions, policy_dir, now)
    for file in sorted((folder / "enforcer").glob("*.yaml")):
        _check_enforcer(checked, file, partitions, now)
        _check_partition(checked, file, "", file.stem, partitions)
    if (folder / POOLS_FILE).exists():
        checked.read(folder / POOLS_FILE, lambda: read_pools(folder / POOLS_FILE))
    return checked


def _readable_part(file: Path) -> Settings:
    """Of a ``dynamo.yaml`` with faults, the sections of plugins that have none, so that theirs are said as well."""
    part: dict[str, object] = {}
    with suppress(SettingsError):
        content = read_yaml(file)
        for key in ("tls", "protocols", *SOURCES):
            with suppress(ValidationError):
                Settings.model_validate({key: content[key]} if key in content else {})
                part |= {key: content[key]} if key in content else {}
    try:
        return Settings.model_validate(part)
    except ValidationError:  # a variable is wrong
        return Settings.model_construct()


def _check_plugins(checked: Checked, file: Path, settings: Settings) -> None:
    """What plugins say of their own options."""
    for section, make in SOURCES.items():
        sources: list[SourceSettings] = getattr(settings, section)
        for number, source in enumerate(sources):
            checked.attempt(file, partial(make, source, settings.tls), f"{section}.{number}")
    checked.attempt(file, lambda: served(settings.protocols.own))


def _check_partitions(checked: Checked, file: Path, now: datetime) -> Partitions | None:
    def read() -> Partitions:
        source = read_source(file)
        return load_partitions(source.text, now=now, file=source.file)

    return checked.read(file, read)


def _check_dealer(checked: Checked, file: Path, partitions: Partitions | None, policy_dir: Path, now: datetime) -> None:
    config = checked.read(file, lambda: load_config(read_source(file).text, file=str(file)))
    if config is None:
        return
    checked.dealers[str(file)] = config
    checked.attempt(file, lambda: config.check_partition(file.stem))
    _check_partition(checked, file, "partition", config.partition, partitions)
    policy_names = [policy.stem for policy in policy_dir.glob("*.txt")]
    if config.detox_policy is not None and config.detox_policy not in policy_names:
        reason = f"no policy {config.detox_policy}.txt in {policy_dir}.{near(config.detox_policy, policy_names)}"
        checked.fault(file, "detox_policy", reason)
    for name, plugin in config.plugins.items():
        checked.attempt(file, partial(_make_plugin, name, plugin.settings))
    for number, rule in enumerate(config.placement):
        checked.attempt(file, partial(make_rule, number, rule))
    enforcer = config.plugins.get("enforcer")
    if enforcer and isinstance(own_rules := enforcer.settings.get("rules"), str):
        _check_enforcer(checked, Path(own_rules), partitions, now)


def _make_plugin(name: str, settings: Mapping[str, object]) -> object:
    return load_plugin(name)(settings)


def _check_enforcer(checked: Checked, file: Path, partitions: Partitions | None, now: datetime) -> None:
    for rule in checked.read(file, lambda: load_rules(read_source(file).text, now=now, file=str(file))) or ():
        if rule.partition is not None:
            _check_partition(checked, file, f"rules.{rule.name}.partition", rule.partition, partitions)


def _check_partition(checked: Checked, file: Path, key: str, name: str, partitions: Partitions | None) -> None:
    names = [*partitions.conditions, *partitions.unions] if partitions else [name]
    if name not in names:
        reason = f"there is no partition {name!r} in {PARTITIONS_FILE}; mend the name, or define it.{near(name, names)}"
        checked.fault(file, key, reason)


def _repeated(node: yaml.Node | None, below: str = "") -> Iterator[tuple[str, int]]:
    """(key, line) of each key that its mapping has already."""
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            yield from _repeated(entry, f"{below}{number}.")
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, content in node.value:
            if key.value in seen:
                yield f"{below}{key.value}", key.start_mark.line + 1
            seen.add(str(key.value))
            yield from _repeated(content, f"{below}{key.value}.")


def _placed(fault: Fault, file: str, below: str) -> Fault:
    """The fault with the file that it is in, and the whole key: readers of a part know neither."""
    within = fault.file.removeprefix(f"{file}:") if fault.file.startswith(f"{file}:") else ""
    if fault.file and fault.file != file and not within:
        return fault
    key = ".".join(filter(None, (below, fault.key))) if not within else ":".join(filter(None, (within, fault.key)))
    return Fault(file, key, fault.reason)
