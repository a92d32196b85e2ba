"""The command ``dynamo``: one sub-command a noun."""

from __future__ import annotations

import gc
import os
import sys

import typer

from dynamo_ops import __version__
from dynamo_ops.base.errors import DynamoError
from dynamo_ops.cli.nouns import LazyGroup
from dynamo_ops.cli.terminal import page

WRONG = 2
"""Exit code: it could not be done as it was asked; the message says what to mend."""

app = typer.Typer(
    name="dynamo",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Dynamo decides which data stay on disk, in how many copies and where, and makes it so.",
)


def _version(shown: bool) -> None:
    if shown:
        page.say(f"dynamo {__version__}")
        raise typer.Exit


def _no_pager(chosen: bool) -> None:
    if chosen:
        page.no_pager()


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    no_pager: bool = typer.Option(
        False, "--no-pager", callback=_no_pager, help="Print long output too without a pager (PAGER, or less)."
    ),
) -> None:
    """Dynamo decides which data stay on disk, in how many copies and where, and makes it so."""


def run() -> None:
    """Entry point: our own errors are told in a line, with an exit code (docs/commands.md); anything else is a defect
    and shows its trace."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy starts its threads on import; nothing here multiplies
    try:
        with page.paged():
            app(prog_name="dynamo")
    except DynamoError as error:
        page.tell_error(f"dynamo: {error}")
        sys.exit(WRONG)
    finally:
        gc.freeze()  # what is left goes with the process: nobody need look through it
