"""The database that the settings name; without one, PostgreSQL from the wheel in ``DYNAMO_HOME/postgres``."""

from __future__ import annotations

from dynamo_ops.base.settings import Settings
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database

DATABASE = "dynamo"


def connect(settings: Settings) -> Database:
    """The inventory's database. The embedded one is started, made and migrated where needed.

    A database named by ``db_url`` is used as it is: ``dynamo db upgrade`` migrates it, when a person says so.
    """
    if settings.db_url:
        return Database(settings.db_url)
    server = embedded.start(settings.home / "postgres")
    server.create_database(DATABASE)
    database = Database(server.url(DATABASE))
    if migrate.revision(database) != migrate.head():
        migrate.upgrade(database)
    return database
