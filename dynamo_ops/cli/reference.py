"""The page docs/reference.md: every command with its arguments and options, made from the commands themselves.

``python -m dynamo_ops.cli.reference > docs/reference.md`` makes it anew; a test holds that it is current.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dynamo_ops.cli.nouns import NOUNS, Noun
from dynamo_ops.cli.terminal.page import write

INTRODUCTION = """\
# Every command

Made by `python -m dynamo_ops.cli.reference`; do not edit by hand. What all commands have in common (globs, times, the
pager, questions, exit codes) is in [commands.md](commands.md); `dynamo NOUN VERB --help` says the same as here. Every
command has `--json` (one JSON document) and `--help`, which are left out below.
"""
LEFT_OUT = {"--json", "--help"}


def markdown() -> str:
    """The page."""
    contents = "\n".join(f"- [`dynamo {noun.name}`](#dynamo-{noun.name}): {noun.help}" for noun in NOUNS)
    return "\n\n".join(part.strip("\n") for part in [INTRODUCTION, contents, *map(_noun, NOUNS)]) + "\n"


def _noun(noun: Noun) -> str:
    command: Any = noun.load()
    verbs = getattr(command, "commands", None)
    if verbs is None:
        return f"## dynamo {noun.name}\n{_command(f'dynamo {noun.name}', command)}"
    parts = [f"## dynamo {noun.name}\n\n{_line(command.help)}\n"]
    for name, verb in verbs.items():
        words = f"dynamo {noun.name} {name}"
        parts.append(f"### {words}\n{_command(words, verb)}")
    return "\n".join(parts)


def _command(words: str, command: Any) -> str:
    """Synopsis, help, and a table of what it takes."""
    taken = [parameter for parameter in command.params if not LEFT_OUT & set(parameter.opts)]
    needed = [_needed(parameter) for parameter in taken if parameter.required or _is_argument(parameter)]
    options = (
        ["[OPTIONS]"] if any(not parameter.required and not _is_argument(parameter) for parameter in taken) else []
    )
    synopsis = " ".join([words, *needed, *options])
    paragraphs = "\n\n".join(_line(paragraph) for paragraph in (command.help or "").split("\n\n"))
    table = [f"| {_name(parameter)} | {_cell(parameter)} |" for parameter in taken]
    rows = "\n".join(["| takes | |", "|---|---|", *table, ""]) if table else ""
    return f"\n```synopsis\n{synopsis}\n```\n\n{paragraphs}\n\n{rows}".rstrip("\n") + "\n"


def _needed(parameter: Any) -> str:
    if not _is_argument(parameter):
        return f"{_longest(parameter)} …"
    word = _word(parameter)
    return word if parameter.required else f"[{word}]"


def _name(parameter: Any) -> str:
    if _is_argument(parameter):
        return f"`{_word(parameter)}`"
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _cell(parameter: Any) -> str:
    """Its help, its default, and whether it can be left out."""
    return " ".join(_facts(parameter)).replace("|", "&#124;")


def _facts(parameter: Any) -> Iterator[str]:
    yield _line(parameter.help or "")
    if parameter.required and not _is_argument(parameter):
        yield "Required."
    default = parameter.default
    if not parameter.required and isinstance(default, int | str) and not isinstance(default, bool) and default != "":
        yield f"Default: `{default}`."


def _word(parameter: Any) -> str:
    word = str(parameter.metavar or parameter.name.upper())
    return f"{word}..." if parameter.nargs == -1 and not word.endswith("...") else word


def _longest(parameter: Any) -> str:
    return str(max(parameter.opts, key=len))


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    write(markdown())
