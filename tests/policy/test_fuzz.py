"""Whatever the text: a policy, or errors that point into it. The long run is ``python -m benchmarks.fuzz_policy``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzz_policy import FRAME, judge, real_policies, run

NASTY = {
    "NUL": "Protect dataset.name == a\x00b",
    "line ends that only Python sees": "Protect dataset.name == a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i",
    "carriage returns": "Protect dataset.name == a\rDismiss x\r\n\r\r\nDelete",
    "byte order mark": "\ufeffProtect dataset.name == a",
    "turned direction": "Protect dataset.name == \u202e/a",
    "lone surrogate": "Protect dataset.name == \ud800",
    "blank that is none": "Protect\xa0dataset.name == a",
    "tabs": "\tProtect\tdataset.name\t==\t\ta\tand\t\tx\t",
    "before year 1": "Protect dataset.last_update older_than 99999999999 days ago",
    "more digits than Python reads": f"Protect dataset.last_update older_than {'9' * 1900} days ago",
    "year 0": "Protect dataset.last_update older_than 0000-01-01",
    "behind year 9999": "Protect dataset.last_update older_than 9999-12-31T23:59-23:59",
    "no such day": "Protect dataset.last_update older_than February 29",
    "infinite": "Protect dataset.size > 1e999",
    "not a number": "Protect dataset.size > nan",
    "many digits": f"Protect dataset.size > {'9' * 1900}",
    "repetition": "Protect dataset.name =~ a{99999999999}",
    "nested": "Protect dataset.name =~ " + "(" * 1900,
    "back-tracking": "Protect dataset.name =~ (a+)+$",
    "sets": "Protect dataset.name =~ [[a&&b]--[c]]",
    "empty range": "Protect dataset.name == [z-a]*",
    "many stars": "Protect dataset.name == " + "*a" * 900,
    "many stars in an enum": "Protect dataset.status == " + "*a" * 900,
    "long name": "Protect " + "d" * 1900,
    "many blanks": "Protect dataset.name ==" + " " * 1900 + "a",
    "many blanks behind": "Protect dataset.name == a" + " " * 1900 + "b",
    "many conditions": "Protect " + " and ".join(["replica.incomplete"] * 80),
    "many brackets": "Protect dataset.name in " + "[" * 1900,
    "long list": "Protect dataset.name in [" + "a " * 900 + "]",
    "many lines": "x\n" * 900,
    "nothing": "",
}


@pytest.mark.parametrize("line", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("frame", [FRAME, "{}"], ids=["in a frame", "alone"])
def test_nasty_texts(frame: str, line: str) -> None:
    judge(frame.format(line), compiled=True)


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    judge(text)


@given(st.text(max_size=100).filter(lambda text: "\n" not in text))
def test_any_value(text: str) -> None:
    judge(FRAME.format(f"Protect dataset.name =~ {text}"), compiled=True)


def test_texts_that_are_nearly_policies() -> None:
    figures = run("tests", 1500, real_policies())
    assert figures.failures == []
    assert set(figures.outcomes) == {"policy", "error"}
    assert figures.outcomes["policy"] > 50
