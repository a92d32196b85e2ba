"""What is wrong with the words of a command, in our voice: ``dynamo: `` and what to mend, on standard error.

Typer says it in three lines, or in a box, and lets one guess what was meant. Its classes of errors are not public but
for one; what differs is looked for on the error itself.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from dynamo_ops.base.text import close_names, near
from dynamo_ops.cli.terminal.confirm import NOT_DONE
from dynamo_ops.cli.terminal.page import tell_error

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Click's, whose copy typer has: of this class is all that is wrong with the words of a command."""
EXTRA = re.compile(r"(?s)Got unexpected extra arguments? ?(?:\(s\) )?\((?P<words>.*)\)")
NO_VALUE = re.compile(r"Option '(?P<name>.+)' (?P<verb>requires|does not take) an? (?:argument|value)\.?")
RANGE = re.compile(r"(?P<written>.+) is not in the range x(?P<sign>[<>])=(?P<bound>.+)\.")
NO_NUMBER = re.compile(r"(?P<written>'.+') is not a valid (?P<kind>int|float)(?: range)?\.")


class Group(TyperGroup):
    """Commands by their names. What is wrong with the words that follow is told in our voice, and ends with 2."""

    def main(self, *args: Any, **options: Any) -> Any:
        """As typer's, which tells the errors of its ``standalone_mode`` itself."""
        if not options.get("standalone_mode", True):
            return super().main(*args, **options)
        options["standalone_mode"] = False
        try:
            code = super().main(*args, **options)
        except USAGE_ERROR as error:
            tell_usage(error)
            sys.exit(getattr(error, "exit_code", 2))
        except typer.Abort:
            tell_error("dynamo: there was no answer: nothing was done")
            sys.exit(NOT_DONE)
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As Click's; a name that is none is answered with those that look like it."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            what = "there is no command" if ctx.parent is None else f"`{ctx.command_path}` has no command"
            hint = near(name, self.commands) or f" There are {', '.join(self.commands)}"
            ctx.fail(f"{what} {name!r}.{hint}")
        return super().resolve_command(ctx, args)


def tell_usage(error: Any) -> None:
    """Print what is wrong; of a group without a command, its help."""
    if error.message.startswith("Usage:"):
        typer.echo(error.message, err=True)
    else:
        tell_error(f"dynamo: {usage_text(error)}")


def usage_text(error: Any) -> str:
    """What is wrong and what to mend, in a sentence or two."""
    parameter, path = getattr(error, "param", None), error.ctx.command_path if error.ctx else "dynamo"
    more = f"; `{path} --help` says more"
    if hasattr(error, "possibilities"):
        return f"`{path}` has no option {error.option_name}.{_near_option(error)}"
    if parameter is not None and hasattr(error, "param_type"):  # it is missing
        return f"`{path}` needs {_name(parameter)}: {_after_colon(parameter.help or '')}{more}"
    if parameter is not None:
        return f"{_name(parameter)}: {_expected(error)}"
    if extra := EXTRA.fullmatch(error.message):
        return f"`{path}` takes no {extra['words']!r}{more}"
    if option := NO_VALUE.fullmatch(error.message):
        return f"{option['name']} {'needs a' if option['verb'] == 'requires' else 'takes no'} value"
    if error.message == "Missing command.":
        return f"`{path}` needs a command{more}"
    return str(error.message)


def _near_option(error: Any) -> str:
    """The options that look like the one that is none, else all."""
    options = [name for parameter in error.ctx.command.params for name in parameter.opts if name.startswith("--")]
    close = close_names(error.option_name.lstrip("-"), [name.lstrip("-") for name in options])
    if close:
        return f" Did you mean {', '.join(f'--{name}' for name in close)}?"
    if isinstance(error.ctx.command, TyperGroup):
        return " Options of a command come after its name"
    return f" It has {', '.join(options)}"


def _name(parameter: Any) -> str:
    """As somebody types it: ``--limit``, or the word of an argument: ``PLAN``."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper()).removesuffix("...")


def _expected(error: Any) -> str:
    """What a value should have been."""
    if outside := RANGE.fullmatch(error.message):
        side = "least" if outside["sign"] == ">" else "most"
        return f"expected at {side} {outside['bound']}, not {outside['written']}"
    if wrong := NO_NUMBER.fullmatch(error.message):
        return f"expected a {'whole ' if wrong['kind'] == 'int' else ''}number, not {wrong['written']}"
    return str(error.message)


def _after_colon(text: str) -> str:
    """``text`` within a sentence: without its capital and its stop."""
    first = text[:1].lower() if text[1:2].islower() else text[:1]
    return first + text[1:].rstrip(".")
