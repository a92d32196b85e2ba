"""Every ``dynamo …`` of the documentation is a command that there is, with options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from typer.main import get_command

from dynamo_ops.cli.main import app
from tests.documented.pages import PAGES, blocks

TYPED = re.compile(r"^(?:\$ |.*(?:\| |&& ))?(?:[\w./]*/bin/)?dynamo (?P<words>[a-z-].*)$", re.M)
IN_A_SENTENCE = re.compile(r"`(?:\$ )?dynamo (?P<words>[a-z-][^`]*)`")
SYNOPSIS = re.compile(r"[\[\]…]|\b[A-Z]{2,}\b|\w\|\w")
"""What only a line has that describes a command, and is none to be typed."""


def documented(pattern: re.Pattern[str], texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Page and command, without comments and what it is piped to."""
    lines = {
        (page, re.split(r"\s+#\s|\s[|>]\s|;\s|\s&&\s", each["words"])[0].strip())
        for page, text in texts
        for each in pattern.finditer(text.replace("\\\n", " "))
    }
    return sorted(lines)


IN_BLOCKS = documented(TYPED, [(block.page, block.text) for block in blocks("sh", "sh demo", "console", "synopsis")])
IN_SENTENCES = documented(IN_A_SENTENCE, [(page.name, page.read_text()) for page in PAGES])


def walk(words: list[str]) -> tuple[Any, Any, list[str]]:
    """The command that ``words`` begin with, its context, and the rest of them."""
    command: Any = get_command(app)
    context = command.make_context("dynamo", [], resilient_parsing=True)
    while hasattr(command, "resolve_command") and words and not words[0].startswith(("-", "[", "…")):
        name, command, words = command.resolve_command(context, words)
        context = type(context)(command, parent=context, info_name=name, resilient_parsing=True)
    return command, context, words


def alternatives(line: str) -> list[str]:
    """``hold|release WHICH`` is ``hold WHICH`` and ``release WHICH``."""
    choices = [word.split("|") if re.fullmatch(r"[a-z]+(\|[a-z]+)+", word) else [word] for word in line.split(" ")]
    return [" ".join(words) for words in product(*choices)]


def test_there_are_many() -> None:
    assert len(IN_BLOCKS) > 60
    assert len(IN_SENTENCES) > 60


@pytest.mark.parametrize(("page", "line"), sorted({*IN_BLOCKS, *IN_SENTENCES}))
def test_a_documented_command_has_these_options(page: str, line: str) -> None:
    for each in alternatives(line):
        command, _, _ = walk(each.split())
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", each))
        assert named <= {*options, "--help", "--version"}, f"{page}: dynamo {each}"


@pytest.mark.parametrize(("page", "line"), [each for each in IN_BLOCKS if not SYNOPSIS.search(each[1])])
def test_a_documented_command_can_be_typed(page: str, line: str) -> None:
    """It would not be refused before it is run; files need not be there."""
    command, context, words = walk(shlex.split(line))
    with suppress(FileNotFoundError):
        command.make_context(context.info_name, words, parent=context.parent)
