"""``dynamo inventory``: what the inventory knows."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import polars as pl
import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.cli.terminal.output import JsonOption, database, show, size
from dynamo_ops.inventory.catalogue.vanished import KINDS, vanished
from dynamo_ops.inventory.replica import read

app = typer.Typer(no_args_is_help=True, help="What the inventory knows.")


@app.command()
def summary(as_json: bool = JsonOption) -> None:
    """How much there is, in all and by site."""
    totals = read.summary(database())
    if as_json:
        typer.echo(json.dumps({**asdict(totals), "sites": totals.sites.to_dicts()}, indent=1, default=str))
        return
    for name, number in asdict(totals).items():
        if isinstance(number, int):
            shown = size(number) if name.startswith("bytes") or name.endswith("bytes") else f"{number:,}"
            typer.echo(f"{name.replace('_', ' '):28} {shown:>14}")
    show(totals.sites, title="Sites", as_json=False)


@app.command("vanished")
def list_vanished(
    kind: Annotated[str | None, typer.Option(help=f"Only {', '.join(KINDS[:-1])} or {KINDS[-1]}.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this source told of.")] = None,
    document: Annotated[
        bool, typer.Option("--document", help="Print a document for `dynamo invalidate`, to be looked through first.")
    ] = False,
    as_json: bool = JsonOption,
) -> None:
    """What sources told of once and do not tell any more. It is kept: `dynamo invalidate` takes it away for good."""
    if kind is not None and kind not in KINDS:
        raise InventoryError(f"no kind {kind!r} of things; there are {', '.join(KINDS)}", value=kind)
    gone = vanished(database(), kind, source)
    if document:
        names = {f"{noun}s": gone.filter(pl.col("kind") == noun)["name"].to_list() for noun in KINDS}
        typer.echo(json.dumps({key: listed for key, listed in names.items() if listed}, indent=1))
        return
    show(gone, title="Vanished", as_json=as_json)
    if not as_json:
        counts = gone.group_by("kind", maintain_order=True).agg(pl.len(), pl.col("size_bytes").sum()).rows()
        parts = [f"{number:,} {noun}{'s' * (number != 1)} ({size(total)})" for noun, number, total in counts]
        typer.echo(f"{', '.join(parts) or 'nothing'}; in all {size(sum(total for *_, total in counts))}")
