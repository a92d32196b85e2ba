"""``gates.yaml``: how much is too much, and which checks only warn. Every other check blocks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dynamo_ops.base.config_file import Bytes, Strict, read_config
from dynamo_ops.base.errors import Fault, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import near

GATES_FILE = "gates.yaml"

Fraction = Annotated[float, Field(ge=0, le=1)]

MetadataCheck = Literal[
    "datasets_lost",
    "datasets_listed",
    "datasets_set_aside",
    "dataset_fields",
    "dataset_name",
    "dataset_status",
    "dataset_time",
    "dataset_details",
    "dataset_once",
    "dataset_other_source",
    "dataset_back",
    "datasets_invalidated",
    "bytes_lost",
    "files_listed",
    "files_lost",
    "block_fields",
    "block_name",
    "block_time",
    "block_size",
    "block_dataset",
    "block_num_files",
    "block_file_sizes",
    "block_once",
    "file_fields",
    "file_size",
    "file_absurd",
    "file_lfn",
    "file_lfn_length",
    "file_prefix",
    "file_adler32",
    "file_once",
    "file_block",
    "file_moved",
    "file_size_changed",
    "file_adler32_changed",
]
SiteCheck = Literal[
    "site_fields",
    "site_name",
    "site_known_values",
    "site_once",
    "site_other_source",
    "site_type_changed",
    "site_endpoint",
    "endpoint_fields",
    "endpoint_once",
    "endpoint_mapping",
    "endpoint_address",
    "sites_listed",
    "ready_lost",
]
AccessCheck = Literal[
    "access_fields",
    "access_count",
    "access_absurd",
    "access_day",
    "day_future",
    "day_empty",
    "day_shrunken",
    "accesses_dropped",
    "accesses_surged",
    "accesses_unknown",
]
DemandCheck = Literal[
    "demand_fields",
    "demand_count",
    "demand_absurd",
    "demand_day",
    "day_future",
    "day_empty",
    "day_shrunken",
    "demand_dropped",
    "demand_surged",
    "demand_unknown",
]
DetoxCheck = Literal[
    "locked",
    "last_copy",
    "last_source",
    "enforcer_needed",
    "site_volume",
    "site_fraction",
    "volume",
    "image_shrunken",
    "set_aside",
    "plan_age",
]
FreshnessCheck = Literal["metadata_stale", "popularity_stale", "popularity_gap"]
LastCopies = Literal["never", "delete_lines", "always"]
DealerCheck = Literal["site_ready", "site_quota", "volume", "cycle_volume", "plan_age"]


class MetadataThresholds(Strict):
    """What may change between two runs, and what a name, a size and a time may be."""

    warn_only: frozenset[MetadataCheck] = frozenset(
        {"block_num_files", "block_file_sizes", "dataset_back", "file_prefix"}
    )
    """Checks that are reported and let through; all others block."""
    max_datasets_lost_fraction: Fraction = 0.05
    """Of the datasets that the source had in its last merged run."""
    max_bytes_lost_fraction: Fraction = 0.2
    """Of what the inventory has of the pulled datasets, …"""
    bytes_lost_tolerated: Bytes = Field(1_000_000_000_000, ge=0)
    """… and this much always."""
    max_files_lost_fraction: Fraction = 0.05
    """Of the files that closed blocks tell of, that may not be listed, and of the known files of the pulled datasets,
    that may not be told any more; by number or bytes, …"""
    files_lost_tolerated: int = Field(100, ge=0)
    """… and this many always, …"""
    file_bytes_lost_tolerated: Bytes = Field(100_000_000_000, ge=0)
    """… and this much always; but where blocks tell of files, one is listed."""
    max_invalidated_fraction: Fraction = 0.2
    """Of the usable (valid or production) datasets, that may become invalid, deprecated or deleted at once, …"""
    invalidated_tolerated: int = Field(100, ge=0)
    """… and this many always."""
    max_set_aside: int = Field(100, ge=0, le=1000)
    """Datasets of a source that may be set aside, since a record of theirs is bad, while the others are merged, …"""
    max_set_aside_fraction: Fraction = 0.001
    """… of those that were not before at most this fraction of the datasets asked for in the run, …"""
    set_aside_tolerated: int = Field(3, ge=0)
    """… and this many always; but never all of several that the source told of."""
    max_file_size_bytes: Bytes = Field(10_000_000_000_000, ge=1)
    """Of one file."""
    max_name_bytes: int = Field(500, ge=1, le=2000)
    """Of the name of a dataset or a block."""
    max_lfn_bytes: int = Field(1000, ge=1, le=4000)
    """Of an LFN."""
    max_clock_skew_h: float = Field(24, ge=0)
    """How far ahead of us a time may be."""
    lfn_prefix: str | None = None
    """Where LFNs are expected; without it `managed_prefix` of `dynamo.yaml`."""


class SiteThresholds(Strict):
    """What sites of a source may do at once."""

    warn_only: frozenset[SiteCheck] = frozenset({"site_endpoint", "site_type_changed"})
    """Checks that are reported and let through; all others block."""
    max_ready_lost_fraction: Fraction = 0.3
    """Of the ready sites of the source, that may cease to be ready at once, …"""
    ready_lost_tolerated: int = Field(1, ge=0)
    """… and this many always."""


class DayThresholds(Strict):
    """A day against the median of the days before it, as far as they were accepted."""

    days_before: int = Field(7, ge=1)
    """Days that it is compared with, …"""
    least_days: int = Field(3, ge=1)
    """… if so many of them are known, …"""
    least_compared: int = Field(1000, ge=0)
    """… and their median is at least this."""
    min_fraction: Fraction = 0.1
    """Less of the median is a drop."""
    max_factor: float = Field(20, ge=1)
    """More than so many times the median is a surge."""
    max_unknown_fraction: Fraction = 0.5
    """Of what names datasets, that may name ones which the inventory does not know."""
    max_day_lost_fraction: Fraction = 0.1
    """Of a day that was aggregated before, that may be gone when it is pulled again."""


class AccessThresholds(DayThresholds):
    """A day of accesses."""

    warn_only: frozenset[AccessCheck] = frozenset({"day_empty", "accesses_unknown"})
    """Checks that are reported and let through; all others block."""
    max_accesses: int = Field(10_000_000, ge=1)
    """Of one dataset or file at one site in one day."""


class DemandThresholds(DayThresholds):
    """A day of submitted jobs."""

    warn_only: frozenset[DemandCheck] = frozenset({"day_empty", "demand_dropped", "demand_unknown"})
    """Checks that are reported and let through; all others block."""
    max_jobs: int = Field(10_000_000, ge=1)
    """That read one dataset, submitted in one day."""


class DataDocs(Strict):
    """Pages of HTML about each judgement, for reading."""

    keep: int = Field(200, ge=0)
    """How many; 0: none are written."""
    location: str | None = None
    """A folder, or a URL that fsspec knows; without it `data_docs` in the home."""


class FreshnessThresholds(Strict):
    """What a plan of Detox or the Dealer may be made with."""

    warn_only: frozenset[FreshnessCheck] = frozenset()
    """Checks that are reported and let through; all others block."""
    metadata_max_age_h: float = Field(24, gt=0)
    """Since a source of metadata was merged last."""
    popularity_max_age_h: float = Field(36, gt=0)
    """Since the end of the newest aggregated day of a source of accesses."""
    max_missing_days: int = Field(0, ge=0)
    """Days of accesses that may be missing between a source's first day and the newest."""
    gaps_accepted_before: date | None = None
    """Days before this one may be missing: a person decided to live without them."""


