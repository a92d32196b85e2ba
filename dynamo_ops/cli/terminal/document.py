"""What people hand in, read from a file or standard input: JSON documents, with the line of what is no JSON; names."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dynamo_ops.base.errors import InventoryError


def read_document(file: str) -> object:
    """The JSON document in ``file`` (``-``: standard input). InventoryError says why it is none, and where."""
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InventoryError(
            f"{file}: cannot be read as JSON: line {error.lineno}, column {error.colno}: {error.msg}",
            file=file,
            line=error.lineno,
            column=error.colno,
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InventoryError(f"{file}: cannot be read as JSON: {error}", file=file) from error


def read_names(named: Sequence[str] | None, file: str | None) -> list[str]:
    """Names that are given, and those in ``file`` (``-``: standard input), one a line; empty lines and ``#`` are
    comments. InventoryError says why it cannot be read, and when there is no name at all."""
    names = list(named or ())
    if file is not None:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text()
        except (OSError, ValueError) as error:
            raise InventoryError(f"{file}: cannot be read: {error}", file=file) from error
        names += [name for line in text.splitlines() if (name := line.strip()) and not name.startswith("#")]
    if not names:
        raise InventoryError("no file is named: give LFNs, or --file with one a line", lfns=[])
    return names
