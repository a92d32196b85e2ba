"""Datasets that a condition by itself selects: for placement rules and plugins of the Dealer."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.evaluation.attributes import dataset_table, require_attributes
from dynamo_ops.policy.evaluation.compile import attribute_expr, condition_expr, predicate_expr
from dynamo_ops.policy.language.check import CheckedPredicate, check_condition
from dynamo_ops.policy.language.parse import parse_condition
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.language.variables import Column, Scope


def matching_datasets(frames: InventoryFrames, text: str, *, now: datetime, max_age: timedelta, file: str) -> pl.Series:
    """Ids of the datasets that meet the condition for certain. Only ``dataset`` variables that no copy count enters.

    PlanError when an attribute that it asks for was not produced, or longer than ``max_age`` ago.
    """
    source = SourceText(file, text)
    condition = check_condition(
        parse_condition(text, source=source), source=source, now=now, scopes=frozenset({Scope.DATASET})
    )
    attributes = [name for variable in condition.variables() for name in variable.attributes]
    require_attributes(frames, attributes, now=now, max_age=max_age)

    def named(predicate: CheckedPredicate) -> pl.Expr:
        column = predicate.variable.source
        if not isinstance(column, Column):
            return attribute_expr(predicate, source)
        if column.name == "on_protected_site":
            raise source.error(predicate.at, f"{predicate.variable.name} is not supported here yet")
        return predicate_expr(predicate, pl.col(column.name), source)

    return dataset_table(frames, attributes).filter(condition_expr(condition, named, unknown=False))["dataset_id"]
