"""Which policy lines can never match, because an earlier line takes whatever they would match.

A line is tried on the blocks that remain of a dataset replica, and each predicate is reduced on its own: one on block
replicas holds if it does for any of them. An earlier line E covers a later line L if each predicate of E follows from
some predicate of L, and in addition

- blocks may be gone when L is tried, taken by a Block line between the two (or by E). So what E asks must hold for
  more blocks when it holds for fewer (``GROWS``);
- a Block line with more than one predicate on blocks takes only the blocks that fulfil all of them. A line without
  Block can be fulfilled by several blocks, one for each predicate: E does not cover it.

Each yes holds for every inventory, at the policy's now and for ever after.
"""

from __future__ import annotations

from itertools import accumulate

from dynamo_ops.policy.language.check import CheckedLine, CheckedPolicy, CheckedPredicate
from dynamo_ops.policy.language.variables import Scope
from dynamo_ops.policy.linter.implication import implies, is_always_true

GROWS = frozenset(
    {
        ("replica.size", ">"),
        ("replica.incomplete", "true"),
        ("replica.has_locked_block", "true"),
        ("replica.last_block_created", "newer_than"),
        ("replica.last_used", "newer_than"),
        ("replica.first_block_created", "older_than"),
        ("dataset.num_full_disk_copy", ">"),
        ("dataset.num_full_copy", ">"),
        ("replica.num_full_disk_copy_common_owner", ">"),
        ("replica.num_full_other_copy_common_owner", ">"),
        ("blockreplica.age_relative_to_newest", ">"),
    }
)
"""What holds for all blocks of a replica if it holds for some of them; besides what does not depend on its blocks."""


class Covers:
    """The lines of one policy, and which of them cover others."""

    def __init__(self, policy: CheckedPolicy) -> None:
        self.policy = policy
        self.now = policy.now
        self.asked = [self._asked(line) for line in policy.lines]
        self.names = [frozenset(p.variable.name for p in asked) for asked in self.asked]
        self.block_lines = list(accumulate((line.is_block for line in policy.lines), initial=0))
        """How many of the lines before each are Block lines."""

    def covering(self, index: int) -> CheckedLine | None:
        """The first line before the one at ``index`` that takes all that it would match; None if there is none."""
        later = self.policy.lines[index]
        assert later.condition is not None
        later_names = frozenset(predicate.variable.name for predicate in later.condition.predicates)
        for number, earlier in enumerate(self.policy.lines[:index]):
            if self.names[number] <= later_names and self._covers(number, earlier, index, later):
                return earlier
        return None

    def _asked(self, line: CheckedLine) -> list[CheckedPredicate]:
        """The predicates of a line that something at a target site may not fulfil."""
        assert line.condition is not None
        return [p for p in line.condition.predicates if not is_always_true(p) and not self._is_given_by_targets(p)]

    def _is_given_by_targets(self, predicate: CheckedPredicate) -> bool:
        return predicate.variable.scope is Scope.SITE and all(
            any(implies(target, predicate, self.now) for target in on.predicates) for on in self.policy.targets
        )

    def _covers(self, number: int, earlier: CheckedLine, index: int, later: CheckedLine) -> bool:
        assert earlier.condition is not None
        assert later.condition is not None
        window = earlier.condition.window
        if window and not (window.kind == "from" and earlier.condition.in_force):
            return False
        of_blocks = [p for p in earlier.condition.predicates if p.variable.scope is Scope.BLOCK_REPLICA]
        takes_some = earlier.is_block and bool(of_blocks)
        if takes_some and len(of_blocks) > 1 and not later.is_block:
            return False
        blocks_go = takes_some or self.block_lines[index] > self.block_lines[number + 1]
        return all(
            (not blocks_go or _grows(asked)) and any(implies(p, asked, self.now) for p in later.condition.predicates)
            for asked in self.asked[number]
        )


def _grows(predicate: CheckedPredicate) -> bool:
    """Whether it holds for all blocks of a replica if it holds for some of them, in one evaluation."""
    variable = predicate.variable
    if variable.scope in (Scope.DATASET, Scope.SITE) or variable.name == "replica.owners":
        return True
    if variable.scope is Scope.BLOCK_REPLICA and variable.name != "blockreplica.age_relative_to_newest":
        return True
    return (variable.name, predicate.operator) in GROWS
