"""``dynamo replica``: single copies that are bad, suspicious, or good after all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.cells import count, size
from dynamo_ops.cli.terminal.document import read_names
from dynamo_ops.cli.terminal.lists import AtMost, Fields, Format, print_list
from dynamo_ops.cli.terminal.options import AsJson, By, DryRun, Reason, SiteName, Sites
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import Record, print_json
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import catalogue as copies
else:
    copies = Way("catalogue")

app = typer.Typer(no_args_is_help=True, help="Single copies: call them bad or suspicious; list these.")

Lfns = Annotated[list[str] | None, typer.Argument(metavar="[LFN]...", help="Names of files.")]
File = Annotated[
    str | None, typer.Option("--file", help="A file of LFNs, one a line (`#`: a comment), or - for standard input.")
]
LISTED = {
    "state": "state",
    "site": "site",
    "lfn": "file",
    "size_bytes": "size",
    "created_at": "since",
    "created_by": "by",
    "reason": "reason",
    "copy_state": "copy",
}


@app.command()
def bad(
    site: SiteName,
    reason: Reason,
    lfns: Lfns = None,
    file: File = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Copies at SITE are bad: they count for nothing any more.

    Each is fetched again where another site has a good copy; where none has, and on tape, a person must decide
    (`dynamo replica list`). Owners are told. All that is named, or nothing."""
    called = copies.call("bad", site, read_names(lfns, file), reason=reason, by=by, dry_run=dry_run)
    _print_called(called, dry_run=dry_run, as_json=as_json)


@app.command()
def suspicious(
    site: SiteName,
    reason: Reason,
    lfns: Lfns = None,
    file: File = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Copies at SITE may be bad: they count for nothing until a person says so, or says that they are good.

    Nothing is fetched, and they are read where nothing else gives the file."""
    called = copies.call("suspicious", site, read_names(lfns, file), reason=reason, by=by, dry_run=dry_run)
    _print_called(called, dry_run=dry_run, as_json=as_json)


@app.command()
def good(
    site: SiteName,
    reason: Reason,
    lfns: Lfns = None,
    file: File = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Copies at SITE are good after all, whoever called them otherwise.

    What was to be fetched again counts as there once more, unless that may have begun."""
    called = copies.call("good", site, read_names(lfns, file), reason=reason, by=by, dry_run=dry_run)
    if as_json:
        print_json({**called, "dry_run": dry_run})
        return
    restored = f", {called['num_restored']:,} of them not fetched again" if called["num_restored"] else ""
    say(f"{_mood(dry_run)}{count(called['num_good'], 'file')} at {called['site']}: good{restored}")
    if called["num_too_late"]:
        warn(f"too late for {count(called['num_too_late'], 'file')}: a copy onto them may have begun, they come anew")


@app.command("list")
def list_(
    sites: Sites = None,
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", help="Dataset name or glob; may be given several times.")
    ] = None,
    lfns: Annotated[list[str] | None, typer.Option("--file", help="LFN or glob; may be given several times.")] = None,
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--state", help="suspicious, bad, copying, last_copy, on_tape; good: taken back. Several times: or."
        ),
    ] = None,
    fields: Fields = None,
    limit: AtMost = None,
    format_: Format = None,
    as_json: AsJson = False,
) -> None:
    """Copies that are called bad or suspicious now: who says so, since when, why, and what becomes of them."""
    listed = copies.called_bad(sites=sites or (), datasets=datasets or (), lfns=lfns or (), states=states or ())
    print_list(
        listed,
        "Copies that are called bad or suspicious",
        LISTED,
        format_=format_,
        fields=fields,
        limit=limit,
        as_json=as_json,
        wrap=["lfn", "reason"],
    )


def _print_called(called: Record, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({**called, "dry_run": dry_run})
        return
    files = f"{count(called['num_files'], 'file')} ({size(called['size_bytes'])}) at {called['site']}"
    say(f"{_mood(dry_run)}{files}, {called['num_new']:,} of them newly called so")
    for name, words in BECOMES.items():
        if called[name]:
            say(f"  {called[name]:,} {words}")
    if called["num_last_copy"]:
        warn("a person must decide, as no other site has a good copy; the first: " + ", ".join(called["last_copies"]))


BECOMES = {
    "num_suspicious": "suspicious",
    "num_copying": "bad: fetched again",
    "num_bad": "bad: something else is under way there, judged again daily",
    "num_last_copy": "bad: no other copy is good",
    "num_on_tape": "bad: on tape nothing is overwritten, a person must decide",
}


def _mood(dry_run: bool) -> str:
    return "would be called: " if dry_run else ""
