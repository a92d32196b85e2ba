"""The deletion plan of one cycle for one partition: frames and policy in, plan out. Pure: no clock, no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.settings import DETOX
from dynamo_ops.base.units import size_text
from dynamo_ops.detox.engine.cycle import Cycle
from dynamo_ops.detox.engine.evidence import Evidence
from dynamo_ops.detox.engine.guard import Guard
from dynamo_ops.detox.engine.state import State, load_state
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.replica.good import without_doomed
from dynamo_ops.plan.states import Decision
from dynamo_ops.policy.evaluation.attributes import require_attributes
from dynamo_ops.policy.language.check import CheckedPolicy
from dynamo_ops.policy.language.enforcement import EnforcerRule
from dynamo_ops.policy.partition import Partitions
from dynamo_ops.quality.thresholds import ATTRIBUTE_MAX_AGE, LastCopies

DECISIONS = {
    "dataset_id": pl.Int64,
    "dataset": pl.String,
    "site_id": pl.Int64,
    "site": pl.String,
    "block_id": pl.Int64,
    "block": pl.String,
    "group_id": pl.Int64,
    "new_group_id": pl.Int64,
    "decision": pl.String,
    "line": pl.Int32,
    "size_bytes": pl.Int64,
    "delete_order": pl.Int32,
    "is_placeholder": pl.Boolean,
    "set_aside": pl.String,
}
SITE_STATES = {
    "site_id": pl.Int64,
    "site": pl.String,
    "quota_bytes": pl.Int64,
    "is_triggered": pl.Boolean,
    "bytes_before": pl.Int64,
    "bytes_after": pl.Int64,
    "occupancy_before": pl.Float64,
    "occupancy_after": pl.Float64,
    "protected_bytes": pl.Int64,
    "set_aside_bytes": pl.Int64,
}
POLICY_LINES = {"line": pl.Int32, "text": pl.String, "source_line": pl.Int32, "verb": pl.String}


@dataclass(frozen=True)
class DeletionPlan:
    """What one cycle decides.

    ``decisions``: one row per block replica of the image, by dataset, site, block id. ``decision`` delete, keep
    (dismissed but not needed), protect, ignore, reowned (handed over instead of deleted, and not decided again
    since). ``group_id`` is the owner at the start, null the null group. ``new_group_id`` is set for every block
    replica that is handed over and not deleted, whatever its decision: the commit changes its owner. ``line`` counts
    policy lines from 1, 0 the default. ``delete_order`` numbers the deletions of the cycle from 1 (all block
    replicas of one deletion share it), null if not deleted. ``is_placeholder``: a zero-size stand-in for an empty
    tape replica, no row of the inventory; never deleted. ``set_aside``: why it is kept although it was its turn
    (``guard.WORDS``; null for all others).

    ``site_states``: one row per target site, by name. ``quota_bytes`` null unknown, 0 nothing may be there, negative
    unlimited; occupancy accordingly null, infinite or 0. ``is_triggered``: a When line held at the start.
    ``policy_lines``: of each line number the text, the source line and the ``verb`` as it was checked (Protect,
    Delete, Dismiss, Ignore; also of Block lines). ``warnings``: for a person to read. ``evidence``:
    what the conditions saw, for ``detox.report.explain``.
    """

    partition: str
    now: datetime
    decisions: pl.DataFrame
    site_states: pl.DataFrame
    policy_lines: pl.DataFrame
    warnings: tuple[str, ...]
    evidence: Evidence | None = None

    @property
    def deletions(self) -> pl.DataFrame:
        """Rows of ``decisions`` that are deleted, in the order of deletion."""
        return self.decisions.filter(pl.col("decision") == Decision.DELETE).sort(
            "delete_order", "block", maintain_order=True
        )

    @property
    def handovers(self) -> pl.DataFrame:
        """Rows of ``decisions`` that change their owner to ``new_group_id``."""
        return self.decisions.filter(pl.col("new_group_id").is_not_null())


def plan_deletions(
    frames: InventoryFrames,
    policy: CheckedPolicy,
    partitions: Partitions,
    *,
    now: datetime,
    partition: str | None = None,
    deletion_per_iteration: float = DETOX.deletion_per_iteration,
    enforcer_rules: Sequence[EnforcerRule] = (),
    protected_sites: Sequence[str] = (),
    attribute_max_age: timedelta = ATTRIBUTE_MAX_AGE,
    last_copies: LastCopies | None = None,
) -> DeletionPlan:
    """The plan of one cycle under ``policy``, which was checked at the same ``now``.

    ``partition`` is needed when the policy names none, and must agree with the policy otherwise.
    ``deletion_per_iteration`` is a fraction of a site's quota. PlanError when an attribute that the policy asks for
    was not produced at all, or longer than ``attribute_max_age`` ago. ``last_copies``: as in ``gates.yaml``, and what
    a gate would refuse is set aside (SEMANTICS §10); None: the policy alone decides.
    """
    frames = without_doomed(frames)
    name = _partition_name(policy, partition)
    if now != policy.now:
        raise PlanError(
            f"the policy was checked at {policy.now}, the plan is for {now}: check it again", partition=name
        )
    if not deletion_per_iteration > 0:
        raise PlanError(f"deletion_per_iteration is {deletion_per_iteration}; it must be above 0", partition=name)
    asked = {*policy.attributes(), *partitions.attributes(name)}
    asked |= {
        a for r in enforcer_rules if r.is_protecting for c in r.replicas for v in c.variables() for a in v.attributes
    }
    require_attributes(frames, asked, now=now, max_age=attribute_max_age)
    state = load_state(frames, policy, partitions, name, attributes=sorted(asked), protected_sites=protected_sites)
    leaves = [partitions.conditions[leaf] for leaf in partitions.leaves(name)]
    guard = Guard(frames, state.image, last_copies) if last_copies else None
    Cycle(state, policy, enforcer_rules, deletion_per_iteration, leaves, guard).run()
    return _plan(frames, state, policy, name)


def _partition_name(policy: CheckedPolicy, partition: str | None) -> str:
    if policy.partition is None and partition is None:
        raise PlanError("neither the policy nor the caller names a partition", file=policy.source.file)
    if policy.partition and partition and policy.partition != partition:
        raise PlanError(
            f"the policy is for partition {policy.partition}, the plan for {partition}",
            file=policy.source.file,
            partition=partition,
        )
    return policy.partition or partition or ""


def _plan(frames: InventoryFrames, state: State, policy: CheckedPolicy, partition: str) -> DeletionPlan:
    warnings = [*policy.notes, *(f"line {line}: {text}" for line, text in _expired(policy))]
    site_states = state.site_states().select(pl.col(name).cast(dtype) for name, dtype in SITE_STATES.items())
    unknown = site_states.filter(pl.col("quota_bytes").is_null())["site"].to_list()
    warnings += [f"{site} has no quota for {partition}: nothing is deleted there" for site in unknown]
    decisions = state.decisions(frames.blocks).select(pl.col(name).cast(dtype) for name, dtype in DECISIONS.items())
    warnings += _set_aside_texts(decisions)
    matched = set(np.unique(state.line).tolist())
    idle = [
        str(line.number)
        for line in policy.lines
        if line.number not in matched and line.condition and line.condition.in_force
    ]
    if idle:
        warnings.append(f"{len(idle)} of {len(policy.lines)} policy lines decided nothing: {', '.join(idle)}")
    return DeletionPlan(
        partition=partition,
        now=policy.now,
        decisions=decisions,
        site_states=site_states,
        policy_lines=policy_lines(policy),
        warnings=tuple(warnings),
        evidence=state.evidence(),
    )


def set_aside_amounts(decisions: pl.DataFrame) -> pl.DataFrame:
    """``site``, ``set_aside`` (the reason), ``num_block_replicas``, ``size_bytes``: what was set aside, by both."""
    aside = decisions.filter(pl.col("set_aside").is_not_null())
    return (
        aside.group_by("site", "set_aside")
        .agg(num_block_replicas=pl.len(), size_bytes=pl.col("size_bytes").sum())
        .sort("site", "set_aside")
    )


def _set_aside_texts(decisions: pl.DataFrame) -> list[str]:
    """Site by site and reason by reason how much was set aside."""
    return [
        f"{site}: {number:,} block replicas, {size_text(size)}, are set aside although it was their turn: {reason}"
        for site, reason, number, size in set_aside_amounts(decisions).iter_rows()
    ]


def policy_lines(policy: CheckedPolicy) -> pl.DataFrame:
    """One row a line that decides, the default first: ``POLICY_LINES``."""
    lines = [(line.number, line.text, line.source_line, line.verb) for line in (policy.default, *policy.lines)]
    return pl.DataFrame(lines, schema=POLICY_LINES, orient="row")


def _expired(policy: CheckedPolicy) -> list[tuple[int, str]]:
    return [
        (line.number, "not in force now (until/from): it matches nothing")
        for line in policy.lines
        if line.condition and not line.condition.in_force
    ]
