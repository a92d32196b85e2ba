"""``dynamo inventory``: what the inventory knows."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table
from dynamo_ops.cli.terminal.way import Way
from dynamo_ops.inventory.kinds import CatalogueKind

if TYPE_CHECKING:
    from dynamo_ops.cli.here import catalogue as documents
else:
    documents = Way("catalogue")

SET_ASIDE = {
    "dataset": "dataset",
    "source": "source",
    "first_at": "since",
    "num_runs": "runs",
    "is_known": "known",
    "reason": "reason",
}
KINDS = tuple(CatalogueKind)

app = typer.Typer(no_args_is_help=True, help="What the inventory knows.")


@app.command()
def summary(as_json: AsJson = False) -> None:
    """How much there is, in all and by site."""
    totals = documents.summary()
    if as_json:
        print_json(totals)
        return
    for name, number in totals.items():
        if isinstance(number, int):
            say(f"{name.replace('_', ' '):28} {cell(name, number):>14}")
    say()
    print_table(totals["sites"], "Sites")


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
        print_json(documents.vanished_document(kind, source))
        return
    gone = documents.vanished(kind, source)
    if as_json:
        print_json(gone)
    else:
        print_table(gone, "Vanished", wrap=["name"])
        parts = [_amount(noun, [row["size_bytes"] for row in rows]) for noun, rows in groupby(gone, _kind)]
        say(f"{', '.join(parts) or 'nothing'}; in all {size(sum(row['size_bytes'] for row in gone))}")


@app.command("set-aside")
def list_set_aside(
    source: Annotated[str | None, typer.Option(help="Only what this source told.")] = None,
    as_json: AsJson = False,
) -> None:
    """Datasets of which a source told a bad record: until it is mended nothing of them is merged, nor deleted."""
    faulty = documents.set_aside(source)
    if as_json:
        print_json(faulty)
        return
    print_table(faulty, "Set aside", {**SET_ASIDE}, wrap=["dataset", "reason"])
    say(f"{count(len(faulty), 'dataset') if faulty else 'nothing'}; have the source mended, each pull asks again")


def _kind(row: Record) -> str:
    return str(row["kind"])


def _amount(noun: str, sizes: list[int]) -> str:
    return f"{count(len(sizes), noun)} ({size(sum(sizes))})"
