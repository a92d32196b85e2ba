"""Tests of policies: what they can say, what they find, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.detox.testing.run import Outcome, lines_without_test, read_policy_test, run_policy_test
from dynamo_ops.policy.language.check import load_policy

POLICY = """\
On site.storage_type == DISK
On site.storage_type == MSS
When site.occupancy > 0.9
Until site.occupancy < 0.5
Ignore site.storage_type == MSS
ProtectBlock blockreplica.is_locked
Protect dataset.last_access newer_than 30 days ago
Protect dataset.on_tape == FULL
Delete dataset.status == INVALID
DeleteBlock blockreplica.owner == loose
Protect dataset.is_latest_production_release
Dismiss
Order decreasing dataset.usage_rank
"""
BASE: dict[str, Any] = {
    "partition": "all",
    "partitions": {"all": "dataset.name == /*"},
    "now": "2026-03-01",
    "owner": "physics",
    "groups": {"physics": "dataset", "loose": "block"},
    "sites": {"A": {}, "Full": {"occupancy": 0.95}, "Tape": {"storage_type": "mss", "quota": "unlimited"}},
}


def outcomes(folder: Path, *tests: dict[str, Any], **changes: Any) -> tuple[Outcome, ...]:
    (folder / "p.txt").write_text(POLICY)
    given = {**BASE, "tests": [{"name": f"test {n}", **test} for n, test in enumerate(tests)], **changes}
    (folder / "p.test.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    return run_policy_test(read_policy_test(folder / "p.test.yaml"))


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "defaults": ({"/a": {"replicas": ["A"]}}, ["keep by Dismiss"]),
    "a full site": ({"/a": {"replicas": ["Full"]}}, ["delete by Dismiss"]),
    "the least popular first": (
        {n: {"usage_rank": rank, "replicas": ["Full"]} for n, rank in {"/a": 1, "/b": 9, "/c": 5}.items()},
        ["keep of /a by Dismiss", "delete of /b by Dismiss", "delete of /c by Dismiss"],
    ),
    "a time as attribute": (
        {"/a": {"last_access": "29 days ago", "replicas": ["Full"]}},
        ["protect by Protect dataset.last_access"],
    ),
    "a flag as attribute": (
        {"/a": {"latest_production_release": True, "replicas": ["Full"]}},
        ["protect by Protect dataset.is_latest"],
    ),
    "attributes by their own key": (
        {"/a": {"attributes": {"latest_production_release": True}, "replicas": ["Full"]}},
        ["protect at Full by Protect dataset.is_latest"],
    ),
    "one locked block": (
        {"/a": {"blocks": 2, "replicas": {"Full": {"blocks": {"b2": {"locked": True}}}}}},
        ["delete of /a#b1 by Dismiss", "protect of /a#b2 by ProtectBlock"],
    ),
    "tape": (
        {"/a": {"status": "invalid", "replicas": ["Full", "Tape"]}},
        ["protect at Full by Protect dataset.on_tape == FULL", "ignore at Tape by Ignore"],
    ),
    "an empty replica on tape": (
        {"/a": {"replicas": {"Full": {}, "Tape": {"blocks": []}}}},
        ["delete at Full by Dismiss", "ignore at Tape by Ignore"],
    ),
    "another owner": (
        {"/a": {"replicas": {"A": {"owner": "loose"}, "Full": {"owner": None}}}},
        ["delete at A by DeleteBlock", "delete at Full by Dismiss"],
    ),
    "blocks of given sizes": (
        {"/a": {"blocks": {"x": "1 GB", "y": 5}, "status": "invalid", "replicas": {"A": "3 days"}}},
        ["delete of /a#x by Delete dataset.status", "delete of /a#y at A by Delete dataset.status"],
    ),
    "outside": ({"/a": {"replicas": ["A"]}}, ["outside at Full", "outside of /b", "outside of /a#b7 at A"]),
}


@pytest.mark.parametrize(("datasets", "expect"), CASES.values(), ids=CASES)
def test_facts_and_expectations(tmp_path: Path, datasets: dict[str, Any], expect: list[str]) -> None:
    (outcome,) = outcomes(tmp_path, {"datasets": datasets, "expect": expect})
    assert outcome.failures == ()


def test_sites_of_one_test_and_its_own_now(tmp_path: Path) -> None:
    datasets = {"/a": {"last_access": "2026-01-15", "replicas": ["New"]}}
    new = {"New": {"quota": "1 GB"}}
    late = {"datasets": datasets, "sites": new, "expect": "delete by Dismiss"}
    early = {**late, "now": "2026-02-01", "expect": "protect by Protect dataset.last_access"}
    assert [outcome.failures for outcome in outcomes(tmp_path, late, early)] == [(), ()]


def test_a_quota_that_is_unknown(tmp_path: Path) -> None:
    case = {"datasets": {"/a": {"replicas": ["A"]}}, "sites": {"A": {"quota": "unknown"}}, "expect": "keep by Dismiss"}
    assert outcomes(tmp_path, case)[0].failures == ()


def test_a_failure_says_what_was_expected_and_found(tmp_path: Path) -> None:
    (outcome,) = outcomes(
        tmp_path,
        {"datasets": {"/a": {"replicas": ["A"]}}, "expect": ["delete at A by Dismiss", "keep at Full by Dismiss"]},
    )
    assert outcome.failures == (
        "A: expected delete by Dismiss, found keep by line 0 (Dismiss)",
        "Full: expected keep by Dismiss, found nothing that the policy decides on",
    )


def test_lines_that_no_test_expects(tmp_path: Path) -> None:
    found = outcomes(tmp_path, {"datasets": {"/a": {"replicas": ["A"]}}, "expect": "keep by Dismiss"})
    policy = load_policy(POLICY, now=read_policy_test(tmp_path / "p.test.yaml").examples.now)
    missing = lines_without_test(policy, found)
    assert len(missing) == len(policy.lines)
    assert "Dismiss" not in missing


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "unknown key": ({"dataset": {}}, {}, r"tests\.0\.dataset: there is no such setting"),
    "unknown fact": (
        {"datasets": {"/a": {"usage_rnak": 3}}},
        {},
        r"datasets\./a\.usage_rnak: there is no such setting",
    ),
    "unknown attribute": ({"datasets": {"/a": {"attributes": {"usage_rnak": 3}}}}, {}, "Did you mean usage_rank"),
    "unknown site": ({"datasets": {"/a": {"replicas": ["B"]}}}, {}, r"datasets\./a\.replicas\.B: unknown site 'B'"),
    "unknown owner": ({"datasets": {"/a": {"replicas": {"A": {"owner": "x"}}}}}, {}, "unknown group 'x'"),
    "unknown block": ({"datasets": {"/a": {"replicas": {"A": {"blocks": ["b9"]}}}}}, {}, "no block 'b9'"),
    "unknown status": ({"datasets": {"/a": {"status": "vald"}}}, {}, "'vald' is none of"),
    "no time": ({"datasets": {"/a": {"last_access": "soon"}}}, {}, "'soon' is not a time"),
    "no age": ({"datasets": {"/a": {"replicas": {"A": 5}}}}, {}, r"replicas\.A"),
    "no size": ({"datasets": {"/a": {"size": "much"}}}, {}, "'much' is no size"),
    "no expectation": ({"expect": "kept"}, {}, "expected text like"),
    "no such line": ({"expect": "keep by Protect everything"}, {}, "no line of .* begins with 'Protect everything'"),
    "several lines": ({"expect": "keep by Protect d"}, {}, "3 lines of .* begin with 'Protect d'"),
    "no tests": ({}, {"tests": []}, "tests: List should have at least 1 item"),
    "no partitions": ({}, {"partitions": None}, "defines no partitions"),
}


@pytest.mark.parametrize(("change", "of_file", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_file_and_key(
    tmp_path: Path, change: dict[str, Any], of_file: dict[str, Any], message: str
) -> None:
    test = {"datasets": {"/a": {"replicas": ["A"]}}, "expect": "keep by Dismiss", **change}
    with pytest.raises(SettingsError, match=message) as caught:
        outcomes(tmp_path, test, **of_file)
    assert "p.test.yaml" in caught.value.message
