"""The pictures of the README can be taken of an installation. No browser is open here but the one that takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.pictures import pictures_of, take
from tests.api_server import ApiServer
from tests.browser.content import MANAGER, Content

pytestmark = pytest.mark.slow


def test_five_pictures_are_taken(server: ApiServer, installation: Content, tmp_path: Path) -> None:
    said: list[str] = []
    take(pictures_of(installation.database), server.url, MANAGER, MANAGER, tmp_path, said.append)
    names = {file.name for file in tmp_path.glob("*.png")}
    assert names == {"today.png", "plan.png", "site.png", "transfers.png", "explain.png"}
    assert len(said) == len(names)
