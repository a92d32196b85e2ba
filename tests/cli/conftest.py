"""Commands that ask are answered by what a test types; only where a test says so is nobody there."""

from __future__ import annotations

import pytest

from dynamo_ops.cli.terminal import confirm


@pytest.fixture(autouse=True)
def person(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input of a test is a pipe; a person is taken to sit at its other end, but for ``nobody``."""
    if "nobody" not in request.fixturenames:
        monkeypatch.setattr(confirm, "is_somebody_there", lambda: True)


@pytest.fixture
def nobody() -> None:
    """Commands run from a pipe or a cron job: nobody can be asked."""
