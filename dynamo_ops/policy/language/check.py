"""Tree to checked tree: names known, types right, times resolved. Never sees Polars."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.base.glob import glob_matches, is_glob
from dynamo_ops.base.text import near
from dynamo_ops.base.times import resolve_time
from dynamo_ops.policy.language import tree
from dynamo_ops.policy.language.parse import parse_lines
from dynamo_ops.policy.language.regex import check_regex
from dynamo_ops.policy.language.source import Position, SourceText, raise_together
from dynamo_ops.policy.language.variables import ALIASES, OLD_NAMES, Scope, Type, Variable, known_variables

Value = str | float | datetime

OPERATORS: dict[Type, tuple[tree.Operator, ...]] = {
    Type.TEXT: ("==", "!=", "=~", "!=~", "in", "notin"),
    Type.TEXTS: ("==", "!=", "=~", "!=~", "in", "notin"),
    Type.NUMBER: ("==", "!=", "<", ">", "in", "notin"),
    Type.ENUM: ("==", "!=", "in", "notin"),
    Type.TIME: ("==", "!=", "older_than", "newer_than"),
    Type.BOOLEAN: ("true", "not"),
}
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
REPLICA_SCOPES = frozenset({Scope.DATASET, Scope.REPLICA, Scope.BLOCK_REPLICA, Scope.SITE})
SITE_SCOPES = frozenset({Scope.SITE, Scope.SITE_STATE})


@dataclass(frozen=True)
class Remark:
    """What a data manager should tidy up, with a short code for its kind."""

    code: str
    at: Position
    message: str


@dataclass(frozen=True)
class CheckedPredicate:
    """A predicate whose variable exists and whose values have the variable's type. Enum values are in capitals.

    ``written``: the values as they stand in the text, for those who must know "90 days ago" from a date.
    """

    variable: Variable
    operator: tree.Operator
    values: tuple[Value, ...]
    at: Position
    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedWindow:
    """``until`` (matches before ``moment`` only) or ``from`` (at ``moment`` and after)."""

    kind: Literal["until", "from"]
    moment: datetime
    at: Position


@dataclass(frozen=True)
class CheckedCondition:
    """Predicates that must all hold. ``in_force`` false: ``until``/``from`` say it matches nothing now."""

    predicates: tuple[CheckedPredicate, ...]
    in_force: bool
    text: str
    source: SourceText
    window: CheckedWindow | None = None

    def variables(self) -> tuple[Variable, ...]:
        """Variables that it asks for."""
        return tuple(predicate.variable for predicate in self.predicates)


@dataclass(frozen=True)
class CheckedLine:
    """A policy line. ``number`` counts policy lines from 1; 0 and no condition: the default decision."""

    number: int
    verb: tree.Verb
    is_block: bool
    condition: CheckedCondition | None
    text: str
    source_line: int


@dataclass(frozen=True)
class CheckedOrderKey:
    """A variable that candidates are sorted by."""

    variable: Variable
    is_decreasing: bool


@dataclass(frozen=True)
class CheckedPolicy:
    """A policy that can be evaluated at ``now``. ``remarks``: what a data manager should tidy up, in order of lines."""

    source: SourceText
    now: datetime
    partition: str | None
    targets: tuple[CheckedCondition, ...]
    triggers: tuple[CheckedCondition, ...]
    stops: tuple[CheckedCondition, ...]
    lines: tuple[CheckedLine, ...]
    default: CheckedLine
    order: tuple[CheckedOrderKey, ...]
    is_static: bool
    remarks: tuple[Remark, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks as sentences."""
        return tuple(f"line {remark.at.line} of the file: {remark.message}" for remark in self.remarks)

    def variables(self) -> tuple[Variable, ...]:
        """Variables that conditions and order ask for, each once, by name."""
        lines = [line.condition for line in self.lines if line.condition]
        asked = [v for c in (*self.targets, *self.triggers, *self.stops, *lines) for v in c.variables()]
        asked += [key.variable for key in self.order]
        return tuple(sorted(set(asked), key=lambda variable: variable.name))

    def attributes(self) -> tuple[str, ...]:
        """Dataset attributes that must have been produced for a plan under this policy, by name."""
        return tuple(sorted({name for variable in self.variables() for name in variable.attributes}))


def load_policy(text: str, *, now: datetime, file: str = "<policy>") -> CheckedPolicy:
    """The checked policy of ``text`` at ``now`` (timezone-aware). PolicyError says all that is wrong with it.

    What seems to be missing is reported only when every line can be read: it may stand in one that cannot.
    """
    policy, unread = parse_lines(text, file=file)
    if not unread:
        return check_policy(policy, now=now)
    checker = _Checker(policy.source, now, known_variables())
    checker.policy(policy)
    _raise_in_order(unread + [error for error in checker.errors if not error.facts.get("is_lacking")])
    raise AssertionError("some line could not be read")


def check_policy(
    policy: tree.PolicyTree, *, now: datetime, variables: Mapping[str, Variable] | None = None
) -> CheckedPolicy:
    """The checked tree. PolicyError for unknown names, wrong values and statements that are missing or given twice."""
    checker = _Checker(policy.source, now, variables or known_variables())
    checked = checker.policy(policy)
    _raise_in_order(checker.errors)
    assert checked is not None
    return checked


