"""Scenarios: what sites, data, placements, accesses and faults a pocket grid is made of. YAML on disk.

All ages are relative to the moment of building; names, sizes and bytes follow from `seed` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from simgrid.duration import Duration
from simgrid.faults import FaultsRecord

FIRST_SITE = 11
"""Site i listens on 127.0.0.(11 + i)."""


class ScenarioError(Exception):
    """The scenario cannot be used; the text names the file, the key and the reason, one a line."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Site(_Part):
    name: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    storage_type: Literal["disk", "mss"] = "disk"
    status: Literal["ready", "waitroom", "morgue"] = "ready"
    staging_delay: Duration = Field(60.0, description="tape only: request to file online; scaled by time_scale")
    archive_delay: Duration = Field(0.0, description="tape only: upload to file on tape; scaled by time_scale")
    capacity_bytes: int | None = Field(None, ge=0, description="uploads beyond this get 507")
    guarded: bool = Field(False, description="FTS's copies read it with a proxy that is valid only")


class Group(_Part):
    name: str
    ownership_level: Literal["dataset", "block"] = "dataset"


class Quota(_Part):
    """Give `quota_bytes` itself, or `fill`: the fraction of it that replicas of the group `partition` shall occupy."""

    site: str
    partition: str
    quota_bytes: int | None = None
    fill: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> Quota:
        if (self.quota_bytes is None) == (self.fill is None):
            raise ValueError("give either quota_bytes or fill")
        return self


class DatasetShape(_Part):
    """What one dataset looks like; shared by named datasets and generators."""

    status: Literal["VALID", "PRODUCTION", "INVALID", "DEPRECATED", "DELETED"] = "VALID"
    blocks: int = Field(3, ge=1)
    files_per_block: int = Field(4, ge=1)
    file_size_bytes: tuple[int, int] = (2000, 20000)
    age: Duration = Field(86400.0 * 30, description="since the last modification")
    grown_in: Duration | None = Field(None, description="from the first file to the last; by default an hour a block")
    release: str = "SW_1_0_0"
    open: bool = Field(False, description="the last block still takes files")
    lfn_prefix: str = "/store/data"

    @field_validator("file_size_bytes")
    @classmethod
    def _ordered(cls, sizes: tuple[int, int]) -> tuple[int, int]:
        if not 0 < sizes[0] <= sizes[1]:
            raise ValueError("needs [smallest, largest] with 0 < smallest <= largest")
        return sizes


class Dataset(DatasetShape):
    name: str

    @field_validator("name")
    @classmethod
    def _three_parts(cls, name: str) -> str:
        if name.count("/") != 3 or not all(name.split("/")[1:]):
            raise ValueError(f"{name!r} is not of the form /Primary/Processed-v1/TIER")
        return name


class Generator(DatasetShape):
    """`count` datasets from one pattern. `{n}` is the running number; `age_step` makes each older than the last."""

    name: str = Field(description="for example /Sim{n:02d}/Run2026A-v1/{tier}")
    count: int = Field(ge=1)
    tiers: list[str] = Field(default_factory=lambda: ["AOD"])
    age_step: Duration = 0.0


class Replicas(_Part):
    """Placement of the datasets matching a glob. Later lines override earlier ones for the same (dataset, site)."""

    dataset: str
    sites: list[str] = Field(min_length=1)
    copies: int | None = Field(None, ge=1, description="this many of the sites, chosen by seed; default all of them")
    group: str | None = None
    growing: bool = False
    blocks: Literal["all"] | float = Field("all", description="or the fraction of the dataset's blocks")


class Accesses(_Part):
    dataset: str
    sites: list[str] = Field(min_length=1)
    per_day: int = Field(10, ge=1)
    days: int = Field(3, ge=1, description="counted back from yesterday, which is complete; today's are partial")
    users: int = Field(3, ge=1)
    cpu_hours: float = Field(1.5, ge=0, description="an access")


class Missing(_Part):
    """Files that the catalogue places at the site but the storage lacks."""

    site: str
    count: int = Field(1, ge=1)
    dataset: str = "*"


