"""Airflow finds the app in its plugins folder, and mounts it."""

from __future__ import annotations

import subprocess
import sys

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests import ROOT


def test_airflow_mounts_the_app(client: TestClient) -> None:
    from airflow import plugins_manager
    from airflow.api_fastapi.app import init_plugins

    server = FastAPI()
    init_plugins(server)
    assert plugins_manager.get_import_errors() == {}
    assert TestClient(server, base_url="http://localhost").get("/dynamo/v1/health").json() == {"status": "ok"}
    assert TestClient(server, base_url="http://localhost").get("/dynamo/v1/me").status_code == 401
    ours = {path.stem for path in (ROOT / "plugins" / "dynamo_web").rglob("*.py")} - {"__init__"}
    assert ours & {*sys.modules} == set()  # Airflow takes each file of the folder for a plugin that is not ignored


def test_what_every_process_of_airflow_imports_is_not_the_app() -> None:
    code = "import sys, dynamo_web.mount; sys.exit('fastapi' in sys.modules or 'dynamo_ops' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "plugins", check=False).returncode == 0
