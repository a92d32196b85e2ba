"""``dynamo dataset``: which there are, where they are, what protects them, and their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.units import parse_size
from dynamo_ops.cli.catalogue import dataset_view as view
from dynamo_ops.cli.terminal.completion import complete_groups
from dynamo_ops.cli.terminal.lists import AtMost, Fields, Format, print_list
from dynamo_ops.cli.terminal.options import SINCE, AsJson, Sites
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import catalogue as datasets
else:
    datasets = Way("catalogue")

app = typer.Typer(no_args_is_help=True, help="Datasets: find them, what is where, their files.")

Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group", help="Name of a group, or a glob; may be given several times.", autocompletion=complete_groups
    ),
]
Owners = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        help="Name of a group, or a glob; none: what nobody owns. May be given several times.",
        autocompletion=complete_groups,
    ),
]
Protocols = Annotated[
    list[str] | None,
    typer.Option("--protocol", help="Of the PFNs, the first that a site has; may be given several times."),
]


@app.command()
def find(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names or globs; without any all.")
    ] = None,
    statuses: Annotated[
        list[str] | None, typer.Option("--status", help="valid, production, …; may be given several times.")
    ] = None,
    releases: Annotated[list[str] | None, typer.Option("--release", help="Of the software; a name or glob.")] = None,
    sites: Sites = None,
    groups: Groups = None,
    is_open: Annotated[bool | None, typer.Option("--open/--closed", help="Only those that are.")] = None,
    larger: Annotated[str | None, typer.Option("--larger", help="Only those of more bytes: 5TB.")] = None,
    since: Annotated[str | None, SINCE] = None,
    fields: Fields = None,
    limit: AtMost = None,
    format_: Format = None,
    as_json: AsJson = False,
) -> None:
    """Datasets by name, status, place and size, in the order of their names."""
    listed = datasets.found(
        names or (),
        statuses=statuses or (),
        releases=releases or (),
        sites=sites or (),
        groups=groups or (),
        is_open=is_open,
        larger=None if larger is None else _size(larger),
        since=since,
    )
    print_list(
        listed, "Datasets", view.FOUND,
        format_=format_, fields=fields, limit=limit, as_json=as_json, wrap=["name"],
    )  # fmt: skip


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset.")], as_json: AsJson = False
) -> None:
    """All about DATASET: where it is, whose, its locks, open requests, use, and what Detox decided last."""
    card = datasets.card(name)
    if as_json:
        print_json(card)
    else:
        view.print_card(card)


@app.command()
def where(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset, dataset#block, globs of these, or an LFN.")],
    sites: Sites = None,
    groups: Owners = None,
    complete: Annotated[bool | None, typer.Option("--complete/--incomplete", help="Only replicas that are.")] = None,
    protocols: Protocols = None,
    fields: Fields = None,
    limit: AtMost = None,
    format_: Format = None,
    as_json: AsJson = False,
) -> None:
    """Where NAME is: at which sites, how much of it, whose; of a file the PFNs, best first."""
    if "#" not in name and datasets.is_file(name):
        _print_located([name], None, protocols, as_json=as_json)
        return
    dataset, _, block = name.partition("#")
    listed = datasets.replicas(dataset, block, sites=sites or (), groups=groups or (), complete=complete)
    print_list(
        listed, f"Replicas of {name}",
        view.BLOCK_REPLICAS if block else view.DATASET_REPLICAS,
        format_=format_, fields=fields, limit=limit, as_json=as_json, wrap=["dataset", "block"],
    )  # fmt: skip


@app.command()
def files(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset, or dataset#block (a glob of blocks).")],
    lfns: Annotated[list[str] | None, typer.Option("--file", help="LFN or glob; may be given several times.")] = None,
    located: Annotated[
        bool, typer.Option("--where", help="Also at which sites, with PFNs; of at most 10,000 files.")
    ] = False,
    protocols: Protocols = None,
    fields: Fields = None,
    limit: AtMost = None,
    format_: Format = None,
    as_json: AsJson = False,
) -> None:
    """Files of DATASET, or of a block of it, by block and LFN."""
    if located:
        if lfns or fields or format_ or limit:
            raise InventoryError("--where takes all files of a dataset or block, as a table or by --json")
        _print_located([], name, protocols, as_json=as_json)
        return
    dataset, _, block = name.partition("#")
    listed = datasets.files(dataset, block, lfns=lfns or ())
    print_list(
        listed, f"Files of {name}", view.FILES,
        format_=format_, fields=fields, limit=limit, as_json=as_json, wrap=["block", "lfn"],
    )  # fmt: skip


def _print_located(lfns: list[str], dataset: str | None, protocols: list[str] | None, *, as_json: bool) -> None:
    found = datasets.located(lfns, dataset, protocols=protocols or ())
    if as_json:
        print_json(found)
    else:
        view.print_located(found)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(f"--larger: {error}") from error
