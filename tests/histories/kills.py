"""A process that dies: at a statement, at a commit, at what it asks of a storage or of FTS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event


class KilledError(BaseException):
    """The process is gone: nothing catches this, transactions that are open are lost."""


class Killer:
    """Counts the points at which a process may die, and lets it die at one. Points are before each statement of
    SQLAlchemy, before and after each commit, and wherever ``point`` is called: before and after each change of a
    storage, and of FTS."""

    def __init__(self) -> None:
        self._left: int | None = None
        self.num_points = 0

    def watch(self, engine: Engine) -> None:
        """Have the statements and commits of ``engine`` counted."""
        event.listen(engine, "before_cursor_execute", self._point)
        event.listen(engine, "commit", self._point)

    @contextmanager
    def death_after(self, num_points: int | None) -> Iterator[None]:
        """Die at the point of this number (None: at none) of what is done in the block."""
        self._left, self.num_points = num_points, 0
        try:
            yield
        finally:
            self._left = None

    def point(self) -> None:
        """Here a process may die."""
        self.num_points += 1
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            raise KilledError

    def _point(self, *_: object) -> None:
        self.point()


Point = Callable[[], None]
