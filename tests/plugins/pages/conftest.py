"""Pages as people ask for them, over what the tests of REST ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from tests.cli.seeded import seeded, seeded_home
from tests.plugins.pages.page import ADMIN, UI
from tests.plugins.web.conftest import access, client, served, stock

__all__ = ["access", "client", "seeded", "seeded_home", "stock"]

Look = Callable[..., str]


@pytest.fixture
def installation(airflow: None, seeded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """In which commands made plans, requests and locks."""
    with served(monkeypatch) as called:
        yield called


def looking(client: TestClient) -> Look:
    """Reads pages as somebody: their text."""

    def read(path: str, code: int = 200, headers: dict[str, str] = ADMIN) -> str:
        answer = client.get(urljoin(UI, path), headers=headers)
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text[-500:]}"
        return answer.text

    return read


@pytest.fixture
def look(client: TestClient) -> Look:
    """Over ``stock``."""
    return looking(client)
