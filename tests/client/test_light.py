"""The client needs requests, and what requests needs; nothing of Dynamo's but its ground."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions

HEAVY = {
    "airflow",
    "alembic",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "rich",
    "sqlalchemy",
    "typer",
    "yaml",
}
NEEDED = {"certifi", "charset-normalizer", "idna", "requests", "urllib3"}
"""Distributions: requests, and those that it requires."""


def test_the_client_loads_one_library_and_what_that_needs() -> None:
    code = "import json, sys; before = {*sys.modules}; import dynamo_ops.client"
    code += "; print(json.dumps([*{*sys.modules} - before]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    roots = {name.partition(".")[0] for name in loaded}
    assert roots & HEAVY == set()
    distributions = packages_distributions()
    assert {name for root in roots for name in distributions.get(root, ())} - {"dynamo-ops"} <= NEEDED
    ours = {name.split(".")[1] for name in loaded if name.startswith("dynamo_ops.")}
    assert ours == {"base", "client"}
