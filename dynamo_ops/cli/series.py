"""``dynamo transfers series | links | errors``, ``dynamo deletions series``: what moved and went, by hour or day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.completion import complete_sites
from dynamo_ops.cli.terminal.options import A_TIME, AsJson, Since, Sites
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Records, print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import transfers as ended
else:
    ended = Way("transfers")

STEPS = ("hour", "day")
TRANSFERS_BY = ("source", "site", "outcome", "error")
DELETIONS_BY = TRANSFERS_BY[1:]

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
    found = ended.transfer_series(
        by or (),
        since=since,
        until=to,
        step=step,
        sites=sites or (),
        sources=sources or (),
        outcomes=outcomes or (),
    )
    _show_series(found, "Transfers", as_json=as_json)


def links(
    since: Since = "1d",
    to: To = None,
    sites: Sites = None,
    sources: Sources = None,
    as_json: AsJson = False,
) -> None:
    """What came from where: done, failed, and how fast a file was on average."""
    found = ended.links(since=since, until=to, sites=sites or (), sources=sources or ())
    _show(found, "Links", LINKS, as_json=as_json)


def errors(
    since: Since = "1d",
    to: To = None,
    sites: Sites = None,
    sources: Sources = None,
    as_json: AsJson = False,
) -> None:
    """Copies that failed, by class of error, source and site; most files first."""
    found = ended.errors(since=since, until=to, sites=sites or (), sources=sources or ())
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
    found = ended.deletion_series(
        by or (), since=since, until=to, step=step, sites=sites or (), outcomes=outcomes or ()
    )
    _show_series(found, "Deletions", as_json=as_json)


def _show_series(rows: Records, title: str, *, as_json: bool) -> None:
    headings = {name: name for name in (rows[0] if rows else ()) if name not in FIGURES}
    _show(rows, title, {**headings, **FIGURES}, as_json=as_json)


def _show(rows: Records, title: str, headings: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    print_table(rows, title, headings)
    if not rows:
        say("nothing ended in that time; --since looks further back")
