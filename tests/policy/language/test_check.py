"""Names, types, values, times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.base.times import never_later, parse_time, resolve_time
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.source import each_error
from dynamo_ops.policy.language.variables import ALIASES, BUILT_IN, Attribute, Scope, Type, Variable, by_name

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
        pytest.param("Delete dataset.name =~ (?=/)(/?[a-z]+)+!", 24, "cannot be used: it could take", id="for ever"),
        pytest.param("Delete dataset.name =~ (/?[a-z]{2}+)+!", 24, "cannot be used: it could take", id="large"),
        pytest.param("Delete dataset.name in []", 8, "is empty", id="empty list"),
        pytest.param("Delete dataset.size > 1e999", 23, "too large", id="infinite"),
        pytest.param("Delete dataset.size > ٣", 23, "expected a number", id="other digits"),
        pytest.param("Delete dataset.name =~ a{99999999999}", 24, "not a regular expression", id="repetition"),
        pytest.param("Delete dataset.status == [V]ALID", 26, "Did you mean VALID", id="a set alone is no glob"),
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
    ("old", "new"),
    [
        ("replica.is_last_transfer_source", "blockreplica.is_last_transfer_source"),
        ("replica.has_locked_block", "blockreplica.is_locked"),
        ("replica.group_name == a", "replica.owners"),
    ],
)
def test_old_names_are_accepted_with_a_note(old: str, new: str) -> None:
    (note,) = load_policy(f"{HEAD}Protect {old}\nProtect\n", now=NOW).notes
    assert note.startswith("line 5 of the file: ")
    assert "old name" in note
    assert new in note


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


@pytest.mark.parametrize(
    "phrase",
    [
        "99999999999 days ago",
        "9" * 5000 + " days ago",
        "9999 years ago",
        "0000-01-01",
        "9999-12-31T23:59-23:59",
        "May 32",
    ],
)
def test_times_outside_the_calendar(phrase: str) -> None:
    with pytest.raises(ValueError, match=r"before year 1|is not a time"):
        resolve_time(phrase, NOW)


@pytest.mark.parametrize("phrase", ["soon", "3 moons ago", "2017-13-01", "February 30", "-3 days ago", "ago"])
def test_unknown_times(phrase: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        resolve_time(phrase, NOW)


MOMENTS = ("now", "30 days ago", "5 weeks ago", "1 month ago", "2 months ago", "1 year ago", "2018-03-01", "January 1")


@pytest.mark.parametrize("first", MOMENTS)
@pytest.mark.parametrize("second", MOMENTS)
def test_what_is_never_later_is_so_on_every_later_day(first: str, second: str) -> None:
    if never_later(parse_time(first), parse_time(second), NOW):
        for days in range(0, 1500, 3):
            day = NOW + timedelta(days=days)
            assert resolve_time(first, day) <= resolve_time(second, day), day
    assert never_later(parse_time(first), parse_time(first), NOW) or first == "1 month ago"


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


def test_errors_of_all_kinds_are_said_together_in_the_order_of_the_text() -> None:
    text = (
        "On site.storage_type == DISK\nWhen site.ocupancy > 0.9\nUntil site.occupancy < 0.8\n"
        "Protect dataset.name = /A/*\nDelete dataset.status == BAD\nDissmiss\n"
    )
    with pytest.raises(PolicyError) as caught:
        load_policy(text, now=NOW)
    errors = each_error(caught.value)
    assert [(error.facts["line"], error.facts["column"]) for error in errors] == [(2, 6), (4, 22), (5, 26), (6, 1)]
    assert "default decision" not in caught.value.message  # it may stand in the line that cannot be read
