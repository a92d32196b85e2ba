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
from dynamo_ops.base.text import near
from dynamo_ops.policy.language.check import REPLICA_SCOPES, CheckedCondition, check_condition
from dynamo_ops.policy.language.parse import parse_condition
from dynamo_ops.policy.language.source import SourceText, each_error, policy_faults, raise_together
from dynamo_ops.policy.language.variables import Scope

SITE = frozenset({Scope.SITE})
FILE_KEYS = ("rules", "default_destination_group", "partition")
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
    """The rules of a YAML or JSON text, by name. SettingsError names the key, PolicyError the condition; of several
    faults all are said."""
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not YAML: {error}", file=file, key="", reason=str(error)) from error
    if not isinstance(settings, Mapping) or not isinstance(settings.get("rules"), Mapping):
        raise _wrong(file, "rules", "expected a mapping of rules")
    errors: list[SettingsError | PolicyError] = [
        _wrong(file, str(key), f"unknown key; known are {', '.join(FILE_KEYS)}.{near(str(key), FILE_KEYS)}")
        for key in settings
        if key not in FILE_KEYS
    ]
    readers = [_Reader(file, name, rule, now) for name, rule in sorted(settings["rules"].items())]
    rules = tuple(reader.rule(settings) for reader in readers)
    _raise_together([*errors, *(error for reader in readers for error in reader.errors)])
    return tuple(rule for rule in rules if rule)


def _raise_together(errors: Sequence[SettingsError | PolicyError]) -> None:
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    of_conditions = [error for error in errors if isinstance(error, PolicyError)]
    if len(of_conditions) == len(errors):
        raise_together(of_conditions)
    raise SettingsError.of(
        [
            fault
            for error in errors
            for fault in (policy_faults(error) if isinstance(error, PolicyError) else error.all_faults())
        ]
    )


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
    """Reads one rule. ``errors``: what is wrong with it."""

    def __init__(self, file: str, name: str, rule: Any, now: datetime) -> None:
        self.file, self.name, self.now = file, name, now
        self.errors: list[SettingsError | PolicyError] = []
        self.options: Mapping[str, Any] = rule if isinstance(rule, Mapping) else {}
        if not isinstance(rule, Mapping):
            self.wrong("", "expected a mapping")

    def wrong(self, key: str, reason: str) -> None:
        self.errors.append(_wrong(self.file, f"rules.{self.name}" + (f".{key}" if key else ""), reason))

    def rule(self, settings: Mapping[str, Any]) -> EnforcerRule | None:
        """The rule; None where something is wrong."""
        if self.errors:
            return None
        for key in self.options:
            if key not in RULE_KEYS:
                known = ", ".join(sorted(RULE_KEYS))
                self.wrong(str(key), f"unknown key; known are {known}.{near(str(key), RULE_KEYS)}")
        num_copies, protect = self.options.get("num_copies"), self.options.get("protect", False)
        if not isinstance(num_copies, int) or isinstance(num_copies, bool) or num_copies < 1:
            self.wrong("num_copies", f"read {num_copies!r}, expected a whole number from 1")
        if not isinstance(protect, bool):
            self.wrong("protect", f"read {protect!r}, expected true or false")
        destinations = self.conditions("destinations", SITE)
        sources = self.conditions("sources", SITE)
        replicas = self.conditions("replicas", REPLICA_SCOPES)
        if self.errors or not isinstance(num_copies, int):
            return None
        return EnforcerRule(
            name=self.name,
            num_copies=num_copies,
            is_protecting=bool(protect),
            destinations=destinations,
            sources=sources,
            replicas=replicas,
            destination_group=self.options.get("destination_group", settings.get("default_destination_group")),
            partition=self.options.get("partition", settings.get("partition")),
        )

    def conditions(self, key: str, scopes: frozenset[Scope]) -> tuple[CheckedCondition, ...]:
        """The conditions at a key; those that are wrong are among ``errors``."""
        texts = self.options.get(key)
        if not isinstance(texts, Sequence) or isinstance(texts, str) or not texts:
            self.wrong(key, "expected a list of conditions")
            return ()
        conditions = []
        for text in texts:
            try:
                conditions.append(self.condition(f"rules.{self.name}.{key}", str(text), scopes))
            except PolicyError as error:
                self.errors += each_error(error)
        return tuple(conditions)

    def condition(self, key: str, text: str, scopes: frozenset[Scope]) -> CheckedCondition:
        source = SourceText(f"{self.file}:{key}", text)
        condition = check_condition(parse_condition(text, source=source), source=source, now=self.now, scopes=scopes)
        for predicate in condition.predicates:
            if predicate.variable.name == "replica.enforcer_protected":
                raise PolicyError(
                    f"{self.file}: {key}: a rule cannot ask for what rules decide", variable=predicate.variable.name
                )
        return condition
