"""The policies that we ship pass their own tests, which know every line of them; and lint has nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_ops.detox.testing.run import SUFFIX, lines_without_test, read_policy_test, run_policy_test
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.source import read_source
from dynamo_ops.policy.linter.lint import lint
from dynamo_ops.policy.partition import load_partitions
from dynamo_ops.popularity.attributes import producers
from tests import ROOT

INCLUDE = ROOT / "include"
PARTITIONS = read_source(INCLUDE / "config" / "partitions.txt")
POLICIES = sorted((INCLUDE / "policies").glob("*.txt"))
TESTS = [
    (file, number, example.name)
    for file in sorted((INCLUDE / "policies").glob(f"*{SUFFIX}"))
    for number, example in enumerate(read_policy_test(file, PARTITIONS).examples.tests)
]


@pytest.mark.parametrize(
    ("file", "number"), [row[:2] for row in TESTS], ids=[f"{f.name[:-10]}: {n}" for f, _, n in TESTS]
)
def test_policy(file: Path, number: int) -> None:
    test = read_policy_test(file, PARTITIONS)
    one = test.examples.model_copy(update={"tests": [test.examples.tests[number]]})
    (outcome,) = run_policy_test(type(test)(file, one, test.policy, test.partitions))
    assert outcome.failures == ()


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_every_line_is_expected_by_a_test(file: Path) -> None:
    test = read_policy_test(file.with_suffix(SUFFIX), PARTITIONS)
    policy = load_policy(test.policy.text, now=test.examples.now)
    assert lines_without_test(policy, run_policy_test(test)) == []


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_lint_finds_nothing_and_all_attributes_are_produced_by_us(file: Path) -> None:
    test = read_policy_test(file.with_suffix(SUFFIX), PARTITIONS)
    policy = load_policy(test.policy.text, now=test.examples.now, file=str(file))
    partitions = load_partitions(PARTITIONS.text, now=test.examples.now)
    assert lint(policy, partitions=partitions.conditions, groups=["physics", "express", "relval"]) == ()
    assert set(policy.attributes()) <= {name for producer in producers() for name in producer.attributes}
