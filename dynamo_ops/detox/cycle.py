"""The loop of one cycle (SEMANTICS §3): evaluate, work off Delete lines, choose a site, delete there, evaluate
again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.detox.handover import Handover, handed_over
from dynamo_ops.detox.state import Flags, State, Verdict, site_conditions_expr
from dynamo_ops.policy.check import CheckedPolicy
from dynamo_ops.policy.enforcement import EnforcerRule
from dynamo_ops.policy.evaluate import Evaluator
from dynamo_ops.policy.image import Indices

VERDICT_OF = {"Protect": Verdict.PROTECT, "Delete": Verdict.DELETE, "Dismiss": Verdict.KEEP, "Ignore": Verdict.IGNORE}


@dataclass(frozen=True)
class Units:
    """Things deleted together, in order: ``rows`` of unit ``of`` (numbers from 0, ascending)."""

    rows: Indices
    of: Indices


class Cycle:
    """One cycle on ``state``. ``run`` works until every block replica of the image has its decision."""

    def __init__(
        self, state: State, policy: CheckedPolicy, rules: Sequence[EnforcerRule], deletion_per_iteration: float
    ) -> None:
        self.state = state
        self.policy = policy
        self.step_fraction = deletion_per_iteration
        self.evaluator = Evaluator(state.image, lines=policy.lines, order=policy.order, rules=rules)
        lines = [policy.default, *policy.lines]
        self.verdict_of_line = np.array([VERDICT_OF[line.verb] for line in lines], dtype=np.int8)
        self.is_block_delete = np.array([line.is_block and line.verb == "Delete" for line in lines])
        self.stop = site_conditions_expr(policy, "stops")
        self.last_deletion = 0

    def run(self) -> None:
        """Steps 2 and 3."""
        state = self.state
        frame = state.site_frame()
        triggered = frame.filter(site_conditions_expr(self.policy, "triggers"))["index"].to_numpy()
        state.is_triggered[triggered] = True
        state.was_triggered[triggered] = True
        touched = np.arange(state.image.datasets.height)
        passes = 0
        while True:
            self._iterate(touched)
            candidates = self._candidates()
            if not candidates.any() or (self.policy.is_static and passes):
                break
            hidden = np.unique(state.dataset[state.is_hidden])
            deleted = (
                self._delete_everywhere(candidates) if self.policy.is_static else self._delete_somewhere(candidates)
            )
            touched = np.union1d(deleted, hidden)
            passes += 1
        self._keep_what_is_left()

    def _iterate(self, touched: Indices) -> None:
        """Evaluate, work off Delete lines, label what is final, end triggers."""
        state = self.state
        state.is_hidden[:] = False
        self._evaluate(touched)
        final_line = self._lines_that_settle(touched)
        self._work_off_deletes(touched)
        self._settle(final_line)
        self._note_dismissed(touched)
        sites = np.flatnonzero(state.is_triggered)
        stopped = state.site_frame(sites=sites).filter(self.stop)["index"].to_numpy()
        state.is_triggered[stopped] = False

    def _evaluate(self, datasets: Indices) -> None:
        """Evaluate all replicas of these datasets that are not final."""
        state = self.state
        rows = state.left_rows(datasets)
        is_open = ~state.is_hidden[rows] & ~state.is_final[state.replica[rows]]
        frame = state.image.blocks if len(rows) == state.image.blocks.height else state.image.blocks[rows]
        frame = frame.with_columns(pl.Series("group", state.group[rows]), pl.Series("is_open", is_open))
        verdicts = self.evaluator.evaluate(frame)
        decided = verdicts.lines["row"].to_numpy()
        lines = verdicts.lines["line"].to_numpy()
        found = self.verdict_of_line[lines]
        found[(found == Verdict.DELETE) & state.is_fixed[decided]] = Verdict.KEEP
        state.set_verdicts(decided, found)
        state.line[decided] = lines
        state.is_partial[decided] = verdicts.lines["is_partial"].to_numpy()
        replicas = verdicts.order["replica"].to_numpy()
        for number in range(state.order_keys.shape[0]):
            state.order_keys[number, replicas] = verdicts.order[f"key{number}"].to_numpy()

    def _work_off_deletes(self, touched: Indices) -> None:
        """Of each dataset delete the first replica that a Delete line matches, evaluate the dataset, until none
        matches."""
        state = self.state
        while True:
            rows = state.left_rows(touched)
            rows = rows[(state.verdict[rows] == Verdict.DELETE) & ~state.is_hidden[rows]]
            if not len(rows):
                return
            keys = [state.line[rows], state.site[rows], *self._order_of(state.replica[rows]), state.dataset[rows]]
            first = rows[np.lexsort(keys)]
            first = first[np.unique(state.dataset[first], return_index=True)[1]]
            unit_of = np.full(state.image.datasets.height, -1)
            unit_of[state.dataset[first]] = np.arange(len(first))
            unit = unit_of[state.dataset[rows]]
            chosen = (state.replica[rows] == state.replica[first][unit]) & (state.line[rows] == state.line[first][unit])
            self._delete(Units(rows[chosen], unit[chosen]), hide=True)
            touched = state.dataset[first]
            self._evaluate(touched)

    def _order_of(self, replicas: Indices) -> list[npt.NDArray[np.float64]]:
        """Sort keys for lexsort: the last is the primary one."""
        return [self.state.order_keys[number, replicas] for number in reversed(range(self.state.order_keys.shape[0]))]

    def _lines_that_settle(self, datasets: Indices) -> npt.NDArray[np.int32]:
        """By replica: the one line that protects all its blocks in this evaluation, or -1.

        What a DeleteBlock line takes does not count against it; a ProtectBlock line must have matched all that
        remained.
        """
        state = self.state
        rows = state.left_rows(datasets)
        rows = rows[~self.is_block_delete[state.line[rows]]]
        replicas, lines = state.replica[rows], state.line[rows]
        settles = np.full(state.is_final.shape[0], -1, dtype=np.int32)
        settles[replicas] = lines
        wrong = (settles[replicas] != lines) | state.is_partial[rows] | (state.verdict[rows] != Verdict.PROTECT)
        settles[replicas[wrong]] = -1
        return settles

    def _settle(self, final_line: npt.NDArray[np.int32]) -> None:
        """Make final the replicas that are still protected by that line now that Delete lines are worked off."""
        state = self.state
        replicas = np.flatnonzero((final_line >= 0) & ~state.is_final)
        rows = state.rows_of_replicas(replicas)
        wrong = (
            (state.verdict[rows] != Verdict.PROTECT) | (state.line[rows] != final_line[state.replica[rows]])
        ) & ~state.is_hidden[rows]
        is_final = np.zeros_like(state.is_final)
        is_final[state.replica[rows]] = True
        is_final[state.replica[rows[wrong]]] = False
        state.is_final |= is_final
        rows = rows[is_final[state.replica[rows]]]
        state.set_verdicts(rows, np.full(len(rows), Verdict.PROTECT, dtype=np.int8))
        state.line[rows] = final_line[state.replica[rows]]
        state.is_hidden[rows] = False

    def _dismissed(self, rows: Indices) -> Flags:
        """Rows that may be deleted where deletion is triggered."""
        state = self.state
        may_go = state.is_left[rows] & ~state.is_hidden[rows] & ~state.is_fixed[rows]
        return np.asarray(may_go & (state.verdict[rows] == Verdict.KEEP))

    def _candidates(self) -> Flags:
        """By replica: it has dismissed blocks at a triggered site."""
        state = self.state
        return np.asarray(state.has_dismissed & state.is_triggered[state.site_of_replica])

    def _note_dismissed(self, datasets: Indices) -> None:
        """Bring ``has_dismissed`` up to date for the replicas of these datasets."""
        state = self.state
        rows = state.image.rows_of(datasets)
        state.has_dismissed[state.replica[rows]] = False
        state.has_dismissed[state.replica[rows[self._dismissed(rows)]]] = True

    def _delete_somewhere(self, candidates: Flags) -> Indices:
        """Delete at the site with the highest share of protected bytes, up to the step limit; the datasets touched."""
        state = self.state
        sites = np.unique(state.site_of_replica[candidates])
        quota = state.quota[sites]
        share = np.where(quota > 0, state.protected_bytes[sites] / np.where(quota > 0, quota, 1), 1.0)
        return self._delete_at(int(sites[np.argmax(share)]), candidates, limited=True)

    def _delete_everywhere(self, candidates: Flags) -> Indices:
        """Delete at every site without step limit (Algo Static); the datasets touched."""
        sites = np.unique(self.state.site_of_replica[candidates])
        touched = [self._delete_at(int(site), candidates, limited=False) for site in sites]
        return np.unique(np.concatenate(touched))

    def _delete_at(self, site: int, candidates: Flags, *, limited: bool) -> Indices:
        """Delete candidates of one site in Order until Until holds there or the step limit is passed."""
        state = self.state
        replicas = np.flatnonzero(candidates & (state.site_of_replica == site))
        replicas = replicas[np.lexsort([state.dataset_of_replica[replicas], *self._order_of(replicas)])]
        rows = state.rows_of_replicas(replicas)
        rows = rows[self._dismissed(rows)]
        unit_of = np.full(state.is_final.shape[0], -1)
        unit_of[replicas] = np.arange(len(replicas))
        units = Units(rows, unit_of[state.replica[rows]])
        handover = handed_over(state, units.rows)
        count = self._how_many(site, units, handover, len(replicas), limited=limited)
        taken = units.of < count
        self._delete(Units(rows[taken], units.of[taken]), hide=False)
        return np.unique(state.dataset_of_replica[replicas[:count]])

    def _how_many(self, site: int, units: Units, handover: Handover, number: int, *, limited: bool) -> int:
        """How many units go: before each one, Until and the step limit are looked at."""
        state = self.state
        deleted = np.zeros(number, dtype=np.int64)
        np.add.at(deleted, units.of, np.where(handover.is_kept, 0, state.size[units.rows]))
        freed = deleted.copy()
        np.add.at(freed, units.of, np.where(handover.leaves_image, state.size[units.rows], 0))
        left = state.bytes_left[site] - (np.cumsum(freed) - freed)
        stops = (
            state.site_frame(bytes_left=left, sites=np.full(number, site))
            .select(self.stop.alias("s"))
            .to_series()
            .to_numpy()
        )
        quota = state.quota[site]
        if limited and quota > 0:
            stops = stops | ((np.cumsum(deleted) - deleted) / quota > self.step_fraction)
        return int(np.argmax(stops)) if stops.any() else number

    def _delete(self, units: Units, *, hide: bool) -> None:
        """Delete the rows of the units, or hand them over; a hand-over by a Delete line hides them until the next
        iteration."""
        state = self.state
        handover = handed_over(state, units.rows)
        gone = units.rows[~handover.is_kept]
        state.delete_order[gone] = self.last_deletion + 1 + units.of[~handover.is_kept]
        self.last_deletion += int(units.of.max()) + 1 if len(units.of) else 0
        state.remove(gone)
        state.verdict[gone] = Verdict.DELETE
        moved = units.rows[handover.is_kept]
        state.group[moved] = handover.group[handover.is_kept]
        state.set_verdicts(moved, np.full(len(moved), Verdict.REOWNED, dtype=np.int8))
        state.is_hidden[moved] = hide
        state.remove(units.rows[handover.leaves_image])

    def _keep_what_is_left(self) -> None:
        """Blocks handed over in the last iteration are kept with the rest of their replica, if that is kept by one
        line."""
        state = self.state
        reowned = np.flatnonzero(state.is_left & (state.verdict == Verdict.REOWNED))
        rows = state.rows_of_replicas(np.unique(state.replica[reowned]))
        kept = rows[state.verdict[rows] == Verdict.KEEP]
        line = np.full(state.is_final.shape[0], -1, dtype=np.int32)
        line[state.replica[kept]] = state.line[kept]
        line[state.replica[kept[line[state.replica[kept]] != state.line[kept]]]] = -1
        found = reowned[line[state.replica[reowned]] >= 0]
        state.verdict[found] = Verdict.KEEP
        state.line[found] = line[state.replica[found]]
