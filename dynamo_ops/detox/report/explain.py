"""Why a plan decided what it did of one dataset replica: each line tried, each predicate's value, where it stopped.

The plan's evidence is evaluated again, as it was at the moment of the decision: what had been deleted or handed over
before is out of the image. So an old plan can be explained, whatever became of its data since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from dynamo_ops.base.errors import PlanError, UnknownPlanError
from dynamo_ops.detox.engine.evidence import Evidence
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.plan.states import Decision
from dynamo_ops.policy.evaluation.evaluate import KEEPS_DATA, Evaluator
from dynamo_ops.policy.evaluation.image import Flags, Image, Indices, Small
from dynamo_ops.policy.evaluation.values import order_text, predicate_text, value_text
from dynamo_ops.policy.evaluation.view import View
from dynamo_ops.policy.language.check import CheckedCondition, CheckedLine, CheckedPolicy, load_policy
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules

MAX_HINTS = 4
NAMES = ("dataset.name", "site.name", "site.storage_type")
"""What nobody changes to keep or to delete data: no hint is given about it."""


@dataclass(frozen=True)
class PredicateTrial:
    """A predicate as written, the value that it saw, and whether it held."""

    text: str
    value: str
    holds: bool


@dataclass(frozen=True)
class LineTrial:
    """A policy line tried on what was left of the replica. ``blocks``: those that it took (names), none if it failed.

    ``number`` counts policy lines, ``source_line`` lines of the text; 0 and no predicates: the default decision.
    """

    number: int
    source_line: int
    text: str
    verb: str
    predicates: tuple[PredicateTrial, ...]
    holds: bool
    in_force: bool
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """Why. ``reasons``: sentences, one a decision that the replica's blocks got; ``hints``: what would have to change.

    ``decisions``: the replica's rows of the plan. ``moment``: how far the cycle had come when it was decided.
    ``trials``: the lines in the order tried. ``copies``: all replicas of the dataset in the image at that moment: site,
    num_blocks, is_full, size_bytes, owners. ``site``: the site's row of the plan's site states.
    """

    dataset: str
    site: str
    moment: str
    reasons: tuple[str, ...]
    hints: tuple[str, ...]
    trials: tuple[LineTrial, ...]
    decisions: pl.DataFrame
    copies: pl.DataFrame
    site_state: pl.DataFrame


def explain(
    decisions: pl.DataFrame,
    evidence: Evidence,
    site_states: pl.DataFrame,
    policy: CheckedPolicy,
    rules: Sequence[EnforcerRule],
    *,
    dataset: str,
    site: str,
) -> Explanation:
    """Why the plan decided so for ``dataset`` at ``site``.

    ``decisions``: the plan's rows of the dataset at all sites; ``policy`` and ``rules``: those it was made under,
    checked at the plan's moment. PlanError when the replica is not in the plan's image.
    """
    mine = decisions.filter((pl.col("dataset") == dataset) & (pl.col("site") == site))
    if mine.is_empty():
        site_names = decisions.filter(pl.col("dataset") == dataset)["site"].unique().sort().to_list()
        there = f"it is at {', '.join(site_names)}" if site_names else "the dataset is at none of its target sites"
        raise UnknownPlanError(f"{dataset} at {site} is not in the plan's image: {there}", dataset=dataset, site=site)
    scene = _Scene(decisions, evidence, policy, rules)
    order, is_found = scene.moment_of(site)
    view, place = scene.view_at(order, site)
    trials = scene.trials(view, place)
    state = site_states.filter(pl.col("site") == site)
    return Explanation(
        dataset=dataset,
        site=site,
        moment=_moment_text(order, is_found, decisions),
        reasons=tuple(_reasons(mine, state, policy, scene.order_values(view))),
        hints=tuple(_hints(mine, trials)),
        trials=trials,
        decisions=mine,
        copies=scene.copies(order),
        site_state=state,
    )


def explain_record(plan: PlanRecord, *, dataset: str, site: str) -> Explanation:
    """Why a plan that was made or stored decided so. Of a stored one only the rows of the dataset are read.

    PlanError when the replica is not in its image, or the plan was stored without its evidence.
    """
    if not plan.evidence:
        raise PlanError(f"{plan.name} was stored without what its conditions saw: it cannot be explained", state=None)
    decisions = plan.decisions.filter(pl.col("dataset") == dataset).collect()
    if decisions.is_empty():
        raise UnknownPlanError(
            f"{plan.name} has no replica of {dataset!r} in its image: give the whole name of the dataset; "
            "the image is the partition at target sites",
            dataset=dataset,
            site=site,
        )
    return explain(
        decisions,
        Evidence.of_dataset(plan.evidence, int(decisions["dataset_id"][0])),
        plan.site_states,
        load_policy(plan.policy_text, now=plan.now, file=f"policy of {plan.name}"),
        load_rules(plan.rules_text, now=plan.now, file=f"enforcer rules of {plan.name}"),
        dataset=dataset,
        site=site,
    )


class _Scene:
    """One dataset of the plan, to be looked at as of any of its deletions. Moment ``n``: just before deletion ``n``."""

    def __init__(
        self,
        decisions: pl.DataFrame,
        evidence: Evidence,
        policy: CheckedPolicy,
        rules: Sequence[EnforcerRule],
    ) -> None:
        self.policy, self.evidence = policy, evidence
        self.image: Image = evidence.image(decisions)
        self.evaluator = Evaluator(self.image, lines=policy.lines, order=policy.order, rules=rules)
        keys = pl.DataFrame({"block_id": self.image.block_id, "site": self.image.sites["site"][self.image.site]})
        self.recorded = keys.join(decisions, on=["block_id", "site"], how="left", maintain_order="left")
        self.names = self.recorded["block"]
        self.deleted_at = self.recorded["delete_order"].fill_null(np.iinfo(np.int32).max).to_numpy()
        self.end = int(np.iinfo(np.int32).max)
        moved = evidence.handovers.select("block_id", "site_id", "delete_order", "group_id", "leaves_image")
        self.moved = moved.sort("delete_order")

    def at(self, order: int) -> tuple[Indices, Small]:
        """Rows left just before deletion ``order``, and their owners then."""
        left = self.deleted_at >= order
        group = self.image.group.copy()
        site_ids = self.image.sites["site_id"].to_numpy()[self.image.site]
        groups = {id_: number for number, id_ in enumerate(self.image.groups["group_id"])}
        for block, site, moment, owner, leaves in self.moved.iter_rows():
            if moment < order:
                is_moved = (self.image.block_id == block) & (site_ids == site)
                group[is_moved] = groups[owner]
                left &= ~(is_moved & leaves)
        rows = np.flatnonzero(left)
        return rows, group[rows]

    def view_at(self, order: int, site: str) -> tuple[View, Indices]:
        """What is left of the replica, with the others whole; and its place in the rows left."""
        rows, group = self.at(order)
        whole = self.evaluator.whole(rows, group)
        number = self.image.sites["site"].to_list().index(site)
        place = np.flatnonzero(self.image.site[rows] == number)
        return self._part(whole, place), place

    def _part(self, whole: View, place: Indices) -> View:
        view = View(self.image, whole.rows[place], whole.group[place], whole=whole, position=place)
        view.is_enforced = whole.is_enforced[view.in_whole]
        return view

    def moment_of(self, site: str) -> tuple[int, bool]:
        """Before which deletion the recorded lines were found; and whether evaluation gives them there again.

        A replica that is deleted: before its own deletion. Another: the latest moment that gives what was recorded (one
        that is protected is not looked at again).
        """
        mine = self.recorded["site"].to_numpy() == site
        own = self.deleted_at[mine & (self.deleted_at < self.end)]
        if len(own):
            return int(own.min()), True
        moments = sorted({self.end, *self.deleted_at.tolist()}, reverse=True)
        for order in moments:
            view, place = self.view_at(order, site)
            rows = view.rows
            verdicts = self.evaluator.evaluate(*self._whole(view), self._open(view, place))
            if np.array_equal(verdicts.lines, self.recorded["line"].to_numpy()[rows]):
                return order, True
        return self.end, False

    def _whole(self, view: View) -> tuple[Indices, Small]:
        return view.whole.rows, view.whole.group

    def _open(self, view: View, place: Indices) -> Flags:
        is_open = np.zeros(len(view.whole.rows), dtype=np.bool_)
        is_open[place] = True
        return is_open

    def trials(self, view: View, place: Indices) -> tuple[LineTrial, ...]:
        """Line after line on what is left, until every block is decided."""
        trials = []
        for line in self.policy.lines:
            trial, taken = self._trial(view, line)
            trials.append(trial)
            if taken.all():
                return tuple(trials)
            if taken.any():
                place = place[~taken]
                view = self._part(view.whole, place)
        names = tuple(self.names[int(row)] for row in view.rows)
        default = self.policy.default
        trials.append(LineTrial(0, default.source_line, default.text, default.verb, (), True, True, names))
        return tuple(trials)

    def _trial(self, view: View, line: CheckedLine) -> tuple[LineTrial, Flags]:
        condition = line.condition
        assert condition is not None
        unknown = line.verb in KEEPS_DATA
        holds = bool(self.evaluator.holds(view, condition, unknown=unknown)[0])
        taken = np.full(len(view.rows), holds)
        if holds and line.is_block:
            taken = self.evaluator.holds_for_blocks(view, condition)
        trial = LineTrial(
            line.number,
            line.source_line,
            line.text,
            line.verb,
            self._predicates(view, condition, unknown),
            holds,
            condition.in_force,
            tuple(self.names[int(row)] for row in view.rows[taken]),
        )
        return trial, taken

    def _predicates(self, view: View, condition: CheckedCondition, unknown: bool) -> tuple[PredicateTrial, ...]:
        return tuple(
            PredicateTrial(
                predicate_text(predicate),
                value_text(view, predicate.variable, now=self.policy.now),
                bool(self.evaluator.predicates.on_replicas(view, predicate, unknown=unknown)[0]),
            )
            for predicate in condition.predicates
        )

    def order_values(self, view: View) -> str:
        """The values that candidates are sorted by."""
        keys = [order_text(view, key, now=self.policy.now) for key in self.policy.order]
        return ", ".join(keys) or "name of the dataset"

    def copies(self, order: int) -> pl.DataFrame:
        """All replicas of the dataset in the image at that moment."""
        rows, group = self.at(order)
        view = self.evaluator.whole(rows, group)
        owners = self.image.groups["owner"]
        frame = pl.DataFrame(
            {
                "site": self.image.sites["site"][view.site],
                "is_full": view.is_full,
                "size_bytes": view.sums(view.size_bytes),
            }
        )
        names = pl.DataFrame({"replica": view.replica_of_row, "owner": owners[view.group]})
        grouped = names.group_by("replica").agg(
            num_blocks=pl.len(), owners=pl.col("owner").unique().sort().str.join(" ")
        )
        return pl.concat([frame, grouped.sort("replica").drop("replica")], how="horizontal").select(
            "site", "num_blocks", "is_full", "size_bytes", "owners"
        )


def _moment_text(order: int, is_found: bool, decisions: pl.DataFrame) -> str:
    if not is_found:
        return "at the end of the cycle; the recorded line was found earlier, and the replica not looked at again"
    number = decisions["delete_order"].drop_nulls().n_unique()
    if order == np.iinfo(np.int32).max:
        return (
            f"after all deletions of the dataset ({number})" if number else "at the start: nothing of the dataset went"
        )
    before = decisions.filter(pl.col("delete_order") < order)["delete_order"].n_unique()
    return f"just before deletion {order:,} of the plan; {before} of the dataset's replicas or parts had gone before"


def _reasons(mine: pl.DataFrame, state: pl.DataFrame, policy: CheckedPolicy, order: str) -> list[str]:
    """One sentence for each (decision, line, deletion, reason why it was set aside) of the replica."""
    lines = {line.number: line for line in (policy.default, *policy.lines)}
    sentences = []
    for decision, number, delete_order, set_aside, count in (
        mine.group_by("decision", "line", "delete_order", "set_aside", maintain_order=True).len().iter_rows()
    ):
        line = lines[number]
        subject = "the replica" if count == mine.height else f"{count} of its {mine.height} block replicas"
        line_text = (
            f"line {number} ({line.text!r}, line {line.source_line} of the file)"
            if number
            else f"the default ({line.text})"
        )
        because = (
            f"set aside, although {line_text} lets it go and it was its turn: {set_aside}"
            if set_aside
            else _because(decision, line, line_text, state, policy, order, delete_order)
        )
        sentences.append(f"{subject}: {because}")
    return sentences


def _because(
    decision: str,
    line: CheckedLine,
    said: str,
    state: pl.DataFrame,
    policy: CheckedPolicy,
    order: str,
    delete_order: int | None,
) -> str:
    site, triggered, occupancy, quota = state.select("site", "is_triggered", "occupancy_before", "quota_bytes").row(0)
    when = " or ".join(condition.text for condition in policy.triggers)
    until = " or ".join(condition.text for condition in policy.stops)
    full = "its quota is unknown" if occupancy is None else f"its occupancy was {occupancy:.3f}"
    if decision == Decision.PROTECT:
        return f"protected by {said}"
    if decision == Decision.IGNORE:
        return f"ignored by {said}"
    if decision == Decision.REOWNED:
        return f"handed over to the dataset's owner there instead of being deleted by {said}"
    if decision == Decision.DELETE and line.verb == "Delete":
        return f"deleted as number {delete_order:,} by {said}: a Delete line acts whatever the occupancy"
    if decision == Decision.DELETE:
        return (
            f"deleted as number {delete_order:,}: dismissed by {said}; deletion was triggered at {site} "
            f"({full}; When {when}), and its turn in Order ({order}) came before Until {until} held"
        )
    if quota is None:
        return f"kept, although {said} would let it go: {site} has no quota, so nothing is deleted there"
    if not triggered:
        return f"kept: dismissed by {said}, but deletion was not triggered at {site} ({full}; When {when})"
    return f"kept: dismissed by {said}, but at {site} Until {until} held before its turn in Order ({order})"


def _hints(mine: pl.DataFrame, trials: Sequence[LineTrial]) -> list[str]:
    """What would have to change for another decision: the lines that failed by the fewest predicates."""
    is_deleted = (mine["decision"] == Decision.DELETE).any()
    keeping = ("Protect", "Ignore") if is_deleted else ("Delete", "Dismiss")
    stopped = trials[-1]
    failed = [t for t in trials if not t.holds and t.in_force and t.verb in keeping and _can_change(t)]
    failed.sort(key=lambda trial: (sum(not p.holds for p in trial.predicates), trial.number))
    hints = []
    if stopped.number and stopped.verb not in keeping:
        wrong = " or ".join(f"not ({p.text})" for p in stopped.predicates)
        hints.append(f"line {stopped.number} ({stopped.text}) would not decide it if {wrong}")
    for trial in failed[:MAX_HINTS]:
        lacking = " and ".join(f"{p.text} (is {p.value})" for p in trial.predicates if not p.holds)
        hints.append(f"line {trial.number} ({trial.text}) would decide it first if {lacking}")
    return hints


def _can_change(trial: LineTrial) -> bool:
    return not any(p.text.removeprefix("not ").startswith(NAMES) for p in trial.predicates if not p.holds)
