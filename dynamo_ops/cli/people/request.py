"""``dynamo request``: asking for copies and for deletions, and what becomes of it."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.people import request_view as view
from dynamo_ops.cli.terminal.output import JsonOption, database
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.dealer.tasks import served_groups
from dynamo_ops.request import cancel as cancellation
from dynamo_ops.request import copy_request, deletion_request, registry

app = typer.Typer(no_args_is_help=True, help="Requests for copies and deletions: ask, list, show, cancel.")

ItemArgument = Annotated[list[str], typer.Argument(metavar="ITEM...", help="Datasets, or dataset#block.")]
SiteOption = Annotated[list[str], typer.Option("--site", help="Site name or glob; may be given several times.")]


@app.command()
def copy(
    items: ItemArgument,
    sites: SiteOption,
    group: Annotated[str, typer.Option(help="The group that will own the copies.")],
    copies: Annotated[int, typer.Option(help="Number of copies over the sites; 0: one at each.")] = 1,
    as_json: bool = JsonOption,
) -> None:
    """Ask for copies of ITEM; the next Dealer cycle looks at it. Asking the same again only counts."""
    db, config = database(), settings()
    request_id = copy_request.request_copy(
        db,
        items,
        sites,
        num_copies=copies,
        group=group,
        by=getpass.getuser(),
        served=served_groups(config),
        limits=config.requests,
    )
    details = registry.request_details(db, request_id)
    if as_json:
        print_json(details.request)
        return
    typer.echo(f"copy request {request_id}: {copies or 'one at each'} of {' '.join(items)} at {' '.join(sites)}")
    view.tell_asked_again(details.request)


@app.command()
def delete(
    items: ItemArgument,
    sites: SiteOption,
    reason: Annotated[str, typer.Option(help="Why; others will read it.")],
    group: Annotated[str | None, typer.Option(help="Only what this group owns.")] = None,
    allow_tape: Annotated[
        bool, typer.Option("--allow-tape", help="Also at tape sites, and what is custodial.")
    ] = False,
    allow_last: Annotated[
        int,
        typer.Option("--allow-last", min=0, help="So many files may lose their last copy: --dry-run says how many."),
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Have ITEM deleted at the sites: what may go goes, what must stay is told with the reason."""
    answer = deletion_request.request_deletion(
        database(),
        items,
        sites,
        reason=reason,
        by=getpass.getuser(),
        now=datetime.now(UTC),
        group=group,
        allow_tape=allow_tape,
        allow_last=allow_last,
        limits=settings().requests,
        dry_run=dry_run,
    )
    if as_json:
        print_json({**view.answer_document(answer), "dry_run": dry_run})
    else:
        view.print_answer(answer)


@app.command("list")
def list_(
    state: Annotated[
        str | None, typer.Option(help="new, activated, completed, rejected, cancelled; or open: the first two.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="copy or deletion.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those that this person made.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those about this dataset (name or glob).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: bool = JsonOption,
) -> None:
    """The newest requests with their states."""
    requests = registry.list_requests(database(), limit, state=state, kind=kind, user=user, dataset=dataset)
    if as_json:
        print_json(requests.to_dicts())
    else:
        view.print_requests(requests, limit)


@app.command("show")
def show_(request_id: int, as_json: bool = JsonOption) -> None:
    """One request: who asked, when, and what happens where, with its progress."""
    details = registry.request_details(database(), request_id)
    if as_json:
        print_json({**details.request, "actions": details.actions.to_dicts()})
    else:
        view.print_details(details)


@app.command()
def cancel(
    request_id: int,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    as_json: bool = JsonOption,
) -> None:
    """Take an open request back. Copies that are there stay; deletions not done yet are withdrawn."""
    summary = cancellation.cancel(database(), request_id, by=getpass.getuser(), reason=reason)
    if as_json:
        print_json(view.cancel_document(request_id, summary))
    else:
        view.print_cancelled(request_id, summary)
