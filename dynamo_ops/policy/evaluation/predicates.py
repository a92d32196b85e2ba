"""Predicates on an image: each is evaluated once where its variable cannot change, else on the columns of a view.

Truth has three values. Only the tables of datasets and sites can hold unknown (null) values; a predicate on one is
*possible* but not *certain*, and the caller says which of the two it needs: an unknown never selects a deletion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from dynamo_ops.policy.evaluation.columns import BLOCK_COLUMNS, REPLICA_COLUMNS
from dynamo_ops.policy.evaluation.compile import attribute_expr, predicate_expr
from dynamo_ops.policy.evaluation.image import Flags, Image
from dynamo_ops.policy.evaluation.view import Values, View
from dynamo_ops.policy.language.check import CheckedCondition, CheckedPredicate, Value
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.language.variables import Column, Scope, Type

OWNER_COLUMNS = frozenset({"owner", "owners"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Truth:
    """A predicate on each row of a small table: it holds for certain; it holds or cannot be told."""

    certain: Flags
    possible: Flags

    def pick(self, unknown: bool) -> Flags:
        """What holds when an unknown counts as ``unknown``."""
        return self.possible if unknown else self.certain


class Predicates:
    """The distinct predicates of some conditions on one image.

    Those on datasets, sites and owners become tables of truth, looked up by index; all others are numbers, moments,
    flags or one of a few words, compared as columns.
    """

    def __init__(self, image: Image, conditions: Iterable[CheckedCondition]) -> None:
        self.image = image
        self._truth: dict[object, Truth] = {}
        self._wanted: dict[object, tuple[CheckedPredicate, SourceText]] = {}
        for condition in conditions:
            for predicate in condition.predicates:
                self._wanted[_key(predicate)] = (predicate, condition.source)
        for key, (predicate, source) in self._wanted.items():
            table = self._table(predicate)
            if table is not None:
                self._truth[key] = _truth(table, predicate, source)

    def _table(self, predicate: CheckedPredicate) -> pl.DataFrame | None:
        """The small table that the predicate's variable is a column of, or None."""
        variable = predicate.variable
        if not isinstance(variable.source, Column) or variable.scope is Scope.DATASET:
            return self.image.datasets
        if variable.scope is Scope.SITE:
            return self.image.sites
        if variable.source.name in OWNER_COLUMNS:
            return self.image.groups
        if variable.type is Type.ENUM:
            return pl.DataFrame({variable.source.name: list(variable.values)})
        return None

    def on_replicas(self, view: View, predicate: CheckedPredicate, *, unknown: bool) -> Flags:
        """By replica of ``view``; a predicate on block replicas holds if it does for any of them."""
        variable, truth = predicate.variable, self._truth.get(_key(predicate))
        name = variable.source.name
        if truth is None:
            if variable.scope is Scope.BLOCK_REPLICA:
                return view.any(compare(predicate, BLOCK_COLUMNS[name](view)))
            return compare(predicate, REPLICA_COLUMNS[name](view))
        table = truth.pick(unknown)
        if not isinstance(variable.source, Column):
            return table[view.dataset]
        if name in OWNER_COLUMNS:
            return view.any(table[view.group])
        if variable.scope is Scope.REPLICA:
            return table[REPLICA_COLUMNS[name](view)]
        return table[view.site if variable.scope is Scope.SITE else view.dataset]

    def on_blocks(self, view: View, predicate: CheckedPredicate) -> Flags:
        """By block replica of ``view``; for a predicate on block replicas."""
        truth = self._truth.get(_key(predicate))
        if truth is not None:
            return truth.certain[view.group]
        return compare(predicate, BLOCK_COLUMNS[predicate.variable.source.name](view))

    def on_rows(self, view: View, predicate: CheckedPredicate) -> Flags:
        """By block replica of ``view``, each by itself: for conditions of partitions."""
        if predicate.variable.scope is Scope.BLOCK_REPLICA:
            return self.on_blocks(view, predicate)
        return self.on_replicas(view, predicate, unknown=False)[view.replica_of_row]


def _key(predicate: CheckedPredicate) -> object:
    return (predicate.variable.name, predicate.operator, predicate.values)


def _truth(table: pl.DataFrame, predicate: CheckedPredicate, source: SourceText) -> Truth:
    column = predicate.variable.source
    if isinstance(column, Column):
        name = "owner" if column.name in OWNER_COLUMNS else column.name
        test = predicate_expr(predicate, pl.col(name), source)
    else:
        test = attribute_expr(predicate, source)
    truth = table.select(test.alias("t")).to_series()
    certain = truth.fill_null(False).to_numpy()
    return Truth(certain, truth.fill_null(True).to_numpy() if truth.null_count() else certain)


def compare(predicate: CheckedPredicate, values: Values) -> Flags:
    """The predicate on numbers, moments (microseconds since 1970) or flags, none of them unknown."""
    operator = predicate.operator
    if operator == "true":
        return np.asarray(values, dtype=np.bool_)
    if operator == "not":
        return ~np.asarray(values, dtype=np.bool_)
    wanted = [_number(value) for value in predicate.values]
    if operator in ("<", "older_than"):
        return np.asarray(values < wanted[0])
    if operator in (">", "newer_than"):
        return np.asarray(values > wanted[0])
    equal = np.asarray(values == wanted[0]) if len(wanted) == 1 else np.isin(values, wanted)
    return ~equal if operator in ("!=", "notin") else equal


def _number(value: Value) -> float | int:
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    assert not isinstance(value, str), value
    return value
