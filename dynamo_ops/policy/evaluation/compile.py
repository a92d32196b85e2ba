"""Checked predicates and conditions as Polars expressions.

Truth has three values. A predicate on an unknown (null) value is null; only where a condition selects something is it
decided what null means: an unknown never selects a deletion, so it fulfils what keeps data and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial

import polars as pl
from polars.exceptions import ComputeError

from dynamo_ops.base.glob import texts_expr
from dynamo_ops.policy.language.check import CheckedCondition, CheckedPredicate, Value
from dynamo_ops.policy.language.regex import python_regex, rust_regex
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.language.variables import Type

Named = Callable[[CheckedPredicate], pl.Expr]


def predicate_expr(predicate: CheckedPredicate, column: pl.Expr, source: SourceText) -> pl.Expr:  # noqa: ARG001
    """True, false or null (unknown) for each value of ``column``. ``source``: where the predicate was written; whatever
    a checked predicate says can be computed, so that no error needs it."""
    operator = predicate.operator
    if operator == "true":
        return column
    if operator == "not":
        return ~column
    if operator in ("<", "older_than"):
        return column < _literal(predicate.values[0])
    if operator in (">", "newer_than"):
        return column > _literal(predicate.values[0])
    matches = _matches(predicate, column)
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


def _matches(predicate: CheckedPredicate, column: pl.Expr) -> pl.Expr:
    if predicate.variable.type in (Type.NUMBER, Type.TIME):
        return pl.any_horizontal([column == _literal(value) for value in predicate.values])
    texts = [str(value) for value in predicate.values]
    if predicate.operator in ("=~", "!=~"):
        return regex_expr(texts[0], column)
    return texts_expr(texts, column)


def regex_expr(pattern: str, column: pl.Expr) -> pl.Expr:
    """True where ``re.match`` of Python finds the pattern at the start of the value; null where that is null.

    Polars' own engine does it where both mean the same, else Python does, once for each distinct value.
    """
    written = rust_regex(pattern)
    if written is not None and _is_taken(f"^(?:{written})"):
        return column.str.contains(f"^(?:{written})")
    return column.map_batches(partial(_matched_by_python, pattern), return_dtype=pl.Boolean)


@lru_cache(maxsize=1024)
def _is_taken(pattern: str) -> bool:
    """Whether Polars' engine takes the pattern: one that would become too large it refuses."""
    try:
        pl.Series([""]).str.contains(pattern)
    except ComputeError:
        return False
    return True


def _matched_by_python(pattern: str, texts: pl.Series) -> pl.Series:
    match = python_regex(pattern).match
    texts = texts.cast(pl.String)
    matching = [text for text in texts.unique().drop_nulls() if match(text)]
    return texts.is_in(matching)


def _literal(value: Value) -> pl.Expr:
    if isinstance(value, datetime):
        return pl.lit(value).cast(pl.Datetime("us", "UTC"))
    return pl.lit(value)