class DetoxThresholds(Strict):
    """What one plan may delete."""

    warn_only: frozenset[DetoxCheck] = frozenset()
    """Checks that are reported and let through; all others block."""
    max_site_fraction: Fraction = 0.5
    """Of a site's quota; a quota of 0 means: empty the site."""
    max_site_bytes: Bytes = Field(1_000_000_000_000_000, ge=0)
    """At one site."""
    max_volume_bytes: Bytes = Field(10_000_000_000_000_000, ge=0)
    """At all sites together."""
    max_image_shrink_fraction: Fraction = 0.3
    """Of the block replicas at today's targets, that may be gone since the partition's last plan."""
    max_set_aside_fraction: Fraction = 0.2
    """Of what the policy would delete; where more must stay (last copies, locks …), the gate warns (SEMANTICS §10)."""
    last_copies: LastCopies = "never"
    """Whether the last copy of a block may go: `never`; `delete_lines`: where a Delete or DeleteBlock line asks for it
    and it was the last copy already when planned; `always`."""
    approval_above_bytes: Bytes = Field(1_000_000_000_000_000, ge=0)
    """A plan that deletes more waits for a person's yes; no answer means no."""
    max_plan_age_h: float = Field(48, gt=0)
    """An older plan is not committed: it must be made again."""
    attribute_max_age_h: float = Field(168, gt=0)
    """An older attribute that the policy asks for is no ground for deleting."""


