"""Checked predicates and conditions as Polars expressions.

Truth has three values. A predicate on an unknown (null) value is null; only where a condition selects something is it
decided what null means: an unknown never selects a deletion, so it fulfils what keeps data and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl
from polars.exceptions import ComputeError

from dynamo_ops.policy.check import CheckedCondition, CheckedPredicate, Value
from dynamo_ops.policy.source import SourceText
from dynamo_ops.policy.variables import Type

Named = Callable[[CheckedPredicate], pl.Expr]


def predicate_expr(predicate: CheckedPredicate, column: pl.Expr, source: SourceText) -> pl.Expr:
    """True, false or null (unknown) for each value of ``column``."""
    operator = predicate.operator
    if operator == "true":
        return column
    if operator == "not":
        return ~column
    if operator in ("<", "older_than"):
        return column < _literal(predicate.values[0])
    if operator in (">", "newer_than"):
        return column > _literal(predicate.values[0])
    matches = _matches(predicate, column, source)
    return ~matches if operator in ("!=", "!=~", "notin") else matches


def attribute_expr(predicate: CheckedPredicate, source: SourceText) -> pl.Expr:
    """The predicate on the column ``attribute:<name>``: numbers; times in unix seconds, booleans 0/1."""
    column = pl.col(f"attribute:{predicate.variable.source.name}")
    if predicate.variable.type is Type.BOOLEAN:
        column = column != 0
    elif predicate.variable.type is Type.TIME:
        column = (column * 1e6).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    return predicate_expr(predicate, column, source)


def condition_expr(condition: CheckedCondition, named: Named, *, unknown: bool) -> pl.Expr:
    """True where all predicates hold; ``unknown`` says what a condition that cannot be told counts as."""
    if not condition.in_force:
        return pl.lit(False)
    return pl.all_horizontal([named(p) for p in condition.predicates]).fill_null(unknown)


def any_condition_expr(conditions: Sequence[CheckedCondition], named: Named) -> pl.Expr:
    """True where one of the conditions holds for certain."""
    return pl.any_horizontal([condition_expr(c, named, unknown=False) for c in conditions] or [pl.lit(False)])


def glob_regex(glob: str) -> str:
    """The regular expression that matches as the shell glob does, over the whole value; ``*`` crosses ``/``."""
    out, at = [], 0
    while at < len(glob):
        char, at = glob[at], at + 1
        if char == "[" and "]" in glob[at + 1 :]:
            end = glob.index("]", at + 1)
            inside = glob[at:end].replace("\\", "\\\\").replace("[", "\\[")
            out.append("[" + ("^" + inside[1:] if inside[0] == "!" else inside) + "]")
            at = end + 1
        else:
            out.append({"*": ".*", "?": "."}.get(char) or re.escape(char))
    return "(?s)^(?:" + "".join(out) + ")$"


def is_glob(text: str) -> bool:
    """A ``[`` alone makes no glob: it is literal unless the value has ``*`` or ``?``."""
    return "*" in text or "?" in text


def texts_expr(values: Sequence[str], column: pl.Expr) -> pl.Expr:
    """True where the value is one of ``values`` or matches one that is a glob."""
    literals = [value for value in values if not is_glob(value)]
    tests = [column.str.contains(glob_regex(value)) for value in values if is_glob(value)]
    if literals:
        tests.append(column.is_in(literals))
    return pl.any_horizontal(tests)


def _matches(predicate: CheckedPredicate, column: pl.Expr, source: SourceText) -> pl.Expr:
    if predicate.variable.type in (Type.NUMBER, Type.TIME):
        return pl.any_horizontal([column == _literal(value) for value in predicate.values])
    values = [str(value) for value in predicate.values]
    if predicate.operator in ("=~", "!=~"):
        return _regex(predicate, values[0], column, source)
    return texts_expr(values, column)


def _regex(predicate: CheckedPredicate, pattern: str, column: pl.Expr, source: SourceText) -> pl.Expr:
    anchored = f"^(?:{pattern})"
    try:
        pl.Series([""]).str.contains(anchored)
    except ComputeError as error:
        raise source.error(
            predicate.at,
            f"the regular expression {pattern!r} uses what is not supported yet (no look-around, no back-reference)",
        ) from error
    return column.str.contains(anchored)


def _literal(value: Value) -> pl.Expr:
    if isinstance(value, datetime):
        return pl.lit(value).cast(pl.Datetime("us", "UTC"))
    return pl.lit(value)
