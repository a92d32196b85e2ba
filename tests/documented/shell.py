"""A small shell that calls ``dynamo`` in this process: a block of the docs has many commands, and a process costs a
second. It knows what the pages use: quotes, ``\\``, ``#``, ``&&``, ``;``, ``|``, ``>``, ``cd``, ``cat``, variables.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.database import embedded
from tests import ROOT

OPERATORS = {"&&", ";", "|", ">"}
REFUSED = "# refused"
"""How a line ends that is shown because it is refused: with exit code 2."""


@dataclass(frozen=True)
class Ended:
    """How a line ended, its standard output, and all that it printed."""

    code: int
    out: str = ""
    printed: str = ""


class _Heard(io.StringIO):
    """A stream that also goes into what is seen of both."""

    def __init__(self, both: io.StringIO) -> None:
        super().__init__()
        self.both = both

    def write(self, text: str) -> int:
        self.both.write(text)
        return super().write(text)


def lines_of(text: str) -> list[str]:
    """The command lines of a block: those that end in a backslash go on, empty ones and comments are none."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def expected_code(line: str) -> int:
    return 2 if REFUSED in line else 0


def words_of(line: str) -> list[str]:
    """The words and operators of a line, without its comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|>")
    lexer.whitespace_split = True
    return list(lexer)


class Shell:
    """Where it is, and what it has set. What it changes of this process is undone with ``patch``."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch = patch
        patch.chdir(folder)

    def run(self, line: str, answers: str = "") -> Ended:
        """The line, up to the first command of it that fails; ``answers`` are typed when it asks."""
        words, ended, put_in = words_of(line), Ended(0), answers
        parts = [list(group) for _, group in groupby(words, key=lambda word: word in OPERATORS)]
        for number, part in enumerate(parts):
            if part[0] == ">":
                Path(parts[number + 1][0]).write_text(ended.out)
            if part[0] in OPERATORS or (number and parts[number - 1] == [">"]):
                continue
            ended = self._command(part, put_in)
            if ended.code:
                return ended
            put_in = ended.out if parts[number + 1 : number + 2] == [["|"]] else answers
        return ended

    def _command(self, words: list[str], put_in: str) -> Ended:
        name, *arguments = words
        if name == "cd":
            self.patch.chdir(arguments[0])
        elif name == "cat":
            return Ended(0, "".join(Path(file).read_text() for file in arguments))
        elif name == "export":
            for variable, _, setting in (argument.partition("=") for argument in arguments):
                self.patch.setenv(variable, str(Path.cwd() / setting) if variable == "DYNAMO_HOME" else setting)
        elif name == "unset":
            for variable in arguments:
                self.patch.delenv(variable)
        elif name == "dynamo" or name.endswith("/bin/dynamo"):
            return self._dynamo(arguments, put_in)
        else:
            pytest.fail(f"{name}: this shell does not know it")
        return Ended(0)

    def _dynamo(self, arguments: list[str], put_in: str) -> Ended:
        """The entry point, as if a person were at its standard input."""
        printed = io.StringIO()
        out = _Heard(printed)
        settings.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["dynamo", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(put_in.encode())))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", _Heard(printed))
            with pytest.raises(SystemExit) as ended:
                main.run()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, out.getvalue(), printed.getvalue())


@contextmanager
def checkout() -> Iterator[Path]:
    """A folder that looks like a checkout, in which commands may write.

    Not below pytest's own folder: each pytest that starts shuts that to others again, and so to PostgreSQL, which does
    not run as root.
    """
    folder = Path(tempfile.mkdtemp(prefix="dynamo-docs-"))
    try:
        for entry in ROOT.iterdir():
            if entry.name != "var":
                os.symlink(entry, folder / entry.name)
        (folder / "var").mkdir()
        yield folder
    finally:
        for home in (folder / "var").glob("*/postgres"):
            embedded.stop(home)
        shutil.rmtree(folder, ignore_errors=True)
