"""What all tests share: one PostgreSQL for the session, a fresh migrated database for each test that asks for one."""

from __future__ import annotations

import importlib
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from tests.world import identity, inventory, pocket, world

__all__ = ["database", "identity", "inventory", "pocket", "postgres", "world"]

settings.register_profile("house", deadline=None, max_examples=30)
settings.register_profile("full", deadline=None)
settings.register_profile("long", deadline=None, max_examples=51_000, suppress_health_check=list(HealthCheck))
settings.register_profile("short", deadline=None, max_examples=15)
settings.load_profile("house")

TEMPLATE = "dynamo_template"
SERVERS = {"airflow", "pocket", "postgres"}
"""Fixtures that start servers, themselves or by what they ask for."""
SERVER_FOLDERS = {"chaos", "simgrid", "xrootd"}
ROOMY_BYTES = 8 * 2**30
TABLES: dict[str, list[tuple[str, ...]]] = {}
"""What tests have to show at the end: title → a row of headings and the rows."""
_counter = itertools.count()

for name in [name for name in os.environ if name.startswith(("DYNAMO_", "AIRFLOW"))]:
    del os.environ[name]  # a test must not see the settings of the shell it was started from


def in_memory() -> str | None:
    """A folder in memory, where there is much of it: thousands of databases are made and dropped, a quarter faster."""
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOMY_BYTES
    return str(memory) if is_roomy else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[embedded.EmbeddedPostgres]:
    """The session's PostgreSQL server, with a migrated template database."""
    folder = Path(tempfile.mkdtemp(prefix="dynamo-test-", dir=in_memory()))
    server = embedded.start(folder, durable=False, create=True)
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


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a call and the next try of it; how many there are is as ever."""
    monkeypatch.setattr("dynamo_ops.base.http.session.BACKOFF_S", 0)
    monkeypatch.setattr("dynamo_ops.alerts.webhook.PAUSES_S", (0, 0, None))
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a server is marked so. The runs of DAGs first: they are the longest, and of several processes one
    alone should prepare Airflow."""
    for item in items:
        if SERVERS & _fixtures(item) or item.path.parent.name in SERVER_FOLDERS:
            item.add_marker(pytest.mark.server)
    items.sort(key=lambda item: "airflow" not in _fixtures(item))


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes: what it has to show goes to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tables"] = TABLES


def pytest_unconfigure() -> None:
    """A process in which only the pocket grid used XRootD ends as Dynamo's do."""
    if "XRootD.client" in sys.modules:
        importlib.import_module("dynamo_ops.storage.xrootd")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for title, (headings, *rows) in getattr(node, "workeroutput", {}).get("tables", {}).items():
        TABLES.setdefault(title, [headings]).extend(rows)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for title, rows in TABLES.items():
        terminalreporter.section(title)
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        for row in rows:
            terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
