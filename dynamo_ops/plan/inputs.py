"""What a plan is made of beside the inventory: read once, together, and stored with the plan as one value.

Files may say something else a moment later. The decision is made of this value, and whatever comes after it (gate,
explanation, comparison) reads the value from the plan, never the files again.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.errors import PlanError, PolicyError, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.policy.files import partitions_source, policy_source, rules_source
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules
from dynamo_ops.policy.language.source import SourceText, read_source
from dynamo_ops.policy.partition import Partitions, load_partitions
from dynamo_ops.quality.thresholds import LastCopies, detox_limits, read_thresholds


def _in_utc(moment: datetime) -> datetime:
    """The moment as this package writes it, whoever's type and time zone it came in."""
    utc = moment.astimezone(UTC)
    return datetime.combine(utc.date(), utc.time(), UTC)


class PlanInputs(Strict):
    """What both engines read. ``policy``: the policy, or the Dealer's configuration; each text with the file that
    errors name. ``rules``: the enforcer's, null where the partition has none. ``attribute_max_age_h``: hours after
    which an attribute of datasets is too old to plan with. A field that is added needs a default: plans are stored."""

    kind: str
    partition: str
    now: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    policy: SourceText
    partitions: SourceText
    rules: SourceText | None
    attribute_max_age_h: float

    @property
    def attribute_max_age(self) -> timedelta:
        """``attribute_max_age_h`` as a span of time."""
        return timedelta(hours=self.attribute_max_age_h)

    def known_partitions(self) -> Partitions:
        """The partitions, checked at ``now``."""
        return load_partitions(self.partitions.text, now=self.now, file=self.partitions.file)

    def enforcer_rules(self) -> tuple[EnforcerRule, ...]:
        """The enforcer rules, checked at ``now``."""
        return load_rules(self.rules.text, now=self.now, file=self.rules.file) if self.rules else ()

    def differing(self, other: Self) -> tuple[str, ...]:
        """What is not the same in ``other``: texts by their files, everything else by its name here."""
        names = [name for name in type(self).model_fields if _deciding(self, name) != _deciding(other, name)]
        return tuple(_file(self, name) or _file(other, name) or name for name in names)

    def document(self) -> dict[str, Any]:
        """The inputs as a JSON document for people and programs; every text with its digest."""
        document = self.model_dump(mode="json")
        for name, content in self:
            if isinstance(content, SourceText):
                document[name]["sha256"] = hashlib.sha256(content.text.encode()).hexdigest()
        return document


class DetoxInputs(PlanInputs):
    """What a plan of Detox is made of. ``deletion_per_iteration``, ``protected_sites``: as in ``DetoxSettings``;
    ``last_copies``: as in ``gates.yaml`` (null: a plan of before, in which nothing is set aside)."""

    kind: Literal["detox"] = "detox"
    deletion_per_iteration: float
    protected_sites: tuple[str, ...]
    last_copies: LastCopies | None = None


class DealerInputs(PlanInputs):
    """What a plan of the Dealer is made of. ``seed``: of all draws of the cycle."""

    kind: Literal["dealer"] = "dealer"
    seed: int


Inputs = Annotated[DetoxInputs | DealerInputs, Field(discriminator="kind")]
STORED: TypeAdapter[DetoxInputs | DealerInputs] = TypeAdapter(Inputs)


def read_detox_inputs(
    settings: Settings, partition: str, now: datetime, *, policy: SourceText | None = None
) -> DetoxInputs:
    """What the installation says now; ``policy``: another one than the installed. PolicyError, SettingsError."""
    source = policy or policy_source(settings, partition)
    limits = detox_limits(settings, partition)
    return DetoxInputs(
        partition=partition,
        now=now,
        policy=source,
        partitions=partitions_source(settings),
        rules=rules_source(settings, partition),
        attribute_max_age_h=limits.attribute_max_age_h,
        deletion_per_iteration=settings.detox.deletion_per_iteration,
        protected_sites=tuple(settings.detox.protected_sites),
        last_copies=limits.last_copies,
    )


def read_dealer_inputs(
    settings: Settings, partition: str, now: datetime, *, seed: int, config: SourceText | None = None
) -> DealerInputs:
    """What the installation says now; ``config``: another one than the installed. PolicyError, SettingsError."""
    return DealerInputs(
        partition=partition,
        now=now,
        policy=config or dealer_source(settings, partition),
        partitions=partitions_source(settings),
        rules=rules_source(settings, partition),
        attribute_max_age_h=read_thresholds(settings).dealer.attribute_max_age_h,
        seed=seed,
    )


def dealer_source(settings: Settings, partition: str) -> SourceText:
    """A partition's Dealer configuration as it is now. Raises SettingsError if there is none."""
    file = settings.config_dir / "dealer" / f"{partition}.yaml"
    try:
        return read_source(file)
    except PolicyError as error:
        raise SettingsError(
            f"{file}: the dealer configuration cannot be read: {error.reason}",
            file=str(file),
            key="",
            reason=str(error.reason),
        ) from error


def load_inputs(text: str, *, file: str) -> DetoxInputs | DealerInputs:
    """The inputs that ``model_dump_json`` wrote. PlanError when the text is no such."""
    try:
        return STORED.validate_json(text)
    except ValidationError as error:
        raise PlanError(f"{file}: cannot be read as the inputs of a plan: {error}", state=None) from error


def _deciding(inputs: PlanInputs, name: str) -> object:
    """What a field decides by: where a text lies decides nothing."""
    content = getattr(inputs, name)
    return content.text if isinstance(content, SourceText) else content


def _file(inputs: PlanInputs, name: str) -> str | None:
    content = getattr(inputs, name)
    return content.file if isinstance(content, SourceText) else None
