"""Compressed data of others, unpacked no further than anything honest goes: a file of a megabyte can be a gigabyte of
blanks, or a thousand of them.

JSON, XML and CSV of catalogues shrink to a tenth, the most repetitive to a fiftieth; gzip can make a thousandth of
nothing but blanks, others less. Neither limit is a setting: who meets one has another fault.
"""

from __future__ import annotations

import gzip
import io
from typing import Any

MOST_RATIO = 250
"""Times as long as it was, …"""
SMALL_BYTES = 64 << 20
"""… where it is longer than this."""
MOST_WHOLE_BYTES = 2 << 30
"""Of what is held in memory as a whole, packed or not."""
MOST_UNCOUNTED_BYTES = 512 << 20
"""Of what is held as a whole, where nobody can say how long it was: an answer of HTTP in chunks."""
MOST_LINE_BYTES = 256 << 20
"""Of one line, in what is read line by line."""
PIECE_BYTES = 1 << 20


class UnpackError(ValueError):
    """It is longer than anything honest; the message names the limit."""


def check_ratio(num_packed: int, num_unpacked: int) -> None:
    """Raises UnpackError."""
    if num_unpacked > max(SMALL_BYTES, MOST_RATIO * num_packed):
        raise UnpackError(
            f"it unpacks to more than {MOST_RATIO} times its length (of {num_packed:,} bytes): that is no honest file"
        )


def check_whole(num_bytes: int, *, is_counted: bool = True) -> None:
    """Raises UnpackError. ``is_counted``: it is not packed, or ``check_ratio`` is asked too."""
    most = MOST_WHOLE_BYTES if is_counted else MOST_UNCOUNTED_BYTES
    if num_bytes > most:
        raise UnpackError(f"it has more than {most:,} bytes, the most that is read as a whole")


def gunzip(content: bytes) -> bytes:
    """What was packed by gzip. Raises UnpackError, and what gzip raises."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return read_whole(Unpacked(file, len(content)))


def read_whole(file: Any) -> bytes:
    """All that is left in a file. Raises UnpackError where that is too much."""
    pieces, num_bytes = [], 0
    while piece := file.read(PIECE_BYTES):
        num_bytes += len(piece)
        check_whole(num_bytes)
        pieces.append(piece)
    return b"".join(pieces)


class Unpacked(io.RawIOBase):
    """A file that is unpacked while it is read, and whose packed length is known. Raises UnpackError on the way."""

    def __init__(self, file: Any, num_packed: int) -> None:
        self._file = file
        self._num_packed = num_packed
        self._num_unpacked = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of ``io``."""
        piece = self._file.read(min(len(buffer), PIECE_BYTES))
        self._num_unpacked += len(piece)
        check_ratio(self._num_packed, self._num_unpacked)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """The file too."""
        if not self.closed:
            self._file.close()
        super().close()
