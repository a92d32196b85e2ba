"""The way to PostgreSQL: transactions by SQLAlchemy, frames in by ADBC, frames out by COPY.

Rule of the house: rows travel in columns. ``frame`` reads a million rows in about one CPU second; ``insert_frame``
writes them by COPY; everything between is set-based SQL inside one ``begin()``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import polars as pl
import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INERROR
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from dynamo_ops.base.errors import DynamoError, InventoryError, RetryableRemoteError
from dynamo_ops.database.reading import BrokenConnectionError, Reader, Snapshot

STREAM = "dynamo_stream"
"""The server's cursor of a stream; a connection has one."""
ROWS_PER_COPY = 200_000
"""How many rows are in memory a second time, as CSV."""


class Database:
    """One PostgreSQL database, named by a libpq URL (``postgresql://…``). Cheap to make; connects when used.

    ``first``: statements at the begin of each transaction, such as ``SET LOCAL …``: a pooler gives a session to others
    between two transactions, and takes no ``options`` in the URL. ``is_trial``: what is written will be taken back
    (``within``).
    """

    is_trial = False

    def __init__(self, url: str, first: Sequence[str] = ()) -> None:
        self.url = url
        self._engine: Engine | None = None
        self._first = "; ".join(first)
        self._reader = Reader(url, first)

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine (psycopg2)."""
        if self._engine is None:
            url = make_url(self.url).set(drivername="postgresql+psycopg2")
            self._engine = create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=8)
        return self._engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back on any error.

        Raises RetryableRemoteError when the database cannot be reached or the connection breaks, wherever it does.
        """
        is_broken = False
        try:
            with self.engine.begin() as connection:
                driver: Any = connection.connection.driver_connection
                if self._first:
                    connection.exec_driver_sql(self._first)
                try:
                    yield connection
                except Exception:
                    is_broken = bool(driver.closed)
                    raise
        except OperationalError as error:
            raise RetryableRemoteError(f"database {self.safe_url}: {error.orig}", service="postgresql") from error
        except Exception as error:
            if is_broken and not isinstance(error, DynamoError):
                raise RetryableRemoteError(f"database {self.safe_url}: {error}", service="postgresql") from error
            raise

    def clock(self) -> datetime:
        """What time it is for the database, whatever machine asks: by it all ages are told."""
        now: datetime = self.frame("SELECT clock_timestamp() AS now").item()
        return now

    def alone_in_its_transaction(self, sql: str) -> None:
        """One statement that PostgreSQL takes in no transaction with others (VACUUM). Raises RetryableRemoteError."""
        try:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(sql))
        except OperationalError as error:
            raise RetryableRemoteError(f"database {self.safe_url}: {error.orig}", service="postgresql") from error

    def apart(self, write: Callable[[Connection], None]) -> None:
        """Write in a transaction of its own, whatever becomes of others that are open."""
        with self.begin() as connection:
            write(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Frames that belong together, as of one moment. Raises RetryableRemoteError, as ``begin`` does."""
        try:
            with self._reader.snapshot() as snapshot:
                yield snapshot
        except BrokenConnectionError as error:
            raise RetryableRemoteError(f"database {self.safe_url}: {error}", service="postgresql") from error

    def frame(self, sql: str, params: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of ``sql`` as a frame; parameters are positional: ``$1``, ``$2``, …"""
        with self.snapshot() as snapshot:
            return snapshot.frame(sql, params)

    @property
    def safe_url(self) -> str:
        """The URL without its password, for messages."""
        return make_url(self.url).render_as_string(hide_password=True)

    def dispose(self) -> None:
        """Close the pooled connections."""
        self._reader.close()
        if self._engine is not None:
            self._engine.dispose()


def insert_frame(connection: Connection, table: str, frame: pl.DataFrame) -> int:
    """COPY all rows of ``frame`` into ``table`` (columns by name) inside the transaction. Returns the number of rows.

    Nulls stay null; an empty string stays an empty string. Lists and structs are not taken: encode them as JSON text.
    Raises InventoryError with the line and the column for a value that PostgreSQL cannot store (a NUL in a text).
    """
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    cursor = connection.connection.cursor()
    try:
        for rows in frame.iter_slices(ROWS_PER_COPY):
            buffer = io.BytesIO()
            rows.write_csv(buffer, include_header=False, quote_style="non_numeric", null_value="")
            buffer.seek(0)
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv)", buffer)
    except psycopg2.DataError as error:
        raise InventoryError(f"{table} cannot take these rows: {error}", table=table) from error
    except psycopg2.OperationalError as error:
        raise OperationalError(f"COPY {table}", None, error) from error
    finally:
        cursor.close()
    return frame.height


def stream_texts(
    connection: Connection, sql: str, params: Mapping[str, Any], rows_a_piece: int
) -> Iterator[Sequence[tuple[str]]]:
    """Rows of ``sql``, of one text each, piece by piece from a cursor of the server: as the driver gives them, since
    what SQLAlchemy makes of a row costs twice as much as the row."""
    compiled = text(sql).bindparams(**params).compile(dialect=connection.dialect)
    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor(STREAM)
    try:
        cursor.execute(str(compiled), compiled.params)
        while rows := cursor.fetchmany(rows_a_piece):
            yield rows
    except psycopg2.OperationalError as error:
        raise OperationalError(sql, None, error) from error
    finally:
        if not driver.closed and driver.info.transaction_status != TRANSACTION_STATUS_INERROR:
            cursor.close()


def select_frame(connection: Connection, sql: str, schema: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of ``sql`` as this transaction sees them, by COPY: no object a row. Whole numbers and texts only.

    ``schema``: names and types of the columns, in the order of ``sql``. Takes no parameters.
    """
    buffer = io.BytesIO()
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(f"COPY ({sql}) TO STDOUT WITH (FORMAT csv)", buffer)
    finally:
        cursor.close()
    if not buffer.tell():
        return pl.DataFrame(schema=dict(schema))
    buffer.seek(0)
    return pl.read_csv(buffer, has_header=False, schema=dict(schema))
