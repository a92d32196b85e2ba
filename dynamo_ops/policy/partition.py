"""Partitions: named subsets of block replicas, and their quotas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from dynamo_ops.base.errors import InventoryError, PolicyError, UnknownNameError
from dynamo_ops.base.text import near
from dynamo_ops.inventory.frames import InventoryFrames, group_table
from dynamo_ops.policy.evaluation.attributes import dataset_table, site_table
from dynamo_ops.policy.evaluation.compile import attribute_expr, condition_expr, predicate_expr
from dynamo_ops.policy.language.check import CheckedCondition, CheckedPredicate, check_condition
from dynamo_ops.policy.language.parse import parse_condition
from dynamo_ops.policy.language.source import Position, SourceText, raise_together
from dynamo_ops.policy.language.variables import Column, Scope

SUPPORTED = frozenset({Scope.DATASET, Scope.SITE, Scope.BLOCK_REPLICA})
BLOCK_COLUMNS = frozenset({"owner", "last_update_at"})


@dataclass(frozen=True)
class Partitions:
    """All partitions of one file. ``conditions``: the leaves; ``unions``: names of the sub-partitions of the others."""

    source: SourceText
    conditions: Mapping[str, CheckedCondition]
    unions: Mapping[str, tuple[str, ...]]

    def leaves(self, name: str) -> tuple[str, ...]:
        """The leaf partitions that make up ``name``, each once, by name. PolicyError when there is none of this
        name."""
        if name in self.conditions:
            return (name,)
        if name not in self.unions:
            names = [*self.conditions, *self.unions]
            raise PolicyError(f"{self.source.file}: unknown partition {name!r}.{near(name, names)}", partition=name)
        return tuple(sorted({leaf for part in self.unions[name] for leaf in self.leaves(part)}))

    def check_leaf(self, name: str) -> None:
        """Raise InventoryError, with what to name instead, unless this is a leaf: only a leaf has quotas."""
        if name in self.unions:
            leaves = ", ".join(self.leaves(name))
            raise InventoryError(
                f"partition {name!r} is a union: set the quotas of its leaves: {leaves}", partition=name
            )
        if name not in self.conditions:
            names = sorted(self.conditions)
            raise UnknownNameError(
                f"unknown partition {name!r}; known: {', '.join(names)}.{near(name, names)}", partition=name
            )

    def attributes(self, name: str) -> tuple[str, ...]:
        """Dataset attributes that the conditions of ``name`` ask for."""
        conditions = [self.conditions[leaf] for leaf in self.leaves(name)]
        return tuple(sorted({a for c in conditions for v in c.variables() for a in v.attributes}))


def load_partitions(text: str, *, now: datetime, file: str = "<partitions>") -> Partitions:
    """The partitions of a text of lines ``name: condition`` and ``name: [sub, sub]``. PolicyError says what is
    wrong."""
    source = SourceText(file, text)
    conditions: dict[str, CheckedCondition] = {}
    unions: dict[str, tuple[str, ...]] = {}
    where: dict[str, Position] = {}
    errors: list[PolicyError] = []
    for number, line in enumerate(source.lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, definition, column = _split(source, number, line)
            if name in where:
                raise source.error(Position(number, 1), f"partition {name!r} is defined twice")
            where[name] = Position(number, column)
            if definition.startswith("["):
                unions[name] = tuple(part.strip() for part in definition.strip("[]").split(",") if part.strip())
            else:
                conditions[name] = _condition(source, definition, Position(number, column), now)
        except PolicyError as error:
            errors.append(error)
    errors += _union_errors(source, where, unions)
    raise_together(errors)
    return Partitions(source, conditions, unions)


def _split(source: SourceText, number: int, line: str) -> tuple[str, str, int]:
    match = re.fullmatch(r"\s*(?P<name>[^:]+?)\s*:\s*(?P<value>\S.*?)\s*", line)
    if not match:
        raise source.error(Position(number, 1), "expected 'name: condition' or 'name: [sub, sub]'")
    return match["name"], match["value"], match.start("value") + 1


def _condition(source: SourceText, text: str, at: Position, now: datetime) -> CheckedCondition:
    condition = check_condition(parse_condition(text, source=source, at=at), source=source, now=now, scopes=SUPPORTED)
    for predicate in condition.predicates:
        _refuse_unsupported(predicate, source)
    return condition


def _refuse_unsupported(predicate: CheckedPredicate, source: SourceText) -> None:
    column = predicate.variable.source
    is_block = predicate.variable.scope is Scope.BLOCK_REPLICA
    if isinstance(column, Column) and (
        column.name == "on_protected_site" or (is_block and column.name not in BLOCK_COLUMNS)
    ):
        raise source.error(predicate.at, f"{predicate.variable.name} is not supported yet in a partition's condition")


def _union_errors(
    source: SourceText, where: Mapping[str, Position], unions: Mapping[str, tuple[str, ...]]
) -> list[PolicyError]:
    errors = []
    for name, parts in unions.items():
        if not parts:
            errors.append(source.error(where[name], f"partition {name!r} has no sub-partition"))
        errors += [
            source.error(where[name], f"unknown partition {part!r}.{near(part, where)}")
            for part in parts
            if part not in where
        ]
        if name in _below(name, unions):
            errors.append(source.error(where[name], f"partition {name!r} contains itself"))
    return errors


def _below(name: str, unions: Mapping[str, tuple[str, ...]]) -> set[str]:
    seen: set[str] = set()
    todo = list(unions.get(name, ()))
    while todo:
        part = todo.pop()
        if part not in seen:
            seen.add(part)
            todo += unions.get(part, ())
    return seen


def partition_expr(frames: InventoryFrames, partitions: Partitions, name: str) -> pl.Expr:
    """True for block replicas (columns of ``frames.block_replicas``) that are in the partition; never null."""
    tests = [_leaf_expr(frames, partitions.conditions[leaf]) for leaf in partitions.leaves(name)]
    return pl.any_horizontal(tests)


def _leaf_expr(frames: InventoryFrames, condition: CheckedCondition) -> pl.Expr:
    return condition_expr(condition, lambda p: _by_id(frames, p, condition.source), unknown=False)


def _by_id(frames: InventoryFrames, predicate: CheckedPredicate, source: SourceText) -> pl.Expr:
    """The predicate on ids: datasets, sites and groups that fulfil it are looked up once, in their small tables."""
    column = predicate.variable.source
    name = column.name if isinstance(column, Column) else ""
    test = predicate_expr(predicate, pl.col(name), source) if name else attribute_expr(predicate, source)
    if name == "last_update_at":
        return predicate_expr(predicate, pl.col(name).fill_null(pl.lit(0).cast(pl.Datetime("us", "UTC"))), source)
    if name == "owner":
        ids = group_table(frames).filter(test)["group_id"]
        has_null = ids.null_count() > 0
        return pl.col("group_id").is_in(ids.drop_nulls().implode()).fill_null(has_null)
    if predicate.variable.scope is Scope.SITE:
        return pl.col("site_id").is_in(site_table(frames).filter(test)["site_id"].implode())
    table = dataset_table(frames, predicate.variable.attributes, with_sizes=name == "dataset_size_bytes")
    return pl.col("dataset_id").is_in(table.filter(test)["dataset_id"].implode())


def partition_mask(frames: InventoryFrames, partitions: Partitions, name: str) -> pl.Series:
    """One boolean per row of ``frames.block_replicas``: it is in the partition."""
    return frames.block_replicas.select(partition_expr(frames, partitions, name).alias("in_partition")).to_series()


def partition_quota(frames: InventoryFrames, partitions: Partitions, name: str) -> pl.DataFrame:
    """Quota of the partition at every site: ``site_id``, ``quota_bytes``.

    0: nothing may be there. Negative: unlimited, if it is so for one leaf. Null: unknown, as one leaf has no quota.
    """
    leaves = pl.DataFrame({"partition": list(partitions.leaves(name))}, schema={"partition": pl.String})
    pairs = frames.sites.select("site_id").join(leaves, how="cross")
    leaf_quotas = pairs.join(frames.quotas, on=["site_id", "partition"], how="left")
    quota = pl.col("quota_bytes")
    summed = (
        pl.when((quota < 0).any())
        .then(-1)
        .when(quota.is_null().any())
        .then(None)
        .otherwise(quota.sum())
        .alias("quota_bytes")
    )
    return leaf_quotas.group_by("site_id").agg(summed).sort("site_id")
