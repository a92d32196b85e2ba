"""Bring a database to the present schema (Alembic; the history is in ``migrations/versions``)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.database.connection import Database

FOLDER = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> str:
    """Apply all missing migrations; returns the revision reached. Safe to call at every start, and by several at once.

    Raises RetryableRemoteError if the database is away.
    """
    try:
        with database.engine.connect() as connection:
            command.upgrade(_config(database, connection), "head")
    except OperationalError as error:
        raise RetryableRemoteError(f"database {database.safe_url}: {error.orig}", service="postgresql") from error
    return head()


def revision(database: Database) -> str | None:
    """The revision the database is at; None if it has no schema yet. Raises RetryableRemoteError if it is away."""
    with database.begin() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision that this version of Dynamo knows."""
    found = ScriptDirectory(str(FOLDER)).get_current_head()
    assert found is not None
    return found


def _config(database: Database, connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", database.url.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
