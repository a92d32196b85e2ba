"""Globs that include others, and lists of globs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.base.glob import glob_includes, glob_matches, is_named, literal_start

GLOBS = st.text("ab*?", min_size=1, max_size=5)


@given(wide=GLOBS, narrow=GLOBS, data=st.data())
def test_what_is_included_is_matched(wide: str, narrow: str, data: st.DataObject) -> None:
    pieces = {"*": st.text("ab", max_size=3), "?": st.sampled_from("ab")}
    value = "".join(data.draw(pieces[char]) if char in pieces else char for char in narrow)
    if glob_includes(wide, narrow):
        assert glob_matches(value, wide)


@pytest.mark.parametrize(
    ("wide", "narrow", "included"),
    [
        ("*", "?a*", True),
        ("/*/RAW", "/a/*/RAW", True),
        ("/a?", "/a*", False),
        ("a*b", "a", False),
        ("/[ab]*", "/[ab]*", True),
        ("/[ab]*", "/a*", False),
        ("/[ab]*", "/ax", True),
        ("[a]", "a", False),
    ],
)
def test_inclusion(wide: str, narrow: str, included: bool) -> None:
    assert glob_includes(wide, narrow) is included


@pytest.mark.parametrize(("glob", "start"), [("/a*b", "/a"), ("*", ""), ("T2_[AB]*", "T2_"), ("/a", "/a")])
def test_what_all_begin_with(glob: str, start: str) -> None:
    assert literal_start(glob) == start


@pytest.mark.parametrize(
    ("patterns", "named"),
    [([], False), (["T2_*"], True), (["T2_*", "!T2_A"], False), (["!T2_A", "T2_*"], True), (["T1_*"], False)],
    ids=["nothing", "a glob", "but this one", "later ones win", "others"],
)
def test_a_list_of_globs(patterns: list[str], named: bool) -> None:
    assert is_named("T2_A", patterns) is named
