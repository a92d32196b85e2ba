"""Text to tree, and where syntax errors point."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lark import Lark

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.policy.language import parse, tree
from dynamo_ops.policy.language.parse import parse_policy
from dynamo_ops.policy.language.source import Position, SourceText, read_source


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


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        pytest.param("Protekt x", 1, "Did you mean Protect", id="near statement"),
        pytest.param("Partitionphysics", 1, "read 'Partitionphysics'", id="statement without blank"),
        pytest.param("Delete notreplica.incomplete andx", 30, "read 'andx'", id="words end at blanks"),
        pytest.param(
            "Delete replica.incomplete and", 30, "read the end of the line, expected", id="nothing behind and"
        ),
        pytest.param(
            "Delete dataset.name == /a and", 30, "read the end of the line, expected", id="nor behind a value"
        ),
        pytest.param("Delete dataset.name in [a b", 24, "expected a list", id="open list"),
        pytest.param("Delete\xa0dataset.name == x", 7, "U+00A0 (NO-BREAK SPACE)", id="no-break space"),
        pytest.param("Delete dataset.name == x\x0by", 25, "U+000B", id="vertical tab"),
        pytest.param("Delete dataset.name == \u202ex", 24, "RIGHT-TO-LEFT OVERRIDE", id="direction"),
    ],
)
def test_what_is_read_and_expected(line: str, column: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("\ufeff# comment\r\n\r" + line, file="p.txt")
    assert (caught.value.facts["line"], caught.value.facts["column"]) == (3, column)
    assert message in caught.value.message


def test_the_caret_is_below_the_column_behind_tabs_and_in_long_lines() -> None:
    for before in ("\t", "Delete dataset.name in [" + "a " * 500 + "] and "):
        line = f"{before}Delete x y"
        with pytest.raises(PolicyError) as caught:
            parse_policy(line)
        _, shown, caret = caught.value.message.splitlines()
        assert len(shown) < 200
        column = caught.value.facts["column"]
        assert isinstance(column, int)
        assert shown[len(caret) - 1 :].startswith(line[column - 1 :][:5])


def test_lines_end_where_editors_end_them_and_nowhere_else() -> None:
    assert SourceText("p", "a\r\nb\rc\nd\x0be\u2028f\n").lines == ("a", "b", "c", "d\x0be\u2028f")
    assert SourceText("p", "").end == SourceText("p", "\n").end == Position(1, 1)


def test_a_file_that_is_not_utf_8_names_the_place(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_bytes(b"# fine\nProtect \xff")
    with pytest.raises(PolicyError, match=r"p\.txt:2:9: the byte 0xff is not UTF-8"):
        read_source(file)
    with pytest.raises(PolicyError, match="cannot be read"):
        read_source(tmp_path / "nosuch.txt")


def test_sets_may_stand_in_lists() -> None:
    (line,) = parse_policy("Protect dataset.name in [ /[ab]*\t/c ] and replica.incomplete").statements
    assert isinstance(line, tree.PolicyLine)
    assert line.condition is not None
    assert [word.text for word in line.condition.predicates[0].values] == ["/[ab]*", "/c"]
    assert [word.at.column for word in line.condition.predicates[0].values] == [27, 34]


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


def test_the_grammar_reads_the_same_in_every_python() -> None:
    """Possessive quantifiers match wrongly in Python 3.11.2: "DISK and site.x == 3" was one text."""
    grammar = Path(parse.__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    patterns = [terminal.pattern.to_regexp() for terminal in Lark(grammar, start=["statement", "condition"]).terminals]
    assert len(patterns) > 10
    assert not [pattern for pattern in patterns if re.search(r"[*+?}]\+|\(\?>", pattern.replace("\\+", ""))]
    [line] = parse_policy("Delete site.name == A B and dataset.name == /x", file="p.txt").statements
    assert isinstance(line, tree.PolicyLine)
    assert line.condition is not None
    assert len(line.condition.predicates) == 2


@pytest.mark.parametrize(
    ("line", "num_errors"),
    [
        pytest.param("Delete dataset.name == " + "a " * 50_000, 0, id="words"),
        pytest.param("Delete dataset.name == a" + " " * 100_000 + "and replica.incomplete", 0, id="blanks"),
        pytest.param("Delete dataset.name in [" + "[a]" * 30_000, 1, id="open list"),
    ],
)
def test_a_long_line_takes_no_longer_than_its_length(line: str, num_errors: int) -> None:
    """Each is read at once or never: a pattern that tries again at each sign would run for hours."""
    _, errors = parse.parse_lines(line, file="p.txt")
    assert len(errors) == num_errors
