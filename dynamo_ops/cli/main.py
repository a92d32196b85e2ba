"""The command ``dynamo``: one sub-command a noun."""

from __future__ import annotations

import sys

import typer

from dynamo_ops import __version__
from dynamo_ops.base.errors import DynamoError
from dynamo_ops.cli import db, gate, transfers
from dynamo_ops.cli.catalogue import inventory, quota, site
from dynamo_ops.cli.catalogue.inject import inject
from dynamo_ops.cli.catalogue.invalidate import invalidate, invalidated
from dynamo_ops.cli.decision import dealer, detox, history, plan, policy
from dynamo_ops.cli.digest import digest
from dynamo_ops.cli.people import lock, request

app = typer.Typer(
    name="dynamo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Dynamo decides which data stay on disk, in how many copies and where, and makes it so.",
)
app.add_typer(inventory.app, name="inventory")
app.command("inject")(inject)
app.command("invalidate")(invalidate)
app.command("invalidated")(invalidated)
app.add_typer(detox.app, name="detox")
app.add_typer(dealer.app, name="dealer")
app.add_typer(plan.app, name="plan")
app.add_typer(policy.app, name="policy")
app.add_typer(history.app, name="history")
app.add_typer(lock.app, name="lock")
app.add_typer(quota.app, name="quota")
app.add_typer(request.app, name="request")
app.add_typer(transfers.app, name="transfers")
app.add_typer(site.app, name="site")
app.add_typer(gate.app, name="gate")
app.command("digest")(digest)
app.add_typer(db.app, name="db")


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"dynamo {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Dynamo decides which data stay on disk, in how many copies and where, and makes it so."""


def run() -> None:
    """Entry point: our own errors are told in a line, with exit code 2; anything else is a defect and shows its
    trace."""
    try:
        app()
    except DynamoError as error:
        typer.secho(f"dynamo: {error}", fg="red", err=True)
        sys.exit(2)
