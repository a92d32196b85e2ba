"""Where all output goes: lines as wide as the terminal, a pager where they are many, silence where nobody reads.

What is piped is not folded: one line stays one line.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import typer

from dynamo_ops.cli.terminal.cells import harmless

READER_GONE = 141
"""Exit code when who reads our output has gone: what a shell says of a process that SIGPIPE ended."""
NOT_WRITTEN = 2
"""Exit code when the output cannot be written: a disk that is full."""
LESS = "FRX"
"""Options of ``less``, unless LESS is set: as git gives them. One screen is not paged, colours stay, nothing is
cleared."""
NO_PROGRAM = (126, 127)
"""What the shell says of a pager that cannot be run: then the output goes without."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Page:
    """What a command has printed so far, kept until it ends: only then is it known whether it fills a screen."""

    def __init__(self) -> None:
        self.is_wanted = True
        self.held: list[str] | None = None


_page = _Page()


def width() -> int | None:
    """Columns of the terminal; None where the output is no terminal and must not be folded."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at it, or types into it. A stream that the shell has closed (``>&-``) is None."""
    return stream is not None and stream.isatty()


def say(text: str = "", *, colour: str | None = None, bold: bool = False) -> None:
    """Print a text; on a terminal its lines are folded between words. ``text`` may be several lines."""
    folded = "\n".join(fold(line, width()) for line in harmless(text).split("\n"))
    styled = typer.style(folded, fg=colour, bold=bold or None) if colour or bold else folded
    write(styled + "\n")


def warn(text: str) -> None:
    """A warning, on standard error."""
    tell_error(f"warning: {text}", colour="yellow")


def tell_error(text: str, *, colour: str = "red") -> None:
    """Print a message on standard error, folded where that is a terminal."""
    columns = shutil.get_terminal_size().columns if is_terminal(sys.stderr) else None
    folded = "\n".join(fold(line, columns) for line in harmless(text).split("\n"))
    typer.secho(folded, fg=colour, err=True)


def fold(line: str, columns: int | None) -> str:
    """``line`` in lines of at most ``columns``, broken between words; what follows is set in by two.

    A word that is longer (an LFN, a URL) stays whole, so that it can be copied.
    """
    if columns is None or len(line) <= columns:
        return line
    indent = " " * min(len(line) - len(line.lstrip(" ")) + 2, columns // 2)
    return "\n".join(
        textwrap.wrap(
            line,
            columns,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
    )


def write(text: str) -> None:
    """The one way out. Ends the process silently when nobody reads any more."""
    if _page.held is not None:
        _page.held.append(text)
        return
    try:
        typer.echo(text, nl=False)
    except BrokenPipeError:
        _leave(READER_GONE)
    except OSError as error:
        tell_error(f"dynamo: the output cannot be written: {error.strerror}")
        _leave(NOT_WRITTEN)


def release() -> None:
    """Print what is held, before a person is asked: the question is about it. Nothing is paged after that."""
    held, _page.held = _page.held, None
    if held:
        write("".join(held))


def no_pager() -> None:
    """Never start a pager in this process."""
    _page.is_wanted = False
    release()


@contextmanager
def paged() -> Iterator[None]:
    """Within: what is printed on a terminal is kept, and at the end shown by the pager if it fills the screen."""
    _page.is_wanted = True
    _page.held = [] if is_terminal(sys.stdout) and _pager() else None
    try:
        yield
    finally:
        held, _page.held = _page.held, None
        text = "".join(held or [])
        if text and _page.is_wanted and _is_long(text):
            _show(text)
        elif text:
            write(text)


def _pager() -> str:
    """The command of the pager as git chooses it: PAGER, or less; none if that is empty or ``cat``."""
    named = os.environ.get("PAGER")
    command = named if named is not None else "less" if shutil.which("less") else ""
    return "" if command.strip() in ("", "cat") else command


def _is_long(text: str) -> bool:
    screen = shutil.get_terminal_size()
    lines = [COLOURS.sub("", line) for line in text.splitlines()]
    return sum(max(1, -(-len(line) // screen.columns)) for line in lines) >= screen.lines


def _show(text: str) -> None:
    """Give ``text`` to the pager, and wait until it is left. ^C is the pager's meanwhile."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        environment = {"LESS": LESS, "LV": "-c", **os.environ}
        with subprocess.Popen(
            ["/bin/sh", "-c", _pager()], stdin=subprocess.PIPE, env=environment, text=True
        ) as process:
            assert process.stdin is not None
            try:
                process.stdin.write(text)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it was left before it had read all
    finally:
        signal.signal(signal.SIGINT, before)
    if process.returncode in NO_PROGRAM:
        write(text)


def _leave(code: int) -> None:
    """End at once: what is in the buffer still goes nowhere, so that Python does not try, and complain, at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = os.fdopen(nowhere, "w")
    sys.exit(code)
