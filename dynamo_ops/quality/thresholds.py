"""``gates.yaml``: how much is too much, and which checks only warn. Every other check blocks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dynamo_ops.settings import Settings, Strict, read_config

GATES_FILE = "gates.yaml"

Fraction = Annotated[float, Field(ge=0, le=1)]

MetadataCheck = Literal[
    "dataset_fields",
    "dataset_status",
    "dataset_once",
    "block_fields",
    "block_size",
    "block_dataset",
    "block_once",
    "block_num_files",
    "file_fields",
    "file_size",
    "file_lfn",
    "file_adler32",
    "file_once",
    "file_block",
    "file_moved",
    "file_size_changed",
    "file_adler32_changed",
    "datasets_lost",
    "datasets_listed",
]
SiteCheck = Literal["site_fields", "site_known_values", "site_once", "site_endpoint", "sites_listed", "ready_lost"]
AccessCheck = Literal["access_fields", "access_count", "access_absurd", "access_day", "day_empty"]
DetoxCheck = Literal["locked", "last_copy", "last_source", "site_volume", "site_fraction", "volume", "image_shrunken"]
DealerCheck = Literal["site_ready", "site_quota", "volume"]


class MetadataThresholds(Strict):
    """``max_datasets_lost_fraction``: of the datasets that the source had in its last merged run."""

    warn_only: frozenset[MetadataCheck] = frozenset({"block_num_files"})
    max_datasets_lost_fraction: Fraction = 0.05


class SiteThresholds(Strict):
    """Ready sites that may cease to be ready at once: this fraction of them, and ``ready_lost_tolerated`` always."""

    warn_only: frozenset[SiteCheck] = frozenset({"site_endpoint"})
    max_ready_lost_fraction: Fraction = 0.3
    ready_lost_tolerated: int = Field(1, ge=0)


class AccessThresholds(Strict):
    """``max_accesses``: of one dataset at one site in one day. ``days_before``: an empty day after these is suspect."""

    warn_only: frozenset[AccessCheck] = frozenset({"day_empty"})
    max_accesses: int = Field(10_000_000, ge=1)
    days_before: int = Field(7, ge=1)


class DetoxThresholds(Strict):
    """What one plan may delete. ``max_site_fraction``: of a quota. ``max_image_shrink_fraction``: of block replicas.

    ``approval_above_bytes``: a plan that deletes more than this waits for a person's yes; no answer means no.
    """

    warn_only: frozenset[DetoxCheck] = frozenset()
    max_site_fraction: Fraction = 0.5
    max_site_bytes: int = Field(1_000_000_000_000_000, ge=0)
    max_volume_bytes: int = Field(10_000_000_000_000_000, ge=0)
    max_image_shrink_fraction: Fraction = 0.3
    last_copies_allowed: bool = False
    approval_above_bytes: int = Field(1_000_000_000_000_000, ge=0)


class DealerThresholds(Strict):
    """What one plan may copy."""

    warn_only: frozenset[DealerCheck] = frozenset()
    max_volume_bytes: int = Field(2_000_000_000_000_000, ge=0)


class Gates(Strict):
    """The thresholds of all gates."""

    metadata: MetadataThresholds = MetadataThresholds()
    sites: SiteThresholds = SiteThresholds()
    accesses: AccessThresholds = AccessThresholds()
    detox: DetoxThresholds = DetoxThresholds()
    dealer: DealerThresholds = DealerThresholds()


def read_thresholds(settings: Settings) -> Gates:
    """What ``gates.yaml`` of the configuration folder says. Raises SettingsError naming file, key and reason."""
    return read_config(settings.config_dir / GATES_FILE, Gates)
