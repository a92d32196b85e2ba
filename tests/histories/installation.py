"""A PostgreSQL with a world in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from tests.conftest import in_memory
from tests.histories.kills import Killer
from tests.histories.world import World


@contextmanager
def world_of(folder: Path) -> Iterator[World]:
    """A world in a PostgreSQL of its own."""
    data = Path(tempfile.mkdtemp(prefix="dynamo-histories-", dir=in_memory()))
    server = embedded.start(data, durable=False, create=True)
    try:
        server.create_database("world")
        database = Database(server.url("world"))
        migrate.upgrade(database)
        with database.begin() as connection:  # a world of some rows: nothing pays for being compiled
            connection.execute(text("ALTER DATABASE world SET jit = off"))
            connection.execute(text("ALTER DATABASE world SET lock_timeout = '20s'"))
        database.dispose()
        with world_in(database, folder) as world:
            yield world
        database.dispose()
    finally:
        embedded.stop(data)
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def world_in(database: Database, folder: Path) -> Iterator[World]:
    """A world in a database that is there."""
    killer = Killer()
    killer.watch(database.engine)
    world = World(database, folder, killer)
    try:
        yield world
    finally:
        world.witness.close()
