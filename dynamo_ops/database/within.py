"""A database whose transactions are parts of one that is open: several acts are done together, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from dynamo_ops.database.connection import Database

Write = Callable[[Connection], None]


class Within(Database):
    """What is begun here is a savepoint of ``connection``'s transaction: kept if that is committed. Frames see what was
    committed before, as elsewhere.

    ``is_trial``: all is done, and the transaction rolled back in the end, to see what would happen. ``notes``: what is
    to be written apart, by who opened the transaction, once that is over: with a second connection at its side, as many
    callers as there are connections would wait for each other.
    """

    def __init__(self, database: Database, connection: Connection, *, is_trial: bool = False) -> None:
        super().__init__(database.url)
        self._reader = database._reader
        self._connection = connection
        self.is_trial = is_trial
        self.notes: list[Write] = []

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A part of the transaction: rolled back alone on any error."""
        with self._connection.begin_nested():
            yield self._connection

    def apart(self, write: Write) -> None:
        """Put off until the transaction is over."""
        self.notes.append(write)


@contextmanager
def together(database: Database) -> Iterator[Within]:
    """Several acts are one transaction: all of them are done, or none."""
    notes: list[Write] = []
    try:
        with database.begin() as connection:
            within = Within(database, connection, is_trial=database.is_trial)
            notes = within.notes
            yield within
    finally:
        for note in notes:
            database.apart(note)