ATTRIBUTE_MAX_AGE = timedelta(hours=DetoxThresholds().attribute_max_age_h)
"""As shipped: of trials, which have no ``gates.yaml``."""


class DetoxGate(DetoxThresholds):
    """The limits of all policies."""

    policies: dict[str, DetoxThresholds] = Field(default_factory=dict)
    """By partition, what differs for a policy."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """What a policy does not set is as for all."""
        if not isinstance(values, Mapping) or not isinstance(values.get("policies"), Mapping):
            return values
        common = {key: limit for key, limit in values.items() if key in DetoxThresholds.model_fields}
        own = {
            name: {**common, **limits} if isinstance(limits, Mapping) else limits
            for name, limits in values["policies"].items()
        }
        return {**values, "policies": own}

    def of(self, partition: str) -> DetoxThresholds:
        """The limits of the policy of this partition."""
        return self.policies.get(partition, self)


class DealerThresholds(Strict):
    """What one plan may copy."""

    warn_only: frozenset[DealerCheck] = frozenset()
    """Checks that are reported and let through; all others block."""
    max_volume_bytes: Bytes = Field(2_000_000_000_000_000, ge=0)
    """At all sites together."""
    max_plan_age_h: float = Field(12, gt=0)
    """An older plan is not committed: sites have filled and emptied since."""
    attribute_max_age_h: float = Field(168, gt=0)
    """An older attribute that a plugin, a rule or a condition asks for is no ground for copying."""


class Gates(Strict):
    """The thresholds of all gates."""

    metadata: MetadataThresholds = MetadataThresholds()
    sites: SiteThresholds = SiteThresholds()
    accesses: AccessThresholds = AccessThresholds()
    demand: DemandThresholds = DemandThresholds()
    data_docs: DataDocs = DataDocs()
    freshness: FreshnessThresholds = FreshnessThresholds()
    detox: DetoxGate = DetoxGate()
    dealer: DealerThresholds = DealerThresholds()


def read_thresholds(settings: Settings) -> Gates:
    """What ``gates.yaml`` of the configuration folder says. Raises SettingsError naming file, key and reason.

    Limits of a policy that is not there are a mistake too: they would never be looked at.
    """
    return _complete(read_gates(settings.config_dir / GATES_FILE, settings.policy_dir), settings)


def read_gates(file: Path, policy_dir: Path) -> Gates:
    """What a ``gates.yaml`` says by itself, for the policies of a folder. Raises SettingsError of every fault."""
    gates = read_config(file, Gates)
    policy_names = sorted(policy.stem for policy in policy_dir.glob("*.txt"))
    faults = [
        Fault(str(file), f"detox.policies.{name}", f"no policy {name}.txt in {policy_dir}.{near(name, policy_names)}")
        for name in gates.detox.policies
        if name not in policy_names
    ]
    if faults:
        raise SettingsError.of(faults)
    return gates


def _complete(gates: Gates, settings: Settings) -> Gates:
    """With what ``dynamo.yaml`` says where ``gates.yaml`` says nothing."""
    docs, metadata = gates.data_docs, gates.metadata
    location = docs.location or (str(settings.at_home("data_docs")) if settings.home else None)
    return gates.model_copy(
        update={
            "data_docs": docs.model_copy(update={"location": location}),
            "metadata": metadata.model_copy(update={"lfn_prefix": metadata.lfn_prefix or settings.managed_prefix}),
        }
    )


def detox_limits(settings: Settings, partition: str) -> DetoxThresholds:
    """The limits of one policy. Raises SettingsError naming file, key and reason."""
    return read_thresholds(settings).detox.of(partition)
