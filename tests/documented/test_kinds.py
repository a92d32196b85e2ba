"""Every block has a kind that is known; what is none of ours to run is what it says it is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from demo.__main__ import COMMANDS
from tests import ROOT
from tests.documented.pages import BLOCKS, KINDS, PAGES, Block, blocks, blocks_of
from tests.documented.shell import lines_of, words_of

TARGET = re.compile(r"^([a-z][\w-]*):", re.M)


def test_every_block_has_a_kind_that_is_known() -> None:
    assert len(BLOCKS) > 90
    assert [f"{block}: {block.kind!r}" for block in BLOCKS if block.kind not in KINDS and not block.own_file] == []


def test_every_kind_is_used() -> None:
    assert set(KINDS) == {block.kind for block in BLOCKS if not block.own_file}


def test_every_kind_is_explained_to_who_writes_a_page() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in guide] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_is_made_by_an_indent(page: Path) -> None:
    """It has no place for a kind."""
    is_inside, before, indented = False, "", []
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_inside = not is_inside
        elif not is_inside and line.startswith("    ") and not before.strip():
            indented.append(f"{page.name}:{number}: {line}")
        before = line
    assert not is_inside
    assert indented == []


def test_a_block_is_read_without_the_indent_of_its_fence() -> None:
    (page,) = [page for page in PAGES if page.name == "operating.md"]
    (lines,) = [block for block in blocks_of(page) if block.kind == "policy-lines"]
    assert all(line.startswith(("On ", "Ignore ", "Protect ")) for line in lines.text.splitlines())


@pytest.mark.parametrize("line", [line for block in blocks("sh long") for line in lines_of(block.text)])
def test_what_takes_long_can_be_started(line: str) -> None:
    """The target, command or test that is named is there."""
    words = [word for word in words_of(line) if not re.match(r"[A-Z_]+=", word)]
    if words[0] == "make":
        assert words[1] in TARGET.findall((ROOT / "Makefile").read_text())
        return
    python, option, module, named, *_ = words
    assert (python, option) == (".venv/bin/python", "-m")
    assert named in COMMANDS if module == "demo" else module == "pytest" and (ROOT / named).is_dir()


@pytest.mark.parametrize("block", blocks("sh elsewhere", "synopsis"), ids=str)
def test_what_is_not_typed_here_is_a_shell_s_language_all_the_same(block: Block) -> None:
    """Also how a command is called in general: its brackets and bars apart."""
    text = re.sub(r"[\[\]|…]", " ", block.text)
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_map_names_what_is_there() -> None:
    """Each line's first words, up to two blanks, are paths; those that are indented lie in ``dynamo_ops``."""
    (block,) = blocks("text map")
    missing = []
    for line in block.text.splitlines():
        named = re.match(r"( {0,2})((?:[a-z_]+/ ?)+)", line)
        for name in named[2].split() if named else ():
            folder = ROOT / "dynamo_ops" if named and named[1] else ROOT
            missing += [] if (folder / name).is_dir() else [name]
    assert missing == []
    rooms = {room.name for room in (ROOT / "dynamo_ops").iterdir() if (room / "__init__.py").exists()}
    assert [room for room in rooms if f"{room}/" not in block.text] == []
