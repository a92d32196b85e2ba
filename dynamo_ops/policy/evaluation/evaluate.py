"""Which policy line decides each block replica: the checked conditions evaluated set-wise on an image.

The state of the image (who is left, who owns what) is the caller's; the evaluator itself never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.policy.evaluation.columns import REPLICA_COLUMNS
from dynamo_ops.policy.evaluation.image import Flags, Image, Indices, Small
from dynamo_ops.policy.evaluation.predicates import Predicates
from dynamo_ops.policy.evaluation.view import View
from dynamo_ops.policy.language.check import CheckedCondition, CheckedLine, CheckedOrderKey
from dynamo_ops.policy.language.enforcement import EnforcerRule
from dynamo_ops.policy.language.variables import Column, Scope

KEEPS_DATA = frozenset({"Protect", "Ignore"})
ENFORCED = "replica.enforcer_protected"


@dataclass(frozen=True)
class Verdicts:
    """The outcome of one evaluation.

    By open block replica: ``rows`` (of the image, ascending), ``lines`` (0 default), ``is_partial`` (a Block line that
    took only some of the blocks that were left). By dataset replica: ``replicas`` (ascending), ``is_needed`` (by a
    rule that applied at first) and ``order_keys`` (keys × replicas), of the whole replica, so that ascending is what is
    deleted first.
    """

    rows: Indices
    lines: Small
    is_partial: Flags
    replicas: Small
    is_needed: Flags
    order_keys: npt.NDArray[np.float64]


class Evaluator:
    """Evaluates lines, enforcer rules and order of one policy on one image. ``selections``: further conditions.

    ``is_guarding``: what rules need is asked even if no line does; a rule that applies to a dataset in the whole image
    still does when its sources have gone.
    """

    def __init__(
        self,
        image: Image,
        *,
        lines: Sequence[CheckedLine] = (),
        order: Sequence[CheckedOrderKey] = (),
        rules: Sequence[EnforcerRule] = (),
        selections: Sequence[CheckedCondition] = (),
        is_guarding: bool = False,
    ) -> None:
        self.image = image
        self.lines = [(line, line.condition) for line in lines if line.condition is not None]
        self.is_block_line = np.zeros(len(self.lines) + 1, dtype=np.bool_)
        self.is_block_line[[line.number for line, _ in self.lines if line.is_block]] = True
        asked = {variable.name for _, c in self.lines for variable in c.variables()}
        asked |= {key.variable.name for key in order}
        self.rules = [rule for rule in rules if rule.is_protecting] if is_guarding or ENFORCED in asked else []
        conditions = [condition for _, condition in self.lines]
        conditions += [c for rule in self.rules for c in (*rule.destinations, *rule.sources, *rule.replicas)]
        self.predicates = Predicates(image, [*conditions, *selections])
        self.order = [OrderKey(image, key) for key in order]
        self.first_asking = self._asking_at_first() if is_guarding and image.num_rows else []

    def evaluate(self, rows: Indices, group: Small, is_open: Flags) -> Verdicts:
        """Decide the open block replicas among ``rows``: all that is left of some datasets, ascending.

        ``group``: who owns them now; ``is_open``: to be decided, and in view of its own replica.
        """
        lines, is_partial = np.zeros(len(rows), dtype=np.int32), np.zeros(len(rows), dtype=np.bool_)
        if not len(rows):
            none = np.empty(0, dtype=np.int32)
            return Verdicts(rows, lines, is_partial, none, is_partial, np.empty((len(self.order), 0)))
        whole = self.whole(rows, group)
        self._decide(whole, is_open, lines, is_partial)
        keys = np.array([key.values(whole) for key in self.order]).reshape(len(self.order), len(whole.replicas))
        return Verdicts(rows[is_open], lines[is_open], is_partial[is_open], whole.replicas, whole.is_needed, keys)

    def whole(self, rows: Indices, group: Small) -> View:
        """The view of whole replicas, with what enforcer rules say of them."""
        view = View(self.image, rows, group)
        if self.rules:
            view.is_enforced = self._enforced(view)
        for rule, is_asking in zip(self.rules, self.first_asking, strict=False):
            view.is_needed |= self._few_at_destination(view, rule) & is_asking[view.dataset]
        return view

    def first_lines(self, view: View, start: int | Small = 1) -> Small:
        """By replica of ``view``: the first line from ``start`` on that matches it, or 0."""
        taken_by = np.zeros(len(view.replicas), dtype=np.int32)
        is_open = np.ones(len(taken_by), dtype=np.bool_)
        for line, condition in self.lines:
            hit = self.holds(view, condition, unknown=line.verb in KEEPS_DATA)
            hit &= is_open
            hit &= start <= line.number
            taken_by[hit] = line.number
            is_open &= ~hit
        return taken_by

    def holds(self, view: View, condition: CheckedCondition, *, unknown: bool) -> Flags:
        """By replica of ``view``: all predicates hold; ``unknown`` says what one that cannot be told counts as."""
        is_met = np.full(len(view.replicas), condition.in_force)
        if condition.in_force:
            for predicate in condition.predicates:
                is_met &= self.predicates.on_replicas(view, predicate, unknown=unknown)
        return is_met

    def holds_for_blocks(self, view: View, condition: CheckedCondition) -> Flags:
        """By block replica of ``view``: its own predicates hold for it alone."""
        is_met = np.ones(len(view.rows), dtype=np.bool_)
        for predicate in condition.predicates:
            if predicate.variable.scope is Scope.BLOCK_REPLICA:
                is_met &= self.predicates.on_blocks(view, predicate)
        return is_met

    def is_any(self, conditions: Sequence[CheckedCondition], rows: Indices, group: Small) -> Flags:
        """By row: one of ``conditions`` (of ``selections``, on single block replicas) holds for certain."""
        view = View(self.image, rows, group)
        is_met = np.zeros(len(rows), dtype=np.bool_)
        for condition in conditions:
            holds = np.full(len(rows), condition.in_force)
            for predicate in condition.predicates:
                holds &= self.predicates.on_rows(view, predicate)
            is_met |= holds
        return is_met

    def matching_replicas(self, conditions: Sequence[CheckedCondition]) -> pl.DataFrame:
        """``dataset``, ``site`` (indices) of the replicas of the image that meet one of ``conditions`` (of
        ``selections``) for certain."""
        if not self.image.num_rows:
            return pl.DataFrame(schema={"dataset": pl.Int32, "site": pl.Int32})
        view = self.whole(np.arange(self.image.num_rows), self.image.group)
        is_met = np.zeros(len(view.replicas), dtype=np.bool_)
        for condition in conditions:
            is_met |= self.holds(view, condition, unknown=False)
        return pl.DataFrame({"dataset": view.dataset[is_met], "site": view.site[is_met]})

    def _decide(self, whole: View, is_open: Flags, lines: Small, is_partial: Flags) -> None:
        """Fill ``lines`` and ``is_partial``: pass after pass, each on the rows that Block lines left over."""
        pending = np.flatnonzero(is_open)
        start: int | Small = 1
        view, at = self._first_view(whole, is_open, pending)
        while len(pending):
            place = view.replica_of_row[at]
            taken_by = self.first_lines(view, start)[place]
            lines[pending] = taken_by
            if not self.is_block_line[taken_by].any():
                return
            match = self._match_of_blocks(view, at, taken_by)
            has_left = np.bincount(place[~match], minlength=len(view.replicas))[place] > 0
            is_partial[pending] = self.is_block_line[taken_by] & has_left & match
            pending, start = pending[~match], taken_by[~match] + 1
            if len(pending):
                view, at = self._remaining(whole, pending)
                start = start[view.starts]

    def _first_view(self, whole: View, is_open: Flags, pending: Indices) -> tuple[View, Indices]:
        """The whole view, if every replica to be decided is in it with all its blocks; and the place of each row."""
        is_any_open, is_all_open = whole.any(is_open), np.logical_and.reduceat(is_open, whole.starts)
        return (whole, pending) if np.array_equal(is_any_open, is_all_open) else self._remaining(whole, pending)

    def _remaining(self, whole: View, pending: Indices) -> tuple[View, Indices]:
        view = View(self.image, whole.rows[pending], whole.group[pending], whole=whole, position=pending)
        view.is_enforced = whole.is_enforced[view.in_whole]
        return view, np.arange(len(pending))

    def _match_of_blocks(self, view: View, at: Indices, taken_by: Small) -> Flags:
        """By row: the block matches the Block line that took its replica (true for lines of other kinds)."""
        match = np.ones(len(taken_by), dtype=np.bool_)
        for line, condition in self.lines:
            taken = np.flatnonzero(taken_by == line.number) if line.is_block else ()
            if len(taken):
                match[taken] = self.holds_for_blocks(view, condition)[at[taken]]
        return match

    def _enforced(self, view: View) -> Flags:
        """Replicas at destinations of a rule, when no more copies are there than it asks for."""
        protected = np.zeros(len(view.replicas), dtype=np.bool_)
        for rule in self.rules:
            protected |= self._few_at_destination(view, rule) & (view.over_dataset(self._asks(view, rule)) > 0)
        return protected

    def _few_at_destination(self, view: View, rule: EnforcerRule) -> Flags:
        at_destination = self._any(view, rule.destinations)
        return np.asarray(at_destination & (view.over_dataset(at_destination) <= rule.num_copies))

    def _asks(self, view: View, rule: EnforcerRule) -> Flags:
        """Replicas for which the rule applies to their dataset."""
        return self._any(view, rule.sources) & self._any(view, rule.replicas)

    def _asking_at_first(self) -> list[Flags]:
        """By rule the datasets that it applies to, in the whole image."""
        view = View(self.image, np.arange(self.image.num_rows), self.image.group)
        is_asking = np.zeros((len(self.rules), self.image.datasets.height), dtype=np.bool_)
        for number, rule in enumerate(self.rules):
            is_asking[number, view.dataset[self._asks(view, rule)]] = True
        return list(is_asking)

    def _any(self, view: View, conditions: Sequence[CheckedCondition]) -> Flags:
        is_met = np.zeros(len(view.replicas), dtype=np.bool_)
        for condition in conditions:
            is_met |= self.holds(view, condition, unknown=False)
        return is_met


class OrderKey:
    """One key of ``Order``: a number a replica; unknown values last, decreasing keys negated."""

    def __init__(self, image: Image, key: CheckedOrderKey) -> None:
        self.sign = -1.0 if key.is_decreasing else 1.0
        self.scope, source = key.variable.scope, key.variable.source
        self.name = source.name
        self.table: npt.NDArray[np.float64] | None = None
        column = source.name if isinstance(source, Column) else f"attribute:{source.name}"
        if self.scope is Scope.DATASET:
            self.table = self._unknown_last(_as_number(image.datasets[column]).to_numpy())
        elif self.scope is Scope.SITE:
            self.table = self._unknown_last(_as_number(image.sites[column]).to_numpy())

    def _unknown_last(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        numbers = numbers * self.sign
        return np.where(np.isnan(numbers), np.inf, numbers)

    def values(self, view: View) -> npt.NDArray[np.float64]:
        """By replica of ``view``."""
        if self.table is not None:
            return self.table[view.site if self.scope is Scope.SITE else view.dataset]
        return self._unknown_last(np.asarray(REPLICA_COLUMNS[self.name](view), dtype=np.float64))


def _as_number(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.rank("dense").cast(pl.Float64)
    if column.dtype.is_temporal():
        return column.dt.epoch("us").cast(pl.Float64)
    return column.cast(pl.Float64)
