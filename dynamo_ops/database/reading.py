"""Frames out of PostgreSQL: ADBC connections that stay open from one read to the next, each read a transaction.

The driver is called directly: its DB-API module imports pandas, which nobody here uses. A transaction is begun by a
statement of ours: with the driver's own, an idle connection would already be in one, and ``now()`` would be its past.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import adbc_driver_postgresql
import polars as pl
from adbc_driver_manager import AdbcConnection, AdbcDatabase, AdbcStatement, ArrowArrayStreamHandle, Error

KEPT_CONNECTIONS = 2
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class BrokenConnectionError(Exception):
    """The server cannot be reached, or has ended the connection."""


class Snapshot:
    """Reads that all see the same moment of the database (REPEATABLE READ, read only)."""

    def __init__(self, connection: AdbcConnection) -> None:
        self._connection = connection

    def frame(self, sql: str, params: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of ``sql`` as a frame; parameters are positional: ``$1``, ``$2``, …"""
        with self.stream(sql, params) as rows:
            frame = pl.DataFrame(rows).rechunk()
        return frame.with_columns(
            series.ext.storage() for series in frame if isinstance(series.dtype, pl.BaseExtension)
        )

    @contextmanager
    def stream(self, sql: str, params: Sequence[Any] = ()) -> Iterator[ArrowArrayStreamHandle]:
        """The rows of ``sql`` as an Arrow stream, for more than memory holds."""
        with AdbcStatement(self._connection) as statement:
            statement.set_sql_query(sql)
            if params:
                statement.prepare()
                statement.bind_stream(_row_of(params))
            yield statement.execute_query()[0]


class Reader:
    """The read connections of one database; safe for threads, and after a fork. ``first``: as of ``Database``."""

    def __init__(self, url: str, first: Sequence[str] = ()) -> None:
        self._url = url
        self._begin = "; ".join((BEGIN, *first))
        self._database: AdbcDatabase | None = None
        self._idle: deque[AdbcConnection] = deque()
        self._process = os.getpid()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One transaction. Raises BrokenConnectionError, whatever a stream's reader calls that; else what SQL says."""
        connection = self._begun()
        try:
            yield Snapshot(connection)
            _execute(connection, "ROLLBACK")
        except BaseException as error:
            try:
                _execute(connection, "ROLLBACK")
            except Error:
                connection.close()
                if isinstance(error, Exception):
                    raise BrokenConnectionError(str(error)) from error
            else:
                self._keep(connection)
            raise
        self._keep(connection)

    def close(self) -> None:
        """Close what is idle; the next read connects anew."""
        self._leave_to_parent()
        while self._idle:
            self._idle.pop().close()
        if self._database is not None:
            with suppress(RuntimeError):  # a snapshot of another thread is open
                self._database.close()
        self._database = None

    def __del__(self) -> None:
        """The driver closes nothing of what is collected: each reader would leave its connections to the server."""
        if not sys.is_finalizing():
            self.close()

    def _keep(self, connection: AdbcConnection) -> None:
        if len(self._idle) < KEPT_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    def _begun(self) -> AdbcConnection:
        """A connection in a new transaction; an idle one, unless the server has left it meanwhile."""
        self._leave_to_parent()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break  # another thread was faster
            try:
                _execute(connection, self._begin)
            except Error:
                connection.close()
            else:
                return connection
        try:
            if self._database is None:
                self._database = adbc_driver_postgresql.connect(self._url)
            connection = AdbcConnection(self._database)
            _execute(connection, self._begin)
        except Error as error:
            raise BrokenConnectionError(str(error)) from error
        return connection

    def _leave_to_parent(self) -> None:
        """In a child these are the connections of its parent: neither used nor closed."""
        if os.getpid() != self._process:
            self._idle, self._database, self._process = deque(), None, os.getpid()


def _execute(connection: AdbcConnection, sql: str) -> None:
    with AdbcStatement(connection) as statement:
        statement.set_sql_query(sql)
        statement.execute_update()


def _row_of(params: Sequence[Any]) -> pl.DataFrame:
    """One row; a null is a text, which PostgreSQL takes for any type."""
    row = pl.DataFrame({str(number): [value] for number, value in enumerate(params)}, strict=False)
    return row.with_columns(pl.selectors.by_dtype(pl.Null).cast(pl.String))
