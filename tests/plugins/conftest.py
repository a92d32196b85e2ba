"""Airflow for the tests of our side of it, with settings that name a far-away FTS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_ops.database.embedded import EmbeddedPostgres
from tests.dags.house import environment, leave_airflow, prepare_airflow

FTS = "https://fts.example.org:8446"


@pytest.fixture(scope="session")
def airflow(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow can be imported; its database is the session's."""
    prepare_airflow(postgres, tmp_path_factory.mktemp("airflow"))
    yield
    leave_airflow()


@pytest.fixture
def configured(airflow: None, tmp_path: Path) -> Iterator[Path]:
    """Settings with an FTS, its TLS files and somebody to write to."""
    values = {
        "fts": {"url": FTS, "poll_interval_s": 3, "timeout_h": 2},
        "tls": {"ca": "/tls/ca.pem", "cert": "/tls/cert.pem", "key": "/tls/key.pem"},
        "retries": {"count": 4, "delay_s": 7, "max_delay_s": 70},
        "mail": {"sender": "dynamo@localhost", "recipients": ["operators@localhost"]},
    }
    with environment(tmp_path, values) as config:
        yield config
