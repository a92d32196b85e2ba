"""Settings of site consistency: ``include/config/consistency.yaml``."""

from __future__ import annotations

import re
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dynamo_ops.base.errors import SettingsError

# A count (integer, 0 or more) or a fraction (a number with a point, 0.0 to 1.0).
Threshold = Annotated[int, Field(ge=0, strict=True)] | Annotated[float, Field(ge=0.0, le=1.0, strict=True)]


MAX_AGE = timedelta(days=2)
"""A check whose storage was listed longer ago repairs nothing, unless the settings say otherwise."""


class UnmanagedArea(BaseModel):
    """An LFN directory in which files belong to nobody and are deleted once they are older than ``max_age``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str
    max_age: timedelta

    @field_validator("prefix")
    @classmethod
    def _is_a_directory(cls, value: str) -> str:
        return _directory(value)


class SiteRules(BaseModel):
    """How one site is checked.

    ``prefixes``: LFN directories to list. ``ignore``: LFN directories (or regular expressions, when they start with
    ``^``) left out of the comparison. ``ignore_age``: files younger than this, by the storage's clock, are no orphans.
    ``max_missing`` / ``max_orphan``: more than this, a count or a fraction of the files that should be (are) there, and
    nothing is done. ``max_age``: a check whose storage was listed longer ago repairs nothing. ``repair_missing`` /
    ``delete_orphans``: false reports only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefixes: tuple[str, ...] = ("/store",)
    ignore: tuple[str, ...] = ()
    ignore_age: timedelta = timedelta(days=2)
    max_age: timedelta = MAX_AGE
    max_missing: Threshold = 0.01
    max_orphan: Threshold = 0.05
    unmanaged: tuple[UnmanagedArea, ...] = ()
    repair_missing: bool = True
    delete_orphans: bool = True
    clean_directories: bool = True

    @field_validator("prefixes")
    @classmethod
    def _are_directories(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not values:
            raise ValueError("at least one prefix is needed")
        return tuple(_directory(value) for value in values)

    @field_validator("ignore")
    @classmethod
    def _are_patterns(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            re.compile(value)
        return values

    def ignore_pattern(self) -> str | None:
        """One regular expression for everything that is left out; None for nothing."""
        parts = [part if part.startswith("^") else f"^{re.escape(part.rstrip('/'))}/" for part in self.ignore]
        return "|".join(f"(?:{part})" for part in parts) or None


class ConsistencySettings(BaseModel):
    """``defaults`` for every site; ``sites``: glob over site names → the values that differ there, later ones win."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: SiteRules = SiteRules()
    sites: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("sites")
    @classmethod
    def _are_rules(cls, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for changes in values.values():
            SiteRules.model_validate(changes)
        return values

    def rules(self, site: str) -> SiteRules:
        """The rules for a site by name."""
        merged = self.defaults.model_dump()
        for pattern, changes in self.sites.items():
            if fnmatchcase(site, pattern):
                merged |= changes
        return SiteRules.model_validate(merged)


def load_settings(path: Path) -> ConsistencySettings:
    """The settings in a YAML file. ``SettingsError`` names file, key and reason."""
    try:
        return ConsistencySettings.model_validate(yaml.safe_load(path.read_text()) or {})
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}", file=str(path), key="", reason=str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {key}: {first['msg']}", file=str(path), key=key, reason=first["msg"]) from error


def _directory(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} is not an absolute LFN directory")
    return value.rstrip("/")
