"""What nobody in their senses writes into a document: in each place of it, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from hashlib import sha256
from typing import Any


def nested(depth: int) -> Any:
    """Lists in lists; deeper than any recursion goes."""
    inner: Any = []
    for _ in range(depth):
        inner = [inner]
    return inner


KINDS: dict[str, Any] = {
    "half a character": "/A\ud800#b",
    "the other half": "\udfff",
    "NUL": "/a\0b",
    "a line end": "a\nb",
    "control characters of Unicode": "a\x9b\x85b",
    "text that is written from the right": "/A\u202eB",
    "blanks": " x ",
    "nothing": "",
    "no text": None,
    "very long": "/" + "".join(sha256(bytes([n])).hexdigest() for n in range(256)),
    "dots": "/store/../etc/passwd",
    "a backslash and N": "\\N",
    "SQL": "'; DROP TABLE files;--",
    "placeholders": "/$$a$$/%s/%(x)s/:y/{0}",
    "a glob": "/*",
    "2^63": 2**63,
    "hundreds of digits": 10**400,
    "below nothing": -1,
    "a fraction": 1.5,
    "no number": float("nan"),
    "beyond numbers": float("inf"),
    "truth": True,
    "the year 0": "0000-01-01",
    "before the year 1, elsewhere": "0001-01-01T00:00:00+23:59",
    "after the year 9999, elsewhere": "9999-12-31T23:59:59-23:59",
    "an object": {"\ud800": "\0"},
    "a list": ["\ud800", None, 1],
    "deep": nested(100_000),
}


def places(document: Any, path: str = "") -> Iterator[str]:
    """The path of everything in the document, itself too."""
    yield path
    if isinstance(document, dict):
        for key, inner in document.items():
            yield from places(inner, f"{path}.{key}" if path else key)
    elif isinstance(document, list):
        for n, inner in enumerate(document):
            yield from places(inner, f"{path}[{n}]")


def put(document: Any, path: str, hostile: Any) -> Any:
    """A copy of the document, with something else in that place."""
    if not path:
        return hostile
    changed = deepcopy(document)
    steps = [
        int(step[:-1]) if step.endswith("]") else step for step in path.replace("[", ".[").replace("[", "").split(".")
    ]
    inner = changed
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = hostile
    return changed
