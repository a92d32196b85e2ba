"""What the pages type where the demo has run is typed there: page by page, by a real shell, in a checkout's place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.instance import GRID_PORTS, PASSED_ON
from tests import ROOT
from tests.documented.pages import Block, blocks
from tests.documented.shell import checkout
from tests.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TYPED = sorted(blocks("sh demo", "sh airflow"), key=lambda block: block.kind, reverse=True)
"""First what people of Dynamo type, then what Airflow is told: it has much to do after that."""


class DemoShell:
    """A shell in a folder like a checkout, with a demo of its own in ``var/demo``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ui, grid = free_ports(1), free_ports(GRID_PORTS)
        self.environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DEMO_HOME": str(self.folder / "var" / "demo"),
            "DEMO_PORT": str(ui),
            "DEMO_GRID_PORT": str(grid),
        }

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """The lines of ``script`` up to the first that fails, each told before what it prints."""
        return subprocess.run(
            ["bash", "-exo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def demo_shell() -> Iterator[DemoShell]:
    with checkout() as folder:
        shell = DemoShell(folder)
        try:
            ran = shell.run("python -m demo run\n")  # as `make demo`
            assert ran.returncode == 0, ran.stdout
            yield shell
        finally:
            shell.run("python -m demo down\n")


@pytest.mark.parametrize("block", TYPED, ids=str)
def test_what_is_typed_where_the_demo_has_run_works(block: Block, demo_shell: DemoShell) -> None:
    before = "set -a; . var/demo/environment.sh; set +a\n" if block.kind == "sh airflow" else ""
    typed = demo_shell.run(before + block.text)
    assert typed.returncode == 0, f"{block}\n{typed.stdout}"
