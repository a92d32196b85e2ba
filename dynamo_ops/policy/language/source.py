"""A policy text and the errors that point into it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dynamo_ops.base.errors import Fault, PolicyError

LINE_END = re.compile(r"\r\n|\r|\n")
BYTE_ORDER_MARK = "\ufeff"
SHOWN = 160
"""Characters of a line that an error shows; of a longer line, those around the column."""


@dataclass(frozen=True, order=True)
class Position:
    """Where something was written: line and column, both from 1. A column is a character, a tab one of them."""

    line: int
    column: int


@dataclass(frozen=True)
class SourceText:
    """The text of one policy. ``file`` is what errors call it."""

    file: str
    text: str

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines as an editor counts them: ended by LF, CR LF or CR, and by nothing else.

        A byte order mark at the start is not part of the first one.
        """
        lines = LINE_END.split(self.text.removeprefix(BYTE_ORDER_MARK))
        return tuple(lines[:-1] if lines[-1] == "" else lines)

    @property
    def end(self) -> Position:
        """The start of the last line: what is missing is reported there."""
        return Position(max(1, len(self.lines)), 1)

    def error(self, at: Position, message: str, **facts: object) -> PolicyError:
        """The error for what stands at ``at``, with the line and a caret below the column."""
        shown, caret = self._shown(at)
        return PolicyError(
            f"{self.file}:{at.line}:{at.column}: {message}\n    {shown}\n    {caret}",
            file=self.file,
            line=at.line,
            column=at.column,
            reason=message,
            **facts,
        )

    def _shown(self, at: Position) -> tuple[str, str]:
        """The line, or the part of it around the column, and the caret's line below it. Tabs stay, for the caret."""
        line = self.lines[at.line - 1] if 0 < at.line <= len(self.lines) else ""
        start = max(0, at.column - 1 - SHOWN // 2) if len(line) > SHOWN else 0
        before, after = ("…" if start else ""), ("…" if len(line) > start + SHOWN else "")
        shown = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line[start : start + SHOWN])
        skipped = "".join("\t" if c == "\t" else " " for c in (before + line[start : at.column - 1]))
        skipped = skipped.ljust(len(before) + at.column - 1 - start)
        return (before + shown + after).rstrip(), f"{skipped}^"


def read_source(file: Path) -> SourceText:
    """The text of a file. PolicyError if it cannot be read, or is not UTF-8 (with line and column of the first byte
    that is not)."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read: {error.strerror}", file=str(file), reason=error.strerror) from error
    try:
        return SourceText(str(file), content.decode("utf-8"))
    except UnicodeDecodeError as error:
        read = SourceText(str(file), content[: error.start].decode("utf-8") + "\ufffd")
        at = Position(len(read.lines), len(read.lines[-1]))
        raise read.error(at, f"the byte 0x{content[error.start]:02x} is not UTF-8") from error


def policy_faults(error: PolicyError) -> list[Fault]:
    """All that the error says is wrong, each with its place."""
    return [_fault(single) for single in each_error(error)]


def _fault(error: PolicyError) -> Fault:
    file, line, column = (error.facts.get(fact) for fact in ("file", "line", "column"))
    reason = str(error.facts.get("reason") or error.message.removeprefix(f"{file}: "))
    return Fault(str(file or ""), f"{line}:{column}" if line else "", reason)


def raise_together(errors: Sequence[PolicyError]) -> None:
    """Raise what was found: nothing, the one error, or one error that says them all (its facts are the first one's)."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    first = errors[0]
    facts = {**first.facts, "errors": tuple(errors)}
    raise PolicyError("\n".join(error.message for error in errors), **facts)


def each_error(error: PolicyError) -> tuple[PolicyError, ...]:
    """The errors that ``raise_together`` said in one, or the one."""
    errors = error.facts.get("errors")
    return errors if isinstance(errors, tuple) else (error,)
