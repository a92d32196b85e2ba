"""Bring an instance up: PostgreSQL, the pocket grid, Airflow's four processes."""

from __future__ import annotations

import json
import shlex
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable

import yaml

from demo import people, processes
from demo.instance import INSTANCE_VARIABLE, ROOT, DemoError, Instance
from dynamo_ops.base.installation import MARKER
from dynamo_ops.configuration.new_installation import mark
from dynamo_ops.database import connect, embedded

AIRFLOW = ("-m", "airflow")


def up(instance: Instance, say: Callable[[str], None]) -> dict[str, str]:
    """Start everything from nothing; returns the environment of the instance's processes."""
    down(instance)
    instance.wipe()
    instance.check_ports()
    if not instance.is_open:
        people.make_passwords(instance)
    server = embedded.start(instance.home / "postgres", create=True)
    server.create_database("airflow")
    dynamo = connect.create(instance.home)
    people.give_rights(dynamo)
    dynamo_url = dynamo.url
    say("PostgreSQL is up (embedded, one server for Dynamo and for Airflow)")
    _start_grid(instance)
    say(f"the pocket grid is up: {len(grid(instance)['sites'])} sites, FTS, DBS, feeds, mail and chat sinks")
    write_configuration(instance)
    environment = instance.environment(server.url("airflow"), dynamo_url)
    _write_environment(instance, environment)
    _start_airflow(instance, environment)
    say(f"Airflow is up. {people.logins(instance)}")
    return environment


def down(instance: Instance) -> int:
    """End every process of the instance and its PostgreSQL; files stay. Returns the number of processes ended."""
    ended = processes.end_all(instance)
    return ended + int(embedded.stop(instance.home / "postgres"))


def database_url(instance: Instance) -> str:
    """Where the inventory of a running instance is. Raises DemoError if it is not up."""
    server = embedded.find(instance.home / "postgres")
    if server is None:
        raise DemoError("the demo is not up: `make up` or `make demo` first")
    return server.url("dynamo")


def grid(instance: Instance) -> dict[str, object]:
    """The pocket grid's own description of itself."""
    found: dict[str, object] = json.loads(instance.grid_file.read_text())
    return found


LARGEST_REQUEST_TB = 1e-6
"""1 MB: most datasets of the demo have less, the one that is being produced has more."""


def write_configuration(instance: Instance) -> None:
    """A configuration folder of this instance: the shipped one, pointed at the pocket grid. With it the home says
    where everything is: a shell needs ``DYNAMO_HOME`` only."""
    shutil.copytree(ROOT / "include" / "config", instance.config_folder, dirs_exist_ok=True)
    peers = grid(instance)
    tls = {"ca": peers["ca"], "cert": peers["user_cert"], "key": peers["user_key"]}
    configuration = {
        "metadata_sources": [{"name": "dbs", "type": "dbs", "options": {"url": peers["dbs"]}}],
        "site_sources": [{"name": "site_status", "type": "json", "options": {"url": peers["site_status"]}}],
        "access_sources": [{"name": "accesses", "type": "json", "options": {"url": peers["accesses"]}}],
        "popularity": {"wait_h": 0},
        "tls": tls,
        "fts": {"url": peers["fts"], "poll_interval_s": 6, "timeout_h": 1, "retry_delay_s": 1},
        "transfers": {"backoff_s": 2},
        "deletion": {"backoff_s": 2},
        "retries": {"count": 6, "delay_s": 5, "max_delay_s": 30},
        "mail": {"sender": "dynamo@localhost", "recipients": ["operators@localhost"]},
        "alerts": {"webhooks": [{"url": peers["webhook"], "ca": peers["ca"]}]},
    }
    (instance.config_folder / "dynamo.yaml").write_text(
        "# Written by the demo: this instance's peers are the pocket grid's servers.\n" + yaml.safe_dump(configuration)
    )
    dealer = instance.config_folder / "dealer" / "physics.yaml"
    placing = yaml.safe_load(dealer.read_text())
    placing["plugins"]["requests"]["max_size"] = LARGEST_REQUEST_TB
    dealer.write_text(
        "# As shipped, but users may only ask for what is small on this grid.\n" + yaml.safe_dump(placing)
    )
    (instance.home / MARKER).unlink(missing_ok=True)
    mark(instance.home, policies=str(ROOT / "include" / "policies"))


def _write_environment(instance: Instance, environment: dict[str, str]) -> None:
    """``environment.sh`` in the home: with it a shell can type Airflow's own commands. Without the variable by which a
    process belongs to the instance, and is ended with it. It holds secrets, so nobody else may read it."""
    names = [
        name
        for name in environment
        if name == "PYTHONPATH" or (name.startswith(("AIRFLOW", "DYNAMO_")) and name != INSTANCE_VARIABLE)
    ]
    file = instance.home / "environment.sh"
    file.touch(mode=0o600)
    file.write_text("".join(f"export {name}={shlex.quote(environment[name])}\n" for name in names))


def _start_grid(instance: Instance) -> None:
    environment = instance.environment()
    process = processes.start(
        instance,
        "simgrid",
        processes.python(
            "-m",
            "simgrid",
            "serve",
            "--scenario",
            str(instance.scenario),
            "--dir",
            str(instance.grid_folder),
            "--port-base",
            str(instance.grid_port),
            "--fresh",
        ),
        environment,
    )
    processes.wait_until(instance.grid_file.exists, process, instance, "simgrid")


def _start_airflow(instance: Instance, environment: dict[str, str]) -> None:
    """The api-server first: a task that is queued before it answers fails outright."""
    processes.run(instance, "airflow-migrate", processes.python(*AIRFLOW, "db", "migrate"), environment)
    processes.run(
        instance,
        "airflow-pools",
        processes.python(*AIRFLOW, "pools", "import", str(ROOT / "include" / "config" / "pools.json")),
        environment,
    )
    server = processes.start(instance, "api-server", processes.python(*AIRFLOW, "api-server"), environment)
    processes.wait_until(lambda: "metadatabase" in health(instance), server, instance, "api-server")
    others = {
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "dag-processor": ("dag-processor",),
        "triggerer": ("triggerer", "--skip-serve-logs"),
    }
    started = {
        name: processes.start(instance, name, processes.python(*AIRFLOW, *arguments), environment)
        for name, arguments in others.items()
    }
    for name, process in started.items():
        processes.wait_until(
            lambda name=name: health(instance).get(name.replace("-", "_")) == "healthy", process, instance, name
        )


def health(instance: Instance) -> dict[str, str]:
    """Component → healthy/unhealthy, as the api-server tells; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"{instance.ui}/api/v2/monitor/health", timeout=5) as answer:
            return {name: part["status"] for name, part in json.load(answer).items() if part}
    except (urllib.error.URLError, OSError, ValueError):
        return {}
