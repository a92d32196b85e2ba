"""The database of the installation: the one that is named, or PostgreSQL from the wheel in ``DYNAMO_HOME/postgres``."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.installation import MARKER
from dynamo_ops.base.settings import Settings
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database

DATABASE = "dynamo"
FOLDER = "postgres"


def connect(settings: Settings) -> Database:
    """The inventory's database. The embedded one is started and migrated where needed, and never made: an empty
    inventory in the place of one that is not found would be believed.

    A database named by ``db_url`` is used as it is: ``dynamo db upgrade`` migrates it, when a person says so. Raises
    SettingsError if there is no installation, or its embedded database was never made.
    """
    folder = settings.at_home(FOLDER)
    if settings.db_url:
        return named(settings.db_url)
    server = embedded.start(folder)
    if not server.has_database(DATABASE):
        reason = (
            f"it has no database {DATABASE!r}; put it back from a copy, or make a new installation: `dynamo init DIR`"
        )
        raise SettingsError(f"PostgreSQL in {folder}: {reason}", file=str(folder), key="home", reason=reason)
    database = Database(server.url(DATABASE))
    if migrate.revision(database) not in (None, migrate.head()):
        migrate.upgrade(database)
    return database


def running(settings: Settings) -> Database | None:
    """The inventory's database for a look; None where it is the embedded one and not running: it is not started."""
    if settings.db_url:
        return named(settings.db_url)
    server = embedded.find(settings.at_home(FOLDER)) if settings.home else None
    return Database(server.url(DATABASE)) if server else None


def named(url: str) -> Database:
    """The database of ``url``, as it is. Raises SettingsError if that is no URL of PostgreSQL; it may hold a password,
    so it is not repeated."""
    try:
        is_postgres = make_url(url).get_backend_name() == "postgresql"
    except (ArgumentError, ValueError):
        is_postgres = False
    if not is_postgres:
        reason = "expected postgresql://user:password@host:port/database"
        message = f"the database ({MARKER}, DYNAMO_DB_URL or --database) is no URL of PostgreSQL: {reason}"
        raise SettingsError(message, file="", key="db_url", reason=reason)
    return Database(url)


def create(home: Path) -> Database:
    """The embedded database of a new home, empty, with the present schema; one that is there already is kept."""
    server = embedded.start(home / FOLDER, create=True)
    server.create_database(DATABASE)
    database = Database(server.url(DATABASE))
    migrate.upgrade(database)
    return database
