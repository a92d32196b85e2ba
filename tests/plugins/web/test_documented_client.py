"""docs/client.md and the notebooks: what is written there runs, from its first line to its last, against the app."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops import client as face
from dynamo_ops.base.settings import settings
from dynamo_ops.errand.carry import carry_out
from tests import ROOT
from tests.documented.pages import BLOCKS, blocks
from tests.plugins.web.callers import headers_of
from tests.plugins.web.listening import listening
from tests.plugins.web.test_roles import POLICY
from tests.query.stock import Stock

PAGE = (ROOT / "docs" / "client.md").read_text()
NOTEBOOKS = sorted((ROOT / "docs" / "examples").glob("*.ipynb"))
PAGES = sorted({block.page for block in BLOCKS if block.kind == "python client"})


@pytest.fixture
def server(client: TestClient, stock: Stock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """What the page speaks of, an operator's environment in a folder of its own, and runs that begin at once."""
    from dynamo_web.run import start

    def carry(*_: Any) -> bool:
        carry_out(stock.db, settings(), "errands/of_a_test")
        return False

    monkeypatch.setattr(start, "_start", carry)
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset')")
    token = headers_of(stock, "olga", "operator")["authorization"].removeprefix("Bearer ")
    monkeypatch.chdir(tmp_path)
    Path("physics.txt").write_text(POLICY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DYNAMO_TOKEN", token)
    with listening(client.app) as url:
        monkeypatch.setenv("DYNAMO_SERVER", url)
        yield url


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_typed_from_its_first_line_to_its_last(page: str, server: str) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python client", page=page):
        exec(compile(block.text, str(block), "exec"), names)
    assert Path("physics.csv").read_text().startswith("dataset,")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_a_notebook_runs_cell_by_cell(notebook: Path, server: str) -> None:
    names: dict[str, Any] = {}
    for cell in cells(notebook):
        exec(compile(cell, notebook.name, "exec"), names)
    assert names["request"]["items"] == [names["dataset"]]
    assert names["usage"].height > 2
    assert names["datasets"].schema["last_update_at"].time_zone == "UTC"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_a_notebook_holds_nothing_that_it_printed(notebook: Path) -> None:
    document = json.loads(notebook.read_text())
    assert document["nbformat"] == 4
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 4
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])


def cells(notebook: Path) -> list[str]:
    document = json.loads(notebook.read_text())
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def test_every_error_of_the_client_is_in_the_page() -> None:
    errors = {name for name in face.__all__ if name.endswith("Error")} - {"ClientError", "ProblemError"}
    table = set(re.findall(r"`(\w+Error)`", "".join(re.findall(r"^\|([^|]*)\|", PAGE, re.M))))
    assert table == errors


def test_the_tree_of_errors_is_as_it_is_drawn() -> None:
    from dynamo_ops.client import errors

    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    tree = ast.parse(Path(errors.__file__).read_text())
    made = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert sorted(["ClientError", *drawn]) == sorted(made)
    assert sorted({*made} - {"ClientError"} | {"ClientError"}) == sorted(n for n in face.__all__ if n.endswith("Error"))
