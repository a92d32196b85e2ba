"""``dynamo request``: asking for copies."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from dynamo_ops.cli.output import JsonOption, database, show
from dynamo_ops.dealer.steps import served_groups
from dynamo_ops.requests import copy_request
from dynamo_ops.settings import settings

app = typer.Typer(no_args_is_help=True, help="Copy requests: ask, list.")


@app.command()
def copy(
    dataset: str,
    sites: Annotated[list[str], typer.Option("--site", help="Site name or glob; may be given several times.")],
    group: Annotated[str, typer.Option(help="The group that will own the copies.")],
    copies: Annotated[int, typer.Option(help="Number of copies over the sites; 0: one at each.")] = 1,
) -> None:
    """Ask for copies of DATASET; the next Dealer cycle looks at it."""
    found = copy_request.request_copy(
        database(),
        dataset,
        sites,
        num_copies=copies,
        group=group,
        by=getpass.getuser(),
        served=served_groups(settings()),
    )
    typer.echo(f"copy request {found}: {copies or 'one at each'} of {dataset} at {' '.join(sites)}")


@app.command("list")
def list_(as_json: bool = JsonOption) -> None:
    """The newest requests with their states."""
    show(copy_request.list_requests(database()), title="Copy requests", as_json=as_json)
