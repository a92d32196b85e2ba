"""What predicates say of each other, whatever the inventory holds: one follows from another, some exclude each other.

Every yes is certain. A no may also mean that it could not be told: nothing is known of regular expressions, and of sets
in globs only that a glob includes itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from dynamo_ops.base.glob import glob_includes, glob_matches, is_glob, literal_start
from dynamo_ops.base.times import Moment, TimePhrase, never_later, parse_time
from dynamo_ops.policy.language.check import CheckedPredicate
from dynamo_ops.policy.language.variables import Type

POSITIVE = frozenset({"==", "in"})
NEGATIVE = frozenset({"!=", "notin"})
COUNTABLE = frozenset({Type.BOOLEAN, Type.ENUM, Type.NUMBER})
"""Types of which finitely many values tell all."""

Point = bool | str | float


def implies(given: CheckedPredicate, asked: CheckedPredicate, now: datetime) -> bool:
    """Whether a value that fulfils ``given`` fulfils ``asked``, at ``now`` and for ever after."""
    if given.variable.name != asked.variable.name:
        return False
    if (given.operator, given.values, given.written) == (asked.operator, asked.values, asked.written):
        return True
    kind = given.variable.type
    if kind in COUNTABLE:
        return all(holds(asked, point) for point in _points([given, asked]) if holds(given, point))
    return _implies_time(given, asked, now) if kind is Type.TIME else _implies_text(given, asked)


def is_always_true(predicate: CheckedPredicate) -> bool:
    """Whether every value fulfils it."""
    if predicate.variable.type in COUNTABLE:
        return all(holds(predicate, point) for point in _points([predicate]))
    if predicate.operator in POSITIVE:
        return any(isinstance(value, str) and set(value) == {"*"} for value in predicate.values)
    return predicate.operator == "=~" and predicate.values == (".*",)


def exclude_each_other(predicates: Iterable[CheckedPredicate], now: datetime) -> bool:
    """Whether no values fulfil all of them, one value for each variable; at ``now`` and for ever after."""
    by_variable: dict[str, list[CheckedPredicate]] = {}
    for predicate in predicates:
        by_variable.setdefault(predicate.variable.name, []).append(predicate)
    return any(_exclude(same_variable, now) for same_variable in by_variable.values())


def _exclude(predicates: Sequence[CheckedPredicate], now: datetime) -> bool:
    """The same for predicates on one variable."""
    kind = predicates[0].variable.type
    if kind in COUNTABLE:
        return not any(all(holds(p, point) for p in predicates) for point in _points(predicates))
    test = _exclude_times if kind is Type.TIME else _exclude_texts
    return any(test(first, second, now) for first in predicates for second in predicates if first is not second)


def holds(predicate: CheckedPredicate, point: Point) -> bool:
    """Whether a value fulfils a predicate on a boolean, an enum or a number."""
    operator, values = predicate.operator, predicate.values
    if operator in ("true", "not"):
        return point is (operator == "true")
    if isinstance(point, str):
        return any(glob_matches(point, str(value)) for value in values) is (operator in POSITIVE)
    if operator in ("<", ">"):
        limit = values[0]
        assert isinstance(limit, float)
        return point < limit if operator == "<" else point > limit
    return (point in values) is (operator in POSITIVE)


def _points(predicates: Sequence[CheckedPredicate]) -> list[Point]:
    """Values of one variable such that no other value gives another answer to any of the predicates."""
    variable = predicates[0].variable
    if variable.type is Type.ENUM:
        return list(variable.values)
    if variable.type is Type.BOOLEAN:
        return [point for point in (True, False) if variable.name != ("never" if point else "always")]
    limits = sorted({limit for p in predicates for limit in p.values if isinstance(limit, float)})
    between = [low / 2 + high / 2 for low, high in pairwise(limits)]
    return [-math.inf, *limits, *between, math.inf]


def _implies_time(given: CheckedPredicate, asked: CheckedPredicate, now: datetime) -> bool:
    if given.operator != asked.operator or given.operator not in ("older_than", "newer_than"):
        return False
    first, second = _phrase(given), _phrase(asked)
    return never_later(first, second, now) if given.operator == "older_than" else never_later(second, first, now)


def _exclude_times(first: CheckedPredicate, second: CheckedPredicate, now: datetime) -> bool:
    if (first.operator, second.operator) != ("older_than", "newer_than"):
        return False
    return never_later(_phrase(first), _phrase(second), now)


def _phrase(predicate: CheckedPredicate) -> TimePhrase:
    moment = predicate.values[0]
    assert isinstance(moment, datetime)
    return parse_time(predicate.written[0]) if predicate.written else Moment(moment)


def _texts(predicate: CheckedPredicate) -> list[str]:
    return [str(value) for value in predicate.values]


def _implies_text(given: CheckedPredicate, asked: CheckedPredicate) -> bool:
    if given.operator in POSITIVE and asked.operator in POSITIVE:
        return _included(_texts(given), _texts(asked))
    if given.operator in POSITIVE and asked.operator in NEGATIVE:
        return _disjoint(_texts(given), _texts(asked))
    if given.operator in NEGATIVE and asked.operator in NEGATIVE:
        return _included(_texts(asked), _texts(given))
    return False


def _exclude_texts(first: CheckedPredicate, second: CheckedPredicate, _now: datetime) -> bool:
    if (first.operator, second.operator) == ("=~", "!=~"):
        return first.values == second.values
    if first.operator in POSITIVE and second.operator in POSITIVE:
        return _disjoint(_texts(first), _texts(second))
    return first.operator in POSITIVE and second.operator in NEGATIVE and _included(_texts(first), _texts(second))


def _included(narrow: Sequence[str], wide: Sequence[str]) -> bool:
    exact, globs = set(wide), [text for text in wide if is_glob(text)]
    return all(text in exact or any(glob_includes(glob, text) for glob in globs) for text in narrow)


def _disjoint(first: Sequence[str], second: Sequence[str]) -> bool:
    first_globs, second_globs = [text for text in first if is_glob(text)], [text for text in second if is_glob(text)]
    plain = set(first).difference(first_globs)
    return (
        plain.isdisjoint(second)
        and not any(_may_meet(text, glob) for text in plain for glob in second_globs)
        and not any(_may_meet(text, glob) for text in second for glob in first_globs)
    )


def _may_meet(text: str, glob: str) -> bool:
    """Whether some value may match both."""
    if not is_glob(text):
        return glob_matches(text, glob)
    starts = literal_start(text), literal_start(glob)
    return starts[0].startswith(starts[1]) or starts[1].startswith(starts[0])
