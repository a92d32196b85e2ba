"""``dynamo transfers series | links | errors``, ``dynamo deletions series``: what moved and went, by hour or day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import polars as pl
import typer

from dynamo_ops.cli.terminal.completion import complete_sites
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import A_TIME, AsJson, Since, Sites
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.query.movement import series as ended
from dynamo_ops.query.movement.series import DELETIONS_BY, STEPS, TRANSFERS_BY, Span

deletions = typer.Typer(no_args_is_help=True, help="Deletions that ended, by hour or day.")

To = Annotated[str | None, typer.Option("--to", help=f"Until when: {A_TIME} how long ago (3d); without it now.")]
Step = Annotated[str, typer.Option("--step", help=f"{' or '.join(STEPS)}, in UTC.")]
Outcomes = Annotated[
    list[str] | None, typer.Option("--outcome", help="Only what ended so; may be given several times.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="Site name or glob; may be given several times.", autocompletion=complete_sites),
]
TransfersBy = Annotated[list[str] | None, typer.Argument(metavar="[BY]...", help=f"{', '.join(TRANSFERS_BY)}.")]
DeletionsBy = Annotated[list[str] | None, typer.Argument(metavar="[BY]...", help=f"{', '.join(DELETIONS_BY)}.")]

FIGURES = {"num_files": "files", "size_bytes": "size", "num_seconds": "seconds,\nadded up"}
LINKS = {
    "source": "from",
    "site": "to",
    "num_done": "done",
    "num_failed": "failed",
    "num_cancelled": "cancelled",
    "size_bytes": "size",
    "failed_fraction": "failed\nfraction",
    "bytes_per_s": "a file's\nbytes/s",
}
ERRORS = {
    "error": "error",
    "source": "from",
    "site": "to",
    "num_files": "files",
    "size_bytes": "size",
    "last_hour": "last in",
}


def transfer_series(
    by: TransfersBy = None,
    since: Since = "1d",
    to: To = None,
    step: Step = "hour",
    sites: Sites = None,
    sources: Sources = None,
    outcomes: Outcomes = None,
    as_json: AsJson = False,
) -> None:
    """Attempts at copies that ended, by hour or day, and by what is asked for. `dynamo transfers series source`."""
    span = Span(since, to, sites or (), sources or ())
    found = ended.transfer_series(database(), span, by or (), step=step, outcomes=outcomes or ())
    _show_series(found, "Transfers", as_json=as_json)


def links(
    since: Since = "1d",
    to: To = None,
    sites: Sites = None,
    sources: Sources = None,
    as_json: AsJson = False,
) -> None:
    """What came from where: done, failed, and how fast a file was on average."""
    found = ended.links(database(), Span(since, to, sites or (), sources or ()))
    _show(found, "Links", LINKS, as_json=as_json)


def errors(
    since: Since = "1d",
    to: To = None,
    sites: Sites = None,
    sources: Sources = None,
    as_json: AsJson = False,
) -> None:
    """Copies that failed, by class of error, source and site; most files first."""
    found = ended.errors(database(), Span(since, to, sites or (), sources or ()))
    _show(found, "Errors", ERRORS, as_json=as_json)


@deletions.callback()
def main() -> None:
    """Deletions that ended, by hour or day."""


@deletions.command("series")
def deletion_series(
    by: DeletionsBy = None,
    since: Since = "1d",
    to: To = None,
    step: Step = "hour",
    sites: Sites = None,
    outcomes: Outcomes = None,
    as_json: AsJson = False,
) -> None:
    """Attempts at deletions that ended, by hour or day, and by what is asked for. `dynamo deletions series site`."""
    span = Span(since, to, sites or ())
    found = ended.deletion_series(database(), span, by or (), step=step, outcomes=outcomes or ())
    _show_series(found, "Deletions", as_json=as_json)


def _show_series(frame: pl.DataFrame, title: str, *, as_json: bool) -> None:
    headings = {name: name for name in frame.columns if name not in FIGURES}
    _show(frame, title, {**headings, **FIGURES}, as_json=as_json)


def _show(frame: pl.DataFrame, title: str, headings: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(frame.to_dicts())
        return
    print_table(frame, title, dict(headings))
    if frame.is_empty():
        say("nothing ended in that time; --since looks further back")
