"""One demo installation: its folder, its ports, and the environment that all of its processes share."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = ".dynamo-demo"
INSTANCE_VARIABLE = "DYNAMO_DEMO_INSTANCE"
UI_PORT, GRID_PORT = 8080, 18400
GRID_PORTS = 24
PASSED_ON = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "LOGNAME")
COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""Where this is set, Airflow's traces are on; other variables of OpenTelemetry count too."""


class DemoError(Exception):
    """Something a person has to fix before the demo can run; the text says what."""


@dataclass(frozen=True)
class Instance:
    """Where a demo lives. Everything it makes is below ``home``."""

    home: Path = field(default_factory=lambda: Path(os.environ.get("DEMO_HOME", ROOT / "var" / "demo")).resolve())
    ui_port: int = field(default_factory=lambda: _port("DEMO_PORT", UI_PORT))
    grid_port: int = field(default_factory=lambda: _port("DEMO_GRID_PORT", GRID_PORT))
    scenario: Path = field(
        default_factory=lambda: Path(
            os.environ.get("DEMO_SCENARIO", ROOT / "include" / "scenarios" / "demo.yaml")
        ).resolve()
    )

    @property
    def ui(self) -> str:
        """Address of the UI and of the REST API."""
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def grid_folder(self) -> Path:
        return self.home / "grid"

    @property
    def grid_file(self) -> Path:
        """Written by the pocket grid once all of its servers listen."""
        return self.grid_folder / "simgrid.json"

    @property
    def config_folder(self) -> Path:
        return self.home / "config"

    @property
    def airflow_home(self) -> Path:
        return self.home / "airflow"

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in, as an admin: by DEMO_OPEN."""
        return os.environ.get("DEMO_OPEN", "0") not in ("", "0")

    def wipe(self) -> None:
        """Remove what an earlier demo left. Refuses a folder that no demo made."""
        if self.home.exists() and any(self.home.iterdir()) and not (self.home / MARK).exists():
            raise DemoError(f"{self.home} was not made by the demo (no {MARK} in it): choose another DEMO_HOME")
        shutil.rmtree(self.home, ignore_errors=True)
        if self.home.exists():
            raise DemoError(f"{self.home} could not be removed: it belongs to another user; choose another DEMO_HOME")
        for folder in (self.home, self.logs, self.airflow_home, self.grid_folder):
            folder.mkdir(parents=True, exist_ok=True)
        (self.home / MARK).write_text("This folder is made and removed by the demo.\n")
        secrets_file = self.home / "secrets.env"
        secrets_file.touch(mode=0o600)
        secrets_file.write_text("".join(f"{name}={secrets.token_urlsafe(64)}\n" for name in SECRETS))

    def check_ports(self) -> None:
        """Raise DemoError if something else listens where we are going to."""
        wanted = {self.ui_port: "DEMO_PORT"} | {self.grid_port + n: "DEMO_GRID_PORT" for n in range(GRID_PORTS)}
        for port, variable in wanted.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise DemoError(
                        f"port {port} is in use ({error.strerror}): end what uses it, or set {variable} to a free port"
                    ) from error

    def environment(self, airflow_url: str = "", dynamo_url: str = "") -> dict[str, str]:
        """The variables of every process of this instance; nothing else of ours leaks in from the caller's shell."""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return (
            passed
            | _traces()
            | {
                "PATH": path,
                INSTANCE_VARIABLE: str(self.home),
                "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
                "PYTHONUNBUFFERED": "1",
                "NO_PROXY": "*",
                "GX_ANALYTICS_ENABLED": "false",
                "DYNAMO_HOME": str(self.home),
                "DYNAMO_DB_URL": dynamo_url,
                "DYNAMO_AIRFLOW_DB_URL": airflow_url.replace("postgresql://", "postgresql+psycopg2://"),
            }
            | self._airflow(airflow_url)
        )

    def _airflow(self, database_url: str) -> dict[str, str]:
        """Airflow's settings: LocalExecutor, on loopback only, quick polling."""
        values = dict(line.split("=", 1) for line in (self.home / "secrets.env").read_text().splitlines())
        return (
            values
            | self._login()
            | {
                "AIRFLOW_HOME": str(self.airflow_home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX": "regexp",  # the other costs a deprecation line in each log
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": "4",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.ui}/execution/",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self.ui_port),
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API__BASE_URL": self.ui,
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url.replace("postgresql://", "postgresql+psycopg2://"),
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # a file that changed is read at once
                "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
                "AIRFLOW__LOGGING__DELETE_LOCAL_LOGS": "False",
                "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
                "AIRFLOW_CONN_SMTP_DEFAULT": self._smtp_connection(),
            }
        )

    def _login(self) -> dict[str, str]:
        """Who is let in: the demo's people, or with DEMO_OPEN everybody, as an admin."""
        from demo.people import PEOPLE, passwords_file

        if not passwords_file(self).exists():
            return {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}
        return {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{one.name}:{one.airflow}" for one in PEOPLE),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(self)),
        }

    def _smtp_connection(self) -> str:
        import json

        if not self.grid_file.exists():
            return ""
        smtp = json.loads(self.grid_file.read_text())["smtp"]
        return json.dumps(
            {
                "conn_type": "smtp",
                "host": smtp["host"],
                "port": smtp["port"],
                "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "dynamo@localhost"},
            }
        )


def _traces() -> dict[str, str]:
    """What turns traces on, and says where they go."""
    if COLLECTOR not in os.environ:
        return {}
    destination = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    return destination | {"AIRFLOW__TRACES__OTEL_ON": "True"}


SECRETS = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdigit() or not 1024 <= int(text) <= 65535 - GRID_PORTS:
        raise DemoError(f"{variable}={text!r}: expected a port between 1024 and {65535 - GRID_PORTS}")
    return int(text)
