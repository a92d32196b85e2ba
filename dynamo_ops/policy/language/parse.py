"""Text to tree. Knows the grammar, but no variable, type or value."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.base.text import near
from dynamo_ops.policy.language import tree
from dynamo_ops.policy.language.source import Position, SourceText, raise_together

START = Position(1, 1)
VERBS = (
    *("Partition", "On", "When", "Until", "Order", "Algo"),
    *("Protect", "Delete", "Dismiss", "Ignore", "ProtectBlock", "DeleteBlock", "DismissBlock"),
)
KEYWORDS = {
    "_PARTITION": "Partition",
    "_ORDER": "Order",
    "_ALGO": "Algo",
    "_NONE": "none",
    "_AND": "and",
    "_NOT": "not",
    "SITE_VERB": "On, When or Until",
    "REPLICA_VERB": "Protect, Delete, Dismiss or Ignore",
    "BLOCK_VERB": "ProtectBlock, DeleteBlock or DismissBlock",
    "DIRECTION": "increasing or decreasing",
    "WINDOW": "until or from",
    "OPERATOR": "an operator (== != =~ !=~ < > older_than newer_than)",
    "LIST_OPERATOR": "in or notin",
    "LIST": "a list like [a b c]",
    "VARIABLE": "a variable",
    "NAME": "a name",
    "TEXT": "a value",
    "TIME": "a time",
    "ALGORITHM": "Static",
    "$END": "the end of the line",
}


def parse_policy(text: str, *, file: str = "<policy>") -> tree.PolicyTree:
    """The tree of a policy text. PolicyError names every line that cannot be read."""
    policy, errors = parse_lines(text, file=file)
    raise_together(errors)
    return policy


def parse_lines(text: str, *, file: str = "<policy>") -> tuple[tree.PolicyTree, list[PolicyError]]:
    """The tree of the lines that can be read, and an error for each other one."""
    source = SourceText(file, text)
    statements: list[tree.Statement] = []
    errors: list[PolicyError] = []
    for number, line in enumerate(source.lines, start=1):
        if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
            continue
        try:
            statements.append(cast(tree.Statement, _parse_line(source, number, line, "statement")))
        except PolicyError as error:
            errors.append(error)
    return tree.PolicyTree(source, tuple(statements)), errors


def parse_condition(text: str, *, source: SourceText, at: Position = START) -> tree.Condition:
    """The tree of one condition that stands at ``at`` of ``source``."""
    return cast(tree.Condition, _parse_line(source, at.line, " " * (at.column - 1) + text.rstrip(), "condition"))


def _parse_line(source: SourceText, number: int, line: str, start: str) -> object:
    _refuse_odd_characters(source, number, line)
    try:
        parsed = _lark().parse(line, start=start)
    except UnexpectedInput as error:
        raise _syntax_error(source, number, line, error) from None
    return _Build(number, line).transform(parsed)


def _refuse_odd_characters(source: SourceText, number: int, line: str) -> None:
    """What is not seen must not decide: control characters, odd blanks and marks that change the direction."""
    if line.replace("\t", " ").isprintable():
        return
    column, char = next((n, c) for n, c in enumerate(line, start=1) if c != "\t" and not c.isprintable())
    called = unicodedata.name(char, "a character that is not shown")
    code_point = f"U+{ord(char):04X}"
    message = f"read {code_point} ({called}), expected letters, signs and plain blanks"
    raise source.error(Position(number, column), message, read=code_point)


@cache
def _lark() -> Lark:
    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start=["statement", "condition"], propagate_positions=True)


def _syntax_error(source: SourceText, number: int, line: str, error: UnexpectedInput) -> PolicyError:
    expected = (
        getattr(error, "accepts", None) or getattr(error, "expected", None) or getattr(error, "allowed", None) or ()
    )
    wanted = sorted({KEYWORDS.get(name, name.lower()) for name in expected})
    at_end = getattr(getattr(error, "token", None), "type", "") == "$END" or not isinstance(error.column, int)
    column = len(line.rstrip()) + 1 if at_end or error.column < 1 else error.column
    read = line[column - 1 :].split(maxsplit=1)
    shown = repr(read[0]) if read else "the end of the line"
    message = f"read {shown}, expected {' or '.join(wanted) or 'something else'}"
    if read and "SITE_VERB" in expected:
        message += f".{near(read[0], VERBS)}".removesuffix(".")
    return source.error(Position(number, column), message, read=shown, expected=tuple(wanted))


@v_args(inline=True)
class _Build(Transformer[Token, object]):
    """Lark's tree of one line as our nodes."""

    def __init__(self, number: int, line: str) -> None:
        super().__init__()
        self.number = number
        self.line = line

    def _at(self, token: Token) -> Position:
        return Position(self.number, token.column or 1)

    def _word(self, token: Token) -> tree.Word:
        return tree.Word(str(token), self._at(token))

    def partition(self, name: Token) -> tree.PartitionName:
        return tree.PartitionName(self._word(name))

    def site_condition(self, verb: Token, condition: tree.Condition) -> tree.SiteCondition:
        return tree.SiteCondition(cast(tree.SiteVerb, str(verb)), condition, self._at(verb))

    def policy_line(self, verb: Token, condition: tree.Condition | None = None) -> tree.PolicyLine:
        name = str(verb)
        bare = cast(tree.Verb, name.removesuffix("Block"))
        return tree.PolicyLine(bare, name.endswith("Block"), condition, self.line.strip(), self._at(verb))

    def order_none(self) -> tree.Order:
        return tree.Order((), Position(self.number, 1))

    def order(self, *keys: tree.OrderKey) -> tree.Order:
        return tree.Order(keys, Position(self.number, 1))

    def order_key(self, direction: Token, variable: Token) -> tree.OrderKey:
        return tree.OrderKey(self._word(variable), str(direction) == "decreasing")

    def algorithm(self, name: Token) -> tree.Algorithm:
        return tree.Algorithm(self._word(name))

    def condition(self, *parts: Any) -> tree.Condition:
        window = parts[-1] if isinstance(parts[-1], tree.Window) else None
        predicates = tuple(part for part in parts if isinstance(part, tree.Predicate))
        at = predicates[0].at
        return tree.Condition(predicates, window, self.line[at.column - 1 :].strip(), at)

    def window(self, kind: Token, time: Token) -> tree.Window:
        return tree.Window("until" if str(kind) == "until" else "from", self._word(time))

    def is_true(self, variable: Token) -> tree.Predicate:
        return tree.Predicate(self._word(variable), "true", (), self._at(variable))

    def is_false(self, variable: Token) -> tree.Predicate:
        return tree.Predicate(self._word(variable), "not", (), self._at(variable))

    def compare(self, variable: Token, operator: Token, value: Token) -> tree.Predicate:
        name = cast(tree.Operator, str(operator))
        return tree.Predicate(self._word(variable), name, (self._word(value),), self._at(variable))

    def compare_list(self, variable: Token, operator: Token, values: Token) -> tree.Predicate:
        name = cast(tree.Operator, str(operator))
        return tree.Predicate(self._word(variable), name, self._elements(values), self._at(variable))

    def _elements(self, values: Token) -> tuple[tree.Word, ...]:
        inside, start = str(values)[1:-1], self._at(values).column + 1
        pieces = re.finditer(r"[^ \t]+", inside)
        return tuple(tree.Word(piece[0], Position(self.number, start + piece.start())) for piece in pieces)
