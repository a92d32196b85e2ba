"""Which policy line decides each block replica: the checked conditions evaluated set-wise on an image.

The state of the image (who is left, who owns what) is the caller's; the evaluator itself never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from dynamo_ops.policy.check import CheckedCondition, CheckedLine, CheckedOrderKey, CheckedPredicate
from dynamo_ops.policy.columns import (
    BLOCK_COLUMNS,
    COMMON_OWNER_COLUMNS,
    COUNT_COLUMNS,
    LAST_ACCESS,
    REMAINING_COLUMNS,
    REPLICA_COLUMNS,
)
from dynamo_ops.policy.compile import any_condition_expr, attribute_expr, condition_expr, predicate_expr
from dynamo_ops.policy.enforcement import EnforcerRule
from dynamo_ops.policy.image import INDEX, Image
from dynamo_ops.policy.source import SourceText
from dynamo_ops.policy.variables import Column, Scope

OWNER_COLUMNS = frozenset({"owner", "owners"})
KEEPS_DATA = frozenset({"Protect", "Ignore"})


@dataclass(frozen=True)
class Verdicts:
    """The outcome of one evaluation.

    ``lines``: one row per open block replica: ``row``, ``line`` (0 default), ``is_partial`` (a Block line that took
    only some of the blocks that were left). ``order``: one row per replica: ``replica`` and ``key0`` ... of
    ``Order``, of the whole replica, so that ascending is what is deleted first.
    """

    lines: pl.DataFrame
    order: pl.DataFrame


class Evaluator:
    """Evaluates lines, enforcer rules and order of one policy on one image."""

    def __init__(
        self,
        image: Image,
        *,
        lines: Sequence[CheckedLine] = (),
        order: Sequence[CheckedOrderKey] = (),
        rules: Sequence[EnforcerRule] = (),
        selections: Sequence[CheckedCondition] = (),
    ) -> None:
        self.image = image
        self.order = tuple(order)
        self.lines = [(line, line.condition) for line in lines if line.condition is not None]
        self.block_lines = [line.number for line, _ in self.lines if line.is_block]
        variables = {v for _, c in self.lines for v in c.variables()} | {key.variable for key in order}
        asks_rules = any(v.name == "replica.enforcer_protected" for v in variables)
        self.rules = [rule for rule in rules if rule.is_protecting] if asks_rules else []
        conditions = [c for _, c in self.lines] + [
            c for r in self.rules for c in (*r.destinations, *r.sources, *r.replicas)
        ]
        conditions += list(selections)
        self.predicates = Predicates(image, conditions)
        names = {v.source.name for c in conditions for v in c.variables() if isinstance(v.source, Column)}
        self.columns = frozenset(
            names | {key.variable.source.name for key in order if isinstance(key.variable.source, Column)}
        )

    def evaluate(self, rows: pl.DataFrame) -> Verdicts:
        """Decide the open block replicas of ``rows``.

        ``rows``: all block replicas left of some datasets, columns of ``Image.blocks`` with the present ``group``, and
        ``is_open``: to be decided and in view of its own replica.
        """
        rows = self.predicates.on_blocks(rows)
        whole = self._whole(rows)
        pending = rows.filter("is_open").with_columns(start=pl.lit(0, dtype=INDEX))
        decided = []
        table = self._seen_whole(rows, whole)
        while pending.height:
            done, pending = self._one_pass(pending, whole, table)
            table = None
            decided.append(done)
        schema = {"row": pl.Int64, "line": INDEX, "is_partial": pl.Boolean}
        lines = pl.concat(decided) if decided else pl.DataFrame(schema=schema)
        return Verdicts(lines, self._order_keys(whole))

    def matching_replicas(self, rows: pl.DataFrame, conditions: Sequence[CheckedCondition]) -> pl.DataFrame:
        """``replica``, ``dataset``, ``site`` of the replicas that meet one of ``conditions`` (of ``selections``) for
        certain."""
        whole = self.predicates.on_replicas(self._whole(self.predicates.on_blocks(rows)))
        return whole.filter(any_condition_expr(conditions, self.predicates.named)).select("replica", "dataset", "site")

    def _whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per replica with all its blocks: what other replicas see of it, and what enforcer rules ask."""
        table = self._replicas(rows)
        table = self._with_counts(table, table)
        table = self._with_common_owners(table, rows, table, rows)
        return self._with_enforced(table) if "enforcer_protected" in self.columns else table

    def _seen_whole(self, rows: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame | None:
        """The table of the first pass, if every replica to be decided is in view with all its blocks."""
        some, every = pl.col("is_open").any().alias("some"), pl.col("is_open").all().alias("every")
        in_view = rows.group_by("replica").agg(some, every)
        if (in_view["some"] != in_view["every"]).any():
            return None
        return whole.join(in_view.filter("some"), on="replica", how="semi").with_columns(start=pl.lit(0, dtype=INDEX))

    def _remaining(self, rows: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame:
        """One row per replica with the blocks that remain of it; the others are seen whole."""
        table = self._replicas(rows)
        table = self._with_counts(table, whole)
        if self.columns & COMMON_OWNER_COLUMNS:
            table = self._with_common_owners(table, rows, whole, self._full_owner_rows(whole))
        if "enforcer_protected" in self.columns:
            table = table.join(whole.select("replica", "enforcer_protected"), on="replica")
        return table

    def _one_pass(
        self, pending: pl.DataFrame, whole: pl.DataFrame, table: pl.DataFrame | None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows decided by the first line from ``start`` on that matches their replica, and those left."""
        rows = pending if table is not None else self.predicates.on_remaining(pending)
        table = self.predicates.on_replicas(self._remaining(rows, whole) if table is None else table)
        hits = table.select("replica", self._first_match().cast(INDEX).alias("line"))
        rows = rows.join(hits, on="replica")
        if not self.block_lines:
            return rows.select("row", "line", is_partial=pl.lit(False)), rows.clear()
        return self._try_blocks(rows, pending.columns)

    def _first_match(self) -> pl.Expr:
        tests = [
            pl.when((pl.col("start") <= line.number) & self._holds(line, condition)).then(line.number)
            for line, condition in self.lines
        ]
        return pl.coalesce([*tests, pl.lit(0)])

    def _holds(self, line: CheckedLine, condition: CheckedCondition) -> pl.Expr:
        return condition_expr(condition, self.predicates.named, unknown=line.verb in KEEPS_DATA)

    def _try_blocks(self, rows: pl.DataFrame, columns: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Try a Block line on each block by itself: those that match are decided, the others go on behind that line."""
        is_block = pl.col("line").is_in(self.block_lines)
        tests = [
            pl.when(pl.col("line") == line.number).then(self._holds_for_block(line, condition))
            for line, condition in self.lines
            if line.is_block
        ]
        tried = rows.with_columns(match=pl.when(is_block).then(pl.coalesce(tests)).otherwise(True)).with_columns(
            is_partial=is_block & ~pl.col("match").all().over("replica")
        )
        left = tried.filter(~pl.col("match")).with_columns(start=pl.col("line") + 1)
        return tried.filter("match").select("row", "line", "is_partial"), left.select(columns)

    def _holds_for_block(self, line: CheckedLine, condition: CheckedCondition) -> pl.Expr:
        of_block = [self.predicates.named(p) for p in condition.predicates if p.variable.scope is Scope.BLOCK_REPLICA]
        return pl.all_horizontal(of_block or [pl.lit(True)]).fill_null(line.verb in KEEPS_DATA)

    def _replicas(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per replica of ``rows``, with the aggregates over its rows."""
        wanted = [REPLICA_COLUMNS[name].alias(name) for name in sorted(self.columns & REPLICA_COLUMNS.keys())]
        extra = [pl.col("start").first()] if "start" in rows.columns else []
        table = rows.group_by("replica", maintain_order=True).agg(
            pl.col("dataset", "site", "is_ready_disk", "is_tape").first(),
            pl.len().alias("num_remaining"),
            pl.col("is_complete").all().alias("is_complete"),
            *wanted,
            *self.predicates.reduced(),
            *extra,
        )
        blocks = self.image.datasets["num_blocks"].gather(table["dataset"])
        table = table.with_columns(is_full=pl.col("is_complete") & (pl.col("num_remaining") == blocks))
        if "last_used_at" in self.columns:
            access = self.image.datasets.select(LAST_ACCESS.alias("access")).to_series().gather(table["dataset"])
            table = table.with_columns(last_used_at=pl.max_horizontal("last_used_at", access))
        return table

    def _with_counts(self, table: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame:
        """Copy counts of the dataset: this replica with its remaining blocks, the others whole."""
        if not self.columns & COUNT_COLUMNS:
            return table
        full, tape = pl.col("is_full"), pl.col("is_tape")
        totals = whole.group_by("dataset").agg(
            (full & pl.col("is_ready_disk")).sum().alias("all_disk"),
            full.sum().alias("all_full"),
            (full & tape).sum().alias("all_tape"),
            tape.any().alias("has_tape"),
        )
        itself = whole.select("replica", pl.col("is_full").alias("was_full"))
        table = table.join(totals, on="dataset", maintain_order="left").join(
            itself, on="replica", maintain_order="left"
        )
        change = pl.col("is_full").cast(pl.Int64) - pl.col("was_full").cast(pl.Int64)
        full_tape = pl.col("all_tape") + change * tape
        on_tape = (
            pl.when(full_tape > 0)
            .then(pl.lit("FULL"))
            .when("has_tape")
            .then(pl.lit("PARTIAL"))
            .otherwise(pl.lit("NONE"))
        )
        return table.with_columns(
            num_full_disk_copy=pl.col("all_disk") + change * pl.col("is_ready_disk"),
            num_full_copy=pl.col("all_full") + change,
            dataset_on_tape=on_tape,
        ).drop("all_disk", "all_full", "all_tape", "has_tape", "was_full")

    def _full_owner_rows(self, whole: pl.DataFrame) -> pl.DataFrame:
        return whole.select("replica", "owner_groups").explode("owner_groups").rename({"owner_groups": "group"})

    def _with_common_owners(
        self, table: pl.DataFrame, rows: pl.DataFrame, whole: pl.DataFrame, whole_rows: pl.DataFrame
    ) -> pl.DataFrame:
        """Count the full replicas of the dataset that share an owner with each replica of ``table``."""
        if not self.columns & COMMON_OWNER_COLUMNS:
            return table
        owners = rows.select("replica", "dataset", "group").unique()
        full = whole.filter("is_full").select(pl.col("replica").alias("other"), "dataset", on_disk="is_ready_disk")
        full = full.join(whole_rows.select(pl.col("replica").alias("other"), "group").unique(), on="other")
        shared = (
            owners.join(full, on=["dataset", "group"])
            .filter(pl.col("replica") != pl.col("other"))
            .unique(["replica", "other"])
            .group_by("replica")
            .agg(pl.col("on_disk").sum().alias("disk"), pl.len().alias("others"))
        )
        itself = (pl.col("is_full") & pl.col("is_ready_disk")).cast(pl.Int64)
        table = table.join(shared, on="replica", how="left", maintain_order="left").with_columns(
            num_full_disk_copy_common_owner=pl.col("disk").fill_null(0).cast(pl.Int64) + itself,
            num_full_other_copy_common_owner=pl.col("others").fill_null(0).cast(pl.Int64),
        )
        groups = rows.group_by("replica").agg(pl.col("group").unique().alias("owner_groups"))
        return table.drop("disk", "others").join(groups, on="replica", maintain_order="left")

    def _with_enforced(self, whole: pl.DataFrame) -> pl.DataFrame:
        """``enforcer_protected``: replicas at destinations of a rule, when no more copies are there than it asks
        for."""
        named = self.predicates.named
        tests = [pl.lit(False)]
        seen = self.predicates.on_replicas(whole.with_columns(enforcer_protected=pl.lit(False)))
        for rule in self.rules:
            at_source = any_condition_expr(rule.sources, named) & any_condition_expr(rule.replicas, named)
            at_destination = any_condition_expr(rule.destinations, named)
            few = at_destination.sum().over("dataset") <= rule.num_copies
            tests.append(at_destination & at_source.any().over("dataset") & few)
        return whole.with_columns(seen.select(enforcer_protected=pl.any_horizontal(tests)).to_series())

    def _order_keys(self, whole: pl.DataFrame) -> pl.DataFrame:
        keys = [self._order_key(whole, key).alias(f"key{i}") for i, key in enumerate(self.order)]
        return pl.DataFrame([whole["replica"], *keys])

    def _order_key(self, whole: pl.DataFrame, key: CheckedOrderKey) -> pl.Series:
        """The key as a number; unknown values last, decreasing keys negated."""
        variable = key.variable
        column = variable.source.name if isinstance(variable.source, Column) else f"attribute:{variable.source.name}"
        if variable.scope is Scope.DATASET:
            values = _as_number(self.image.datasets[column]).gather(whole["dataset"])
        elif variable.scope is Scope.SITE:
            values = _as_number(self.image.sites[column]).gather(whole["site"])
        else:
            values = _as_number(whole[column])
        return (-values if key.is_decreasing else values).fill_null(float("inf"))


def _as_number(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        return values.rank("dense").cast(pl.Float64)
    if values.dtype.is_temporal():
        return values.dt.epoch("us").cast(pl.Float64)
    return values.cast(pl.Float64)


class Predicates:
    """The distinct predicates of some conditions, each a boolean column (``p0``, ``p1``, ...).

    Those on datasets, sites and owners are evaluated once, in the small tables, and looked up by index.
    """

    def __init__(self, image: Image, conditions: Iterable[CheckedCondition]) -> None:
        self._names: dict[tuple[object, ...], str] = {}
        self._of_dataset: list[pl.Expr] = []
        self._of_site: list[pl.Expr] = []
        self._of_group: list[pl.Expr] = []
        self._of_blocks: list[pl.Expr] = []
        self._of_remaining: list[pl.Expr] = []
        self._of_replica: list[pl.Expr] = []
        self._reduced: list[str] = []
        for condition in conditions:
            for predicate in condition.predicates:
                self._add(predicate, condition.source)
        self._datasets = image.datasets.select(self._of_dataset)
        self._sites = image.sites.select(self._of_site)
        self._groups = image.groups.select(self._of_group)

    def named(self, predicate: CheckedPredicate) -> pl.Expr:
        """The column of the predicate."""
        return pl.col(self._names[_key(predicate)])

    def _add(self, predicate: CheckedPredicate, source: SourceText) -> None:
        if _key(predicate) in self._names:
            return
        name = f"p{len(self._names)}"
        self._names[_key(predicate)] = name
        column, scope = predicate.variable.source, predicate.variable.scope
        if not isinstance(column, Column):
            self._of_dataset.append(attribute_expr(predicate, source).alias(name))
            return
        test = predicate_expr(
            predicate, pl.col("owner" if column.name in OWNER_COLUMNS else column.name), source
        ).alias(name)
        if column.name in OWNER_COLUMNS:
            self._of_group.append(test)
        elif scope is Scope.DATASET:
            self._of_dataset.append(test)
        elif scope is Scope.SITE:
            self._of_site.append(test)
        elif scope is Scope.REPLICA:
            self._of_replica.append(test)
        elif column.name in REMAINING_COLUMNS:
            self._of_remaining.append(predicate_expr(predicate, REMAINING_COLUMNS[column.name], source).alias(name))
        else:
            self._of_blocks.append(predicate_expr(predicate, BLOCK_COLUMNS[column.name], source).alias(name))
        if scope is Scope.BLOCK_REPLICA or column.name in OWNER_COLUMNS:
            self._reduced.append(name)

    def on_blocks(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Predicates on single block replicas, the other replicas seen whole; for all rows left of the datasets."""
        if self._of_group:
            rows = rows.hstack(self._groups.select(pl.all().gather(rows["group"])))
        return self.on_remaining(rows.with_columns(self._of_blocks))

    def on_remaining(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Predicates on single block replicas that depend on which blocks of the replica remain."""
        return rows.with_columns(self._of_remaining)

    def reduced(self) -> list[pl.Expr]:
        """For a replica: some block replica fulfils the predicate; unknown if none does for certain but one might."""
        return [pl.col(name).any(ignore_nulls=False) for name in self._reduced]

    def on_replicas(self, table: pl.DataFrame) -> pl.DataFrame:
        """Predicates on replicas, datasets and sites, one row a replica."""
        if self._of_dataset:
            table = table.hstack(self._datasets.select(pl.all().gather(table["dataset"])))
        if self._of_site:
            table = table.hstack(self._sites.select(pl.all().gather(table["site"])))
        return table.with_columns(self._of_replica)


def _key(predicate: CheckedPredicate) -> tuple[object, ...]:
    return (predicate.variable.name, predicate.operator, predicate.values)
