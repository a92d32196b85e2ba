"""``dynamo db``: the database itself."""

from __future__ import annotations

import typer

from dynamo_ops.base.settings import settings
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connect import FOLDER, connect

app = typer.Typer(no_args_is_help=True, help="The database: where it is, its schema, the embedded server.")


@app.command()
def status() -> None:
    """Where the database is, and whether its schema is the present one."""
    database = connect(settings())
    revision = migrate.revision(database)
    typer.echo(f"{database.safe_url}\nschema {revision or 'none'}, this version of Dynamo knows {migrate.head()}")


@app.command()
def upgrade() -> None:
    """Bring the schema to the present one."""
    typer.echo(f"schema {migrate.upgrade(connect(settings()))}")


@app.command()
def stop() -> None:
    """Stop the embedded PostgreSQL of this DYNAMO_HOME."""
    stopped = embedded.stop(settings().at_home(FOLDER))
    typer.echo("stopped" if stopped else "it was not running")
