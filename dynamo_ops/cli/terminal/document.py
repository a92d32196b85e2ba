"""JSON documents that people hand in: read from a file or standard input, with the line of what is no JSON."""

from __future__ import annotations

import json
import sys
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
