"""Enforcer rules: of which datasets copies must exist where. Used by the Dealer's enforcer and for Detox's
protection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from dynamo_ops.base.errors import PolicyError, SettingsError
from dynamo_ops.policy.language.check import REPLICA_SCOPES, CheckedCondition, check_condition
from dynamo_ops.policy.language.parse import parse_condition
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.language.variables import Scope

SITE = frozenset({Scope.SITE})
RULE_KEYS = frozenset(
    {"num_copies", "protect", "destinations", "sources", "replicas", "destination_group", "partition"}
)


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
    """The rules of a YAML or JSON text, by name. SettingsError names the key; PolicyError the condition."""
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not YAML: {error}", file=file, key="", reason=str(error)) from error
    if not isinstance(settings, Mapping) or not isinstance(settings.get("rules"), Mapping):
        raise _wrong(file, "rules", "expected a mapping of rules")
    return tuple(_Reader(file, name, rule, now).rule(settings) for name, rule in sorted(settings["rules"].items()))


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


def _wrong(file: str, key: str, reason: str) -> SettingsError:
    return SettingsError(f"{file}: {key}: {reason}", file=file, key=key, reason=reason)


class _Reader:
    """Reads one rule."""

    def __init__(self, file: str, name: str, rule: Any, now: datetime) -> None:
        self.file, self.name, self.now = file, name, now
        if not isinstance(rule, Mapping):
            raise self.wrong("", "expected a mapping")
        self.options: Mapping[str, Any] = rule

    def wrong(self, key: str, reason: str) -> SettingsError:
        return _wrong(self.file, f"rules.{self.name}" + (f".{key}" if key else ""), reason)

    def rule(self, settings: Mapping[str, Any]) -> EnforcerRule:
        for key in self.options:
            if key not in RULE_KEYS:
                raise self.wrong(str(key), f"unknown key; known are {', '.join(sorted(RULE_KEYS))}")
        num_copies, protect = self.options.get("num_copies"), self.options.get("protect", False)
        if not isinstance(num_copies, int) or isinstance(num_copies, bool) or num_copies < 1:
            raise self.wrong("num_copies", f"read {num_copies!r}, expected a whole number from 1")
        if not isinstance(protect, bool):
            raise self.wrong("protect", f"read {protect!r}, expected true or false")
        return EnforcerRule(
            name=self.name,
            num_copies=num_copies,
            is_protecting=protect,
            destinations=self.conditions("destinations", SITE),
            sources=self.conditions("sources", SITE),
            replicas=self.conditions("replicas", REPLICA_SCOPES),
            destination_group=self.options.get("destination_group", settings.get("default_destination_group")),
            partition=self.options.get("partition", settings.get("partition")),
        )

    def conditions(self, key: str, scopes: frozenset[Scope]) -> tuple[CheckedCondition, ...]:
        texts = self.options.get(key)
        if not isinstance(texts, Sequence) or isinstance(texts, str) or not texts:
            raise self.wrong(key, "expected a list of conditions")
        return tuple(self.condition(f"rules.{self.name}.{key}", str(text), scopes) for text in texts)

    def condition(self, key: str, text: str, scopes: frozenset[Scope]) -> CheckedCondition:
        source = SourceText(f"{self.file}:{key}", text)
        condition = check_condition(parse_condition(text, source=source), source=source, now=self.now, scopes=scopes)
        for predicate in condition.predicates:
            if predicate.variable.name == "replica.enforcer_protected":
                raise PolicyError(
                    f"{self.file}: {key}: a rule cannot ask for what rules decide", variable=predicate.variable.name
                )
        return condition
