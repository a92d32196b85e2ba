"""Settings of site consistency: ``include/config/consistency.yaml``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from dynamo_ops.base.config_file import SiteGlob, Strict, of_site, read_config, unmatched
from dynamo_ops.base.errors import Fault, SettingsError
from dynamo_ops.consistency.patterns import check_directory, check_ignored, reaches


def _is_count_or_fraction(value: object) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if is_count or (isinstance(value, float) and 0 <= value <= 1):
        return value
    raise ValueError("expected a count (0 or more, without a point) or a fraction (0.0 to 1.0)")


Threshold = Annotated[int | float, BeforeValidator(_is_count_or_fraction)]
"""A count (integer, 0 or more), or a fraction (a number with a point, 0.0 to 1.0)."""


class UnmanagedArea(Strict):
    """An LFN directory in which files belong to nobody and are expired by age."""

    prefix: str
    """The directory."""
    max_age: timedelta
    """Older files are expired."""

    @field_validator("prefix")
    @classmethod
    def _is_a_directory(cls, value: str) -> str:
        return check_directory(value)


class SiteRules(Strict):
    """How one site is checked (docs/site-consistency.md)."""

    prefixes: tuple[str, ...] = ("/store",)
    """LFN directories to list."""
    ignore: tuple[str, ...] = ()
    """LFN directories, or regular expressions starting with `^` (Rust's, as of Polars), left out of the comparison."""
    ignore_age: timedelta = timedelta(days=2)
    """Younger files are no orphans, counted by the storage's clock from the listing, and from the end of the last
    merged metadata."""
    max_age: timedelta = timedelta(days=2)
    """A check whose storage was listed longer ago repairs nothing."""
    max_missing: Threshold = 0.01
    """More than this of the files that should be there, and nothing is done."""
    max_orphan: Threshold = 0.05
    """More than this of the files that are there, and nothing is done."""
    max_unmanaged: Threshold = 0.1
    """The same for unmanaged files, where `delete_unmanaged` is set."""
    max_shrink: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """More than this (and than 20 files) gone from either list since the last check that passed, beyond what Dynamo
    deleted, and nothing is done."""
    clock_tolerance: timedelta = timedelta(minutes=5)
    """By how much clocks may differ, else no file goes because of its age."""
    unmanaged: tuple[UnmanagedArea, ...] = ()
    """Areas of files that belong to nobody."""
    repair_missing: bool = True
    """False: only reported."""
    delete_orphans: bool = True
    """False: only reported."""
    delete_unmanaged: bool = False
    """False: only reported."""
    clean_directories: bool = True
    """Directories that deletions left empty are removed."""

    @field_validator("prefixes")
    @classmethod
    def _are_directories(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not values:
            raise ValueError("at least one prefix is needed")
        return tuple(check_directory(value) for value in values)

    @field_validator("ignore")
    @classmethod
    def _are_patterns(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_ignored(value) for value in values)

    def outside(self, prefixes: Collection[str]) -> list[tuple[str, str]]:
        """Key and entry of each ``ignore`` or unmanaged area that no file below ``prefixes`` can be in."""
        entries = [("ignore", entry) for entry in self.ignore]
        entries += [("unmanaged", area.prefix) for area in self.unmanaged]
        return [entry for entry in entries if not any(reaches(entry[1], prefix) for prefix in prefixes)]


AS_SHIPPED = SiteRules()
"""What the settings do not say."""


class ConsistencySettings(Strict):
    """How storages are compared with the inventory."""

    defaults: SiteRules = AS_SHIPPED
    """For every site."""
    sites: dict[SiteGlob, SiteRules] = Field(default_factory=dict)
    """By name or glob of sites, what differs there; later ones win."""

    def rules(self, site: str) -> SiteRules:
        """The rules for a site by name."""
        return of_site(self.defaults, self.sites, site)

    def unreachable(self) -> Iterator[tuple[str, str]]:
        """Key and reason of each entry that lies where nothing is listed: it would leave nothing alone."""
        changed = {glob: rules for glob, rules in self.sites.items() if "prefixes" in rules.model_fields_set}
        everywhere = {*self.defaults.prefixes, *(prefix for rules in changed.values() for prefix in rules.prefixes)}
        sections = [("defaults", self.defaults, everywhere)]
        sections += [
            (f"sites.{glob}", rules, {*rules.prefixes} if glob in changed else everywhere)
            for glob, rules in self.sites.items()
        ]
        for section, rules, prefixes in sections:
            listed = ", ".join(sorted(prefixes))
            for key, entry in rules.outside(prefixes):
                reason = f"{entry!r} lies outside of all that is listed ({listed}): mend it, or prefixes"
                yield f"{section}.{key}", reason


def load_settings(path: Path, site_names: Iterable[str] | None = None) -> ConsistencySettings:
    """The settings in a YAML file. ``SettingsError`` names file, key and reason of every fault.

    ``site_names``: those of the inventory; a pattern of ``sites`` that matches none of them is an error then.
    """
    settings = read_config(path, ConsistencySettings)
    faults = [Fault(str(path), key, reason) for key, reason in settings.unreachable()]
    if site_names is not None:
        faults += unmatched(str(path), "sites", settings.sites, list(site_names))
    if faults:
        raise SettingsError.of(faults)
    return settings
