"""What a storage answers to FTS, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass

_PERMANENT = frozenset({1, 2, 7, 13, 17, 20, 21, 22, 36, 93})  # as FTS: permission, no such file, exists, not supported


class StorageError(Exception):
    """A storage refused or could not be reached."""

    def __init__(self, errno: int, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.errno = errno
        self.text = text
        self.status = status

    @property
    def is_recoverable(self) -> bool:
        return self.errno not in _PERMANENT


@dataclass(frozen=True, slots=True)
class Stat:
    size: int
    adler32: str | None
