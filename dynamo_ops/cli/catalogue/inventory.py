"""``dynamo inventory``: what the inventory knows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import polars as pl
import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.inventory.catalogue.vanished import KINDS, vanished, vanished_document
from dynamo_ops.inventory.replica import read

app = typer.Typer(no_args_is_help=True, help="What the inventory knows.")


@app.command()
def summary(as_json: AsJson = False) -> None:
    """How much there is, in all and by site."""
    totals = read.summary(database())
    if as_json:
        print_json({**asdict(totals), "sites": totals.sites.to_dicts()})
        return
    for name, number in asdict(totals).items():
        if isinstance(number, int):
            say(f"{name.replace('_', ' '):28} {cell(name, number):>14}")
    say()
    print_table(totals.sites, "Sites")


@app.command("vanished")
def list_vanished(
    kind: Annotated[str | None, typer.Option(help=f"Only {', '.join(KINDS[:-1])} or {KINDS[-1]}.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this source told of.")] = None,
    document: Annotated[
        bool, typer.Option("--document", help="Print a document for `dynamo invalidate`, to be looked through first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What sources told of once and do not tell any more. It is kept: `dynamo invalidate` takes it away for good."""
    if kind is not None and kind not in KINDS:
        raise InventoryError(
            f"no kind {kind!r} of things; there are {', '.join(KINDS)}.{near(kind, KINDS)}", value=kind
        )
    if document:
        print_json(vanished_document(database(), [kind] if kind else [], [source] if source else []))
        return
    gone = vanished(database(), kind, source)
    if as_json:
        print_json(gone.to_dicts())
    else:
        print_table(gone, "Vanished", wrap=["name"])
        counts = gone.group_by("kind", maintain_order=True).agg(pl.len(), pl.col("size_bytes").sum()).rows()
        parts = [f"{count(number, noun)} ({size(total)})" for noun, number, total in counts]
        say(f"{', '.join(parts) or 'nothing'}; in all {size(sum(total for *_, total in counts))}")