def _raise_in_order(errors: list[PolicyError]) -> None:
    raise_together(sorted(errors, key=lambda e: (e.facts["line"], e.facts["column"])))


def check_condition(
    condition: tree.Condition,
    *,
    source: SourceText,
    now: datetime,
    scopes: frozenset[Scope] = REPLICA_SCOPES,
    variables: Mapping[str, Variable] | None = None,
) -> CheckedCondition:
    """One condition, checked by itself: of a partition, an enforcer rule or a dealer plugin."""
    checker = _Checker(source, now, variables or known_variables())
    checked = checker.condition(condition, scopes)
    raise_together(checker.errors)
    return checked


class _Checker:
    """Checks one text; keeps the errors, so that all are said at once."""

    def __init__(self, source: SourceText, now: datetime, variables: Mapping[str, Variable]) -> None:
        if now.tzinfo is None:
            raise ValueError("now must be timezone-aware")
        self.source = source
        self.now = now.astimezone(UTC)
        self.known_variables = variables
        self.errors: list[PolicyError] = []
        self.remarks: list[Remark] = []

    def refuse(self, at: Position, message: str, **facts: object) -> None:
        self.errors.append(self.source.error(at, message, **facts))

    def policy(self, policy: tree.PolicyTree) -> CheckedPolicy | None:
        statements = policy.statements
        lines = self.lines([s for s in statements if isinstance(s, tree.PolicyLine) and s.condition])
        default = self.default([s for s in statements if isinstance(s, tree.PolicyLine) and not s.condition])
        sites = {verb: self.sites(verb, statements) for verb in ("On", "When", "Until")}
        order = self.order([s for s in statements if isinstance(s, tree.Order)])
        partition = self.once("Partition", [s.name for s in statements if isinstance(s, tree.PartitionName)])
        is_static = self.algorithm([s.name for s in statements if isinstance(s, tree.Algorithm)])
        if self.errors or default is None:
            return None
        return CheckedPolicy(
            source=self.source,
            now=self.now,
            partition=partition.text if partition else None,
            targets=sites["On"],
            triggers=sites["When"],
            stops=sites["Until"],
            lines=lines,
            default=default,
            order=order,
            is_static=is_static,
            remarks=tuple(sorted(self.remarks, key=lambda remark: remark.at)),
        )

    def lines(self, policy_lines: list[tree.PolicyLine]) -> tuple[CheckedLine, ...]:
        checked = []
        for number, line in enumerate(policy_lines, start=1):
            assert line.condition is not None
            condition = self.condition(line.condition, REPLICA_SCOPES)
            checked.append(CheckedLine(number, line.verb, line.is_block, condition, line.text, line.at.line))
        return tuple(checked)

    def default(self, defaults: list[tree.PolicyLine]) -> CheckedLine | None:
        if not defaults:
            wanted = (
                "a default decision"
                if self.source.text.strip()
                else "a policy; this one is empty: it lacks a default decision"
            )
            self.refuse(
                self.source.end,
                f"expected {wanted} (a line with Protect, Delete, Dismiss or Ignore alone)",
                is_lacking=True,
            )
            return None
        for line in defaults[1:]:
            self.refuse(line.at, f"a second default decision; the first is in line {defaults[0].at.line} of the file")
        first = defaults[0]
        return CheckedLine(0, first.verb, False, None, first.text, first.at.line)

    def sites(self, verb: str, statements: tuple[tree.Statement, ...]) -> tuple[CheckedCondition, ...]:
        conditions = [s for s in statements if isinstance(s, tree.SiteCondition) and s.verb == verb]
        if not conditions:
            self.refuse(self.source.end, f"the policy has no {verb} line; it is required", is_lacking=True)
        return tuple(self.condition(statement.condition, SITE_SCOPES) for statement in conditions)

    def order(self, orders: list[tree.Order]) -> tuple[CheckedOrderKey, ...]:
        for again in orders[1:]:
            self.refuse(again.at, f"a second Order line; the first is in line {orders[0].at.line} of the file")
        if not orders:
            message = "the policy has no Order line: candidates are deleted by name"
            self.remarks.append(Remark("no-order", self.source.end, message))
            return ()
        keys = []
        for key in orders[0].keys:
            variable = self.variable(key.variable, REPLICA_SCOPES)
            if variable and (variable.scope is Scope.BLOCK_REPLICA or variable.type is Type.TEXTS):
                self.refuse(
                    key.variable.at, f"{variable.name} has several values for a replica; it cannot be sorted by"
                )
            elif variable and variable.type is Type.ENUM and not variable.is_static:
                self.refuse(key.variable.at, f"sorting by {variable.name} is not supported yet")
            elif variable:
                keys.append(CheckedOrderKey(variable, key.is_decreasing))
        return tuple(keys)

    def once(self, verb: str, words: list[tree.Word]) -> tree.Word | None:
        for word in words[1:]:
            self.refuse(word.at, f"a second {verb} line; the first is in line {words[0].at.line} of the file")
        return words[0] if words else None

    def algorithm(self, words: list[tree.Word]) -> bool:
        word = self.once("Algo", words)
        if word and word.text != "Static":
            self.refuse(word.at, f"unknown algorithm {word.text!r}; the only one is Static")
        return word is not None

    def condition(self, condition: tree.Condition, scopes: frozenset[Scope]) -> CheckedCondition:
        checked = [self.predicate(predicate, scopes) for predicate in condition.predicates]
        window = self.window(condition.window) if condition.window else None
        in_force = window is None or (self.now < window.moment) is (window.kind == "until")
        predicates = tuple(predicate for predicate in checked if predicate)
        return CheckedCondition(predicates, in_force, condition.text, self.source, window)

    def window(self, window: tree.Window) -> CheckedWindow | None:
        moment = self.time(window.time)
        return CheckedWindow(window.kind, moment, window.time.at) if moment else None

    def predicate(self, predicate: tree.Predicate, scopes: frozenset[Scope]) -> CheckedPredicate | None:
        variable = self.variable(predicate.variable, scopes)
        if variable is None:
            return None
        allowed = OPERATORS[variable.type]
        if predicate.operator not in allowed:
            read = "no operator" if predicate.operator == "true" else repr(predicate.operator)
            described = {"true": "nothing", "not": "'not' before it"}
            expected = " ".join(described.get(name, name) for name in allowed)
            self.refuse(
                predicate.at, f"{variable.name} is of type {variable.type.value}: read {read}, expected {expected}"
            )
            return None
        parsed = [self.value(word, variable, predicate.operator) for word in predicate.values]
        if any(value is None for value in parsed):
            return None
        if predicate.operator in ("in", "notin") and not parsed:
            self.refuse(predicate.at, f"the list of {variable.name} {predicate.operator} is empty")
        self.remark_old_name(predicate, variable)
        checked, written = tuple(v for v in parsed if v is not None), tuple(word.text for word in predicate.values)
        return CheckedPredicate(variable, predicate.operator, checked, predicate.at, written)

    def remark_old_name(self, predicate: tree.Predicate, variable: Variable) -> None:
        instead = OLD_NAMES.get(variable.name)
        if instead:
            negated = f" ('not {instead}' is something else: that some block is not)" * (predicate.operator == "not")
            message = f"{variable.name} is an old name; new policies write {instead}{negated}"
            self.remarks.append(Remark("old-name", predicate.variable.at, message))

    def variable(self, word: tree.Word, scopes: frozenset[Scope]) -> Variable | None:
        name = ALIASES.get(word.text, word.text)
        if name != word.text:
            self.remarks.append(Remark("old-name", word.at, f"{word.text} is an old name of {name}"))
        variable = self.known_variables.get(name)
        allowed = [known_name for known_name, candidate in self.known_variables.items() if candidate.scope in scopes]
        if variable is None:
            self.refuse(word.at, f"unknown variable {word.text!r}.{near(word.text, allowed)}", variable=word.text)
        elif variable.scope not in scopes:
            where = "a site condition" if scopes == SITE_SCOPES else "this condition"
            self.refuse(word.at, f"{name} cannot be asked in {where}.{near(word.text, allowed)}", variable=name)
        else:
            return variable
        return None

    def value(self, word: tree.Word, variable: Variable, operator: tree.Operator) -> Value | None:
        if variable.type is Type.TIME:
            return self.time(word)
        if variable.type is Type.NUMBER:
            return self.number(word, variable)
        if variable.type is Type.ENUM:
            return self.enum(word, variable)
        return self.text(word, variable, operator)

    def time(self, word: tree.Word) -> datetime | None:
        try:
            return resolve_time(word.text, self.now)
        except ValueError as error:
            self.refuse(word.at, str(error))
            return None

    def number(self, word: tree.Word, variable: Variable) -> float | None:
        if not NUMBER.fullmatch(word.text):
            self.refuse(word.at, f"read {word.text!r}, expected a number for {variable.name}")
            return None
        if not math.isfinite(float(word.text)):
            self.refuse(word.at, f"{word.text} is too large a number")
            return None
        return float(word.text)

    def enum(self, word: tree.Word, variable: Variable) -> str | None:
        value = word.text.upper()
        if any(glob_matches(member, value) for member in variable.values):
            return value
        if is_glob(value):
            self.refuse(word.at, f"{word.text!r} matches none of {', '.join(variable.values)}")
            return None
        members = ", ".join(variable.values)
        self.refuse(
            word.at,
            f"read {word.text!r}, expected a value of {variable.name}: {members}.{near(value, variable.values)}",
        )
        return None

    def text(self, word: tree.Word, variable: Variable, operator: tree.Operator) -> str | None:
        if operator in ("=~", "!=~"):
            try:
                check_regex(word.text)
            except ValueError as error:
                self.refuse(word.at, f"{word.text!r} {error}")
                return None
        elif " " in word.text and not variable.has_blanks:
            self.refuse(
                word.at,
                f"read {word.text!r}, expected a value of {variable.name} without blanks;"
                " conditions are joined by 'and'",
            )
            return None
        return word.text
