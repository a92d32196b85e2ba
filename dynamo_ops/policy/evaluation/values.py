"""Values and predicates as text for people: what ``explain`` shows. Sizes in decimal units, times in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from dynamo_ops.base.times import time_text
from dynamo_ops.base.units import size_text
from dynamo_ops.policy.evaluation.columns import BLOCK_COLUMNS, REPLICA_COLUMNS
from dynamo_ops.policy.evaluation.predicates import EPOCH, OWNER_COLUMNS
from dynamo_ops.policy.evaluation.view import View
from dynamo_ops.policy.language.check import CheckedOrderKey, CheckedPredicate, Value
from dynamo_ops.policy.language.variables import Attribute, Scope, Type, Variable

MAX_SHOWN = 4


def predicate_text(predicate: CheckedPredicate) -> str:
    """The predicate as it would be written, with times resolved."""
    name, operator = predicate.variable.name, predicate.operator
    if operator == "true":
        return name
    if operator == "not":
        return f"not {name}"
    literals = " ".join(_literal(value) for value in predicate.values)
    return f"{name} {operator} [{literals}]" if operator in ("in", "notin") else f"{name} {operator} {literals}"


def order_text(view: View, key: CheckedOrderKey, *, now: datetime) -> str:
    """A key of ``Order`` with the value of the view's first replica."""
    return f"{key.variable.name} {value_text(view, key.variable, now=now)}"


def value_text(view: View, variable: Variable, *, now: datetime) -> str:
    """The value that a predicate on ``variable`` sees for the first replica of ``view``; of blocks: all that occur."""
    texts = [_shown(value, variable, now) for value in _values(view, variable)]
    distinct = sorted(set(texts))
    ellipsis = f", … ({len(distinct)} values)" if len(distinct) > MAX_SHOWN else ""
    return ", ".join(distinct[:MAX_SHOWN]) + ellipsis


def _values(view: View, variable: Variable) -> list[Any]:
    """One value, or one a block replica. Times in microseconds since 1970, or as datetimes."""
    source, image = variable.source, view.image
    if isinstance(source, Attribute):
        value = image.datasets[f"attribute:{source.name}"][int(view.dataset[0])]
        return [value * 1e6 if variable.type is Type.TIME and value is not None else value]
    if source.name in OWNER_COLUMNS:
        return [image.groups["owner"][int(group)] for group in np.unique(view.group)]
    if variable.scope is Scope.DATASET:
        return [image.datasets[source.name][int(view.dataset[0])]]
    if variable.scope is Scope.SITE:
        return [image.sites[source.name][int(view.site[0])]]
    if variable.scope is Scope.BLOCK_REPLICA:
        return list(np.unique(BLOCK_COLUMNS[source.name](view)))
    value = REPLICA_COLUMNS[source.name](view)[0]
    return [variable.values[int(value)] if variable.type is Type.ENUM else value]


def _shown(value: Any, variable: Variable, now: datetime) -> str:
    if value is None:
        return "unknown"
    if variable.type is Type.BOOLEAN:
        return "true" if value else "false"
    if variable.type is Type.TIME:
        moment = value if isinstance(value, datetime) else EPOCH + timedelta(microseconds=int(value))
        days = (now - moment) / timedelta(days=1)
        passed = f"{days:,.1f} days ago" if days >= 0 else f"in {-days:,.1f} days"
        return "never" if moment == EPOCH else f"{time_text(moment)} ({passed})"
    if variable.type is Type.NUMBER:
        return size_text(int(value)) if variable.name.endswith(".size") else f"{float(value):,.6g}"
    return str(value) or "(empty)"


def _literal(value: Value) -> str:
    if isinstance(value, datetime):
        return time_text(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
