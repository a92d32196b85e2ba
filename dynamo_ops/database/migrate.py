"""Bring a database to the present schema (Alembic; the history is in ``migrations/versions``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.database.connection import Database

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> str:
    """Apply all missing migrations; returns the revision reached. Safe to call at every start, and by several at once.

    Raises RetryableRemoteError if the database is away.
    """
    from alembic import command  # every command asks for the revision, few migrate

    try:
        with database.engine.connect() as connection:
            command.upgrade(_config(database, connection), "head")
    except OperationalError as error:
        raise RetryableRemoteError(f"database {database.safe_url}: {error.orig}", service="postgresql") from error
    return head()


def revision(database: Database) -> str | None:
    """The revision the database is at; None if it has no schema yet. Raises RetryableRemoteError if it is away."""
    with database.begin() as connection:
        if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return found


def head() -> str:
    """The newest revision that this version of Dynamo knows: migrations are files that begin with their number."""
    return max(path.name[:4] for path in FOLDER.glob("versions/[0-9]*_*.py"))


def _config(database: Database, connection: object) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", database.url.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
