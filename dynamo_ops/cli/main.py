"""The command ``dynamo``: one sub-command a noun."""

from __future__ import annotations

import sys

import typer

from dynamo_ops import __version__
from dynamo_ops.base.errors import DynamoError
from dynamo_ops.cli.nouns import LazyGroup

app = typer.Typer(
    name="dynamo",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Dynamo decides which data stay on disk, in how many copies and where, and makes it so.",
)


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
