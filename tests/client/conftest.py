"""A scripted server, a client of it, and pauses that are noted and not waited for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynamo_ops.client import Dynamo
from tests.client.script import Script, scripted
from tests.patience import instead_of_sleep

TOKEN = "dyn_of-a-test-and-nowhere-else"


@pytest.fixture
def script() -> Iterator[Script]:
    with scripted() as script:
        yield script


@pytest.fixture
def dynamo(script: Script) -> Iterator[Dynamo]:
    with Dynamo(script.url, TOKEN, timeout_s=5) as client:
        yield client


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of each pause of who calls."""
    pauses = list[float]()
    instead_of_sleep(monkeypatch, pauses.append)
    return pauses
