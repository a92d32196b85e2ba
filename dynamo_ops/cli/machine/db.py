"""``dynamo db``: the database itself."""

from __future__ import annotations

import typer

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connect import FOLDER, connect

app = typer.Typer(no_args_is_help=True, help="The database: where it is, its schema, the embedded server.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Where the database is, and whether its schema is the present one."""
    database = connect(settings())
    revision, head = migrate.revision(database), migrate.head()
    if as_json:
        print_json({"url": database.safe_url, "schema": revision, "known_schema": head})
        return
    say(f"{database.safe_url}\nschema {revision or 'none'}, this version of Dynamo knows {head}")


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the schema to the present one."""
    schema = migrate.upgrade(connect(settings()))
    if as_json:
        print_json({"schema": schema})
    else:
        say(f"schema {schema}")


@app.command()
def stop(as_json: AsJson = False) -> None:
    """Stop the embedded PostgreSQL of this DYNAMO_HOME."""
    was_running = embedded.stop(settings().at_home(FOLDER))
    if as_json:
        print_json({"was_running": was_running})
    else:
        say("stopped" if was_running else "it was not running")
