"""Airflow for the tests that need it, and houses to run DAGs in."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import pytest

from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from tests.dags.house import House, fresh_database, leave_airflow, open_house, prepare_airflow

SYNCED = "synced"
_counter = itertools.count()


@pytest.fixture(scope="session")
def airflow(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow can be imported; its database is the session's."""
    prepare_airflow(postgres, tmp_path_factory.mktemp("airflow"))
    yield
    leave_airflow()


@pytest.fixture(scope="package")
def synced_house(
    airflow: None, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house with metadata, replicas and a day of accesses in; only to be copied."""
    with fresh_database(postgres, SYNCED) as database, open_house(tmp_path_factory.mktemp("synced"), database) as house:
        house.sync()
        house.runs("popularity_aggregation")
        yield house


@pytest.fixture
def house(synced_house: House, postgres: EmbeddedPostgres) -> Iterator[House]:
    """A healthy house in use, with an inventory of its own; others use its grid too."""
    name = f"house_{next(_counter)}"
    synced_house.close_connections()
    postgres.create_database(name, template=SYNCED)
    database = Database(postgres.url(name))
    with patch.dict(os.environ, {"DYNAMO_DB_URL": database.url}):
        settings.cache_clear()
        house = replace(synced_house, database=database)
        house.empty_mailbox()
        yield house
    settings.cache_clear()
    house.grid.heal()
    database.dispose()
    postgres.drop_database(name)
