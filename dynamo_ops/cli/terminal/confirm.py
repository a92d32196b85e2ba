"""Asking a person before something is destroyed. Nobody there to answer, and no ``--yes``: it is not done."""

from __future__ import annotations

import sys

import typer

from dynamo_ops.cli.terminal.page import is_terminal, release, say

NOT_DONE = 1
"""Exit code: understood, and not done; a person said no, or what was asked is refused or rejected."""


def ask(question: str, *, yes: bool, otherwise: str = "nothing was changed") -> None:
    """Return when the answer is yes, or ``--yes`` gave it. A no ends the command, and says ``otherwise``.

    The question goes to standard error: what is printed stays what it is. Raises BadParameter where nobody can be
    asked.
    """
    if yes:
        return
    somebody_there()
    if not typer.confirm(question, err=True):
        say(otherwise)
        raise typer.Exit(NOT_DONE)


def choose(question: str) -> bool:
    """The answer to a question that has no usual one: it is asked until it is yes or no."""
    release()
    return typer.confirm(question, default=None)


def type_number(question: str, number: int, *, otherwise: str = "nothing was changed") -> None:
    """As ``ask``, where a yes comes too easily: ``number`` must be typed."""
    somebody_there()
    answer = typer.prompt(question, err=True)
    if answer.strip().replace(",", "") != str(number):
        say(otherwise)
        raise typer.Exit(NOT_DONE)


def type_secret(question: str, *, otherwise: str) -> str:
    """What somebody types, and nobody sees. Raises BadParameter that says ``otherwise`` if nobody is there."""
    release()
    if not is_somebody_there():
        raise typer.BadParameter(f"nobody is there to be asked: {otherwise}")
    return str(typer.prompt(question, hide_input=True, err=True))


def is_somebody_there() -> bool:
    """Whether standard input is a terminal."""
    return is_terminal(sys.stdin)


def somebody_there() -> None:
    """Print what is held back for a pager, since somebody is asked about it. Raises BadParameter if nobody is there."""
    release()
    if not is_somebody_there():
        raise typer.BadParameter("nobody is there to be asked: say --yes to do it")
