"""Names, types, values, times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dynamo_ops.errors import PolicyError
from dynamo_ops.policy.check import load_policy
from dynamo_ops.policy.times import resolve_time
from dynamo_ops.policy.variables import ALIASES, BUILT_IN, Attribute, Scope, Type, Variable, by_name

NOW = datetime(2018, 3, 31, 12, tzinfo=UTC)
HEAD = "On site.name == *\nWhen always\nUntil never\nOrder none\n"


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        pytest.param("Delete dataset.stauts == VALID", 8, "Did you mean dataset.status", id="unknown variable"),
        pytest.param("Delete dataset.status == VALDI", 26, "Did you mean VALID", id="unknown enum value"),
        pytest.param("Delete dataset.status == Z*", 26, "matches none", id="glob that no enum value matches"),
        pytest.param("Delete dataset.usage_rank > many", 29, "expected a number", id="no number"),
        pytest.param("Delete dataset.last_update older_than 3 moons ago", 39, "unknown unit 'moon'", id="unknown unit"),
        pytest.param("Delete dataset.last_update < 2017-01-01", 8, "older_than newer_than", id="wrong operator"),
        pytest.param("Delete dataset.name", 8, "expected ==", id="text is no condition"),
        pytest.param("Delete replica.incomplete == 1", 8, "expected nothing 'not' before it", id="boolean compared"),
        pytest.param("Delete site.occupancy > 1", 8, "cannot be asked", id="site state in a replica condition"),
        pytest.param("Delete dataset.name == /a or site.name == b", 24, "joined by 'and'", id="or"),
        pytest.param("Delete dataset.name =~ (", 24, "not a regular expression", id="broken regular expression"),
        pytest.param("Delete dataset.name in []", 8, "is empty", id="empty list"),
    ],
)
def test_wrong_lines(line: str, column: int, message: str) -> None:
    with pytest.raises(PolicyError, match=r".") as caught:
        load_policy(f"{HEAD}{line}\nProtect\n", now=NOW, file="p.txt")
    assert (caught.value.facts["line"], caught.value.facts["column"]) == (5, column)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "this one is empty", id="empty"),
        pytest.param(HEAD, "expected a default decision", id="no default"),
        pytest.param(HEAD + "Protect\nDismiss\n", "second default decision", id="two defaults"),
        pytest.param("On always\nWhen always\nProtect\n", "no Until line", id="no Until"),
        pytest.param(HEAD + "Protect\nOrder none\n", "second Order", id="two orders"),
        pytest.param(HEAD + "Protect\nAlgo Greedy\n", "unknown algorithm", id="unknown algorithm"),
        pytest.param(
            HEAD.replace("Order none", "Order increasing blockreplica.owner") + "Protect\n",
            "several values",
            id="order by blocks",
        ),
    ],
)
def test_wrong_policies(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        load_policy(text, now=NOW)


def test_notes() -> None:
    text = HEAD.replace("Order none\n", "") + "Protect replica.group_name == AnalysisOps\nProtect\n"
    notes = load_policy(text, now=NOW).notes
    assert any("old name of replica.owners" in note for note in notes)
    assert any("no Order line" in note for note in notes)


@pytest.mark.parametrize(
    ("phrase", "moment"),
    [
        ("90 days ago", datetime(2017, 12, 31, 12, tzinfo=UTC)),
        ("1 week ago", datetime(2018, 3, 24, 12, tzinfo=UTC)),
        ("1 month ago", datetime(2018, 2, 28, 12, tzinfo=UTC)),
        ("12 months ago", datetime(2017, 3, 31, 12, tzinfo=UTC)),
        ("January 1", datetime(2018, 1, 1, tzinfo=UTC)),
        ("2017-08-16", datetime(2017, 8, 16, tzinfo=UTC)),
    ],
)
def test_times(phrase: str, moment: datetime) -> None:
    assert resolve_time(phrase, NOW) == moment


@pytest.mark.parametrize("phrase", ["soon", "3 moons ago", "2017-13-01", "February 30", "-3 days ago", "ago"])
def test_unknown_times(phrase: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        resolve_time(phrase, NOW)


@pytest.mark.parametrize(
    ("window", "in_force"),
    [("until 2018-04-01", True), ("until 2018-03-31", False), ("from 2018-03-31", True), ("from 2018-04-01", False)],
)
def test_windows(window: str, in_force: bool) -> None:
    policy = load_policy(f"{HEAD}Delete dataset.name == /a {window}\nProtect\n", now=NOW)
    assert policy.lines[0].condition is not None
    assert policy.lines[0].condition.in_force is in_force


def test_variables_are_documented_and_aliases_lead_somewhere() -> None:
    known = by_name(BUILT_IN)
    assert all(variable.doc.endswith(".") for variable in BUILT_IN)
    assert set(ALIASES.values()) <= set(known)


def test_two_variables_of_one_name_are_refused() -> None:
    with pytest.raises(PolicyError, match=r"dataset\.name"):
        by_name([*BUILT_IN, Variable("dataset.name", Type.NUMBER, Scope.DATASET, "Twice.", Attribute("x"))])
