"""``dynamo airflow``: what Airflow's services must know to run Dynamo."""

from __future__ import annotations

import shlex
from importlib.util import find_spec

import typer

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.installation import FOR_AIRFLOW, VARIABLE, find_installation, no_installation
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import warn, write
from dynamo_ops.cli.terminal.tables import print_json

app = typer.Typer(no_args_is_help=True, help="Airflow: the environment that its services need.")


@app.command()
def env(as_json: AsJson = False) -> None:
    """The variables of Airflow's services, a line each: for a file that systemd reads, or a shell (`set -a`)."""
    installation = find_installation()
    if installation is None:
        raise no_installation()
    dags, plugins = FOR_AIRFLOW / "dags", FOR_AIRFLOW / "plugins"
    if not dags.is_dir():
        raise SettingsError(
            f"{dags}: our DAGs are not there: install Dynamo anew", file=str(dags), key="dags", reason="not there"
        )
    variables = {
        VARIABLE: str(installation.home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX": "regexp",
    }
    if find_spec("airflow") is None:
        warn("Airflow is not installed beside this command: dynamo-ops[airflow] has it")
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        write(f"{name}={shlex.quote(value)}\n")