class Orphans(_Part):
    """Files on the storage that no catalogue knows."""

    site: str
    directory: str
    count: int = Field(1, ge=1)
    size_bytes: int = Field(3000, ge=1)


class FtsSettings(_Part):
    vo: str = "pocket"
    workers: int = Field(8, ge=1)
    per_link: int = Field(8, ge=1, description="copies at a time between two storages")
    min_copy_s: float = Field(0.0, ge=0, description="each copy takes at least this long; scaled by time_scale")
    transfer_host: str = "pocket-fts"


class Scenario(_Part):
    name: str = "unnamed"
    seed: int = 1
    built_at: AwareDatetime | None = Field(None, description="ages count back from then; without it, from the building")
    time_scale: float = Field(1.0, gt=0, description="multiplies staging, polling and retry delays")
    url_prefix: str = Field("/dav", pattern=r"^(/[A-Za-z0-9_.-]+)+$")
    user_dn: str = "/DC=test/O=Pocket/CN=Data Manager"
    anonymous_writes: bool = Field(False, description="let clients without certificate write to and delete from sites")
    fts: FtsSettings = Field(default_factory=FtsSettings)
    sites: list[Site] = Field(min_length=1, max_length=240)
    groups: list[Group] = Field(default_factory=list)
    quotas: list[Quota] = Field(default_factory=list)
    datasets: list[Dataset] = Field(default_factory=list)
    generators: list[Generator] = Field(default_factory=list)
    replicas: list[Replicas] = Field(default_factory=list)
    accesses: list[Accesses] = Field(default_factory=list)
    missing: list[Missing] = Field(default_factory=list)
    orphans: list[Orphans] = Field(default_factory=list)
    faults: FaultsRecord = Field(default_factory=FaultsRecord)

    @property
    def addresses(self) -> dict[str, str]:
        """Where each site listens: FTS tells storages apart by host alone."""
        return {site.name: f"127.0.0.{FIRST_SITE + n}" for n, site in enumerate(self.sites)}

    @model_validator(mode="after")
    def _names_exist(self) -> Scenario:
        sites = [site.name for site in self.sites]
        if len(set(sites)) != len(sites):
            raise ValueError("sites: a name appears twice")
        for key, name in self._mentioned_sites():
            if name not in sites:
                raise ValueError(f"{key}: no site named {name!r}; there are {', '.join(sites)}")
        groups = {group.name for group in self.groups}
        for number, line in enumerate(self.replicas):
            if line.group is not None and line.group not in groups:
                raise ValueError(f"replicas.{number}.group: no group named {line.group!r}; declare it under groups")
        return self

    def _mentioned_sites(self) -> list[tuple[str, str]]:
        mentioned = [(f"quotas.{n}.site", quota.site) for n, quota in enumerate(self.quotas)]
        mentioned += [(f"replicas.{n}.sites", s) for n, line in enumerate(self.replicas) for s in line.sites]
        mentioned += [(f"accesses.{n}.sites", s) for n, line in enumerate(self.accesses) for s in line.sites]
        mentioned += [(f"missing.{n}.site", line.site) for n, line in enumerate(self.missing)]
        mentioned += [(f"orphans.{n}.site", line.site) for n, line in enumerate(self.orphans)]
        return mentioned + [("faults.sites", name) for name in self.faults.sites]


def load_scenario(path: str | Path) -> Scenario:
    """The scenario in a YAML file. Raises ScenarioError."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ScenarioError(f"{path}: holds no mapping of keys to values")
    return parse_scenario(document, str(path))


def parse_scenario(document: dict[str, Any], origin: str = "scenario") -> Scenario:
    """The scenario in an already loaded document; `origin` opens each line of an error."""
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        lines = [_error_line(origin, dict(part)) for part in error.errors()]
        raise ScenarioError("\n".join(lines)) from error


def _error_line(origin: str, part: dict[str, Any]) -> str:
    key = ".".join(map(str, part["loc"]))
    reason = str(part["msg"]).removeprefix("Value error, ")
    if part["type"] == "extra_forbidden":
        reason = "unknown key"
    return f"{origin}: {key}: {reason}" if key else f"{origin}: {reason}"
