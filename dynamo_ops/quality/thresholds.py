"""``gates.yaml``: how much is too much, and which checks only warn. Every other check blocks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dynamo_ops.base.errors import Fault, SettingsError
from dynamo_ops.base.settings import Settings, Strict, read_config
from dynamo_ops.base.text import near

GATES_FILE = "gates.yaml"

Fraction = Annotated[float, Field(ge=0, le=1)]

MetadataCheck = Literal[
    "datasets_lost",
    "datasets_listed",
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
    """What may change between two runs, and what a name, a size and a time may be.

    ``max_datasets_lost_fraction``: of the datasets that the source had in its last merged run.
    ``max_bytes_lost_fraction``: of what the inventory has of the pulled datasets; ``bytes_lost_tolerated`` always.
    ``max_files_lost_fraction``: of the files (or their bytes) that closed blocks tell of, that may not be listed, and
    of the known ones that may not be told any more; so many files and bytes are tolerated always.
    ``max_invalidated_fraction``: of the usable (valid or production) datasets, that may become invalid, deprecated or
    deleted at once; ``invalidated_tolerated`` always. ``max_clock_skew_h``: how far ahead of us a time may be.
    ``lfn_prefix``: where LFNs are expected; without it ``managed_prefix`` of the settings.
    """

    warn_only: frozenset[MetadataCheck] = frozenset(
        {"block_num_files", "block_file_sizes", "dataset_back", "file_prefix"}
    )
    max_datasets_lost_fraction: Fraction = 0.05
    max_bytes_lost_fraction: Fraction = 0.2
    bytes_lost_tolerated: int = Field(1_000_000_000_000, ge=0)
    max_files_lost_fraction: Fraction = 0.05
    files_lost_tolerated: int = Field(100, ge=0)
    file_bytes_lost_tolerated: int = Field(100_000_000_000, ge=0)
    max_invalidated_fraction: Fraction = 0.2
    invalidated_tolerated: int = Field(100, ge=0)
    max_file_size_bytes: int = Field(10_000_000_000_000, ge=1)
    max_name_bytes: int = Field(500, ge=1, le=2000)
    max_lfn_bytes: int = Field(1000, ge=1, le=4000)
    max_clock_skew_h: float = Field(24, ge=0)
    lfn_prefix: str | None = None


class SiteThresholds(Strict):
    """Ready sites that may cease to be ready at once: this fraction of them, and ``ready_lost_tolerated`` always."""

    warn_only: frozenset[SiteCheck] = frozenset({"site_endpoint", "site_type_changed"})
    max_ready_lost_fraction: Fraction = 0.3
    ready_lost_tolerated: int = Field(1, ge=0)


class DayThresholds(Strict):
    """A day against the median of the ``days_before`` it, as far as they were accepted.

    It is compared when at least ``least_days`` of them are known and their median is at least ``least_compared``:
    less than ``min_fraction`` of the median is a drop, more than ``max_factor`` times it a surge.
    ``max_unknown_fraction``: of what names datasets, that may name ones which the inventory does not know.
    ``max_day_lost_fraction``: of a day that was aggregated before, that may be gone when it is pulled again.
    """

    days_before: int = Field(7, ge=1)
    least_days: int = Field(3, ge=1)
    least_compared: int = Field(1000, ge=0)
    min_fraction: Fraction = 0.1
    max_factor: float = Field(20, ge=1)
    max_unknown_fraction: Fraction = 0.5
    max_day_lost_fraction: Fraction = 0.1


class AccessThresholds(DayThresholds):
    """``max_accesses``: of one dataset or file at one site in one day."""

    warn_only: frozenset[AccessCheck] = frozenset({"day_empty", "accesses_unknown"})
    max_accesses: int = Field(10_000_000, ge=1)


class DemandThresholds(DayThresholds):
    """``max_jobs``: that read one dataset, submitted in one day."""

    warn_only: frozenset[DemandCheck] = frozenset({"day_empty", "demand_dropped", "demand_unknown"})
    max_jobs: int = Field(10_000_000, ge=1)


class DataDocs(Strict):
    """Pages of HTML about each judgement, for reading. ``keep``: how many; 0: none are written.

    ``location``: a folder, or a URL that fsspec knows; without it ``data_docs`` in Dynamo's home.
    """

    keep: int = Field(200, ge=0)
    location: str | None = None


class FreshnessThresholds(Strict):
    """What a plan may be made with. ``metadata_max_age_h``: hours since a source of metadata was merged last.

    ``popularity_max_age_h``: hours since the end of the newest aggregated day of a source of accesses.
    ``max_missing_days``: days of accesses that may lack between a source's first day and the newest.
    ``gaps_accepted_before``: days before this one may lack; a person decided to live without them.
    """

    warn_only: frozenset[FreshnessCheck] = frozenset()
    metadata_max_age_h: float = Field(24, gt=0)
    popularity_max_age_h: float = Field(36, gt=0)
    max_missing_days: int = Field(0, ge=0)
    gaps_accepted_before: date | None = None


class DetoxThresholds(Strict):
    """What one plan may delete. ``max_site_fraction``: of a quota. ``max_image_shrink_fraction``: of block replicas.
    ``max_set_aside_fraction``: more of what the policy would delete must stay, and the gate warns (SEMANTICS §10).

    ``last_copies``: whether the last copy of a block may go. never; delete_lines: where a Delete or DeleteBlock line
    asks for it and it was the last copy already when planned; always.
    ``approval_above_bytes``: a plan that deletes more than this waits for a person's yes; no answer means no.
    ``max_plan_age_h``: hours after which a plan that was not committed must be made again.
    ``attribute_max_age_h``: hours after which an attribute that the policy asks for is too old to plan with.
    """

    warn_only: frozenset[DetoxCheck] = frozenset()
    max_site_fraction: Fraction = 0.5
    max_site_bytes: int = Field(1_000_000_000_000_000, ge=0)
    max_volume_bytes: int = Field(10_000_000_000_000_000, ge=0)
    max_image_shrink_fraction: Fraction = 0.3
    max_set_aside_fraction: Fraction = 0.2
    last_copies: LastCopies = "never"
    approval_above_bytes: int = Field(1_000_000_000_000_000, ge=0)
    max_plan_age_h: float = Field(48, gt=0)
    attribute_max_age_h: float = Field(168, gt=0)


ATTRIBUTE_MAX_AGE = timedelta(hours=DetoxThresholds().attribute_max_age_h)
"""As shipped: of trials, which have no ``gates.yaml``."""


class DetoxGate(DetoxThresholds):
    """The limits of all policies, and in ``policies``, by partition, the whole limits of those that have their own."""

    policies: dict[str, DetoxThresholds] = Field(default_factory=dict)

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
    """What one plan may copy. ``max_plan_age_h``: hours after which a plan must be made again.
    ``attribute_max_age_h``: hours after which an attribute that a plugin asks for is too old to plan with."""

    warn_only: frozenset[DealerCheck] = frozenset()
    max_volume_bytes: int = Field(2_000_000_000_000_000, ge=0)
    max_plan_age_h: float = Field(12, gt=0)
    attribute_max_age_h: float = Field(168, gt=0)


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
