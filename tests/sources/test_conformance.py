"""Every metadata and site source of ours does what every source must do."""

# ruff: noqa: ARG005  all worlds are made in the same way

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from simgrid.grid import Grid
from tests.sources.backends import DbsBackend, FilesBackend, FileSiteBackend, JsonBackend, JsonSiteBackend, bucket
from tests.sources.conformance import METADATA_CHECKS, SITE_CHECKS
from tests.sources.pocket import TINY
from tests.sources.server import JsonServer
from tests.storage.backends import running_s3

pytestmark = pytest.mark.usefixtures("no_pauses")


def named(check: Callable[[Any], None]) -> str:
    return check.__name__.replace("_", " ")


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as closing:
        yield closing


METADATA = {
    "dbs": lambda folder, stack: DbsBackend(stack.enter_context(Grid(TINY, folder / "grid"))),
    "json": lambda folder, stack: JsonBackend(stack.enter_context(JsonServer(lambda path, query: []))),
    "files in JSON lines": lambda folder, stack: FilesBackend("jsonl", str(folder)),
    "files in packed JSON lines": lambda folder, stack: FilesBackend("jsonl.gz", f"file://{folder}", renamed=True),
    "files in CSV": lambda folder, stack: FilesBackend("csv", str(folder)),
    "files in packed CSV": lambda folder, stack: FilesBackend("csv.gz", "memory://drops-csv", renamed=True),
    "files in Parquet": lambda folder, stack: FilesBackend("parquet", str(folder), renamed=True),
    "files in Parquet elsewhere": lambda folder, stack: FilesBackend("parquet", "memory://drops-parquet"),
    "files in Parquet in S3": lambda folder, stack: stack.enter_context(bucket(stack.enter_context(running_s3()))),
}


@pytest.fixture(scope="module", params=METADATA)
def metadata(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> Any:
    return METADATA[request.param](tmp_path_factory.mktemp("drops"), stack)


@pytest.mark.parametrize("check", METADATA_CHECKS, ids=named)
def test_metadata_source(metadata: Any, check: Callable[[Any], None]) -> None:
    check(metadata)


SITES = {
    "json": lambda folder, stack: JsonSiteBackend(stack.enter_context(JsonServer(lambda path, query: []))),
    "file in JSON": lambda folder, stack: FileSiteBackend("json", folder),
    "file in YAML": lambda folder, stack: FileSiteBackend("yaml", folder),
    "file in CSV": lambda folder, stack: FileSiteBackend("csv", folder),
}


@pytest.fixture(scope="module", params=SITES)
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> Any:
    return SITES[request.param](tmp_path_factory.mktemp("sites"), stack)


@pytest.mark.parametrize("check", SITE_CHECKS, ids=named)
def test_site_source(sites: Any, check: Callable[[Any], None]) -> None:
    check(sites)
