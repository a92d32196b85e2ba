"""``gates.yaml``: how much is too much, and which checks only warn. Every other check blocks."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dynamo_ops.errors import SettingsError
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
DetoxCheck = Literal[
    "locked",
    "last_copy",
    "last_source",
    "enforcer_needed",
    "site_volume",
    "site_fraction",
    "volume",
    "image_shrunken",
    "plan_age",
]
LastCopies = Literal["never", "delete_lines", "always"]
DealerCheck = Literal["site_ready", "site_quota", "volume", "cycle_volume", "plan_age"]


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
    last_copies: LastCopies = "never"
    approval_above_bytes: int = Field(1_000_000_000_000_000, ge=0)
    max_plan_age_h: float = Field(48, gt=0)
    attribute_max_age_h: float = Field(168, gt=0)


class DetoxGate(DetoxThresholds):
    """The limits of all policies, and in ``policies``, by partition, the whole limits of those that have their own."""

    policies: dict[str, DetoxThresholds] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """What a policy does not set is as for all."""
        if not isinstance(values, Mapping) or not isinstance(values.get("policies"), Mapping):
            return values
        common = {key: value for key, value in values.items() if key in DetoxThresholds.model_fields}
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
    detox: DetoxGate = DetoxGate()
    dealer: DealerThresholds = DealerThresholds()


def read_thresholds(settings: Settings) -> Gates:
    """What ``gates.yaml`` of the configuration folder says. Raises SettingsError naming file, key and reason.

    Limits of a policy that is not there are a mistake too: they would never be looked at.
    """
    file = settings.config_dir / GATES_FILE
    gates = read_config(file, Gates)
    known = sorted(policy.stem for policy in settings.policy_dir.glob("*.txt"))
    for name in gates.detox.policies:
        if name not in known:
            near = get_close_matches(name, known)
            reason = f"no policy {name}.txt in {settings.policy_dir}" + (f"; near: {', '.join(near)}" if near else "")
            key = f"detox.policies.{name}"
            raise SettingsError(f"{file}: {key}: {reason}", file=str(file), key=key, reason=reason)
    return gates


def detox_limits(settings: Settings, partition: str) -> DetoxThresholds:
    """The limits of one policy. Raises SettingsError naming file, key and reason."""
    return read_thresholds(settings).detox.of(partition)
