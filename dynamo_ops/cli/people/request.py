"""``dynamo request``: asking for copies and for deletions, and what becomes of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.people import request_view as view
from dynamo_ops.cli.terminal.confirm import NOT_DONE, ask
from dynamo_ops.cli.terminal.options import (
    AsJson,
    By,
    Dataset,
    DryRun,
    Group,
    Limit,
    NamedGroup,
    NamedSites,
    Reason,
    Yes,
)
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.cli.terminal.way import Way
from dynamo_ops.request.states import RequestState

if TYPE_CHECKING:
    from dynamo_ops.cli.here import request as requests
else:
    requests = Way("request")

app = typer.Typer(no_args_is_help=True, help="Requests for copies and deletions: ask, list, show, cancel.")

ItemArgument = Annotated[list[str], typer.Argument(metavar="ITEM...", help="Datasets, or dataset#block.")]
RequestId = Annotated[int, typer.Argument(metavar="REQUEST", help="Number of a request (`dynamo request list`).")]


@app.command()
def copy(
    items: ItemArgument,
    sites: NamedSites,
    group: NamedGroup,
    copies: Annotated[int, typer.Option(help="Number of copies over the sites; 0: one at each.")] = 1,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Ask for copies of ITEM, owned by the group; the next Dealer cycle looks at it. The same asked again only
    counts."""
    request_id = requests.copy(items, sites, copies=copies, group=group, by=by)
    asked = requests.asked(request_id)
    if as_json:
        print_json(asked)
        return
    number = "a copy at each" if copies == 0 else "one copy" if copies == 1 else f"{copies} copies"
    say(f"copy request {request_id}: {number} of {' '.join(items)} at {' '.join(sites)}")
    say(f"The next Dealer cycle looks at it; `dynamo request show {request_id}` says how it stands.")
    view.tell_asked_again(asked)


@app.command()
def delete(
    items: ItemArgument,
    sites: NamedSites,
    reason: Reason,
    group: Group = None,
    allow_tape: Annotated[
        bool, typer.Option("--allow-tape", help="Also at tape sites, and what is custodial.")
    ] = False,
    allow_last: Annotated[
        int,
        typer.Option("--allow-last", min=0, help="So many files may lose their last copy: --dry-run says how many."),
    ] = 0,
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have ITEM deleted at the sites (with --group: what it owns): what may go goes, what must stay is told with the
    reason. It shows what would go, and asks. Exit code 1 if nothing of it may be deleted."""
    decide = partial(
        requests.delete,
        items,
        sites,
        reason=reason,
        group=group,
        allow_tape=allow_tape,
        allow_last=allow_last,
        by=by,
    )
    if dry_run or not yes:
        planned = decide(dry_run=True)
        if dry_run and as_json:
            print_json({**planned, "dry_run": True})
        elif not as_json:
            view.print_answer(planned)
        if dry_run:
            return
        if view.is_any_accepted(planned):
            ask(view.deletion_question(planned), yes=yes)
    answer = decide(dry_run=False)
    if as_json:
        print_json({**answer, "dry_run": False})
    elif yes:
        view.print_answer(answer)
    else:
        view.print_outcome(answer)
    if answer["state"] == RequestState.REJECTED:
        raise typer.Exit(NOT_DONE)


@app.command("list")
def list_(
    state: Annotated[
        str | None, typer.Option(help="new, activated, completed, rejected, cancelled; or open: the first two.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="copy or deletion.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those that this person made.")] = None,
    dataset: Dataset = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """The newest requests with their states."""
    listed = requests.listed(state=state, kind=kind, user=user, dataset=dataset, limit=limit)
    if as_json:
        print_json(listed)
    else:
        view.print_requests(listed, limit)


@app.command("show")
def show_(request_id: RequestId, as_json: AsJson = False) -> None:
    """One request: who asked, when, and what happens where, with its progress, and why each part waits."""
    request = requests.shown(request_id)
    if as_json:
        print_json(request)
    else:
        view.print_request(request)


@app.command()
def cancel(
    request_id: RequestId,
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take an open request back. Copies that are there stay; deletions not done yet are withdrawn."""
    summary = requests.cancel(request_id, reason=reason, by=by)
    if as_json:
        print_json(summary)
    else:
        view.print_cancelled(summary)
