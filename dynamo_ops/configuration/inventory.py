"""Names in the configuration that the inventory does not know: what names them would never do anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from dynamo_ops.base.config_file import unmatched
from dynamo_ops.base.errors import Fault
from dynamo_ops.base.settings import MAIN_FILE, LinkSettings, Settings
from dynamo_ops.base.text import near
from dynamo_ops.configuration.check import Checked
from dynamo_ops.consistency.tasks import SETTINGS_FILE as CONSISTENCY_FILE
from dynamo_ops.dealer.engine.config import DealerConfig


def check_names(
    checked: Checked, folder: Path, site_names: Collection[str], group_names: Collection[str]
) -> list[Fault]:
    """A fault for each name or glob of sites that matches none, and each group that there is not."""
    faults = [
        fault for file, key, globs in _site_globs(checked, folder) for fault in unmatched(file, key, globs, site_names)
    ]
    for file, config in checked.dealers.items():
        if config.group not in group_names:
            reason = f"there is no group {config.group!r} in the inventory.{near(config.group, group_names)}"
            faults.append(Fault(file, "group", reason))
    return faults


def _site_globs(checked: Checked, folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """(file, key, names and globs of sites) for each list of them in the configuration."""
    if checked.settings:
        for key, globs in _of_settings(checked.settings):
            yield str(folder / MAIN_FILE), key, _plain(globs)
    if checked.consistency:
        yield str(folder / CONSISTENCY_FILE), "sites", list(checked.consistency.sites)
    for file, config in checked.dealers.items():
        for key, globs in _of_dealer(config):
            yield file, key, _plain(globs)


def _of_settings(settings: Settings) -> Iterator[tuple[str, Iterable[str]]]:
    yield "detox.protected_sites", settings.detox.protected_sites
    yield "transfers.sites", settings.transfers.sites
    yield "deletion.sites", settings.deletion.sites
    links: dict[str, Sequence[LinkSettings]] = {
        "transfers.direct": settings.transfers.direct,
        "fts.servers": settings.fts.servers,
    }
    for key, pairs in links.items():
        for number, link in enumerate(pairs):
            yield f"{key}.{number}.sources", link.sources
            yield f"{key}.{number}.destinations", link.destinations
    yield "storages", [key.partition(":")[2] for key in settings.storages if ":" in key]


def _of_dealer(config: DealerConfig) -> Iterator[tuple[str, Iterable[str]]]:
    yield "target_sites", config.target_sites
    for number, rule in enumerate(config.placement):
        if isinstance(globs := rule.get("sites"), list):
            yield f"placement.{number}.sites", map(str, globs)
    for name, plugin in config.plugins.items():
        if isinstance(globs := plugin.settings.get("additional_sites"), list):
            yield f"plugins.{name}.additional_sites", map(str, globs)


def _plain(globs: Iterable[str]) -> list[str]:
    """Without the sign that excludes what follows: an exclusion of nothing is a mistake as well."""
    return [glob.removeprefix("!") for glob in globs]
