"""Globs, regular expressions and unknown values as Polars."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.base.glob import texts_expr
from dynamo_ops.policy.evaluation.compile import condition_expr, predicate_expr, regex_expr
from dynamo_ops.policy.language.check import check_condition
from dynamo_ops.policy.language.parse import parse_condition
from dynamo_ops.policy.language.regex import python_regex, rust_regex
from dynamo_ops.policy.language.source import SourceText

NOW = datetime(2018, 1, 15, tzinfo=UTC)


def selects(condition: str, column: str, values: list[object], *, unknown: bool = False) -> list[bool]:
    source = SourceText("p", condition)
    checked = check_condition(parse_condition(condition, source=source), source=source, now=NOW)
    expr = condition_expr(checked, lambda p: predicate_expr(p, pl.col(column), source), unknown=unknown)
    return pl.DataFrame({column: values}).select(expr.alias("found"))["found"].to_list()


@given(value=st.text("ab/[]*?!-.&~|^\\\n", max_size=6), glob=st.text("ab/[]*?!-.&~|^\\", max_size=6))
def test_globs_match_as_the_shell_does(value: str, glob: str) -> None:
    found = pl.DataFrame({"v": [value]}).select(texts_expr([glob], pl.col("v")).alias("found"))["found"][0]
    assert found == (fnmatchcase(value, glob) if "*" in glob or "?" in glob else value == glob)


@pytest.mark.parametrize(
    ("glob", "value", "matches"),
    [
        pytest.param("/[ab]*", "/ax", True, id="class in a glob"),
        pytest.param("/[!ab]*", "/ax", False, id="negated class"),
        pytest.param("/[ab]", "/[ab]", True, id="literal without star"),
        pytest.param("/[ab]", "/a", False, id="no class without star"),
        pytest.param("/*", "/a\nb", True, id="star crosses all"),
    ],
)
def test_brackets(glob: str, value: str, matches: bool) -> None:
    assert pl.DataFrame({"v": [value]}).select(texts_expr([glob], pl.col("v")).alias("m"))["m"][0] is matches


@pytest.mark.parametrize(
    "condition", ["dataset.usage_rank > 1", "dataset.usage_rank != 1", "dataset.usage_rank notin [1 2]"]
)
def test_unknown_fulfils_only_what_keeps_data(condition: str) -> None:
    assert selects(condition, "v", [None, 5.0]) == [False, True]
    assert selects(condition, "v", [None, 5.0], unknown=True) == [True, True]


def test_regular_expressions_are_anchored_at_the_start_only() -> None:
    assert selects("dataset.name =~ /a|/b", "v", ["/ax", "x/a", "/b"]) == [True, False, True]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        pytest.param("/(?!a)", [False, True, False], id="look-ahead"),
        pytest.param("/.*(?<=b)$", [False, True, False], id="look-behind"),
        pytest.param(r"/(.)\1", [True, False, False], id="back-reference"),
        pytest.param("(?i)/A", [True, False, False], id="flag"),
        pytest.param("/a++a", [False, False, False], id="possessive"),
        pytest.param(r"(?:/(?:a{999}){999})?/b", [False, True, False], id="too large for the quick engine"),
    ],
)
def test_what_only_python_knows_means_what_python_says(pattern: str, found: list[bool]) -> None:
    values: list[object] = ["/aa", "/b", "x", None]
    assert selects(f"dataset.name =~ {pattern}", "v", values) == [*found, False]
    assert selects(f"dataset.name =~ {pattern}", "v", values, unknown=True) == [*found, True]
    assert selects(f"dataset.name !=~ {pattern}", "v", values) == [*(not each for each in found), False]


PATTERNS = st.text("ab/.*+?|()[]{}^$\\-dwsSWD1,&~<> _:\n2!=P", min_size=1, max_size=9)
NAMES = st.lists(st.text("ab/1-_ \n]^&é²\x1c<", max_size=6), min_size=1, max_size=8)


@given(pattern=PATTERNS, names=NAMES)
def test_both_engines_mean_the_same(pattern: str, names: list[str]) -> None:
    try:
        wanted = [bool(python_regex(pattern).match(name)) for name in names]
    except ValueError:
        return
    found = pl.DataFrame({"v": names}).select(regex_expr(pattern, pl.col("v")).alias("found"))
    assert found["found"].to_list() == wanted


def test_everyday_patterns_are_left_to_the_quick_engine() -> None:
    for pattern in ("/.*/RAW$", r"/[^/]+/Run20(24|25)[A-F]-.*", r"/\w+-v\d{1,3}/", "/(?:A|B)*?"):
        assert rust_regex(pattern) is not None, pattern
