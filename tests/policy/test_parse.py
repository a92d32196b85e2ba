"""Text to tree, and where syntax errors point."""

from __future__ import annotations

import pytest

from dynamo_ops.errors import PolicyError
from dynamo_ops.policy import tree
from dynamo_ops.policy.parse import parse_policy


@pytest.mark.parametrize(
    ("line", "column", "expected"),
    [
        pytest.param("Protekt dataset.name == x", 1, "Protect, Delete, Dismiss or Ignore", id="unknown statement"),
        pytest.param("Delete dataset.name = x", 21, "an operator", id="unknown operator"),
        pytest.param("Delete dataset.name ==", 23, "a value", id="no value"),
        pytest.param("On site.name in T2_*", 17, "a list like", id="no list"),
        pytest.param("Dismiss replica.incomplete and", 31, "a variable", id="ends with and"),
        pytest.param("Order up dataset.name", 7, "increasing or decreasing", id="no direction"),
        pytest.param("DeleteBlock", 12, "a variable", id="Block line without condition"),
    ],
)
def test_errors_point_at_the_column(line: str, column: int, expected: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("# comment\n" + line, file="p.txt")
    error = caught.value
    assert (error.facts["file"], error.facts["line"], error.facts["column"]) == ("p.txt", 2, column)
    assert expected in error.message
    assert error.message.splitlines()[-1] == "    " + " " * (column - 1) + "^"


def test_all_wrong_lines_are_said_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("Protekt x\nDismiss\nOrder up x")
    assert [error.facts["line"] for error in caught.value.facts["errors"]] == [1, 3]


def test_values_keep_their_blanks_and_lists_their_positions() -> None:
    text = "Protect blockreplica.owner == IB RelVal and dataset.name in [/a  /b*] until 3 months ago"
    (line,) = parse_policy(text).statements
    assert isinstance(line, tree.PolicyLine)
    assert line.condition is not None
    first, second = line.condition.predicates
    assert [word.text for word in first.values] == ["IB RelVal"]
    assert [(word.text, text[word.at.column - 1 :][: len(word.text)]) for word in second.values] == [
        ("/a", "/a"),
        ("/b*", "/b*"),
    ]
    assert line.condition.window is not None
    assert line.condition.window.time.text == "3 months ago"
