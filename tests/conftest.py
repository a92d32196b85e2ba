"""What all tests share: one PostgreSQL for the session, a fresh migrated database for each test that asks for one."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dynamo_ops.inventory import embedded, migrate
from dynamo_ops.inventory.database import Database

settings.register_profile("house", deadline=None)
settings.register_profile("long", deadline=None, max_examples=51_000, suppress_health_check=list(HealthCheck))
settings.load_profile("house")

TEMPLATE = "dynamo_template"
_counter = itertools.count()

for name in [name for name in os.environ if name.startswith(("DYNAMO_", "AIRFLOW"))]:
    del os.environ[name]  # a test must not see the settings of the shell it was started from


@pytest.fixture(scope="session")
def postgres() -> Iterator[embedded.EmbeddedPostgres]:
    """The session's PostgreSQL server, with a migrated template database."""
    folder = Path(tempfile.mkdtemp(prefix="dynamo-test-"))
    server = embedded.start(folder, durable=False)
    try:
        server.create_database(TEMPLATE)
        template = Database(server.url(TEMPLATE))
        migrate.upgrade(template)
        template.dispose()
        yield server
    finally:
        embedded.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: embedded.EmbeddedPostgres) -> Iterator[Database]:
    """A fresh Dynamo database with the present schema and no rows."""
    name = f"test_{next(_counter)}"
    postgres.create_database(name, template=TEMPLATE)
    database = Database(postgres.url(name))
    yield database
    database.dispose()
    postgres.drop_database(name)
