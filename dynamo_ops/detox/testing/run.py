"""Run policy tests: each makes an inventory, asks Detox for its plan, and compares. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import yaml

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.detox.engine.plan import DeletionPlan, plan_deletions
from dynamo_ops.detox.testing.facts import Example, Examples, Expectation, read_examples
from dynamo_ops.detox.testing.inventory import example_frames, site_facts
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.language.source import SourceText, read_source
from dynamo_ops.policy.partition import Partitions, load_partitions

SUFFIX = ".test.yaml"


@dataclass(frozen=True)
class Outcome:
    """What became of one test. ``failures``: one text for each expectation that does not hold, with what was found
    instead. ``expected_lines``: numbers of the policy lines that it expects to decide; 0 is the default."""

    name: str
    failures: tuple[str, ...]
    expected_lines: frozenset[int]


@dataclass(frozen=True)
class PolicyTest:
    """A file of tests and the texts that it speaks of."""

    file: Path
    examples: Examples
    policy: SourceText
    partitions: SourceText


def read_policy_test(file: Path, partitions: SourceText | None = None) -> PolicyTest:
    """The tests of ``file`` with their policy. ``partitions``: for a file that defines none. Raises SettingsError and
    PolicyError."""
    examples = read_examples(file)
    policy = read_source(file.parent / (examples.policy or f"{file.name.removesuffix(SUFFIX)}.txt"))
    if examples.partitions is not None:
        text = "".join(f"{name}: {condition}\n" for name, condition in examples.partitions.items())
        partitions = SourceText(f"{file}:partitions", text)
    if partitions is None:
        reason = "the file defines no partitions, and the installation has none"
        raise SettingsError(f"{file}: partitions: {reason}", file=str(file), key="partitions", reason=reason)
    return PolicyTest(file, examples, policy, partitions)


def run_policy_test(test: PolicyTest) -> tuple[Outcome, ...]:
    """The outcome of each test of the file, in order. Raises SettingsError and PolicyError if one cannot be run."""
    return tuple(_outcome(test, example) for example in test.examples.tests)


def _outcome(test: PolicyTest, example: Example) -> Outcome:
    now = example.now or test.examples.now
    policy = load_policy(test.policy.text, now=now, file=test.policy.file)
    partitions = load_partitions(test.partitions.text, now=now, file=test.partitions.file)
    plan = _plan(test, example, policy, partitions)
    expected = [(expectation, _line(test, example, expectation, policy)) for expectation in example.expect]
    failures = (_failure(expectation, line, plan, policy) for expectation, line in expected)
    numbers = frozenset(line for _, line in expected if line is not None)
    return Outcome(example.name, tuple(text for text in failures if text), numbers)


def _plan(test: PolicyTest, example: Example, policy: CheckedPolicy, partitions: Partitions) -> DeletionPlan:
    """The plan of the test's inventory. Where an occupancy is given the quota follows from a plan made before."""
    examples, sites = test.examples, site_facts(test.examples, example)
    partition = policy.partition or examples.partition or ""
    rules = yaml.safe_dump({"rules": examples.enforcer, "default_destination_group": examples.owner})
    quotas = {name: site.quota for name, site in sites.items()}

    def planned() -> DeletionPlan:
        leaves = partitions.leaves(partition)
        return plan_deletions(
            example_frames(examples, example, file=str(test.file), leaves=leaves, quotas=quotas),
            policy,
            partitions,
            now=policy.now,
            partition=partition,
            enforcer_rules=load_rules(rules, now=policy.now, file=f"{test.file}:enforcer") if examples.enforcer else (),
            protected_sites=examples.protected_sites,
        )

    full = {name: site.occupancy for name, site in sites.items() if site.occupancy}
    if full:
        held = dict(planned().site_states.select("site", "bytes_before").iter_rows())
        quotas |= {name: round(held.get(name, 0) / occupancy) for name, occupancy in full.items()}
    return planned()


def _line(test: PolicyTest, example: Example, expected: Expectation, policy: CheckedPolicy) -> int | None:
    """Number of the policy line that an expectation means; None for none."""
    if expected.line is None:
        return None
    wanted = " ".join(expected.line.split())
    texts = {line.number: " ".join(line.text.split()) for line in (policy.default, *policy.lines)}
    numbers = [number for number, text in texts.items() if text == wanted]
    numbers = numbers or [number for number, text in texts.items() if text.startswith(wanted)]
    if len(numbers) == 1:
        return numbers[0]
    reason = (
        f"{len(numbers)} lines of {policy.source.file} begin with {wanted!r}"
        if numbers
        else f"no line of {policy.source.file} begins with {wanted!r}"
    )
    raise SettingsError(
        f"{test.file}: test {example.name!r}: {reason}", file=str(test.file), key="expect", reason=reason
    )


def _failure(expected: Expectation, line: int | None, plan: DeletionPlan, policy: CheckedPolicy) -> str | None:
    """Why an expectation does not hold: what was expected, and what was found. None if it does."""
    named = {"dataset": expected.dataset, "block": expected.block, "site": expected.site}
    meant = pl.all_horizontal(pl.lit(True), *(pl.col(column) == name for column, name in named.items() if name))
    decisions = plan.decisions.filter(meant)
    decided = sorted(decisions.select("decision", "line").unique().iter_rows())
    wanted = [] if expected.decision == "outside" else [(expected.decision, line)]
    if decided == wanted:
        return None
    lines = {policy_line.number: policy_line for policy_line in (policy.default, *policy.lines)}
    texts = [f"{decision} by line {number} ({lines[number].text})" for decision, number in decided]
    where = " ".join(text for text in (expected.dataset, expected.block, expected.site) if text) or "all"
    return f"{where}: expected {_told(expected)}, found {' and '.join(texts) or 'nothing that the policy decides on'}"


def _told(expected: Expectation) -> str:
    return expected.decision + (f" by {expected.line}" if expected.line else "")


def lines_without_test(policy: CheckedPolicy, outcomes: Sequence[Outcome]) -> list[str]:
    """Texts of the policy's lines, the default too, that no test expects to decide."""
    covered = frozenset[int]().union(*(outcome.expected_lines for outcome in outcomes))
    return [line.text for line in (*policy.lines, policy.default) if line.number not in covered]
