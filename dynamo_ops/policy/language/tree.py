"""The tree of a policy as written: names and values are text, every node knows its position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynamo_ops.policy.language.source import Position, SourceText

Verb = Literal["Protect", "Delete", "Dismiss", "Ignore"]
SiteVerb = Literal["On", "When", "Until"]
Operator = Literal["true", "not", "==", "!=", "=~", "!=~", "<", ">", "older_than", "newer_than", "in", "notin"]


@dataclass(frozen=True)
class Word:
    """A piece of text and where it stands."""

    text: str
    at: Position


@dataclass(frozen=True)
class Predicate:
    """``variable``, ``not variable`` or ``variable OP value``; the values of ``in`` and ``notin`` are several."""

    variable: Word
    operator: Operator
    values: tuple[Word, ...]
    at: Position


@dataclass(frozen=True)
class Window:
    """`` until <time>`` or `` from <time>`` at the end of a condition."""

    kind: Literal["until", "from"]
    time: Word


@dataclass(frozen=True)
class Condition:
    """Predicates that must all hold."""

    predicates: tuple[Predicate, ...]
    window: Window | None
    text: str
    at: Position


@dataclass(frozen=True)
class SiteCondition:
    """An ``On``, ``When`` or ``Until`` line."""

    verb: SiteVerb
    condition: Condition
    at: Position


@dataclass(frozen=True)
class PolicyLine:
    """A line that decides. Without a condition it is the default decision."""

    verb: Verb
    is_block: bool
    condition: Condition | None
    text: str
    at: Position


@dataclass(frozen=True)
class OrderKey:
    """One ``increasing|decreasing variable`` of ``Order``."""

    variable: Word
    is_decreasing: bool


@dataclass(frozen=True)
class Order:
    """The ``Order`` line; no keys: ``none``."""

    keys: tuple[OrderKey, ...]
    at: Position


@dataclass(frozen=True)
class Algorithm:
    """The ``Algo`` line."""

    name: Word


@dataclass(frozen=True)
class PartitionName:
    """The ``Partition`` line."""

    name: Word


Statement = PartitionName | SiteCondition | PolicyLine | Order | Algorithm


@dataclass(frozen=True)
class PolicyTree:
    """All statements of a policy, in the order written."""

    source: SourceText
    statements: tuple[Statement, ...]
