"""Which regular expressions Python's engine may be asked: those that end soon on every name."""

from __future__ import annotations

import re

import pytest

from dynamo_ops.base.regex import MOST_STEPS, NAME_CHARACTERS, bounded, check_replacement, steps

FOR_EVER = [
    r"(?=/)(/?[A-Za-z0-9_-]+)+!",
    r"(a+)+$",
    r"(a|aa)+$",
    r"(a|a)*b",
    r"(a|b|ab)*c",
    r"(?i)(a|A|aa)+b",
    r"(.*)*x",
    r"(a*)*",
    r"(x+x+)+y",
    r"(\w+\s?)+$",
    r"(?:(?:[^a]b?a*?)*/)?c",
    r"(?:a?){30}a{30}",
    r"(?!x)(([a-z])+.)+[A-Z]",
    r".*.*.*.*x",
    "a?" * 31 + "a" * 31,
    "(a|aa)" * 31,
]
SOON = [
    r"^/store/(.*)",
    r".*/+store/(mc|data)/(.*)",
    r"/+store/([^/]+)/([^/]+)/([^/]+)/([^/]+)/([^/]+)/(.*)",
    r"/+store/temp/(user/)?(.*)",
    r"([^/]+/)+x",
    r"(/[^/]+)+",
    r"(?!.*_pre).*",
    r"(?=.*a)(?=.*b)(?=.*c)(?=.*d).*",
    r"^/(?!.*Test).*?/Run20(15|16|17|18)[A-Z]-.*/(AOD|MINIAOD)$",
    r"(?:(?!_pre).)*",
    r"/store/(?:(?!test)[^/]+/)*x",
    r"(?>a+)+b",
    r"(a++)+b",
    r"(.)\1",
    r"(?P<era>Run\d{4})/.*(?P=era)",
    r"(x{1,3}){1,3}",
    "|".join(["/abc"] * 200),
]


@pytest.mark.parametrize("pattern", FOR_EVER)
def test_parts_that_can_take_the_same_text_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"it could take steps (without end|\de\+\d+) on one name"):
        bounded(pattern)


@pytest.mark.parametrize("pattern", SOON)
def test_what_ends_soon_is_compiled(pattern: str) -> None:
    assert bounded(pattern) == re.compile(pattern)


def test_steps_are_the_choices_of_parts_that_nothing_separates() -> None:
    assert steps("a") == 1
    assert steps("a*") == steps("a*/b*") == NAME_CHARACTERS + 1
    assert steps("a*.*") == (NAME_CHARACTERS + 1) ** 2
    assert steps("(?:a|ab)(?:c|cd)") == 4
    assert steps(".*.*.*") < MOST_STEPS < steps(".*.*.*.*")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [("(", "unterminated"), ("a{99999999999}", "repetition number is too large"), ("(" * 5_000 + ")" * 5_000, "deep")],
)
def test_what_is_no_expression_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bounded(pattern)


@pytest.mark.parametrize(("replacement", "is_right"), [(r"\1x", True), (r"\2", False), (r"\q", False), ("x\\", False)])
def test_a_replacement_names_groups_that_there_are(replacement: str, is_right: bool) -> None:
    if is_right:
        check_replacement(bounded("(a)"), replacement)
        return
    with pytest.raises(ValueError, match="is no replacement"):
        check_replacement(bounded("(a)"), replacement)
