"""JSON documents one behind the other: what ``condor_q -global -json`` writes, an array for each schedd, and what
several ``condor_history`` appended to one file leave."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

ANY = msgspec.json.Decoder()
"""For documents of any shape."""

_BEHIND = re.compile(r"trailing characters \(byte (\d+)\)")
"""msgspec's words for a document behind a whole one, with the place behind its first byte."""


def documents(content: bytes, decoder: Any = ANY) -> Iterator[Any]:
    """The documents of ``content`` in order, at least one; blanks and blank lines may be between them.

    Raises what ``decoder`` raises of the first that is cut, malformed or of another shape. What others follow is
    decoded twice, the last once.
    """
    rest = memoryview(content)
    while True:
        try:
            document = decoder.decode(rest)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError as error:
            behind = _BEHIND.search(str(error))
            if behind is None:
                raise
        else:
            yield document
            return
        end = int(behind[1]) - 1
        yield decoder.decode(rest[:end])
        rest = rest[end:]


def joined_lists(content: bytes) -> list[Any] | None:
    """The elements of the lists of ``content`` in one list; None where it is not several lists, all of them whole."""
    try:
        lists = list(documents(content))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if len(lists) == 1 or not all(isinstance(one, list) for one in lists):
        return None
    return [record for one in lists for record in one]
