"""Enforcer rules: of which datasets copies must exist where. Used by the Dealer's enforcer and for Detox's
protection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import yaml
from pydantic import Field, ValidationError

from dynamo_ops.base.config_file import Strict, faults_of
from dynamo_ops.base.errors import Fault, PolicyError, SettingsError
from dynamo_ops.policy.language.check import REPLICA_SCOPES, CheckedCondition, check_condition
from dynamo_ops.policy.language.parse import parse_condition
from dynamo_ops.policy.language.source import SourceText, each_error, policy_faults, raise_together
from dynamo_ops.policy.language.variables import Scope

SITE = frozenset({Scope.SITE})
CONDITIONS = {"destinations": SITE, "sources": SITE, "replicas": REPLICA_SCOPES}
"""The lists of conditions of a rule, and what they may ask for."""


class RuleSettings(Strict):
    """Datasets with a replica at a source site that meets one of the conditions must exist in so many copies at
    destination sites."""

    num_copies: int = Field(ge=1, strict=True)
    """Copies at destination sites."""
    protect: bool = Field(False, strict=True)
    """Whether Detox keeps what the rule needs."""
    destinations: list[str] = Field(min_length=1)
    """Conditions on `site` variables: where copies count and go."""
    sources: list[str] = Field(min_length=1)
    """Conditions on `site` variables: where a replica makes the rule count."""
    replicas: list[str] = Field(min_length=1)
    """Conditions on `dataset`, `replica` and `blockreplica` variables: which replica makes it count."""
    destination_group: str | None = None
    """Owner of the copies; without it the file's."""
    partition: str | None = None
    """The partition whose copies count; without it the file's."""


class RulesFile(Strict):
    """Enforcer rules of one partition."""

    rules: dict[str, RuleSettings]
    """By name."""
    default_destination_group: str | None = None
    """Owner of copies whose rule names none; without it the group of the Dealer's configuration."""
    partition: str | None = None
    """The partition of rules that name none; without it the Dealer's."""


@dataclass(frozen=True)
class EnforcerRule:
    """Datasets with a replica at a source site that meets one of ``replicas`` must exist ``num_copies`` times at
    destinations.

    ``is_protecting``: Detox keeps them too. ``destination_group`` and ``partition`` null: the file's default.
    """

    name: str
    num_copies: int
    is_protecting: bool
    destinations: tuple[CheckedCondition, ...]
    sources: tuple[CheckedCondition, ...]
    replicas: tuple[CheckedCondition, ...]
    destination_group: str | None
    partition: str | None


def load_rules(text: str, *, now: datetime, file: str = "<enforcer>") -> tuple[EnforcerRule, ...]:
    """The rules of a YAML or JSON text, by name. SettingsError names the key, PolicyError the condition; of several
    faults all are said."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not YAML: {error}", file=file, key="", reason=str(error)) from error
    if not isinstance(content, Mapping) or not isinstance(content.get("rules"), Mapping):
        raise SettingsError.of([Fault(file, "rules", "expected a mapping of rules")])
    try:
        settings, faults = RulesFile.model_validate(content), []
    except ValidationError as error:
        settings, faults = None, faults_of(error, RulesFile, file)
    conditions = _Conditions(file, now)
    for name, rule in sorted(content["rules"].items()):
        conditions.read(name, rule)
    _raise_together(faults, conditions.errors)
    assert settings is not None
    return tuple(conditions.rule(name, settings) for name in sorted(settings.rules))


def _raise_together(faults: Sequence[Fault], errors: Sequence[PolicyError]) -> None:
    if not faults:
        raise_together(errors)
        return
    raise SettingsError.of([*faults, *(fault for error in errors for fault in policy_faults(error))])


def rules_text(rules: Sequence[EnforcerRule]) -> str:
    """A JSON text that ``load_rules`` reads as these rules: what is stored with a plan."""
    return json.dumps(
        {
            "rules": {
                rule.name: {
                    "num_copies": rule.num_copies,
                    "protect": rule.is_protecting,
                    "destinations": [condition.text for condition in rule.destinations],
                    "sources": [condition.text for condition in rule.sources],
                    "replicas": [condition.text for condition in rule.replicas],
                    "destination_group": rule.destination_group,
                    "partition": rule.partition,
                }
                for rule in rules
            }
        }
    )


class _Conditions:
    """The conditions of all rules of a file, by rule and key. ``errors``: those that cannot be used."""

    def __init__(self, file: str, now: datetime) -> None:
        self.file, self.now = file, now
        self.errors: list[PolicyError] = []
        self._checked: dict[tuple[str, str], tuple[CheckedCondition, ...]] = {}

    def read(self, name: str, rule: object) -> None:
        """Those of one rule, as far as it has the form of one."""
        for key, scopes in CONDITIONS.items():
            texts = rule.get(key) if isinstance(rule, Mapping) else None
            if isinstance(texts, list):
                self._checked[name, key] = tuple(self._each(f"rules.{name}.{key}", texts, scopes))

    def rule(self, name: str, settings: RulesFile) -> EnforcerRule:
        """A rule whose conditions were read."""
        own = settings.rules[name]
        return EnforcerRule(
            name=name,
            num_copies=own.num_copies,
            is_protecting=own.protect,
            destinations=self._checked[name, "destinations"],
            sources=self._checked[name, "sources"],
            replicas=self._checked[name, "replicas"],
            destination_group=_own_or(own, "destination_group", settings.default_destination_group),
            partition=_own_or(own, "partition", settings.partition),
        )

    def _each(self, key: str, texts: Sequence[object], scopes: frozenset[Scope]) -> Iterator[CheckedCondition]:
        for text in texts:
            try:
                yield self._condition(key, str(text), scopes)
            except PolicyError as error:
                self.errors += each_error(error)

    def _condition(self, key: str, text: str, scopes: frozenset[Scope]) -> CheckedCondition:
        source = SourceText(f"{self.file}:{key}", text)
        condition = check_condition(parse_condition(text, source=source), source=source, now=self.now, scopes=scopes)
        for predicate in condition.predicates:
            if predicate.variable.name == "replica.enforcer_protected":
                raise PolicyError(
                    f"{self.file}: {key}: a rule cannot ask for what rules decide", variable=predicate.variable.name
                )
        return condition


def _own_or(rule: RuleSettings, name: str, of_file: str | None) -> str | None:
    """What the rule says, null too; else what its file says."""
    own: str | None = getattr(rule, name)
    return own if name in rule.model_fields_set else of_file
