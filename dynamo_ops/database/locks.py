"""One task at a time at one batch, though runs overlap and a killed run's batches are taken up by the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import InterfaceError, OperationalError

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.database.connection import Database


@contextmanager
def alone(db: Database, what: str) -> Iterator[Connection | None]:
    """A connection that holds ``what`` (any name) for us until the end of the block, or None when another task has it.

    A killed task holds nothing once PostgreSQL has noticed. Ask the connection something now and then: it raises
    RetryableRemoteError, out of the block, when it broke and somebody else may be at work.
    """
    key = {"key": f"dynamo {what}"}
    try:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if not connection.execute(text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))"), key).scalar():
                yield None
                return
            try:
                yield connection
            finally:
                if not connection.invalidated:
                    connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)
    except (OperationalError, InterfaceError) as error:
        raise RetryableRemoteError(f"database {db.safe_url}: {error.orig}", service="postgresql") from error
