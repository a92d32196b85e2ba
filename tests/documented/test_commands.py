"""What the pages type can be typed: block by block, in the world of the docs, each page from its top."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal import confirm
from dynamo_ops.database.connection import Database
from tests.documented import world
from tests.documented.pages import Block, blocks
from tests.documented.shell import Shell, checkout, expected_code, lines_of
from tests.documented.transcript import lacking, typed
from tests.inventory.factory import Inventory

BY_PAGE: dict[str, list[Block]] = {}
for _block in blocks("sh", "console"):
    BY_PAGE.setdefault(_block.page, []).append(_block)


@pytest.fixture
def folder() -> Iterator[Path]:
    with checkout() as folder:
        yield folder


@pytest.fixture
def shell(database: Database, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell in a checkout, with an installation."""
    monkeypatch.setenv("DYNAMO_HOME", world.make_home(tmp_path / "home"))
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    monkeypatch.setenv("PAGER", "cat")
    monkeypatch.setattr(confirm, "is_somebody_there", lambda: True)
    yield Shell(monkeypatch, folder)
    settings.cache_clear()


@pytest.mark.parametrize("page", BY_PAGE)
def test_the_commands_of_a_page_do_what_it_says(page: str, inventory: Inventory, shell: Shell, folder: Path) -> None:
    world.fill(inventory)
    if page in world.ADDITIONS:
        world.ADDITIONS[page](inventory, folder, shell)
    for block in BY_PAGE[page]:
        (_type_lines if block.kind == "sh" else _type_transcript)(shell, block)


def _type_lines(shell: Shell, block: Block) -> None:
    for line in lines_of(block.text):
        ended = shell.run(line, "y\n")
        assert ended.code == expected_code(line), f"{block}: {line}\n{ended.printed}"


def _type_transcript(shell: Shell, block: Block) -> None:
    """What is refused is shown with its message, which begins with ``dynamo:``."""
    for command in typed(block.text):
        ended = shell.run(command.line, command.answers)
        expected = 2 if command.shown.startswith("dynamo: ") else 0
        assert ended.code == expected, f"{block}: {command.line}\n{ended.printed}"
        missing = lacking(command.shown, ended.printed)
        assert not missing, f"{block}: {command.line}\nshown, and not printed: {missing}\nprinted:\n{ended.printed}"
