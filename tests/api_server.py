"""A real api-server of Airflow, in processes of its own, with our app in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests import ROOT
from tests.patience import wait_until
from tests.ports import free_ports

PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class ApiServer:
    """``url`` of Airflow, without a slash at the end; our resources are below ``v1``. ``pid`` leads its workers."""

    url: str
    pid: int

    @property
    def v1(self) -> str:
        return f"{self.url}/dynamo/v1"

    def log_in(self, name: str, password: str) -> dict[str, str]:
        """Headers of somebody with a JWT of Airflow."""
        answer = requests.post(
            f"{self.url}/auth/token", json={"username": name, "password": password}, timeout=60, proxies={"http": ""}
        )
        answer.raise_for_status()
        return {"authorization": f"Bearer {answer.json()['access_token']}"}


@contextmanager
def api_server(
    folder: Path,
    home: Path,
    airflow_url: str,
    *,
    workers: int = 1,
    people: Mapping[str, str] = {},
    is_migrated: bool = False,
    python: Sequence[str] = (sys.executable, "-m", "airflow"),
    **variables: str,
) -> Iterator[ApiServer]:
    """Serves the installation ``home``; Airflow's own database is ``airflow_url``, with its tables in it if
    ``is_migrated``. ``people``: name → role of SimpleAuth; their passwords are their names. ``variables``: more of the
    environment."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_ports()
    url, passwords = f"http://127.0.0.1:{port}", folder / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in people}))
    environment = (
        {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        | {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "*",
            "DYNAMO_HOME": str(home),
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in people.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": str(workers),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__SECRET_KEY": "of a test, of some length, known to all workers",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of a test, of more than sixty-four bytes, known to all workers of it",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_url,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        | variables
    )
    log = folder / "api-server.log"
    with log.open("ab") as written:
        to_log = {"env": environment, "cwd": folder, "stdout": written, "stderr": subprocess.STDOUT}
        if not is_migrated:
            subprocess.run([*python, "db", "migrate"], check=True, **to_log)  # type: ignore[call-overload]
        server = subprocess.Popen([*python, "api-server"], start_new_session=True, **to_log)  # type: ignore[call-overload]
    try:
        wait_until(lambda: _answers(f"{url}/dynamo/v1/health"), lambda: log.read_text()[-5000:])
        yield ApiServer(url, server.pid)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5, proxies={"http": ""}).ok
    except requests.RequestException:  # it does not listen yet, or others have the processors
        return False
