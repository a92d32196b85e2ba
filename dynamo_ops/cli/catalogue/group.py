"""``dynamo group``: what groups own, where, and of how much they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.cli.terminal.completion import complete_groups
from dynamo_ops.cli.terminal.lists import AtMost, Fields, Format, print_list
from dynamo_ops.cli.terminal.options import AsJson, Dataset, Sites
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import group as groups
else:
    groups = Way("group")

app = typer.Typer(no_args_is_help=True, help="Groups: what they own, where, and of how much they may.")

GroupName = Annotated[str, typer.Argument(metavar="GROUP", help="Name of a group.", autocompletion=complete_groups)]

SITES = {
    "site": "site",
    "num_datasets": "datasets",
    "num_blocks": "block\nreplicas",
    "num_complete": "complete",
    "size_bytes": "on disk",
    "projected_bytes": "projected",
}
LARGEST = {"dataset": "dataset", "num_sites": "sites", "size_bytes": "on disk"}
DATASETS = {
    "dataset": "dataset",
    "site": "site",
    "num_blocks": "block\nreplicas",
    "num_complete": "complete",
    "num_blocks_of_dataset": "blocks of\ndataset",
    "size_bytes": "on disk",
    "projected_bytes": "projected",
}


@app.command()
def show(name: GroupName, as_json: AsJson = False) -> None:
    """What GROUP owns, by site, and its largest datasets; how much unique data it has, and may have."""
    card = groups.card(name)
    if as_json:
        print_json(card)
    else:
        _print_card(card)


@app.command()
def datasets(
    name: GroupName,
    sites: Sites = None,
    dataset: Dataset = None,
    fields: Fields = None,
    limit: AtMost = None,
    format_: Format = None,
    as_json: AsJson = False,
) -> None:
    """What GROUP owns, by dataset and site."""
    owned = groups.owned(name, sites=sites or (), datasets=[dataset] if dataset else ())
    print_list(
        owned, f"Owned by {name}", DATASETS,
        format_=format_, fields=fields, limit=limit, as_json=as_json, wrap=["dataset"],
    )  # fmt: skip


def _print_card(card: Record) -> None:
    group = card["group"]
    say(group["group"], bold=True)
    say(f"  owns           whole {group['ownership_level']}s")
    free = "" if group["free_bytes"] is None else f", {size(group['free_bytes'])} free"
    say(f"  unique data    {size(group['unique_bytes'])} of {size(group['quota_bytes'])}{free}")
    say()
    print_table(card["sites"], "Sites", SITES)
    print_table(card["largest"], "Largest datasets", LARGEST, wrap=["dataset"])
