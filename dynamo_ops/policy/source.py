"""A policy text and the errors that point into it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dynamo_ops.errors import PolicyError


@dataclass(frozen=True, order=True)
class Position:
    """Where something was written: line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class SourceText:
    """The text of one policy. ``file`` is what errors call it."""

    file: str
    text: str

    def error(self, at: Position, message: str, **facts: object) -> PolicyError:
        """The error for what stands at ``at``, with the line and a caret below the column."""
        lines = self.text.splitlines()
        snippet = lines[at.line - 1].rstrip() if 0 < at.line <= len(lines) else ""
        caret = " " * (at.column - 1) + "^"
        return PolicyError(
            f"{self.file}:{at.line}:{at.column}: {message}\n    {snippet}\n    {caret}",
            file=self.file,
            line=at.line,
            column=at.column,
            reason=message,
            **facts,
        )


def raise_together(errors: Sequence[PolicyError]) -> None:
    """Raise what was found: nothing, the one error, or one error that says them all (its facts are the first one's)."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    first = errors[0]
    facts = {**first.facts, "errors": tuple(errors)}
    raise PolicyError("\n".join(error.message for error in errors), **facts)


def near(word: str, known: Iterable[str], count: int = 3) -> str:
    """`` Did you mean a, b?`` for names close to ``word``, or an empty string."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=count, cutoff=0.55)
    by_lower = {name.lower(): name for name in names}
    if not close and word.lower() in by_lower:
        close = [by_lower[word.lower()]]
    return f" Did you mean {', '.join(close)}?" if close else ""
