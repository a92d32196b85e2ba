"""``On``, ``When`` and ``Until``: conditions on sites and on what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.policy.evaluation.compile import predicate_expr
from dynamo_ops.policy.evaluation.image import Flags, Indices
from dynamo_ops.policy.evaluation.predicates import compare
from dynamo_ops.policy.language.check import CheckedCondition, CheckedPredicate
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.language.variables import Scope


def occupancy(size_bytes: Indices, quota: Indices, has_quota: Flags) -> npt.NDArray[np.float64]:
    """Bytes / quota. Quota 0: infinite; negative, unlimited: 0; unknown: not a number."""
    share = np.divide(size_bytes, quota, out=np.full(len(quota), np.inf), where=quota > 0)
    share[quota < 0] = 0.0
    share[~has_quota] = np.nan
    return np.asarray(share)


class SiteConditions:
    """Whether one of some conditions holds for sites, at given bytes on disk.

    ``sites``: the table of ``attributes``; ``quota`` by site in bytes, where ``has_quota``. What asks for an unknown
    quota, or occupancy of it, does not hold.
    """

    def __init__(
        self, conditions: Sequence[CheckedCondition], sites: pl.DataFrame, quota: Indices, has_quota: Flags
    ) -> None:
        self.quota, self.has_quota = quota, has_quota
        self.conditions = [condition for condition in conditions if condition.in_force]
        self._truth = {
            (p.variable.name, p.operator, p.values): _truth(sites, p, condition.source)
            for condition in self.conditions
            for p in condition.predicates
            if p.variable.scope is Scope.SITE
        }

    def hold(self, sites: Indices, size_bytes: Indices) -> Flags:
        """For each site index and the bytes that are there."""
        is_met = np.zeros(len(sites), dtype=np.bool_)
        for condition in self.conditions:
            holds = np.ones(len(sites), dtype=np.bool_)
            for predicate in condition.predicates:
                holds &= self._holds(predicate, sites, size_bytes)
            is_met |= holds
        return is_met

    def _holds(self, predicate: CheckedPredicate, sites: Indices, size_bytes: Indices) -> Flags:
        variable = predicate.variable
        if variable.scope is Scope.SITE:
            return self._truth[(variable.name, predicate.operator, predicate.values)][sites]
        if variable.name in ("always", "never"):
            return compare(predicate, np.full(len(sites), variable.name == "always"))
        quota, has_quota = self.quota[sites], self.has_quota[sites]
        measured = quota if variable.name == "site.quota" else occupancy(size_bytes, quota, has_quota)
        return compare(predicate, measured) & has_quota


def _truth(sites: pl.DataFrame, predicate: CheckedPredicate, source: SourceText) -> Flags:
    test = predicate_expr(predicate, pl.col(predicate.variable.source.name), source).fill_null(False)
    return np.asarray(sites.select(test.alias("t")).to_series().to_numpy())
