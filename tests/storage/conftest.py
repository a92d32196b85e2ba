"""A storage of each registered kind, fresh for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynamo_ops.storage.registry import plugins
from tests.storage.backends import Backend, Bucket, Folder, Pocket, Xrootd, running_s3
from tests.storage.example import CupboardBackend
from tests.xrootd.servers import XrootdServer, running_servers

EXAMPLE = "cupboard"
KINDS = ("davs", "https", "root", "file", "s3", *([EXAMPLE] if EXAMPLE in plugins() else []))
"""The example is there in the process that ``test_example`` starts."""


@pytest.fixture(scope="session")
def xrootd_server() -> Iterator[XrootdServer]:
    with running_servers({"T2_A": None}) as servers:
        yield servers["T2_A"]


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made: Backend
    if request.param == "davs":
        made = Pocket(request.getfixturevalue("pocket"))
    elif request.param in ("https", "root"):
        made = Xrootd(request.getfixturevalue("xrootd_server"), request.param)
    elif request.param == EXAMPLE:
        made = CupboardBackend(request.getfixturevalue("tmp_path"))
    else:
        made = Folder() if request.param == "file" else Bucket(request.getfixturevalue("s3_url"))
    yield made
    made.close()
