"""Settings of site consistency: ``include/config/consistency.yaml``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.glob import glob_matches
from dynamo_ops.base.text import near
from dynamo_ops.consistency.patterns import check_directory, check_ignored, reaches

# A count (integer, 0 or more) or a fraction (a number with a point, 0.0 to 1.0).
Threshold = Annotated[int, Field(ge=0, strict=True)] | Annotated[float, Field(ge=0.0, le=1.0, strict=True)]


NO_SITE_NAME = frozenset(" \t,;|#")
"""What no name of a site has: a pattern with one of these would match none."""


class UnmanagedArea(BaseModel):
    """An LFN directory in which files belong to nobody and are expired once they are older than ``max_age``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str
    max_age: timedelta

    @field_validator("prefix")
    @classmethod
    def _is_a_directory(cls, value: str) -> str:
        return check_directory(value)


class SiteRules(BaseModel):
    """How one site is checked.

    ``prefixes``: LFN directories to list. ``ignore``: LFN directories (or regular expressions, when they start with
    ``^``) left out of the comparison. ``ignore_age``: files younger than this, by the storage's clock, are no orphans.
    ``max_missing`` / ``max_orphan`` / ``max_unmanaged``: more than this, a count or a fraction of the files that should
    be (are) there, and nothing is done. ``max_shrink``: nor when either list has lost more than this fraction since the
    last check that passed. ``max_age``: a check whose storage was listed longer ago repairs nothing.
    ``clock_tolerance``: by how much clocks may differ, else no file goes because of its age. ``repair_missing`` /
    ``delete_orphans`` / ``delete_unmanaged``: false reports only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefixes: tuple[str, ...] = ("/store",)
    ignore: tuple[str, ...] = ()
    ignore_age: timedelta = timedelta(days=2)
    max_age: timedelta = timedelta(days=2)
    max_missing: Threshold = 0.01
    max_orphan: Threshold = 0.05
    max_unmanaged: Threshold = 0.1
    max_shrink: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    clock_tolerance: timedelta = timedelta(minutes=5)
    unmanaged: tuple[UnmanagedArea, ...] = ()
    repair_missing: bool = True
    delete_orphans: bool = True
    delete_unmanaged: bool = False
    clean_directories: bool = True

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

    def outside(self, prefixes: Iterable[str]) -> tuple[str, str] | None:
        """Key and entry of the first ``ignore`` or unmanaged area that no file below ``prefixes`` can be in."""
        entries = [("ignore", entry) for entry in self.ignore]
        entries += [("unmanaged", area.prefix) for area in self.unmanaged]
        return next((entry for entry in entries if not any(reaches(entry[1], prefix) for prefix in prefixes)), None)


AS_SHIPPED = SiteRules()
"""What the settings do not say."""


class ConsistencySettings(BaseModel):
    """``defaults`` for every site; ``sites``: glob over site names → the values that differ there, later ones win."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: SiteRules = AS_SHIPPED
    sites: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("sites")
    @classmethod
    def _are_rules(cls, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for pattern, changes in values.items():
            if not pattern or NO_SITE_NAME & {*pattern}:
                raise ValueError(f"{pattern!r} matches no site: write one name or glob a key")
            try:
                SiteRules.model_validate(changes)
            except ValidationError as error:
                key, reason = _first(error)
                raise ValueError(f"{pattern}.{key}: {reason}") from None
        return values

    def rules(self, site: str) -> SiteRules:
        """The rules for a site by name."""
        merged = self.defaults.model_dump()
        for pattern, changes in self.sites.items():
            if glob_matches(site, pattern):
                merged |= changes
        return SiteRules.model_validate(merged)

    def fault(self) -> tuple[str, str] | None:
        """Key and reason of the first entry that lies where nothing is listed: it would leave nothing alone."""
        own = {pattern: SiteRules.model_validate(changes) for pattern, changes in self.sites.items()}
        changed = {pattern: rules for pattern, rules in own.items() if "prefixes" in self.sites[pattern]}
        everywhere = {*self.defaults.prefixes, *(prefix for rules in changed.values() for prefix in rules.prefixes)}
        sections = [("defaults", self.defaults, everywhere)]
        sections += [
            (f"sites.{pattern}", rules, {*rules.prefixes} if pattern in changed else everywhere)
            for pattern, rules in own.items()
        ]
        for section, rules, prefixes in sections:
            if outside := rules.outside(prefixes):
                key, entry = outside
                listed = ", ".join(sorted(prefixes))
                reason = f"{entry!r} lies outside of all that is listed ({listed}): mend it, or prefixes"
                return f"{section}.{key}", reason
        return None

    def unknown_site(self, site_names: Iterable[str]) -> str | None:
        """The first pattern of ``sites`` that matches none of these."""
        names = list(site_names)
        return next((one for one in self.sites if not any(glob_matches(name, one) for name in names)), None)


def load_settings(path: Path, site_names: Iterable[str] | None = None) -> ConsistencySettings:
    """The settings in a YAML file. ``SettingsError`` names file, key and reason.

    ``site_names``: those of the inventory; a pattern of ``sites`` that matches none of them is an error then.
    """
    settings = _read(path)
    fault = settings.fault()
    if fault is None and site_names is not None:
        names = list(site_names)
        unknown = settings.unknown_site(names)
        if unknown is not None:
            reason = "matches no site of the inventory; mend the name, or take the entry out."
            fault = f"sites.{unknown}", reason + near(unknown, names)
    if fault:
        key, reason = fault
        raise SettingsError(f"{path}: {key}: {reason}", file=str(path), key=key, reason=reason)
    return settings


def _read(path: Path) -> ConsistencySettings:
    try:
        return ConsistencySettings.model_validate(yaml.safe_load(path.read_text()) or {})
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}", file=str(path), key="", reason=str(error)) from error
    except ValidationError as error:
        key, reason = _first(error)
        raise SettingsError(f"{path}: {key}: {reason}", file=str(path), key=key, reason=reason) from error


def _first(error: ValidationError) -> tuple[str, str]:
    fault = error.errors()[0]
    return ".".join(str(part) for part in fault["loc"]), fault["msg"].removeprefix("Value error, ")
