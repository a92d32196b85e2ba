"""The loop of one cycle (SEMANTICS §3): evaluate, work off Delete lines, choose a site, delete there, evaluate
again.

Only datasets that the last pass touched are evaluated again, and each site's candidates stay sorted between passes, so
that the work grows with what is deleted, not with passes × image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamo_ops.detox.engine.guard import Aside, Guard
from dynamo_ops.detox.engine.handover import Handover, handed_over
from dynamo_ops.detox.engine.site_condition import SiteConditions
from dynamo_ops.detox.engine.state import State, Verdict
from dynamo_ops.policy.evaluation.evaluate import Evaluator
from dynamo_ops.policy.evaluation.image import Flags, Indices, Small, distinct, segments
from dynamo_ops.policy.language.check import CheckedCondition, CheckedPolicy
from dynamo_ops.policy.language.enforcement import EnforcerRule

VERDICT_OF = {"Protect": Verdict.PROTECT, "Delete": Verdict.DELETE, "Dismiss": Verdict.KEEP, "Ignore": Verdict.IGNORE}
CHUNK = 16
"""So many candidates are looked at together, or twice as many as went last time; more when these do not suffice."""
SORT_AGAIN = 8
"""A queue is sorted again rather than mended when more than one in so many of its replicas has moved."""


@dataclass(frozen=True)
class Units:
    """Things deleted together: ``rows`` (ascending) of unit ``of`` (from 0, in the order in which they go)."""

    rows: Indices
    of: Indices


class Cycle:
    """One cycle on ``state``. ``run`` works until every block replica of the image has its decision.

    ``partition``: the conditions of its leaves; a block that changes owner stays if one of them takes it. ``guard``:
    what it lets not go is set aside; None: the policy alone decides.
    """

    def __init__(
        self,
        state: State,
        policy: CheckedPolicy,
        rules: Sequence[EnforcerRule],
        deletion_per_iteration: float,
        partition: Sequence[CheckedCondition],
        guard: Guard | None = None,
    ) -> None:
        self.state = state
        self.guard = guard
        self.policy = policy
        self.step_fraction = deletion_per_iteration
        self.partition = tuple(partition)
        self.evaluator = Evaluator(
            state.image,
            lines=policy.lines,
            order=policy.order,
            rules=rules,
            selections=self.partition,
            is_guarding=guard is not None,
        )
        lines = [policy.default, *policy.lines]
        self.verdict_of_line = np.array([VERDICT_OF[line.verb] for line in lines], dtype=np.int8)
        self.is_block_delete = np.array([line.is_block and line.verb == "Delete" for line in lines])
        self.has_delete_lines = any(line.verb == "Delete" for line in lines)
        self.start, self.stop = (
            SiteConditions(conditions, state.image.sites, state.quota, state.has_quota)
            for conditions in (policy.triggers, policy.stops)
        )
        self.queues: dict[int, Indices] = {}
        self.is_moved: Flags = np.zeros(state.image.num_replicas, dtype=np.bool_)
        self.by_site: tuple[Indices, Indices] | None = None
        self.last_deletion = 0
        self.num_gone = 0

    def run(self) -> None:
        """Steps 2 and 3."""
        state = self.state
        targets = np.flatnonzero(state.is_target)
        triggered = targets[self.start.hold(targets, state.bytes_left[targets])]
        state.is_triggered[triggered] = True
        state.was_triggered[triggered] = True
        touched = np.arange(state.image.datasets.height)
        passes = 0
        while True:
            self._iterate(touched)
            sites = np.flatnonzero(state.is_triggered & (state.num_dismissed > 0))
            if not len(sites) or (self.policy.is_static and passes):
                break
            hidden = state.image.dataset[state.hidden].astype(np.int64)
            deleted = self._delete_everywhere(sites) if self.policy.is_static else self._delete_somewhere(sites)
            touched = distinct(np.concatenate((deleted, hidden)))
            passes += 1
        self._note_passed_over_everywhere()

    def _iterate(self, touched: Indices) -> None:
        """Evaluate, work off Delete lines, label what is final, end triggers."""
        state = self.state
        state.show_hidden()
        rows = state.left_rows(touched)
        self._evaluate(rows)
        replicas, lines = self._lines_that_settle(rows)
        if self.has_delete_lines:
            self._work_off_deletes(touched)
        self._settle(replicas, lines)
        self._note_dismissed(touched)
        sites = np.flatnonzero(state.is_triggered)
        state.is_triggered[sites[self.stop.hold(sites, state.bytes_left[sites])]] = False

    def _evaluate(self, rows: Indices) -> None:
        """Evaluate the replicas that are not final; ``rows``: what is left of some datasets."""
        state = self.state
        is_open = ~state.is_hidden[rows] & ~state.is_final[state.image.replica[rows]]
        verdicts = self.evaluator.evaluate(rows, state.group[rows], is_open)
        decided = verdicts.rows
        new_verdicts = self.verdict_of_line[verdicts.lines]
        new_verdicts[(new_verdicts == Verdict.DELETE) & state.is_fixed[decided]] = Verdict.KEEP
        if self.guard:
            state.is_needed[verdicts.replicas] = verdicts.is_needed
            self._set_aside(self.guard, decided, new_verdicts)
        state.set_verdicts(decided, new_verdicts)
        state.line[decided] = verdicts.lines
        state.is_partial[decided] = verdicts.is_partial
        self._note_order(verdicts.replicas, verdicts.order_keys)

    def _set_aside(self, guard: Guard, rows: Indices, verdicts: npt.NDArray[np.int8]) -> None:
        """Note of the rows that could go why they must not. What a Delete line takes is kept for it (in
        ``verdicts``)."""
        state = self.state
        state.aside[rows] = Aside.NONE
        going = np.flatnonzero((verdicts == Verdict.KEEP) | (verdicts == Verdict.DELETE))
        at, by_line = rows[going], verdicts[going] == Verdict.DELETE
        is_needed = state.is_needed[state.image.replica[at]]
        state.aside[at] = reasons = guard.reasons(at, by_delete_line=by_line, is_needed=is_needed)
        kept = going[by_line & (reasons != Aside.NONE)]
        verdicts[kept] = Verdict.KEEP
        state.is_passed_over[rows[kept]] = True

    def _note_order(self, replicas: Small, keys: npt.NDArray[np.float64]) -> None:
        """Store the order keys; where one has changed, the queue of the site is sorted again."""
        if len(replicas) == self.state.image.num_replicas and not self.queues:
            self.state.order_keys = keys
            return
        changed = (self.state.order_keys[:, replicas] != keys).any(axis=0)
        if changed.any():
            self.state.order_keys[:, replicas[changed]] = keys[:, changed]
            self._put_in_order_again(replicas[changed].astype(np.int64))

    def _work_off_deletes(self, touched: Indices) -> None:
        """Of each dataset delete the first replica that a Delete line matches, evaluate the dataset, until none
        matches."""
        state, image = self.state, self.state.image
        while True:
            rows = state.left_rows(touched)
            rows = rows[(state.verdict[rows] == Verdict.DELETE) & ~state.is_hidden[rows]]
            if not len(rows):
                return
            replica, dataset = image.replica[rows], image.dataset[rows]
            order = np.lexsort((state.line[rows], image.site[rows], *self._order_of(replica), dataset))
            touched, first = np.unique(dataset[order], return_index=True)
            first = order[first]
            unit = np.searchsorted(touched, dataset)
            chosen = (replica == replica[first][unit]) & (state.line[rows] == state.line[rows[first]][unit])
            rows, unit = rows[chosen], unit[chosen]
            self._delete(Units(rows, unit), handed_over(state, rows, self._stays_in_partition), hide=True)
            touched = touched.astype(np.int64)
            self._evaluate(state.left_rows(touched))

    def _order_of(self, replicas: Indices | Small) -> list[npt.NDArray[np.float64]]:
        """Sort keys for lexsort: the last is the primary one."""
        return [self.state.order_keys[number, replicas] for number in reversed(range(self.state.order_keys.shape[0]))]

    def _in_order(self, replicas: Indices) -> Indices:
        """Places of replicas of one site, sorted by Order, then by name of the dataset."""
        keys: list[npt.NDArray[Any]] = [self.state.image.dataset_of_replica[replicas], *self._order_of(replicas)]
        return np.lexsort(keys)

    def _lines_that_settle(self, rows: Indices) -> tuple[Indices, Small]:
        """Replicas among ``rows`` of which one line protects all blocks in this evaluation, and that line.

        What a DeleteBlock line takes does not count against it; a ProtectBlock line must have matched all that
        remained.
        """
        state = self.state
        rows = rows[~self.is_block_delete[state.line[rows]]]
        rows = rows[~state.is_final[state.image.replica[rows]]]
        if not len(rows):
            return rows, state.line[rows]
        starts, replicas, place = segments(state.image.replica[rows])
        line = state.line[rows]
        wrong = (line != line[starts][place]) | state.is_partial[rows] | (state.verdict[rows] != Verdict.PROTECT)
        settles = ~np.logical_or.reduceat(wrong, starts)
        return replicas[settles].astype(np.int64), line[starts][settles]

    def _settle(self, replicas: Indices, lines: Small) -> None:
        """Make final the replicas that are still protected by that line now that Delete lines are worked off.

        What was handed over meanwhile is not looked at again either: it stays handed over.
        """
        state = self.state
        rows = state.rows_of_replicas(replicas)
        rows = rows[~state.is_hidden[rows]]
        if not len(rows):
            return
        starts, present, place = segments(state.image.replica[rows])
        line = lines[np.searchsorted(replicas, present)]
        wrong = (state.verdict[rows] != Verdict.PROTECT) | (state.line[rows] != line[place])
        state.is_final[present[~np.logical_or.reduceat(wrong, starts)]] = True

    def _dismissed(self, rows: Indices) -> Flags:
        """Rows that may be deleted where deletion is triggered."""
        state = self.state
        may_go = state.is_left[rows] & ~state.is_hidden[rows] & ~state.is_fixed[rows]
        return np.asarray(may_go & (state.verdict[rows] == Verdict.KEEP) & (state.aside[rows] == Aside.NONE))

    def _note_dismissed(self, datasets: Indices) -> None:
        """Bring ``has_dismissed``, ``num_dismissed`` and ``is_live`` up to date for the replicas of these datasets."""
        state, image = self.state, self.state.image
        rows = image.rows_of(datasets)
        if not len(rows):
            return
        starts, replicas, _ = segments(image.replica[rows])
        has_some = np.logical_or.reduceat(self._dismissed(rows), starts)
        change = has_some.astype(np.int64) - state.has_dismissed[replicas]
        np.add.at(state.num_dismissed, image.site_of_replica[replicas], change)
        state.has_dismissed[replicas] = has_some
        state.is_live[replicas] = np.logical_or.reduceat(state.is_left[rows], starts) & ~state.is_final[replicas]

    def _delete_somewhere(self, sites: Indices) -> Indices:
        """Delete at the site with the highest share of protected bytes, up to the step limit; the datasets touched."""
        quota = self.state.quota[sites]
        share = np.where(quota > 0, self.state.protected_bytes[sites] / np.where(quota > 0, quota, 1), 1.0)
        return self._delete_at(int(sites[np.argmax(share)]), limited=True)

    def _delete_everywhere(self, sites: Indices) -> Indices:
        """Delete at every site without step limit (Algo Static); the datasets touched."""
        touched = []
        for site in sites:
            touched.append(self._delete_at(int(site), limited=False))
            if self.guard:
                self._set_aside_again(self.guard, touched[-1])
        return np.concatenate(touched)

    def _set_aside_again(self, guard: Guard, datasets: Indices) -> None:
        """Copies of these datasets have gone, and no line is to be tried again: what of the others must stay now?"""
        rows = self.state.left_rows(datasets)
        if len(rows):
            view = self.evaluator.whole(rows, self.state.group[rows])
            self.state.is_needed[view.replicas] = view.is_needed
            self._set_aside(guard, rows, self.state.verdict[rows])
            self._note_dismissed(datasets)

    def _queue(self, site: int) -> Indices:
        """The replicas of a site that may still be deleted, in Order, then by name of the dataset."""
        queue = self.queues.get(site)
        if queue is not None:
            return queue
        state = self.state
        if self.by_site is None:
            order = np.argsort(state.image.site_of_replica, kind="stable")
            first = np.searchsorted(state.image.site_of_replica[order], np.arange(len(state.quota) + 1))
            self.by_site = order, first
        order, first = self.by_site
        queue = order[first[site] : first[site + 1]]
        queue = queue[state.is_live[queue]]
        return queue[self._in_order(queue)]

    def _put_in_order_again(self, replicas: Indices) -> None:
        """Replicas whose order has changed go to their new places in the queues."""
        if not self.queues:
            return
        site = self.state.image.site_of_replica[replicas]
        for number in np.unique(site):
            queue = self.queues.pop(int(number), None)
            moved = replicas[site == number]
            if queue is None or len(moved) * SORT_AGAIN > len(queue):
                continue
            self.is_moved[moved] = True
            queue = queue[~self.is_moved[queue]]
            self.is_moved[moved] = False
            moved = moved[self.state.is_live[moved]]
            moved = moved[self._in_order(moved)]
            self.queues[int(number)] = np.insert(queue, self._places(queue, moved), moved)

    def _places(self, queue: Indices, replicas: Indices) -> Indices:
        """Before which entry of the ordered ``queue`` each replica belongs: a binary search for all of them at once."""
        low, high = np.zeros(len(replicas), dtype=np.int64), np.full(len(replicas), len(queue))
        while (is_open := low < high).any():
            middle = (low + high) // 2
            middle_replicas = queue[np.minimum(middle, len(queue) - 1)]
            comes_first = is_open & self._comes_before(middle_replicas, replicas)
            low = np.where(comes_first, middle + 1, low)
            high = np.where(is_open & ~comes_first, middle, high)
        return low

    def _comes_before(self, one: Indices, other: Indices) -> Flags:
        """Pair by pair: ``one`` is deleted earlier, by Order, then by name of the dataset."""
        before, is_equal = np.zeros(len(one), dtype=np.bool_), np.ones(len(one), dtype=np.bool_)
        names = self.state.image.dataset_of_replica
        for key in (*self.state.order_keys, names):
            before |= is_equal & (key[one] < key[other])
            is_equal &= key[one] == key[other]
        return before

    def _delete_at(self, site: int, *, limited: bool) -> Indices:
        """Delete candidates of one site in Order until Until holds there or the step limit is passed."""
        state = self.state
        queue, size = self._queue(site), max(CHUNK, 2 * self.num_gone)
        while True:
            head = queue[:size]
            replicas = head[state.has_dismissed[head]]
            place = np.argsort(replicas)
            rows = state.rows_of_replicas(replicas[place])
            rows = rows[self._dismissed(rows)]
            of = place[np.searchsorted(replicas[place], state.image.replica[rows])]
            handover = handed_over(state, rows, self._stays_in_partition)
            count = self._how_many(site, Units(rows, of), handover, len(replicas), limited=limited)
            if count < len(replicas) or size >= len(queue):
                break
            size *= 4
        self._note_passed_over(head if count == len(replicas) else head[: np.argmax(head == replicas[count])])
        self.queues[site] = np.concatenate((head[state.is_live[head]], queue[size:]))
        self.num_gone, goes = count, of < count
        self._delete(Units(rows[goes], of[goes]), handover.of_rows(goes), hide=False)
        return distinct(state.image.dataset_of_replica[replicas[:count]].astype(np.int64))

    def _note_passed_over(self, replicas: Indices) -> None:
        """Of these replicas, whose turn it was, what was set aside would have gone."""
        if self.guard:
            rows = self.state.rows_of_replicas(np.sort(replicas))
            self._pass_over(rows)

    def _note_passed_over_everywhere(self) -> None:
        """At sites that are still triggered everything had its turn."""
        if self.guard and self.state.is_triggered.any():
            self._pass_over(np.flatnonzero(self.state.is_left & self.state.is_triggered[self.state.image.site]))

    def _pass_over(self, rows: Indices) -> None:
        state = self.state
        state.is_passed_over[rows] |= (state.aside[rows] != Aside.NONE) & (state.verdict[rows] == Verdict.KEEP)

    def _how_many(self, site: int, units: Units, handover: Handover, number: int, *, limited: bool) -> int:
        """How many units go: before each one, Until and the step limit are looked at."""
        state = self.state
        size = state.image.size_bytes[units.rows]
        deleted = np.zeros(number, dtype=np.int64)
        np.add.at(deleted, units.of, np.where(handover.is_kept, 0, size))
        freed = deleted.copy()
        np.add.at(freed, units.of, np.where(handover.leaves_image, size, 0))
        left = state.bytes_left[site] - (np.cumsum(freed) - freed)
        stops = self.stop.hold(np.full(number, site), left)
        quota = state.quota[site]
        if limited and quota > 0:
            stops = stops | ((np.cumsum(deleted) - deleted) / quota > self.step_fraction)
        return int(np.argmax(stops)) if stops.any() else number

    def _delete(self, units: Units, handover: Handover, *, hide: bool) -> None:
        """Delete the rows of the units, or hand them over; a hand-over by a Delete line hides them until the next
        iteration."""
        state = self.state
        rows, of = units.rows, units.of
        number: Small = np.asarray(self.last_deletion + 1 + of, dtype=np.int32)
        self.last_deletion += int(of.max()) + 1 if len(of) else 0
        gone = rows[~handover.is_kept]
        if self.guard:
            self.guard.note_gone(gone, by_delete_line=state.verdict[gone] == Verdict.DELETE)
        state.delete_order[gone] = number[~handover.is_kept]
        state.remove(gone)
        state.verdict[gone] = Verdict.DELETE
        moved = rows[handover.is_kept]
        state.group[moved] = handover.group[handover.is_kept]
        if len(moved):
            is_kept = handover.is_kept
            state.note_handover(moved, number[is_kept], handover.group[is_kept], handover.leaves_image[is_kept])
        state.set_verdicts(moved, np.full(len(moved), Verdict.REOWNED, dtype=np.int8))
        if hide:
            state.hide(moved)
        state.remove(rows[handover.leaves_image])

    def _stays_in_partition(self, rows: Indices, group: Small) -> Flags:
        return self.evaluator.is_any(self.partition, rows, group)
